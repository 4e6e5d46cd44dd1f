"""Comma- and tab-separated files as spreadsheets and data frames write them, and as they should not be written."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.formats import read_rows
from curation_assets.corpus.rows import RawRow


def read(
    folder: Path, data: bytes, name: str = "a.csv", options: DocumentSettings | None = None
) -> list[RawRow]:
    (folder / name).write_bytes(data)
    return list(read_rows(str(folder / name), options or DocumentSettings(keep_fields=("lang",))))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_the_header_names_the_fields_and_quoted_cells_may_have_anything(
    tmp_path: Path, end: bytes, start: bytes
) -> None:
    lines = [b"id,text,other", b'1,"two', b'lines, and a ""quote""",x', b"", b'2,plain 5" pipe,', b'"3","",x']
    rows = read(tmp_path, start + end.join(lines))
    assert [(row.row, row.fields) for row in rows] == [
        (2, {"id": "1", "text": 'two\nlines, and a "quote"', "lang": None}),
        (5, {"id": "2", "text": 'plain 5" pipe', "lang": None}),
        (6, {"id": "3", "text": "", "lang": None}),
    ]


def test_tabs(tmp_path: Path) -> None:
    rows = read(tmp_path, b'text\tid\tlang\none, two\t1\ten\n"a\tb"\t2\tde\n', "a.TSV")
    assert [row.fields for row in rows] == [
        {"text": "one, two", "id": "1", "lang": "en"},
        {"text": "a\tb", "id": "2", "lang": "de"},
    ]


def test_a_bad_row_has_a_reason_and_stops_nothing(tmp_path: Path) -> None:
    rows = read(
        tmp_path, b'id,text\n1,a,too many\n2\n3,\xff\n4,b\r\rc\n5,good\n6,"never closed\n7,fine\n8,fine too\n'
    )
    assert [(row.row, row.reason) for row in rows] == [
        (2, "ragged_row"),
        (3, "ragged_row"),
        (4, "invalid_utf8"),
        (5, "invalid_csv"),
        (6, ""),
        (7, "invalid_csv"),
        (8, ""),
        (9, ""),
    ]
    assert rows[0].detail == "3 cells, and the header has 2"


@pytest.mark.slow
def test_a_record_beyond_the_limit_loses_one_line_and_memory_stays_bounded(tmp_path: Path) -> None:
    options = DocumentSettings(max_chars=10)
    long = b"9," + b"x" * 3_000_000
    unclosed = b'8,"never\n' + b"7,fine\n" * 300_000
    rows = read(tmp_path, b"id,text\n" + long + b"\n" + unclosed, options=options)
    assert [row.reason for row in rows[:3]] == ["row_too_long", "invalid_csv", ""]
    assert len(rows) == 300_002 and not any(row.reason for row in rows[2:])


def test_fields_that_are_not_there(tmp_path: Path) -> None:
    rows = read(tmp_path, b"content;id\nx;1\n")
    assert [(row.lacks, row.seen) for row in rows] == [(("text", "id"), ("content;id",))]
    assert read(tmp_path, b"") == read(tmp_path, b"id,text\n") == read(tmp_path, b"\n\n") == []


def test_the_last_of_two_columns_of_one_name_counts_as_in_json(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"id,text,text\n1,first,last\n")
    assert row.fields is not None and row.fields["text"] == "last"


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@given(
    st.lists(st.tuples(cells, cells), max_size=6),
    st.sampled_from([(",", "a.csv"), ("\t", "a.tsv")]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_what_a_csv_writer_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], kind: tuple[str, str], every: bool
) -> None:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=kind[0], quoting=quoting, lineterminator="\n").writerows(
        [("id", "text"), *rows]
    )
    got = read(tmp_path_factory.mktemp("csv"), out.getvalue().encode(), kind[1], DocumentSettings())
    assert [tuple((row.fields or {}).values()) for row in got] == [(text, id_) for id_, text in rows]
