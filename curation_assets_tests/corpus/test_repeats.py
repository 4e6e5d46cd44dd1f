"""Ids that stand in two shards: the first shard by name keeps them, whatever the passes or the order of shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.corpus.repeats import find_repeats
from curation_assets.files import write_table
from curation_assets.sampling.keys import hash_ids


def _shards(folder: Path, ids: dict[str, list[str]], hashes: dict[str, np.ndarray] | None = None) -> None:
    for shard, own in ids.items():
        doc_hash = hash_ids(own) if hashes is None else hashes[shard]
        write_table(folder / shard, pa.table({"doc_id": pa.array(own, pa.string()), "doc_hash": doc_hash}))


def _brute_force(ids: dict[str, list[str]]) -> list[tuple[str, int, str, str]]:
    first: dict[str, str] = {}
    found = []
    for shard in sorted(ids):
        for row, doc_id in enumerate(ids[shard]):
            if first.setdefault(doc_id, shard) != shard:
                found.append((shard, row, doc_id, first[doc_id]))
    return found


@given(
    st.lists(st.lists(st.integers(0, 30).map(str), unique=True, max_size=20), min_size=1, max_size=4),
    st.integers(1, 100),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_equals_brute_force_for_any_number_of_passes(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[str]], in_memory: int, random: object
) -> None:
    folder = tmp_path_factory.mktemp("repeats")
    ids = {f"s{number}": own for number, own in enumerate(lists)}
    _shards(folder, ids)
    shards = list(ids)
    random.shuffle(shards)  # type: ignore[attr-defined]
    table = find_repeats(shards, lambda s: folder / s, ids_in_memory=in_memory)
    assert [tuple(row.values()) for row in table.to_pylist()] == _brute_force(ids)


def test_ids_of_equal_hash_are_no_repeat(tmp_path: Path) -> None:
    ids = {"a": ["one", "two"], "b": ["three", "one"]}
    hashes = {"a": np.array([7, 9], np.uint64), "b": np.array([9, 7], np.uint64)}
    _shards(tmp_path, ids, hashes)
    table = find_repeats(["a", "b"], lambda s: tmp_path / s)
    assert table.to_pylist() == [{"shard": "b", "row": 1, "doc_id": "one", "first_shard": "a"}]
