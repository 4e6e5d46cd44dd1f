"""SemDeDup of a corpus in shards, by groups of clusters: each shard's vectors sorted by cluster, each group's results by shard.

A shard is written once, sorted. A group reads one range of every shard, a shard one range of every group; the result is the
same for any number of groups, and `semdedup_scores` of all in one array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation_assets.common.progress import Progress, silent
from curation_assets.common.record_blocks import Records, join, split, with_texts, write_blocks
from curation_assets.scoring.cluster_store import ClusterStore
from curation_assets.scoring.semdedup import threshold_counts

_MOST_BLOCKS = 1024  # of a shard's vectors: groups are ranges of them
_BATCH = 4096  # rows that are gathered at a time

RESULT = np.dtype([("score", "<f8"), ("row", "<i4"), ("duplicate_shard", "<i4")])
"""A document of a shard, as its group found it; its text is the duplicate's id. `duplicate_shard` is -1 where there is none."""


def vector(dim: int, dtype: str) -> np.dtype:
    """Return the kind of record that a shard has of a document; its text is the document's id."""
    return np.dtype([("doc_hash", "<u8"), ("row", "<i4"), ("cluster", "<i4"), ("x", dtype, (dim,))])


def write_vectors(
    folder: Path,
    x: np.ndarray,
    cluster: np.ndarray,
    doc_hash: np.ndarray,
    ids: pa.Array,
    clusters: int,
    rows: np.ndarray | None = None,
) -> None:
    """Write a shard's vectors sorted by cluster, in blocks of neighbouring clusters (`group_bounds`).

    Parameters
    ----------
    x, cluster, doc_hash, ids
        Floating [n, dim] (a memory map is read block by block), integers [n] from 0 to `clusters` - 1, uint64 [n], strings [n].
    clusters
        How many there are in the corpus.
    rows
        The documents that are compared; None for all.
    """
    rows = np.arange(len(cluster)) if rows is None else rows
    order = rows[np.argsort(cluster[rows], kind="stable")]
    bounds = np.searchsorted(block_of(cluster[order], clusters), np.arange(_blocks(clusters) + 1))
    kind, sorted_ids = vector(x.shape[1], x.dtype.str), ids.take(pa.array(order))

    def records() -> Iterator[Records]:
        for first, last in _batches(bounds):
            chosen = order[bounds[first] : bounds[last]]
            fields = np.empty(len(chosen), kind)
            fields["doc_hash"], fields["row"], fields["cluster"] = doc_hash[chosen], chosen, cluster[chosen]
            fields["x"] = x[chosen]
            texts = with_texts(fields, sorted_ids[bounds[first] : bounds[last]])
            yield from split(texts, bounds[first : last + 1] - bounds[first])

    write_blocks(folder, records())


def _batches(bounds: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of blocks: as many as have `_BATCH` rows, or one that has more."""
    first = 0
    while first < len(bounds) - 1:
        last = int(np.searchsorted(bounds, bounds[first] + _BATCH, side="right")) - 1
        yield first, max(last, first + 1)
        first = max(last, first + 1)


def group_bounds(clusters: int, groups: int) -> np.ndarray:
    """Return the block of `write_vectors` at which each group begins, int64 [groups + 1]."""
    return np.arange(groups + 1, dtype=np.int64) * _blocks(clusters) // groups


def block_of(cluster: np.ndarray, clusters: int) -> np.ndarray:
    """Return the block of `write_vectors` that each cluster is in, int64 [n]."""
    return cluster.astype(np.int64) * _blocks(clusters) // clusters


def _blocks(clusters: int) -> int:
    return min(clusters, _MOST_BLOCKS)


class GroupScores(NamedTuple):
    """SemDeDup of the documents of one group of clusters, by shard and row.

    Attributes
    ----------
    results : records of `RESULT`, sorted by shard and row; the texts are the ids of the duplicates, "" where there is none.
    ends : int64 [shards + 1], where each shard's begin and the last one's end.
    sizes : int64 [k], documents of each cluster that has any.
    removed, groups : int64 [t], of each of `semdedup.THRESHOLDS`: see `semdedup.threshold_counts`.
    """

    results: np.ndarray
    ids: pa.LargeStringArray
    ends: np.ndarray
    sizes: np.ndarray
    removed: np.ndarray
    groups: np.ndarray

    def blocks(self) -> Iterator[Records]:
        """Yield the results of each shard."""
        return split(with_texts(self.results, self.ids), self.ends)


def score_group(
    shards: Iterable[Records],
    documents: int,
    dim: int,
    scratch: Path | str,
    *,
    memory_mib: int = 512,
    block: int | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> GroupScores:
    """Compare the documents of a group of clusters.

    Parameters
    ----------
    shards
        What each shard has of the group, records of `vector`.
    documents
        How many these are together.
    scratch, memory_mib
        See `ClusterStore`. Beside that, the ids of the group's documents are held.

    Raises
    ------
    ValueError
        A shard does not fit `documents` or `dim`; names its number.
    OSError
        The scratch folder has no room.
    """
    store = ClusterStore(scratch, documents, dim, memory_mib=memory_mib)
    ids, count = [], 0
    for number, records in enumerate(shards):
        fields = records.fields
        store.add(number, fields["row"], fields["cluster"], fields["doc_hash"], fields["x"])
        ids.append(Records(np.empty(0, RESULT), records.lengths, records.text))
        count = number + 1
        progress(store.added, 2 * documents, "documents", "gathering")
    for done in store.compare(block, device):
        progress(documents + done, 2 * documents, "documents", "comparing")
    order = np.lexsort((store.row, store.shard))
    duplicate = store.duplicate[order]
    results = np.empty(documents, RESULT)
    results["score"], results["row"] = store.score[order], store.row[order]
    results["duplicate_shard"] = np.where(duplicate < 0, -1, store.shard[duplicate])
    named = join(ids, RESULT).texts().take(pa.array(duplicate, mask=duplicate < 0)).fill_null("")
    ends = np.searchsorted(store.shard[order], np.arange(count + 1))
    return GroupScores(results, named, ends, store.sizes(), *threshold_counts(store.score, store.duplicate))
