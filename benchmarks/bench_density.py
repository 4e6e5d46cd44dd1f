"""Density: both passes of the sketch against the bare matrix product done twice, and flat memory."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Row, best_seconds, peak_mib, report_peak
from curation_assets.samplers.density import SKETCH, write_sketch
from curation_assets.scoring.density import RaceSketch
from curation_assets.scoring.density_hashes import default_bits

DOCUMENTS, BLOCK = 20_000, 4_096


def unit_blocks(n: int, dim: int) -> Iterator[np.ndarray]:
    """Random unit vectors in blocks, as a reader of shards would give them."""
    draw = np.random.default_rng(7)
    for start in range(0, n, BLOCK):
        x = draw.standard_normal((min(BLOCK, n - start), dim), dtype=np.float32)
        yield x / np.linalg.norm(x, axis=1, keepdims=True)


def rows() -> Iterator[Row]:
    """Ratios of speed at 1,000 rows and 20,000 buckets, bytes of a stored sketch, and peak memory at two corpus sizes."""
    kernels = {
        "the default": {"bits": default_bits(DOCUMENTS, 20_000)},
        "the paper's": {"kernel": "l2", "bits": 1},
        "l2, 16 bits": {"kernel": "l2", "bits": 16, "bandwidth": 4.0},
    }
    for dim, (name, settings) in product((384, 768), kernels.items()):
        x = np.concatenate(list(unit_blocks(DOCUMENTS, dim)))
        sketch = RaceSketch(dim, **settings)
        vectors, directions = torch.from_numpy(x), torch.randn(sketch.hashes.projections, dim)
        bare = best_seconds(lambda a=vectors, b=directions: a @ b.T)
        add = best_seconds(lambda s=sketch, a=x: s.add(a))
        density = best_seconds(lambda s=sketch, a=x: s.density(a))
        speed = f"{DOCUMENTS / (add + density):,.0f} documents/s; add {add:.3f} s, density {density:.3f} s"
        yield Row(
            f"{name}, both passes: speed of 2 GEMMs, dim {dim}",
            2 * bare / (add + density),
            "ratio",
            0.5,
            speed,
        )
    for name, settings in kernels.items():
        for documents in (20, 2_000):
            yield stored(name, settings, documents)
    yield from peaks("benchmarks.bench_density", "density")


def stored(name: str, settings: dict[str, Any], documents: int) -> Row:
    """Bytes of the stored sketch of a corpus file, and how long it takes to look for its filled cells and write them."""
    sketch = RaceSketch(384, **settings).add(next(unit_blocks(documents, 384)))
    with tempfile.TemporaryDirectory() as folder:
        seconds = best_seconds(lambda: write_sketch(sketch, Path(folder)), 3)
        size = (Path(folder) / SKETCH).stat().st_size
    note = f"{1000 * seconds:.0f} ms"
    return Row(
        f"{name}, a stored sketch of {documents:,} documents", size / documents, "B/document", None, note
    )


def peaks(module: str, name: str) -> Iterator[Row]:
    """Peak memory at 20,000 and 100,000 documents, and its growth per document."""
    small, large = (peak_mib(module, "--peak", str(n)) for n in (20_000, 100_000))
    yield Row(f"{name}: peak memory at 20,000 documents", small, "MiB")
    yield Row(f"{name}: peak memory at 100,000 documents", large, "MiB")
    growth = (large - small) * 2**20 / 80_000
    yield Row(
        f"{name}: growth of the peak", growth, "B/document", None, "vectors of dim 384 are 1,536 B each"
    )


def _peak(n: int) -> None:
    sketch = RaceSketch(384)
    for x in unit_blocks(n, 384):
        sketch.add(x)
    scores = np.concatenate([sketch.density(x) for x in unit_blocks(n, 384)])
    if len(scores) != n or sketch.documents != n:
        raise RuntimeError(f"scored {len(scores)} documents of {n}")
    report_peak()


if __name__ == "__main__" and sys.argv[1:2] == ["--peak"]:
    _peak(int(sys.argv[2]))
