"""The most similar document of a corpus for each of some others, within its cluster: SemDeDup of what is no part of the corpus."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.scoring.exact import dot64, float_block, full_precision, unit

_CELLS = 1 << 21  # similarities at a time


class NearestInCluster:
    """The largest cosine similarity of some documents to those of their cluster that are added; of what is one itself (by its hash) to the others.

    Parameters
    ----------
    x, cluster, doc_hash : floating [n, dim], rows not zero; integers [n]; uint64 [n].

    Attributes
    ----------
    similarity : float64 [n], -inf where there is none yet.
    """

    def __init__(self, x: np.ndarray, cluster: np.ndarray, doc_hash: np.ndarray) -> None:
        self._cluster, self._hash = cluster, doc_hash
        with full_precision("cpu"):
            self._x = unit(float_block(x, slice(None), "cpu"), range(len(x)))
        self.similarity = np.full(len(x), -np.inf)

    def add(
        self, x: np.ndarray, cluster: np.ndarray, doc_hash: np.ndarray
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Compare with some documents of the corpus; return for which a more similar one is among these, and its row. Of equals the first stays."""
        rows, nearest = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        with full_precision("cpu"):
            for one in np.intersect1d(self._cluster, cluster).tolist():
                mine, theirs = np.flatnonzero(self._cluster == one), np.flatnonzero(cluster == one)
                others = unit(float_block(x, theirs, "cpu"), theirs)
                step = max(1, _CELLS // len(theirs))
                for start in range(0, len(mine), step):
                    some = mine[start : start + step]
                    best, better = self._compare(some, others, self._hash[some, None] == doc_hash[theirs])
                    rows.append(some[better])
                    nearest.append(theirs[best[better]])
        return np.concatenate(rows), np.concatenate(nearest)

    def _compare(
        self, rows: np.ndarray, others: torch.Tensor, same: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the most similar of `others` for each row, and whether it is more similar than what was found before."""
        own, itself = self._x[rows], torch.from_numpy(same)
        best = (own.double() @ others.double().T).masked_fill(itself, -torch.inf).argmax(dim=1)
        near = others[best]
        exact = dot64(own, near) / (dot64(own, own) * dot64(near, near)).sqrt()
        cosine = exact.clamp(-1, 1).masked_fill(itself.all(dim=1), -torch.inf).numpy()
        better = cosine > self.similarity[rows]
        self.similarity[rows[better]] = cosine[better]
        return best.numpy(), better
