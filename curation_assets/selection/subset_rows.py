"""A subset's rows, shard by shard: `subset.parquet` has them in the order of the shards, and the manifest says how many each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 16_384


class SubsetRows:
    """The rows of a subset in their order; held are those that were asked for last, and a batch."""

    def __init__(self, file: pq.ParquetFile, columns: Sequence[str]) -> None:
        self._batches = file.iter_batches(_BATCH, columns=list(columns))
        self._held = file.schema_arrow.empty_table().select(list(columns))

    def take(self, count: int) -> pa.Table:
        """Return the next rows, so many."""
        parts, there = [self._held], len(self._held)
        while there < count:
            parts.append(pa.Table.from_batches([next(self._batches)]))
            there += len(parts[-1])
        held = pa.concat_tables(parts)
        self._held = held.slice(count)
        return held.slice(0, count)

    def before(self, row: int, left: int) -> pa.Table:
        """Return the next rows of a shard, of which `left` are still to come, that lie before a row of its documents table."""
        parts: list[pa.Table] = []
        while left:
            if not len(self._held):
                self._held = pa.Table.from_batches([next(self._batches)])
            some = self._held["row"].slice(0, left).to_numpy()
            parts.append(self.take(int(np.searchsorted(some, row))))
            left -= len(parts[-1])
            if len(parts[-1]) < len(some):
                break
        return pa.concat_tables(parts) if parts else self.take(0)


def rows_by_shard(
    file: pq.ParquetFile, counts: Mapping[str, int], columns: Sequence[str]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield (shard, its rows) for all shards of `counts`, in their order."""
    rows = SubsetRows(file, columns)
    for shard, count in counts.items():
        yield shard, rows.take(count)
