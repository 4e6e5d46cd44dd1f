"""SemDeDup out of core: the vectors of some clusters, gathered from all shards, then compared within each cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from curation_assets.scoring.exact import blocks_of, check_matrix, float_block
from curation_assets.scoring.semdedup import score_rows

ROW_BYTES = 200  # of index arrays per document while it is compared
_READ = 4096  # rows of the file at a time


class ClusterStore:
    """Documents of whole clusters: `add` those of each shard, then `score`. In memory where they fit, else in a file.

    A document's result depends on the documents of its cluster and their hashes, not on which other clusters are here, which
    shard holds what, or in which order shards come: the rows of a cluster are ordered by doc_hash before `semdedup_scores`'
    rule is applied. Documents with equal hashes (one id in two shards) are ordered by shard and row.

    Parameters
    ----------
    folder
        A local folder for a temporary file of (4 * dim) bytes a document, where they do not fit in memory.
    documents
        How many there will be.
    dim
        Length of the vectors.
    memory_mib
        Vectors and index arrays of as many documents as take so much are held at a time. What grows with the documents in any case
        is 60 bytes of each, and `ROW_BYTES` of each in a cluster that does not fit, whose vectors are read in blocks.

    Attributes
    ----------
    shard, row : int32 [documents], of each document, as they were added.
    score : float64 [documents]
        As `semdedup_scores`: minus the similarity; 1.0 for the first document of a cluster.
    duplicate : int64 [documents]
        Place in these arrays of the document that it is most similar to, or -1.
    """

    def __init__(self, folder: Path | str, documents: int, dim: int, *, memory_mib: int = 512) -> None:
        self.documents, self.dim, self.added = documents, dim, 0
        self._room = max(1, memory_mib * 2**20 // (4 * dim + ROW_BYTES))
        self._file = Path(folder) / "vectors" if documents > self._room else None
        self._memory = np.empty((0 if self._file else documents, dim), np.float32)
        if self._file:
            _reserve(self._file, documents * dim * 4)
        self.shard, self.row, self._cluster = (np.empty(documents, np.int32) for _ in range(3))
        self._hash = np.empty(documents, np.uint64)
        self.score = np.empty(documents, np.float64)
        self.duplicate = np.empty(documents, np.int64)

    def add(
        self, shard: int, row: np.ndarray, cluster: np.ndarray, doc_hash: np.ndarray, x: np.ndarray
    ) -> None:
        """Add documents of a shard: rows int [n], clusters int [n] of at least 0, hashes uint64 [n], vectors [n, dim].

        Raises
        ------
        ValueError
            They do not fit each other, or the store; names the shard.
        """
        self._check(shard, row, cluster, doc_hash, x)
        place = slice(self.added, self.added + len(row))
        self.shard[place], self.row[place], self._cluster[place], self._hash[place] = (
            shard,
            row,
            cluster,
            doc_hash,
        )
        self._vectors()[place] = x
        self.added = place.stop

    def compare(self, block: int | None = None, device: str = "cpu") -> Iterator[int]:
        """Find `score` and `duplicate`, of as many clusters together as fit in memory; yields the documents done."""
        if self.added != self.documents:
            raise ValueError(f"{self.added} documents were added, not {self.documents}")
        order = np.lexsort((self.row, self.shard, self._hash, self._cluster))
        cluster = self._cluster[order]
        starts = np.append(np.flatnonzero(np.diff(cluster, prepend=-1)), len(order))
        begin = 0
        while begin < len(starts) - 1:
            end = int(np.searchsorted(starts, starts[begin] + self._room, side="right")) - 1
            end = max(end, begin + 1)
            rows = slice(int(starts[begin]), int(starts[end]))
            self._compare(order[rows], cluster[rows], block, device)
            begin = end
            yield rows.stop

    def sizes(self) -> np.ndarray:
        """Return how many documents each cluster has that has any, int64 [k]."""
        return np.unique(self._cluster, return_counts=True)[1]

    def _compare(self, place: np.ndarray, cluster: np.ndarray, block: int | None, device: str) -> None:
        """Compare the documents of whole clusters, which are at these places."""
        whole = None
        if self._file and len(place) <= self._room:
            by_place = np.argsort(place)  # the file is read in its order
            whole = np.empty((len(place), self.dim), np.float32)
            for part in blocks_of(len(place), _READ):
                rows = by_place[part.start : part.stop]
                whole[rows] = self._vectors()[place[rows]]

        def take(chosen: np.ndarray) -> torch.Tensor:
            if whole is not None:
                return float_block(whole, chosen, device)
            return float_block(self._vectors(), place[chosen], device)

        score, duplicate = score_rows(take, self.dim, cluster, block=block, device=device)
        self.score[place] = score
        self.duplicate[place] = np.where(duplicate < 0, -1, place[duplicate])

    def _vectors(self) -> np.ndarray:
        """Return the vectors; those in the file by a new map each time, so that the pages touched do not add up."""
        if self._file is None:
            return self._memory
        return np.memmap(self._file, np.float32, "r+", shape=(self.documents, self.dim))

    def _check(
        self, shard: int, row: np.ndarray, cluster: np.ndarray, doc_hash: np.ndarray, x: np.ndarray
    ) -> None:
        try:
            check_matrix(x, self.dim)
            if not len(x) == len(row) == len(cluster) == len(doc_hash):
                raise ValueError(
                    f"{len(x)} vectors, {len(row)} rows, {len(cluster)} clusters and {len(doc_hash)} hashes"
                )
            if doc_hash.dtype != np.uint64 or not np.issubdtype(cluster.dtype, np.integer):
                raise ValueError(
                    f"clusters must be integers, hashes uint64: {cluster.dtype}, {doc_hash.dtype}"
                )
            if len(cluster) and cluster.min() < 0:
                raise ValueError("clusters must be at least 0")
            lengths = np.einsum("ij,ij->i", x, x, dtype=np.float64)
            bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
            if len(bad):
                raise ValueError(f"row {row[bad[0]]} is zero or not finite")
            if self.added + len(x) > self.documents:
                raise ValueError(f"{self.added + len(x)} documents, but there should be {self.documents}")
        except (TypeError, ValueError) as error:
            raise type(error)(f"shard {shard}: {error}") from None


def _reserve(path: Path, size: int) -> None:
    """Create a file of `size` bytes; a full disk is an OSError here, not a crash in a memory map later."""
    with path.open("wb") as file:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
