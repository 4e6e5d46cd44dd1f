"""Parquet and Arrow: nested columns, values that Python has no form for, and files that differ in their columns."""

from __future__ import annotations

import datetime
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.documents import Batch, parse_shard
from curation_assets.corpus.formats import CorruptShardError, read_rows

KEPT = DocumentSettings(keep_fields=("source",), validation_share=0.0)


def parquet(table: pa.Table, folder: Path) -> str:
    pq.write_table(table, folder / "a.parquet")
    return str(folder / "a.parquet")


def arrow_file(table: pa.Table, folder: Path) -> str:
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return str(folder / "a.arrow")


def arrow_stream(table: pa.Table, folder: Path) -> str:
    with pa.ipc.new_stream(folder / "s.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return str(folder / "s.arrow")


def feather(table: pa.Table, folder: Path) -> str:
    pyarrow.feather.write_feather(table, str(folder / "a.feather"), compression="zstd")
    return str(folder / "a.feather")


Write = Callable[[pa.Table, Path], str]
EVERY = pytest.mark.parametrize("write", [parquet, arrow_file, arrow_stream, feather])


def parse(write: Write, folder: Path, options: DocumentSettings, **columns: Any) -> Batch:
    """Write a table of "one text", "two texts", ... and other columns, and return its only batch."""
    n = len(next(iter(columns.values())))
    columns = {"id": [str(i) for i in range(n)], "text": [f"text {i}" for i in range(n)]} | columns
    (batch,) = parse_shard(write(pa.table(columns), folder), options)
    return batch


def kept(batch: Batch) -> list[str | None]:
    assert not batch.quarantine.num_rows
    return batch.documents["source"].to_pylist()


@EVERY
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_rows_count_from_0_and_text_may_have_any_type_of_text(
    tmp_path: Path, write: Write, kind: pa.DataType
) -> None:
    table = pa.table(
        {"text": pa.array(["a", None, "c"] * 300, pa.string()).cast(kind), "id": range(900), "n": [1.5] * 900}
    )
    got = list(read_rows(write(table, tmp_path), DocumentSettings()))
    assert [row.row for row in got] == list(range(900))
    assert [row.fields for row in got[:3]] == [{"text": t, "id": i} for i, t in enumerate(("a", None, "c"))]


@EVERY
def test_dates_and_times_that_python_has_no_form_for_are_null_and_counted_one_by_one(
    tmp_path: Path, write: Write
) -> None:
    def told(values: pa.Array) -> tuple[list[str | None], dict[str, int]]:
        batch = parse(write, tmp_path, KEPT, source=values)
        return kept(batch), dict(batch.kept_lost)

    assert told(pa.array([1, 2**30, None], pa.date32())) == (["1970-01-02", None, None], {"source": 1})
    assert told(pa.array([0, 2**62], pa.timestamp("us"))) == (
        ["1970-01-01 00:00:00.000000", None],
        {"source": 1},
    )
    assert told(pa.array([1], pa.timestamp("ns"))) == (["1970-01-01 00:00:00.000000001"], {})
    assert told(pa.array([1], pa.timestamp("us", "Not/AZone"))) == (["1970-01-01 00:00:00.000001Z"], {})
    assert told(pa.array([0], pa.timestamp("us", "Asia/Tokyo"))) == (["1970-01-01 00:00:00.000000Z"], {})
    assert told(pa.array([[1], [2**62], [], None], pa.list_(pa.timestamp("us")))) == (
        ['["1970-01-01 00:00:00.000001"]', None, "[]", None],
        {"source": 1},
    )
    kind = pa.struct({"when": pa.date32(), "n": pa.int8()})
    assert told(pa.array([{"when": 1, "n": 2}, {"when": 2**30, "n": 3}, None], kind)) == (
        ['{"when": "1970-01-02", "n": 2}', None, None],
        {"source": 1},
    )


@EVERY
def test_other_kept_values(tmp_path: Path, write: Write) -> None:
    def text(values: pa.Array) -> list[str | None]:
        return kept(parse(write, tmp_path, KEPT, source=values))

    assert text(pa.array([1.5, None])) == ["1.5", None]
    assert text(pa.array([Decimal("1.50")])) == ["1.50"]
    assert text(pa.array([["é", None]])) == ['["é", null]']
    assert text(pa.array([{"a": [1]}, None])) == ['{"a": [1]}', None]
    assert text(pa.array([True])) == ["true"]
    assert text(pa.array([b"ab"], pa.binary(2))) == ["ab"]
    assert text(pa.array([datetime.time(1, 2)])) == ["01:02:00.000000"]
    assert text(pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))) == ['{"k": 1}']


@EVERY
def test_bytes_that_are_not_utf8_are_null_in_a_kept_field_and_no_document_in_the_text(
    tmp_path: Path, write: Write
) -> None:
    raw = pa.array([b"good", b"\xff", b"fine"], pa.binary())
    batch = parse(write, tmp_path, KEPT, source=raw)
    assert (kept(batch), batch.kept_lost) == (["good", None, "fine"], {"source": 1})
    batch = parse(write, tmp_path, DocumentSettings(validation_share=0.0), text=raw)
    assert batch.documents["text"].to_pylist() == ["good", "fine"]
    assert batch.quarantine["reason"].to_pylist() == ["invalid_utf8"]


