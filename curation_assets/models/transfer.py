"""Batches to the device and results back, so that an accelerator has its next batch before the last one's results are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray

B = TypeVar("B")


def to_device(array: NDArray, device: torch.device) -> torch.Tensor:
    """Return a copy of an array on the device, or the array itself as a tensor on a CPU.

    Pageable memory makes CUDA wait for all that the card is still at before it copies; pinned memory does not.
    """
    if device.type != "cuda":
        return torch.from_numpy(array).to(device)
    with torch.cuda.device(device):  # pinned memory is the current device's
        return torch.from_numpy(array).pin_memory().to(device, non_blocking=True)


def padding_mask(model: Any, mask: torch.Tensor) -> torch.Tensor:
    """Return a mask of 0 and 1, [rows, length], as the model takes it without looking at it.

    Of two dimensions transformers first asks the device whether all of it is 1, once for the encoder and once for the decoder, and
    waits each time. One that says for whom it is in four dimensions is taken as it is: by an encoder-decoder with fused attention.
    """
    ready = model.config.is_encoder_decoder and model.config._attn_implementation == "sdpa"
    return mask[:, None, None, :].bool() if ready else mask


def fetched(batches: Iterable[B], launch: Callable[[B], torch.Tensor]) -> Iterator[tuple[B, NDArray]]:
    """Yield each batch with its result as an array, in order; on an accelerator the next one is launched before a result is fetched.

    `launch` puts work on the device and must not wait for it. On a CPU there is nothing to overlap, and one batch is held at a time.
    """
    waiting: tuple[B, torch.Tensor] | None = None
    for batch in batches:
        result = launch(batch)
        if waiting is not None:
            yield waiting[0], waiting[1].cpu().numpy()
        waiting = batch, result
        if result.device.type == "cpu":
            yield batch, result.numpy()
            waiting = None
    if waiting is not None:
        yield waiting[0], waiting[1].cpu().numpy()
