"""A `.json` file is read whatever it is: lines, one array, or objects over many lines; one bad value takes no other along."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.json_rows import json_values
from curation_assets.corpus.rows import Damaged, RawRow

SETTINGS = DocumentSettings(id_field="")


def read(text: str, piece: int = 1 << 20, options: DocumentSettings = SETTINGS) -> list[RawRow]:
    data = text.encode(errors="surrogatepass")
    chunks = (data[start : start + piece] for start in range(0, len(data), piece))
    return list(json_values(chunks, options, {}))


def fates(rows: list[RawRow]) -> list[str]:
    """Return the text of each row, or the reason why it has none."""
    return [row.fields["text"] if row.fields is not None else row.reason for row in rows]


ROWS = [
    {"text": t, "tags": [{"a": "]"}, 1.5, None]} for t in ("one {", 'two "quoted" \\', "three\n[", "é 😀", "")
]


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        json.dumps(ROWS, ensure_ascii=False, separators=(",", ":")),
        "\n\n [\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "".join(json.dumps(row) for row in ROWS),
        "\n".join(map(json.dumps, ROWS)),
        "\r\n".join(map(json.dumps, ROWS)),
    ],
    ids=[
        "array",
        "pretty-array",
        "dense-array",
        "array-of-lines",
        "pretty-objects",
        "no-space",
        "lines",
        "crlf",
    ],
)
def test_all_the_ways_to_write_five_objects(text: str, piece: int) -> None:
    rows = read(text, piece)
    assert fates(rows) == [row["text"] for row in ROWS]
    assert [row.row for row in rows] == [1, 2, 3, 4, 5]


def test_a_pretty_printed_object_is_one_document() -> None:
    assert fates(read('{\n  "text": "all of it",\n  "meta": {\n    "n": 1\n  }\n}\n')) == ["all of it"]


def test_elements_that_are_no_objects_are_told_apart_from_those_that_are() -> None:
    rows = read('[{"text": "a"}, 12, "words", null, [1, [2]], -1.5e3, true, {"text": "b"}]')
    assert fates(rows) == ["a", *["not_an_object"] * 6, "b"]


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"text": "a"},\n{"text": bad},\n{"text": "b"}]', ["a", "invalid_json", "b"]),
        ('[{"text": "a"}, {"text": bad}, {"text": "b"}]', ["a", "invalid_json", "b"]),
        ('[\n{"text": "a"},\n{"text": "cut\n},\n{"text": "b"}\n]', ["a", "invalid_json", "b"]),
        ('[\n{"text": "a"},\n{"text": "no end",\n{"text": "b"}\n]', ["a", "invalid_json", "b"]),
        ('[\n{"text": "a"},\n{"text": "wrong"],\n{"text": "b"}\n]', ["a", "invalid_json", "b"]),
        ('{"text": "cut\n{"text": "a"}\n{"text": "b"}\n', ["invalid_json", "a", "b"]),
        ('[{"text": "a"}]\n[{"text": "b"}]', ["a", "b"]),
        ("[]", []),
        ("", []),
        (" \n", []),
        ("{}", [None]),
    ],
)
def test_one_bad_value_takes_no_other_along(text: str, expected: list[str | None], piece: int) -> None:
    assert fates(read(text, piece)) == expected


def test_an_array_that_is_cut_off_is_a_damaged_file() -> None:
    for text in ('[{"text": "a"}, {"text": "b"}', '[{"text": "a"},', "["):
        with pytest.raises(Damaged, match="array is not closed"):
            read(text)


@pytest.mark.parametrize("piece", [1 << 10, 1 << 20])
def test_an_element_beyond_the_limit_is_skipped_and_memory_stays_bounded(piece: int) -> None:
    options = DocumentSettings(id_field="", max_chars=10)
    long = json.dumps({"text": "x" * 3_000_000})
    for text in (
        f'[{{"text": "a"}}, {long}, {{"text": "b"}}]',
        f'[{{"text": "a"}},\n{long},\n{{"text": "b"}}]',
    ):
        rows = read(text, piece, options)
        assert fates(rows) == ["a", "row_too_long", "b"]
        assert len(rows[1].head) <= 1000


def test_small_elements_of_a_large_array_are_read_in_time_and_memory_of_a_piece() -> None:
    element, count = b'{"text": "a"},', 100_000
    started = time.process_time()
    assert sum(1 for _ in json_values(iter([b"[", element * count, b"1]"]), SETTINGS, {})) == count + 1
    assert time.process_time() - started < 10, "each element takes time of its own length"


def test_an_object_that_does_not_close_on_one_endless_line_is_not_kept() -> None:
    endless = (b'{"text": "a"]' if not i else b"x" * (1 << 20) for i in range(50))
    tracemalloc.start()
    rows = list(json_values(endless, DocumentSettings(id_field="", max_chars=10), {}))
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
    assert [row.reason for row in rows] == ["invalid_json"]


def test_bytes_that_are_not_utf8_set_only_their_element_aside() -> None:
    data = b'[{"text": "a"}, {"text": "\xff"}, {"text": "\\ud800"}]'
    rows = list(json_values(iter([data]), SETTINGS, {}))
    assert fates(rows) == ["a", "invalid_utf8", "\ud800"]  # the last is for `defect` to refuse


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.fixed_dictionaries({"text": st.text(max_size=10), "more": values}), min_size=1, max_size=6),
    st.sampled_from([None, 0, 1, 4]),
    st.integers(1, 50),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_an_array_gives_the_same_rows_as_lines_wherever_pieces_end(
    rows: list[dict[str, Any]], indent: int | None, piece: int, ascii_only: bool
) -> None:
    read_rows = read(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), piece)
    assert [row.fields for row in read_rows] == [{"text": row["text"]} for row in rows]
