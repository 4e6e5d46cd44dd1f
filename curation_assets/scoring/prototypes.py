"""Prototypes: far from the own centroid is better (Sorscher et al. 2022; paper, appendix B)."""

from __future__ import annotations

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
    unit,
)

_BLOCK_CELLS = 1 << 17  # float64 products per block: 1 MiB, to stay in cache


def prototype_scores(x: Array, centroids: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Minus the cosine similarity of each document to the centroid of its cluster.

    Parameters
    ----------
    x
        Floating [n, dim], non-zero rows; an array, memmap or tensor, read in blocks.
    centroids
        Floating [k, dim], non-zero rows, of any length.
    cluster
        Integers [n] from 0 to k - 1.

    Returns
    -------
    float64 [n] from -1 (most prototypical, dropped first) to 1; independent of batch and device.
    """
    check_matrix(x)
    check_matrix(centroids, x.shape[1], "centroids")
    cluster = np.asarray(cluster)
    if cluster.shape != (x.shape[0],) or not np.issubdtype(cluster.dtype, np.integer):
        raise ValueError(f"cluster must be {x.shape[0]} integers, not {cluster.dtype} {list(cluster.shape)}")
    if len(cluster) and not 0 <= cluster.min() <= cluster.max() < len(centroids):
        row = int(np.flatnonzero((cluster < 0) | (cluster >= len(centroids)))[0])
        raise ValueError(
            f"row {row} is in cluster {cluster[row]}, but the clusters are 0 to {len(centroids) - 1}"
        )
    table = unit(float_block(centroids, slice(None), "cpu"), range(len(centroids)), "centroids")

    def score(rows: range) -> np.ndarray:
        here = slice(rows.start, rows.stop)
        block = unit(float_block(x, here, "cpu"), rows)
        own = table[torch.from_numpy(cluster[here].astype(np.int64))]
        cosine = dot64(block, own) / (dot64(block, block) * dot64(own, own)).sqrt()
        return -cosine.clamp_(-1, 1).numpy()

    blocks = blocks_of(x.shape[0], max(1, _BLOCK_CELLS // x.shape[1]))
    with full_precision("cpu"):
        return np.concatenate([np.empty(0), *map_blocks(score, blocks, "cpu")])
