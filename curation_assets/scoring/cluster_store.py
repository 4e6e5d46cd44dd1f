"""SemDeDup out of core: shards scattered into one file sorted by cluster, then scored cluster by cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from curation_assets.common.progress import Progress, silent
from curation_assets.scoring.exact import check_matrix, float_block
from curation_assets.scoring.semdedup import score_rows

ShardRows = tuple[np.ndarray, np.ndarray, np.ndarray]  # x [n, dim], cluster int [n], doc_hash uint64 [n]

_ROW_BYTES = 200  # of index arrays per document of a group while it is scored


@dataclass(frozen=True)
class ShardScores:
    """SemDeDup of one shard's rows.

    Attributes
    ----------
    score : float64 [n]
        As `semdedup_scores`: minus the similarity; 1.0 for the first document of a cluster.
    similarity : float64 [n]
        Cosine similarity to the duplicate; NaN where there is none.
    duplicate_shard : int32 [n]
        Shard of the document that this one is most similar to, or -1.
    duplicate_row : int64 [n]
        Its row in that shard, or -1.
    """

    score: np.ndarray
    similarity: np.ndarray
    duplicate_shard: np.ndarray
    duplicate_row: np.ndarray


def semdedup_shards(
    shards: Sequence[Callable[[], ShardRows]],
    cluster_counts: np.ndarray,
    dim: int,
    scratch: Path | str,
    *,
    memory_mib: int = 512,
    block: int = 256,
    device: str = "cpu",
    progress: Progress = silent,
) -> Iterator[ShardScores]:
    """Score a corpus in shards; yields one result per shard, in order, once all are scored.

    A document's result depends on the documents of its cluster and their hashes, not on which shard holds what:
    the rows of a cluster are ordered by doc_hash before `semdedup_scores`' rule is applied. Only documents with
    equal hashes (one id in two shards) are ordered by shard and row.

    Parameters
    ----------
    shards
        Each gives its (x, cluster, doc_hash) and is called once.
    cluster_counts
        Documents of each cluster over all shards, int [k]: the sum of the shards' bincounts.
    dim
        Length of the vectors.
    scratch
        A local folder for a temporary copy of the vectors: (4 * dim + 32) bytes a document. The files are
        removed when the iterator ends or is closed.
    memory_mib
        Clusters are scored in groups of about this size. A larger cluster is read from the file in blocks.

    Raises
    ------
    ValueError
        A shard does not fit its arrays, `dim` or `cluster_counts`; names the shard.
    OSError
        The scratch folder has no room.
    """
    with tempfile.TemporaryDirectory(prefix="semdedup-", dir=scratch) as folder:
        store = ClusterStore(folder, cluster_counts, dim)
        total = 2 * store.documents
        for done in store.fill(shards):
            progress(done, total, "documents", "sorting by cluster")
        for done in store.score(memory_mib, block, device):
            progress(store.documents + done, total, "documents", "comparing")
        yield from store.results()


class ClusterStore:
    """Vectors of all shards in one file, sorted by cluster. Use `fill`, then `score`, then `results`.

    Memory: 8 bytes a cluster, one shard, one group of clusters. On disk: (4 * dim + 32) bytes a document.
    """

    def __init__(self, folder: Path | str, cluster_counts: np.ndarray, dim: int) -> None:
        counts = np.asarray(cluster_counts)
        if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
            raise ValueError("cluster_counts must be integers [k] of at least 0")
        self.dim, self.documents = dim, int(counts.sum())
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._shard_starts = [0]
        self._files = {
            name: (Path(folder) / name, np.dtype(dtype), shape)
            for name, dtype, shape in (
                ("vectors", np.float32, (self.documents, dim)),
                ("cluster_hash", np.uint64, (self.documents,)),  # in the order of vectors
                ("origin", np.int64, (self.documents,)),  # row among all shards, in the order of vectors
                ("score", np.float64, (self.documents,)),  # in the order of the shards
                ("duplicate", np.int64, (self.documents,)),  # likewise: row among all shards, or -1
            )
        }
        for path, dtype, shape in self._files.values():
            _reserve(path, int(np.prod(shape)) * dtype.itemsize)

    def fill(self, shards: Iterable[Callable[[], ShardRows]]) -> Iterator[int]:
        """Scatter the rows of all shards (a counting sort); yields the documents done after each shard."""
        free = self._starts[:-1].copy()
        for number, read in enumerate(shards):
            x, cluster, doc_hash = read()
            self._check(number, x, cluster, doc_hash)
            order = np.argsort(cluster, kind="stable")
            counts = np.bincount(cluster, minlength=len(free))
            full = np.flatnonzero(free + counts > self._starts[1:])
            if len(full):
                raise ValueError(
                    f"shard {number} has more documents of cluster {full[0]} than cluster_counts says"
                )
            first = np.cumsum(counts) - counts
            place = (free - first)[cluster[order]] + np.arange(len(order))
            # Opened anew for each shard, so that the pages touched do not add up.
            self._open("vectors")[place] = x[order]
            self._open("cluster_hash")[place] = doc_hash[order]
            self._open("origin")[place] = self._shard_starts[-1] + order
            free += counts
            self._shard_starts.append(self._shard_starts[-1] + len(order))
            yield self._shard_starts[-1]
        if self._shard_starts[-1] != self.documents:
            raise ValueError(
                f"the shards hold {self._shard_starts[-1]} documents, but cluster_counts {self.documents}"
            )

    def score(self, memory_mib: int = 512, block: int = 256, device: str = "cpu") -> Iterator[int]:
        """Score all clusters, as many together as fit in memory; yields the documents done."""
        room = max(1, memory_mib * 2**20 // (4 * self.dim + _ROW_BYTES))
        begin = 0
        while begin < len(self._starts) - 1:
            end = int(np.searchsorted(self._starts, self._starts[begin] + room, side="right")) - 1
            end = max(end, begin + 1)
            self._score_group(begin, end, room, block, device)
            begin = end
            yield int(self._starts[end])

    def results(self) -> Iterator[ShardScores]:
        """Yield each shard's scores, in the order of `fill`."""
        bounds = np.array(self._shard_starts)
        for begin, end in zip(self._shard_starts[:-1], self._shard_starts[1:], strict=True):
            score = np.array(self._open("score")[begin:end])
            duplicate = np.array(self._open("duplicate")[begin:end])
            has_duplicate = duplicate >= 0
            shard = np.searchsorted(bounds, duplicate, side="right") - 1
            yield ShardScores(
                score=score,
                similarity=np.where(has_duplicate, -score, np.nan),
                duplicate_shard=np.where(has_duplicate, shard, -1).astype(np.int32),
                duplicate_row=np.where(has_duplicate, duplicate - bounds[shard], -1),
            )

    def _score_group(self, begin: int, end: int, room: int, block: int, device: str) -> None:
        rows = slice(int(self._starts[begin]), int(self._starts[end]))
        whole = np.array(self._open("vectors")[rows]) if rows.stop - rows.start <= room else None
        cluster = np.repeat(np.arange(end - begin), np.diff(self._starts[begin : end + 1]))
        origin = np.array(self._open("origin")[rows])
        order = np.lexsort((origin, self._open("cluster_hash")[rows], cluster))

        def take(chosen: np.ndarray) -> torch.Tensor:
            # A cluster larger than memory allows is gathered through a new map each time: pages do not add up.
            x = self._open("vectors")[rows] if whole is None else whole
            return float_block(x, order[chosen], device)

        score, duplicate = score_rows(take, self.dim, cluster, block=block, device=device)
        origin = origin[order]
        self._open("score")[origin] = score
        self._open("duplicate")[origin] = np.where(duplicate < 0, -1, origin[duplicate])

    def _check(self, number: int, x: np.ndarray, cluster: np.ndarray, doc_hash: np.ndarray) -> None:
        try:
            check_matrix(x, self.dim)
            if not len(x) == len(cluster) == len(doc_hash):
                raise ValueError(f"{len(x)} vectors, {len(cluster)} clusters and {len(doc_hash)} hashes")
            if doc_hash.dtype != np.uint64 or not np.issubdtype(cluster.dtype, np.integer):
                raise ValueError(
                    f"clusters must be integers, hashes uint64: {cluster.dtype}, {doc_hash.dtype}"
                )
            if len(cluster) and not 0 <= cluster.min() <= cluster.max() < len(self._starts) - 1:
                raise ValueError(f"clusters must be 0 to {len(self._starts) - 2}")
            lengths = np.einsum("ij,ij->i", x, x, dtype=np.float64)
            bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
            if len(bad):
                raise ValueError(f"row {bad[0]} is zero or not finite")
        except (TypeError, ValueError) as error:
            raise type(error)(f"shard {number}: {error}") from None

    def _open(self, name: str) -> np.ndarray:
        path, dtype, shape = self._files[name]
        return np.memmap(path, dtype, "r+", shape=shape) if self.documents else np.empty(shape, dtype)


def _reserve(path: Path, size: int) -> None:
    """Create a file of `size` bytes; a full disk is an OSError here, not a crash in a memory map later."""
    with path.open("wb") as file:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
