"""Spherical k-means and the nearest centroid of each vector: the graph's, which is faiss with checks and exact ties, against faiss alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import FAISS, READY, Comparison

_CLUSTERS = 57  # the default for so many documents


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Yield the cluster of each vector."""
    from curation_assets.scoring.clusters import assign, fit_centroids

    x = material.vectors(folder)
    fit_centroids(x[:200], 2, 0, iterations=1)
    yield READY
    yield assign(x, fit_centroids(x, _CLUSTERS, 0).centroids)[0]


def faiss_alone(folder: Path) -> Iterator[np.ndarray]:
    """Yield the cluster of each vector, with as many iterations and no limit on the points of a centroid."""
    import faiss

    x = material.vectors(folder)
    faiss.Kmeans(x.shape[1], 2, niter=1).train(x[:200])
    yield READY
    settings = {"niter": 25, "seed": 0, "spherical": True, "max_points_per_centroid": len(x)}
    kmeans = faiss.Kmeans(x.shape[1], _CLUSTERS, **settings)
    kmeans.train(x)
    yield kmeans.index.search(x, 1)[1][:, 0]


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare clusters, which have the same numbers since both start from the same points."""
    return f"{(one == other).mean():.2%} of the vectors in the same cluster"


_WORK = f"{_CLUSTERS} clusters of {material.VECTORS:,} vectors, and the nearest of each"
COMPARISONS = (Comparison("faiss", FAISS, _WORK, ours, faiss_alone, agreement),)
