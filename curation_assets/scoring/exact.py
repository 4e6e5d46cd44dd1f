"""Dot products that do not depend on the batch, and fp32 matrix products that are really fp32."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, cast

import numpy as np
import torch

from curation_assets.models.transfer import to_device

Array = np.ndarray | torch.Tensor
_FEEDERS = 4  # threads that feed a GPU
EXACT_CELLS = {"cpu": 1 << 17, "cuda": 1 << 23}
"""Float64 products per block: 1 MiB on the CPU, to stay in cache; on a GPU so many that its kernels are longer than their launch."""
T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def full_precision(device: torch.device | str) -> Iterator[None]:
    """Run without gradients, autocast and reduced fp32 matmuls (TF32, bf16), whatever the caller has set."""
    backends = (torch.backends.cuda.matmul, cast(Any, torch.backends.mkldnn).matmul)
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def blocks_of(n: int, step: int) -> list[range]:
    """Cut `n` rows into ranges of `step` rows, the last one shorter."""
    return [range(start, min(start + step, n)) for start in range(0, n, step)]


def map_blocks(work: Callable[[T], R], blocks: Sequence[T], device: torch.device | str) -> Iterator[R]:
    """Yield `work(block)` for each block, in order; on the CPU each core works on a block of its own.

    That way no core waits for another after every small operation, operations that torch does not parallelise scale
    too, and a product does not depend on how many cores there are. On a GPU a few threads take turns: one reads and copies its block
    while the card is at another's. Call it inside `full_precision`; a few results per thread are held at a time.
    """
    threads, on_gpu = torch.get_num_threads(), torch.device(device).type == "cuda"
    stream = torch.cuda.current_stream(device) if on_gpu else None  # of the caller, and so its card
    cores = _FEEDERS if on_gpu else threads
    if cores == 1:
        yield from map(work, blocks)
        return

    def run(block: T) -> R:
        # All of these belong to a thread.
        here = torch.cuda.stream(stream) if stream else nullcontext()
        with torch.inference_mode(), torch.autocast("cpu", enabled=False), here:
            return work(block)

    try:
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: deque[Future[R]] = deque()
            try:
                for block in blocks:
                    waiting.append(pool.submit(run, block))
                    if len(waiting) > 2 * cores:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(threads)  # a thread's setting is also the default of threads started later


def dot64(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Row-wise dot products in float64, summed in one fixed order.

    A product of two float32 numbers is exact in float64, and the sum halves the row again and again with
    elementwise additions only. So the result is the same, bit for bit, for every batch and device.

    Parameters
    ----------
    a, b
        float32 or float16 [n, dim]; `b` may also be [1, dim].

    Returns
    -------
    float64 [n]. The working memory is 3 * 8 * n * dim bytes: call it in blocks.
    """
    terms = a.double() * b.double()
    width = terms.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:width]
        width = half
    return terms[:, 0].clone()


def float_block(x: Array, rows: slice | np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Copy `x[rows]` to a float32 tensor on `device`; `x` may be a NumPy array, a memmap or a tensor."""
    if isinstance(x, torch.Tensor):
        chosen = x[rows] if isinstance(rows, slice) else x[torch.as_tensor(rows, device=x.device)]
        return chosen.detach().to(device=device, dtype=torch.float32)
    return to_device(np.array(x[rows], dtype=np.float32, order="C"), torch.device(device))


def check_matrix(x: Array, dim: int | None = None, name: str = "x") -> None:
    """Raise unless `x` is a floating [n, dim] matrix."""
    if len(x.shape) != 2 or (dim is not None and x.shape[1] != dim):
        raise ValueError(f"{name} must have shape [n, {dim or 'dim'}], not {list(x.shape)}")
    floating = x.is_floating_point() if isinstance(x, torch.Tensor) else np.issubdtype(x.dtype, np.floating)
    if not floating:
        raise TypeError(f"{name} must hold floating-point numbers, not {x.dtype}")


def norms(x: torch.Tensor, rows: Sequence[int] | np.ndarray, name: str = "x") -> torch.Tensor:
    """Return the float32 norms of a block, which holds the given rows of `name`.

    Raises
    ------
    ValueError
        Names the first row that is not finite.
    """
    lengths = torch.linalg.vector_norm(x, dim=1)
    if not bool(torch.isfinite(lengths).all()):
        bad = int((~torch.isfinite(lengths)).nonzero()[0, 0])
        raise ValueError(f"row {rows[bad]} of {name} holds NaN, infinite or overflowing numbers")
    return lengths


def unit(x: torch.Tensor, rows: Sequence[int] | np.ndarray, name: str = "x") -> torch.Tensor:
    """Scale the rows of a block to length 1; raise naming the first row that is zero or not finite."""
    lengths = norms(x, rows, name)
    check_directions(lengths, rows, name)
    return x / lengths[:, None]


def check_directions(lengths: torch.Tensor, rows: Sequence[int] | np.ndarray, name: str = "x") -> None:
    """Raise naming the first row whose norm is zero."""
    if not bool((lengths > 0).all()):
        raise ValueError(
            f"row {rows[int((lengths == 0).nonzero()[0, 0])]} of {name} is zero: it has no direction"
        )
