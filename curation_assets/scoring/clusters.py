"""Spherical k-means over the embeddings, for SemDeDup and Prototypes (paper, section 4.1 and appendix B)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.scoring.exact import (
    Array,
    blocks_of,
    check_matrix,
    dot64,
    float_block,
    full_precision,
    map_blocks,
    norms,
    unit,
)

_BLOCK_CELLS = {"cpu": 1 << 21, "cuda": 1 << 26}  # similarities per block: 8 MiB on the CPU
_ROUNDING = 2e-6  # many times the error of an fp32 dot product of unit vectors
_CHECK_ROWS = 2048
_BLOCK_ROWS = {"cpu": _CHECK_ROWS, "cuda": 1 << 15}


@dataclass(frozen=True)
class Fit:
    """What `fit_centroids` found.

    Attributes
    ----------
    centroids : float32 [k, dim]
        Unit vectors. k is smaller than asked for when there were fewer points.
    objective : tuple of float
        Mean cosine similarity of the points to their centroids, at each iteration; faiss stops when it converges.
    points_used : int
        Points trained on.
    """

    centroids: np.ndarray
    objective: tuple[float, ...]
    points_used: int


def default_clusters(n: int) -> int:
    """Return the number of clusters for `n` documents: the paper's 10,000 for 364M, scaled by sqrt(n)."""
    if n < 1:
        raise ValueError(f"clusters need at least one document, not {n}")
    return max(1, round(10_000 * math.sqrt(n / 364e6)))


def fit_centroids(
    x: np.ndarray,
    k: int,
    seed: int,
    *,
    iterations: int = 25,
    max_points_per_centroid: int | None = None,
    device: str = "cpu",
) -> Fit:
    """Fit spherical k-means with faiss.

    Parameters
    ----------
    x
        Unit vectors [n, dim]. Faiss works on float32 in memory: other types are copied.
    k
        Number of clusters; n where there are fewer points.
    seed
        Of the initial centroids and of the sample. The same seed and input give the same centroids on the same
        machine; sort the points (by document id, say) to be independent of where they came from.
    max_points_per_centroid
        Train on a random sample of that many points per cluster where there are more; None trains on all.
    device
        "cuda" and "cuda:1" use one GPU, by faiss; RuntimeError where it sees none.
    """
    import faiss

    check_matrix(x)
    if k < 1 or len(x) < 1 or iterations < 1:
        raise ValueError(f"k-means needs points, clusters and iterations: {len(x)}, {k}, {iterations}")
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu and getattr(faiss, "get_num_gpus", int)() < 1:
        raise RuntimeError("device is cuda but faiss sees no GPU: install faiss-gpu or choose the cpu")
    k = min(k, len(x))
    if max_points_per_centroid is not None and len(x) > k * max_points_per_centroid:
        draw = np.random.Generator(np.random.PCG64(seed))
        x = x[np.sort(draw.choice(len(x), k * max_points_per_centroid, replace=False))]
    for rows in blocks_of(len(x), _CHECK_ROWS):
        norms(float_block(x, slice(rows.start, rows.stop), "cpu"), rows)
    points = np.ascontiguousarray(x, dtype=np.float32)
    kmeans = faiss.Kmeans(
        points.shape[1],
        k,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=-(-len(points) // k),  # faiss would silently drop points above its default
    )
    if on_gpu:
        torch.cuda.empty_cache()  # faiss takes memory by itself, beside what torch keeps
        resources = faiss.StandardGpuResources()
        kmeans.index = faiss.index_cpu_to_gpu(resources, torch.device(device).index or 0, kmeans.index)
    kmeans.train(points)
    objective = tuple(float(total) / len(points) for total in np.asarray(kmeans.obj))
    return Fit(_unit_centroids(np.asarray(kmeans.centroids)), objective, len(points))


def assign(x: Array, centroids: np.ndarray, *, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """Find the centroid of largest cosine similarity, the lowest numbered where several are equal.

    Parameters
    ----------
    x
        Floating [n, dim], non-zero rows; an array, memmap or tensor, read in blocks.
    centroids
        Floating [k, dim], non-zero rows.

    Returns
    -------
    cluster : int32 [n]
    similarity : float32 [n]
        Cosine similarity to that centroid.

    Notes
    -----
    What the float32 matrix product cannot tell apart is decided in float64, so that neither result depends on
    the batch or the device.
    """
    table = torch.from_numpy(_unit_centroids(centroids)).to(device)
    check_matrix(x, table.shape[1])
    kind = torch.device(device).type
    step = max(1, min(_BLOCK_ROWS.get(kind, _CHECK_ROWS), _BLOCK_CELLS.get(kind, 1 << 21) // len(table)))

    def nearest(rows: range) -> tuple[np.ndarray, np.ndarray]:
        block = unit(float_block(x, slice(rows.start, rows.stop), device), rows)
        chosen = _nearest(block, table)
        cosine = dot64(block, table[chosen]) / dot64(block, block).sqrt()
        return chosen.int().cpu().numpy(), cosine.clamp_(-1, 1).float().cpu().numpy()

    parts = [(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32))]
    with full_precision(device):
        parts += map_blocks(nearest, blocks_of(x.shape[0], step), device)
    cluster, similarity = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return cluster, similarity


def _nearest(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return the index of the nearest of `table` for each row of `x`, both unit vectors: int64 [rows]."""
    similarity = x @ table.T
    best, chosen = similarity.max(1)
    rival = similarity.scatter(1, chosen[:, None], float("-inf")).amax(1)
    close = (rival >= best - _ROUNDING).nonzero()[:, 0]
    if len(close):
        contender = (similarity[close] >= best[close, None] - _ROUNDING).nonzero()
        exact = torch.full((len(close), len(table)), float("-inf"), dtype=torch.float64, device=x.device)
        step = max(1, (1 << 21) // x.shape[1])
        for row, column in zip(contender[:, 0].split(step), contender[:, 1].split(step), strict=True):
            exact[row, column] = dot64(x[close[row]], table[column])
        top = exact.amax(1, keepdim=True)
        numbers = torch.arange(len(table), device=x.device)
        chosen[close] = torch.where(exact == top, numbers, len(table)).amin(1)
    return chosen


def _unit_centroids(centroids: np.ndarray) -> np.ndarray:
    """Return the centroids scaled to unit length, float32 [k, dim]; raise where one is bad."""
    check_matrix(centroids, name="centroids")
    if not len(centroids):
        raise ValueError("there must be at least one centroid")
    wide = np.asarray(centroids, dtype=np.float64)
    lengths = np.sqrt((wide * wide).sum(1))
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise ValueError(f"centroid {bad[0]} is zero or not finite")
    return (wide / lengths[:, None]).astype(np.float32)
