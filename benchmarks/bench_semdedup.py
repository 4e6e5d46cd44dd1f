"""SemDeDup: against the bare matrix product of the triangles it must compute, and flat memory out of core."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.bench_density import BLOCK, peaks, unit_blocks
from benchmarks.harness import Row, best_seconds, report_peak
from curation_assets.scoring.cluster_store import semdedup_shards
from curation_assets.scoring.semdedup import semdedup_scores

DOCUMENTS, DIM = 20_000, 384


def rows() -> Iterator[Row]:
    """Speed as a share of the GEMM's for the same pairs, from one giant cluster to tiny ones; peak memory."""
    x = np.concatenate(list(unit_blocks(DOCUMENTS, DIM)))
    some = torch.from_numpy(x[:4096])
    per_pair = best_seconds(lambda: some @ some.T) / 4096**2
    for clusters in (1, 4, 74, 5000):  # 74 is the default for 20,000 documents
        cluster = np.random.default_rng(1).integers(0, clusters, DOCUMENTS)
        ours = best_seconds(lambda c=cluster: semdedup_scores(x, c), 2)
        sizes = np.bincount(cluster).astype(float)
        triangle = (sizes * (sizes - 1) / 2).sum() * per_pair
        note = f"{ours:.3f} s, {ours / clusters * 1e6:,.0f} us a cluster, {ours / DOCUMENTS * 1e6:.1f} us a document"
        yield Row(
            f"semdedup: speed of the triangles' GEMM, {clusters} clusters",
            triangle / ours,
            "ratio",
            None,
            note,
        )
    yield from peaks("benchmarks.bench_semdedup", "semdedup out of core")


def _peak(n: int) -> None:
    """Score n documents in shards, a fifth of them in one cluster."""
    clusters = 50

    def shard(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        draw = np.random.default_rng(number)
        rows = min(BLOCK, n - number * BLOCK)
        x = draw.standard_normal((rows, DIM), dtype=np.float32)
        cluster = np.where(draw.random(rows) < 0.2, 0, draw.integers(0, clusters, rows))
        return x, cluster, draw.integers(0, 2**64, rows, dtype=np.uint64)

    shards = [lambda i=i: shard(i) for i in range(-(-n // BLOCK))]
    counts = sum(np.bincount(read()[1], minlength=clusters) for read in shards)
    with tempfile.TemporaryDirectory() as scratch:
        done = sum(len(part.score) for part in semdedup_shards(shards, counts, DIM, scratch, memory_mib=16))
    if done != n:
        raise RuntimeError(f"scored {done} documents of {n}")
    report_peak()


if __name__ == "__main__" and sys.argv[1:2] == ["--peak"]:
    _peak(int(sys.argv[2]))
