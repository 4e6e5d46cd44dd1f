"""Ids that stand in more than one shard: the document of the first shard by name counts, later ones do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation_assets.files import read_batches
from curation_assets.progress import Progress, silent

SCHEMA = pa.schema(
    [("shard", pa.string()), ("row", pa.int64()), ("doc_id", pa.string()), ("first_shard", pa.string())]
)
IDS_IN_MEMORY = 50_000_000


def find_repeats(
    shards: list[str],
    path: Callable[[str], Path],
    progress: Progress = silent,
    ids_in_memory: int = IDS_IN_MEMORY,
) -> pa.Table:
    """Return the repeats: (shard, row in its documents table, doc_id, shard that keeps it), by shard and row.

    A row's position counts from 0. Ids meet by their 64-bit `doc_hash` first; what meets is compared as text, so that
    two ids of equal hash are no repeat. Memory: 16 bytes for each of at most `ids_in_memory` ids; a larger corpus is
    read several times, a range of hashes each.
    """
    shards = sorted(shards)
    total = sum(_rows(path(shard)) for shard in shards)
    passes = max(1, -(-total // ids_in_memory))
    bounds = [(1 << 64) * i // passes for i in range(passes + 1)]
    suspects: dict[int, list[tuple[str, int, str]]] = {}
    for number, (low, high) in enumerate(itertools.pairwise(bounds)):
        found = _repeated_hashes(shards, path, low, high)
        if len(found):
            _gather(shards, path, found, suspects)
        progress(number + 1, passes, "passes")
    rows = []
    for group in suspects.values():
        first: dict[str, str] = {}
        for shard, row, doc_id in group:
            keeper = first.setdefault(doc_id, shard)
            if keeper != shard:
                rows.append((shard, row, doc_id, keeper))
    rows.sort()
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).metadata.num_rows


def _repeated_hashes(shards: list[str], path: Callable[[str], Path], low: int, high: int) -> np.ndarray:
    parts = []
    for shard in shards:
        for batch in read_batches(path(shard), ["doc_hash"], 65_536):
            hashes = batch["doc_hash"].to_numpy()
            parts.append(hashes[(hashes >= np.uint64(low)) & (hashes <= np.uint64(high - 1))])
    every = np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
    return np.unique(every[1:][every[1:] == every[:-1]])


def _gather(
    shards: list[str],
    path: Callable[[str], Path],
    found: np.ndarray,
    suspects: dict[int, list[tuple[str, int, str]]],
) -> None:
    for shard in shards:
        start = 0
        for batch in read_batches(path(shard), ["doc_hash", "doc_id"], 65_536):
            hashes = batch["doc_hash"].to_numpy()
            for i in np.flatnonzero(np.isin(hashes, found)):
                doc_id = batch["doc_id"][int(i)].as_py()
                suspects.setdefault(int(hashes[i]), []).append((shard, start + int(i), doc_id))
            start += batch.num_rows
