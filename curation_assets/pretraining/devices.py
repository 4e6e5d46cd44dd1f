"""Which device a run trains on, in what precision, and in how many processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from curation_assets.pretraining.config import RuntimeConfig, TrainConfig


def device_of(execution: RuntimeConfig) -> torch.device:
    """Return the device that an execution names; ValueError where there is none such."""
    available = torch.cuda.is_available()
    name = ("cuda" if available else "cpu") if execution.device == "auto" else execution.device
    device = torch.device(name)
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not available):
        raise ValueError(
            f"cannot train on device {execution.device!r}; CUDA is {'' if available else 'not '}available"
        )
    return device


def process_count(execution: RuntimeConfig) -> int:
    """Return how many processes train: those asked for, or one per visible GPU, or one on a CPU.

    Raises
    ------
    ValueError
        Where there are fewer GPUs than processes, or the device is a single one of them.
    """
    count, device = execution.processes, device_of(execution)
    if count < 0:
        raise ValueError(f"processes must be at least 1, or 0 for one per GPU, not {count}")
    if device.type == "cpu":
        return count or 1
    if device.index is not None:
        if count > 1:
            raise ValueError(f"device {execution.device!r} is one GPU, for one process, not {count}")
        return 1
    visible = torch.cuda.device_count()
    if count > visible:
        raise ValueError(f"{count} processes need a GPU each; {visible} are visible")
    return count or visible


def accelerator(config: TrainConfig, execution: RuntimeConfig) -> Any:
    """Return accelerate's view of device, precision and processes; its environment variables say which process this is."""
    from accelerate import Accelerator

    device = device_of(execution)
    on_gpu = device.type == "cuda"
    if device.index is not None and on_gpu:
        torch.cuda.set_device(device)
    auto = on_gpu and torch.cuda.is_bf16_supported()
    bf16 = config.precision == "bfloat16" or (config.precision == "auto" and auto)
    return Accelerator(cpu=not on_gpu, mixed_precision="bf16" if bf16 else "no")


@contextmanager
def tf32(device: torch.device, allowed: bool) -> Iterator[None]:
    """Let a GPU multiply float32 matrices in TF32, for the time being; on a CPU nothing is changed.

    It pays where a run is float32 as a whole (several times the rate, 10 bits of mantissa). In bf16 no float32 product is left.
    """
    if device.type != "cuda" or not allowed:
        yield
        return
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32"
    try:
        yield
    finally:
        settings.fp32_precision = before
