"""Tables that say of which corpus file each row is, split by file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.corpus.reading import by_shard, rows_by_shard

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b, c", "é"]), st.integers(0, 9)), max_size=30)


@settings(deadline=None)
@given(rows=ROWS)
def test_each_file_has_its_rows_in_their_order(rows: list[tuple[str, int]]) -> None:
    shards, numbers = [shard for shard, _ in rows], [number for _, number in rows]
    table = pa.table({"shard": pa.array(shards, pa.string()), "row": pa.array(numbers, pa.int64())})
    expected = {shard: [number for one, number in rows if one == shard] for shard in shards}
    assert {shard: part.to_pydict() for shard, part in by_shard(table).items()} == {
        shard: {"row": numbers} for shard, numbers in expected.items()
    }
    assert {shard: list(numbers) for shard, numbers in rows_by_shard(table).items()} == expected


def test_files_of_several_row_groups_with_dictionaries_of_their_own(tmp_path: Path) -> None:
    table = pa.table({"shard": ["b", "b", "a", "c", "a"], "row": [4, 2, 0, 1, 3]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    read = pq.read_table(tmp_path / "t.parquet", read_dictionary=["shard"])
    assert {shard: list(rows) for shard, rows in rows_by_shard(read).items()} == {
        "a": [0, 3],
        "b": [4, 2],
        "c": [1],
    }
