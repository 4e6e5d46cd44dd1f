"""What training costs in floating-point operations, and how many of them a device does a second.

Counted are matrix multiplications, two operations per multiply-add. Looking up embeddings, norms, activations, softmax and
the optimizer are left out, as is usual: together they are a few per cent of a T5 of 60 million parameters and less of larger ones.
"""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from curation_assets.models import span_corruption
from curation_assets.models.t5 import Shape
from curation_assets.pretraining.config import TrainConfig

_LONG_ENOUGH = 5e-3  # seconds of a multiplication that is worth timing
_LARGEST = 8192


def forward_flops(shape: Shape, vocab_size: int, inputs: float, targets: float) -> float:
    """Return the operations of one sequence's forward pass through a T5 v1.1.

    Parameters
    ----------
    shape, vocab_size
        The model: gated feed-forward layers (three matrices) and an output head of its own.
    inputs, targets
        Encoder and decoder tokens of the sequence, EOS and padding included. The decoder's attention counts in full: a causal
        mask hides results, it does not save operations.
    """
    d, inner = shape.d_model, shape.num_heads * shape.d_kv
    projection, feed_forward = 2 * d * inner, 3 * 2 * d * shape.d_ff  # per token; of one of Q, K, V and O
    encoder = inputs * (4 * projection + feed_forward) + _attention(inner, inputs, inputs)
    decoder = targets * (4 * projection + feed_forward) + _attention(inner, targets, targets)
    cross = 2 * projection * (targets + inputs) + _attention(inner, targets, inputs)
    head = 2 * d * vocab_size * targets
    return shape.num_layers * (encoder + decoder + cross) + head


def training_flops(config: TrainConfig) -> float:
    """Return the operations of a whole run: the backward pass costs two forward passes, for inputs and for weights."""
    targets = span_corruption.lengths(config.input_length, config.noise_density, config.mean_noise_span)[1]
    forward = forward_flops(config.shape, config.vocab_size, config.input_length, targets)
    return 3 * forward * config.batch_size * config.steps


def device_flops(device: torch.device | str, dtype: torch.dtype) -> float:
    """Return the rate of large square matrix multiplications, measured once a process, in operations a second.

    The best of three, after one that does not count: what the device can do, with the present number of threads on a CPU
    and the present precision settings on a GPU. It takes less than 0.3 s, CUDA's own start left out. On a machine that is busy
    with other work it comes out low, and a share of it high.
    """
    device = torch.device(device)
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return _measure(str(device), dtype, threads)


@lru_cache
def _measure(device: str, dtype: torch.dtype, threads: int) -> float:
    generator = torch.Generator(device).manual_seed(0)  # the global one is the caller's
    size = 512
    while True:
        a, b = (
            torch.randn(size, size, generator=generator, device=device, dtype=torch.float32).to(dtype)
            for _ in range(2)
        )
        seconds = min([_seconds(a, b) for _ in range(4)][1:])
        if seconds >= _LONG_ENOUGH or size == _LARGEST:
            return 2 * size**3 / seconds
        size *= 2


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.mm(a, b)
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start


def _attention(inner: int, queries: float, keys: float) -> float:
    """Return the operations of the scores and of the sums that they weigh."""
    return 2 * 2 * inner * queries * keys
