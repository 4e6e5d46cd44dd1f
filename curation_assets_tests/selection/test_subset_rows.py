"""Rows of a subset: of one shard after the other, or of a part of a shard."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.selection import subset_rows
from curation_assets.selection.subset_rows import SubsetRows, rows_by_shard

_SHARDS = st.lists(st.sets(st.integers(0, 40)).map(sorted), max_size=6)


@given(_SHARDS, st.integers(1, 9), st.integers(1, 50))
def test_blocks_of_a_shard_are_what_the_shard_has(shards: list[list[int]], batch: int, block: int) -> None:
    counts = {f"{number}.jsonl": len(rows) for number, rows in enumerate(shards)}
    rows = np.array([row for shard in shards for row in shard], np.int64)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(subset_rows, "_BATCH", batch)
        path = Path(folder, "subset.parquet")
        pq.write_table(pa.table({"row": rows, "place": np.arange(len(rows))}), path)
        with pq.ParquetFile(path) as file:
            whole = [table["row"].to_pylist() for _, table in rows_by_shard(file, counts, ["row"])]
        assert whole == shards
        with pq.ParquetFile(path) as file:
            subset, places = SubsetRows(file, ["row", "place"]), []
            for shard in shards:
                left = len(shard)
                for start in range(0, 41, block):
                    part = subset.before(start + block, left)
                    assert part["row"].to_pylist() == [row for row in shard if start <= row < start + block]
                    left -= len(part)
                    places += part["place"].to_pylist()
            assert places == [*range(len(rows))]
