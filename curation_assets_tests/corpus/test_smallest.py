"""Documents chosen by hash: those of brute force, whatever the layout, and no others read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import noise, splitmix64
from curation_assets.corpus import smallest
from curation_assets.corpus.smallest import Smallest, find_smallest, read_chosen

LAYOUTS = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=5)


def _choose(layout: list[list[int]], chosen: Smallest) -> list[tuple[int, int, int]]:
    for shard, own in enumerate(layout):
        chosen.add(shard, splitmix64(np.array(own, np.uint64)))
    chosen.settle()
    columns = (chosen.hashes.tolist(), chosen.shards.tolist(), chosen.rows.tolist())
    return list(zip(*columns, strict=True))


@given(LAYOUTS, st.integers(0, 20), st.booleans(), st.sampled_from([0, 3, 1000]))
@settings(max_examples=100, deadline=None)
def test_the_smallest_are_those_of_brute_force(
    layout: list[list[int]], limit: int, once: bool, spare: int
) -> None:
    every = sorted(
        (int(value), shard, row)
        for shard, own in enumerate(layout)
        for row, value in enumerate(splitmix64(np.array(own, np.uint64)))
    )
    if once:
        every = [one for i, one in enumerate(every) if not i or every[i - 1][0] != one[0]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smallest, "_SPARE", spare)
        assert _choose(layout, Smallest(limit, once)) == (every[:limit] if limit else every)


@given(LAYOUTS, st.integers(1, 20), st.randoms())
@settings(max_examples=50, deadline=None)
def test_another_layout_gives_the_same_hashes(layout: list[list[int]], limit: int, random: object) -> None:
    rows = [one for own in layout for one in own]
    random.shuffle(rows)  # type: ignore[attr-defined]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smallest, "_SPARE", 2)
        for other in (layout, [rows], [rows[::2], rows[1::2]]):
            chosen = Smallest(limit, once=True, order=lambda hashes: noise(hashes, 7))
            found.append([one[0] for one in _choose(other, chosen)])
    assert found[0] == found[1] == found[2]


class _Tables:
    """Shards on disk, as far as choosing asks for them."""

    def __init__(self, folder: Path, hashes: list[np.ndarray]) -> None:
        self.folder, self.opened = folder, []  # type: ignore[var-annotated]
        for number, own in enumerate(hashes):
            texts = [f"text {one}" for one in own.tolist()]
            extra = {"kind": pa.array(["a"] * len(own))} if number % 2 else {}
            table = pa.table({"doc_hash": own, "text": pa.array(texts, pa.large_string()), **extra})
            pq.write_table(table, folder / f"{number}.parquet", row_group_size=5)

    def shards(self) -> list[str]:
        return [path.stem for path in sorted(self.folder.glob("*.parquet"))]

    def open_parquet(self, key: str, shard: str, name: str) -> pq.ParquetFile:
        self.opened.append(shard)
        return pq.ParquetFile(self.folder / f"{shard}.parquet")


def test_what_is_chosen_is_read_in_its_order_and_shards_without_any_are_left_alone(tmp_path: Path) -> None:
    hashes = [splitmix64(np.arange(start, start + 23, dtype=np.uint64)) for start in (0, 100, 200)]
    hashes[1] |= np.uint64(1 << 63)
    hashes[0] &= np.uint64(2**63 - 1)
    tables = _Tables(tmp_path, hashes)
    chosen = find_smallest(tables, 9, once=True)  # type: ignore[arg-type]
    tables.opened.clear()
    table = read_chosen(tables, chosen, ["text"])  # type: ignore[arg-type]
    expected = np.sort(np.concatenate(hashes))[:9]
    assert table["text"].to_pylist() == [f"text {one}" for one in expected.tolist()]
    assert "1" not in tables.opened
    every = read_chosen(tables, find_smallest(tables, 0), None)  # type: ignore[arg-type]
    assert every["doc_hash"].to_numpy().tolist() == np.sort(np.concatenate(hashes)).tolist()
    assert every["kind"].null_count == 46


def test_nothing_to_choose_from_has_the_columns_of_a_table(tmp_path: Path) -> None:
    tables = _Tables(tmp_path, [np.zeros(0, np.uint64)])
    table = read_chosen(tables, find_smallest(tables, 5), ["text"])  # type: ignore[arg-type]
    assert table.column_names == ["text"] and table.num_rows == 0
