"""A subset's rows, shard by shard: `subset.parquet` has them in the order of the shards, and the manifest says how many each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 16_384


def rows_by_shard(
    file: pq.ParquetFile, counts: Mapping[str, int], columns: Sequence[str]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield (shard, its rows) for all shards of `counts`, in their order; held are the rows of one and a batch."""
    batches = file.iter_batches(_BATCH, columns=list(columns))
    held = file.schema_arrow.empty_table().select(list(columns))
    for shard, count in counts.items():
        parts = [held]
        while sum(map(len, parts)) < count:
            parts.append(pa.Table.from_batches([next(batches)]))
        held = pa.concat_tables(parts)
        yield shard, held.slice(0, count)
        held = held.slice(count)
