"""The last pass of a selection: what a subset's table holds together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.selection import joint

_SCHEMA = pa.schema([("id", pa.string()), ("row", pa.int64())])


def _batches(sizes: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for size in sizes:
        rows = np.arange(start, start + size)
        yield pa.RecordBatch.from_arrays(
            [pa.array(map(str, rows), pa.string()), pa.array(rows)], schema=_SCHEMA
        )
        start += size


@given(st.lists(st.integers(0, 25)), st.integers(1, 10))
def test_row_groups_are_full_but_for_the_last_and_hold_every_row_in_order(
    sizes: list[int], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint, "_ROW_GROUP", most)
        groups = [*joint._row_groups(_batches(sizes), _SCHEMA)]
    n = sum(sizes)
    assert [len(group) for group in groups] == [most] * (n // most) + [n % most] * (n % most > 0 or n == 0)
    assert pa.Table.from_batches(groups).equals(pa.Table.from_batches([*_batches(sizes)], schema=_SCHEMA))


def test_a_row_group_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "_ROW_GROUP", 50_000)
    [one] = _batches([50_000])
    size, before = one.nbytes, pa.total_allocated_bytes()
    for group in joint._row_groups(_batches([10_000] * 20), _SCHEMA):
        assert pa.total_allocated_bytes() - before < 1.6 * size
        del group
