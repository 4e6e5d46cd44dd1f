"""Density by the paper's sketch: both passes over vectors, against the algorithm as it was published, written in NumPy here.

The public script of that name (lsh-density-sampling) is on no package index. Its second pass loops in Python over documents and
hash functions and draws the projections anew for each document: that is left out here, so what is timed is faster than it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import READY, Comparison

_ROWS, _BUCKETS, _WIDTH, _BATCH = 1000, 20_000, 0.25, 1000


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Yield the density of each vector, with the paper's kernel."""
    from curation_assets.scoring.density import RaceSketch

    x = material.vectors(folder)
    settings = {"rows": _ROWS, "buckets": _BUCKETS, "kernel": "l2", "bits": 1, "bandwidth": _WIDTH}
    RaceSketch(x.shape[1], **settings).add(x[:500]).density(x[:500])
    yield READY
    yield RaceSketch(x.shape[1], **settings).add(x).density(x)


def as_published(folder: Path) -> Iterator[np.ndarray]:
    """Sketch by p-stable hashes (Datar et al. 2004) that are counted in a table (Coleman and Shrivastava 2020), then look up."""
    x = material.vectors(folder)
    draw = np.random.default_rng(1)
    direction = draw.standard_normal((x.shape[1], _ROWS)).astype(np.float32)
    offset = draw.uniform(0, _WIDTH, _ROWS).astype(np.float32)
    row = np.arange(_ROWS)

    def hashes(batch: np.ndarray) -> np.ndarray:
        return np.floor((batch @ direction + offset) / _WIDTH).astype(np.int64) % _BUCKETS

    def density(x: np.ndarray) -> np.ndarray:
        batches = [x[at : at + _BATCH] for at in range(0, len(x), _BATCH)]
        sketch = np.zeros((_ROWS, _BUCKETS), np.int32)
        for batch in batches:
            np.add.at(sketch, (row, hashes(batch)), 1)
        return np.concatenate([sketch[row, hashes(batch)].mean(1) for batch in batches])

    density(x[:500])
    yield READY
    yield density(x)


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare two estimates, each by hash functions of its own, with the kernel's exact sum."""
    from scipy.stats import spearmanr

    exact = _exact(material.vectors(folder))
    apart = [f"{np.median(np.abs(estimate / exact - 1)):.1%}" for estimate in (one, other)]
    return (
        f"Spearman between them {spearmanr(one, other).statistic:.4f} (each draws hashes of its own); "
        f"median error against the exact sum {apart[0]} and {apart[1]}"
    )


def _exact(x: np.ndarray) -> np.ndarray:
    """Return the sum of the collision probabilities of each vector with all (Datar et al. 2004, section 3.2)."""
    from scipy.stats import norm

    at = np.linspace(0, 2, 4001)  # distances of unit vectors
    ratio = _WIDTH / np.maximum(at, 1e-9)
    chance = 1 - 2 * norm.cdf(-ratio) - 2 / (np.sqrt(2 * np.pi) * ratio) * (1 - np.exp(-(ratio**2) / 2))
    total = np.empty(len(x))
    for start in range(0, len(x), 1000):
        distance = np.sqrt(np.clip(2 - 2 * (x[start : start + 1000] @ x.T), 0, None))
        total[start : start + 1000] = np.interp(distance, at, chance).sum(1)
    return total


_WORK = f"density of {material.VECTORS:,} vectors, {_ROWS:,} rows of {_BUCKETS:,}, the paper's kernel"
COMPARISONS = (
    Comparison("lsh-density-sampling", "", f"(as published) {_WORK}", ours, as_published, agreement),
)