@EVERY
def test_a_kept_column_that_a_file_lacks_is_null(tmp_path: Path, write: Write) -> None:
    batch = parse(write, tmp_path, KEPT, other=[1, 2])
    assert kept(batch) == [None, None] and not batch.kept_lost


@EVERY
def test_the_last_of_two_columns_of_one_name_counts(tmp_path: Path, write: Write) -> None:
    table = pa.Table.from_arrays(
        [pa.array(["1"]), pa.array(["first"]), pa.array(["last"])], ["id", "text", "text"]
    )
    (row,) = read_rows(write(table, tmp_path), DocumentSettings())
    assert row.fields == {"id": "1", "text": "last"}


@EVERY
def test_nested_columns_have_dotted_names_and_a_column_of_that_name_comes_first(
    tmp_path: Path, write: Write
) -> None:
    options = DocumentSettings(
        text_field="doc.content.text", id_field="doc.id", keep_fields=("doc.meta.lang",)
    )
    inner = [{"id": i, "content": {"text": f"text {i}"}, "meta": {"lang": "en"}} for i in range(3)]
    table = pa.table({"doc": pa.array([*inner, None, {"id": 4, "content": None, "meta": None}])})
    rows = [row.fields for row in read_rows(write(table, tmp_path), options)]
    assert rows[:3] == [
        {"doc.content.text": f"text {i}", "doc.id": i, "doc.meta.lang": "en"} for i in range(3)
    ]
    assert rows[3:] == [dict.fromkeys(options.fields), dict.fromkeys(options.fields) | {"doc.id": 4}]
    both = table.append_column("doc.content.text", pa.array(["flat"] * 5))
    assert [
        row.fields["doc.content.text"] for row in read_rows(write(both, tmp_path), options) if row.fields
    ] == ["flat"] * 5


@EVERY
def test_a_column_of_messages_is_joined(tmp_path: Path, write: Write) -> None:
    chat = [[{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}], None, []]
    options = DocumentSettings(text_field="messages", validation_share=0.0)
    batch = parse(write, tmp_path, options, messages=chat)
    assert batch.documents["text"].to_pylist() == ["user: Hello?\n\nassistant: Hello!"]
    assert batch.quarantine["reason"].to_pylist() == ["missing_text", "empty_text"]


@EVERY
def test_a_file_without_the_text_has_rows_that_lack_it(tmp_path: Path, write: Write) -> None:
    options = DocumentSettings(text_field="body", validation_share=0.0)
    batch = parse(write, tmp_path, options, content=[{"text": "x"}, {"text": "y"}])
    assert batch.quarantine["reason"].to_pylist() == ["missing_text", "missing_text"]
    assert batch.lacks == {"body": 2} and list(batch.seen) == ["id", "text", "content.text"]
    (row,) = read_rows(write(pa.table({"n": [1]}), tmp_path), options)  # a file with none of the columns
    assert (row.lacks, row.seen) == (("body", "id"), ("n",))


@EVERY
def test_a_text_column_of_numbers(tmp_path: Path, write: Write) -> None:
    batch = parse(write, tmp_path, DocumentSettings(validation_share=0.0), text=[1.5, 2.5])
    assert batch.quarantine["detail"].to_pylist() == ["a float", "a float"]


@pytest.mark.parametrize("write", [arrow_file, arrow_stream, feather])
def test_damaged_arrow_files_name_the_file(tmp_path: Path, write: Write) -> None:
    path = Path(write(pa.table({"id": range(4), "text": [f"text {i}" for i in range(4)]}), tmp_path))
    whole = path.read_bytes()
    for cut in range(0, len(whole) - 16, 7):
        path.write_bytes(whole[:cut])
        try:
            assert len(list(read_rows(str(path), DocumentSettings()))) == 4, (
                "the end of a stream may be left out"
            )
        except CorruptShardError as error:
            assert f"{path} is damaged at or after row" in str(error)
    path.write_bytes(b"FEA1" + whole)
    with pytest.raises(CorruptShardError, match="Feather file of version 1"):
        list(read_rows(str(path), DocumentSettings()))


@pytest.mark.parametrize("write", [arrow_file, arrow_stream])
def test_offsets_that_point_outside_are_damage_and_no_crash(tmp_path: Path, write: Write) -> None:
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little", signed=True) for n in (0, 2, 1 << 30, 4)))
    text = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"abcd")])
    table = pa.table({"id": ["1", "2", "3"], "text": text})
    path = tmp_path / "a.arrow"
    new = pa.ipc.new_file if write is arrow_file else pa.ipc.new_stream
    with new(path, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CorruptShardError, match=r"a\.arrow is damaged at or after row 0"):
        list(read_rows(str(path), DocumentSettings()))


def test_of_a_large_parquet_file_a_row_group_is_held(tmp_path: Path) -> None:
    noise, groups, rows = np.random.default_rng(0), 10, 1000
    texts = [noise.bytes(300).hex() for _ in range(groups * rows)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=rows)
    before, held, number = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()  # what Python reads for Arrow is Python's
    for number, raw in enumerate(read_rows(str(path), DocumentSettings()), 1):
        assert raw.fields is not None and raw.fields["text"] == texts[number - 1]
        held = max(held, pa.total_allocated_bytes() - before)
    held += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == len(texts)
    assert held < path.stat().st_size / 2
