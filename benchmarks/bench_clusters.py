"""Clusters: k-means against bare faiss, assignment against its matrix product, and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.bench_density import peaks, unit_blocks
from benchmarks.harness import Row, best_seconds, report_peak
from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids

DOCUMENTS, DIM, ITERATIONS = 20_000, 384, 10


def rows() -> Iterator[Row]:
    """Ratios of speed at the default number of clusters, and peak memory at two corpus sizes."""
    import faiss

    x = np.concatenate(list(unit_blocks(DOCUMENTS, DIM)))
    k = default_clusters(DOCUMENTS)

    def bare() -> None:
        faiss.Kmeans(
            DIM, k, niter=ITERATIONS, seed=0, spherical=True, max_points_per_centroid=DOCUMENTS
        ).train(x)

    ours = best_seconds(lambda: fit_centroids(x, k, 0, iterations=ITERATIONS), 3)
    yield Row(
        f"k-means: speed of bare faiss, {k} clusters",
        best_seconds(bare, 3) / ours,
        "ratio",
        None,
        f"{ours:.3f} s",
    )
    for clusters in (k, 1000):
        centroids = x[:clusters]
        ours = best_seconds(lambda c=centroids: assign(x, c))
        product = best_seconds(lambda c=centroids: torch.from_numpy(x) @ torch.from_numpy(c).T)
        note = f"{DOCUMENTS / ours:,.0f} documents/s"
        yield Row(f"assignment: speed of its GEMM, {clusters} clusters", product / ours, "ratio", None, note)
    yield from peaks("benchmarks.bench_clusters", "assignment")


def _peak(n: int) -> None:
    centroids = fit_centroids(next(unit_blocks(4096, 384)), 64, 0, iterations=2).centroids
    done = sum(len(assign(x, centroids)[0]) for x in unit_blocks(n, 384))
    if done != n:
        raise RuntimeError(f"assigned {done} documents of {n}")
    report_peak()


if __name__ == "__main__" and sys.argv[1:2] == ["--peak"]:
    _peak(int(sys.argv[2]))
