"""Tables: what they say, and that text nobody has vetted stays text."""

import math
import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.markdown import (
    markdown_table,
    number,
    p_value,
    plus_minus,
    preview,
    rounded,
    text_table,
    within,
)

ROWS = [
    {"sampler": "ask_llm_xl", "documents": 12345, "perplexity": 17.25, "done": True},
    {"sampler": "random", "documents": 7, "perplexity": None, "done": False},
]


def test_markdown_table_word_for_word() -> None:
    assert markdown_table(ROWS) == (
        "| sampler | documents | perplexity | done |\n"
        "| --- | ---: | ---: | --- |\n"
        "| ask_llm_xl | 12,345 | 17.25 | yes |\n"
        "| random | 7 |  | no |"
    )


def test_text_table_word_for_word() -> None:
    assert text_table(ROWS) == (
        "sampler     documents  perplexity  done\n"
        "──────────  ─────────  ──────────  ────\n"
        "ask_llm_xl     12,345       17.25  yes\n"
        "random              7              no"
    )


def test_columns_choose_and_order_and_a_limit_is_told() -> None:
    rows = [{"a": i, "b": -i} for i in range(2000)]
    table = markdown_table(rows, columns=["b"], limit=2)
    assert table == "| b |\n| ---: |\n| 0 |\n| -1 |\n\nfirst 2 of 2,000 rows"
    assert text_table(rows, ["b", "a"], 1).splitlines() == ["b  a", "─  ─", "0  0", "first 1 of 2,000 rows"]
    with pytest.raises(ValueError, match="no column 'c'; there are a, b"):
        markdown_table(rows, columns=["c"])
    with pytest.raises(ValueError, match="limit is -1"):
        markdown_table(rows, limit=-1)


def test_rows_may_lack_keys_and_tables_may_be_empty() -> None:
    assert markdown_table([{"a": 1}, {"b": "x"}]).splitlines()[2:] == ["| 1 |  |", "|  | x |"]
    assert markdown_table([]) == "*no rows*" and text_table([]) == "no rows"
    assert markdown_table([], columns=["a"]) == "| a |\n| --- |"
    assert markdown_table(pa.table({"a": pa.array([], pa.int64())})) == "| a |\n| --- |"


def test_arrow_tables_and_batches_equal_rows() -> None:
    table = pa.Table.from_pylist(ROWS)
    assert markdown_table(table) == markdown_table(table.to_batches()[0]) == markdown_table(ROWS)
    many = pa.table({"i": range(30)})
    assert preview(many) == markdown_table(many, limit=10)
    assert preview(many, 3).endswith("| 2 |\n\nfirst 3 of 30 rows")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (-1234, "-1,234"),
        (np.int64(5000), "5,000"),
        (0.0, "0"),
        (0.5, "0.5000"),
        (12.3456, "12.35"),
        (1234.56, "1,235"),
        (9999.96, "10,000"),
        (123456.7, "123,457"),
        (-0.0123456, "-0.01235"),
        (0.0001, "0.0001000"),
        (0.00001234, "1.234e-05"),
        (1e15, "1.000e+15"),
        (np.float32(0.25), "0.2500"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, "nan"),
    ],
)
def test_numbers(value: float, expected: str) -> None:
    assert number(value) == expected


@given(st.floats(1e-4, 1e14))
def test_numbers_keep_four_digits(x: float) -> None:
    assert float(number(x).replace(",", "")) == pytest.approx(x, rel=5.1e-4)


def test_other_values_are_told_plainly() -> None:
    row = {"bytes": b"\0" * 1500, "list": [1, 2], "decimal": Decimal("1.50"), "none": None}
    assert markdown_table([row]).splitlines()[2] == r"| 1,500 bytes | \[1, 2\] | 1.50 |  |"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("line\nbreak\r\n\ttab", "line break tab"),
        ("`code`", r"\`code\`"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("![x](http://example.org/pixel.png)", r"!\[x\](http:<!-- -->//example.org/pixel.png)"),
        ("see www.example.org, a@example.org", "see www<!-- -->.example.org, a<!-- -->@example.org"),
        ("*bold* _it_ ~~no~~ a_b", r"\*bold\* \_it\_ \~\~no\~\~ a_b"),
        ("red \x1b[31m bell \x07", "red �\\[31m bell �"),
        ("moc.elgoog\u202e", "moc.elgoog�"),
        ("zero\u200bwidth \ud800", "zero�width �"),
    ],
)
def test_markdown_and_control_characters_are_escaped(text: str, expected: str) -> None:
    assert markdown_table([{"t": text}]).splitlines()[2] == f"| {expected} |"
    assert markdown_table([{text: "x"}]).splitlines()[0] == f"| {expected} |"


@pytest.mark.parametrize("text", ["x" * 500, "word " * 100, " " * 10_000 + "late", "<" * 81])
def test_long_cells_end_in_an_ellipsis(text: str) -> None:
    cell = text_table([{"t": text}]).splitlines()[2]
    assert cell.endswith("…") and len(cell) <= 80
    assert "…" not in text_table([{"t": text[:80].strip()}])


ANYTHING = st.text(
    alphabet=st.one_of(st.sampled_from("|\\`<>&*_[]!~\n\r\t \x1b\u202e$:/@."), st.characters()), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ANYTHING, ANYTHING), min_size=1, max_size=4))
def test_any_text_stays_in_its_cell(pairs: list[tuple[str, str]]) -> None:
    table = markdown_table([{"a": a, "b": b} for a, b in pairs])
    lines = table.split("\n")
    assert len(lines) == len(pairs) + 2
    for line in lines:
        unescaped = re.sub(r"\\.|<!-- -->", "", line)  # what a reader of Markdown still takes for markup
        assert unescaped.count("|") == 3
        assert not re.search(r"[`<>\[\]*~\x00-\x1f]", unescaped)
    terminal = text_table([{"a": a, "b": b} for a, b in pairs])
    assert terminal.count("\n") == len(pairs) + 1 and "\x1b" not in terminal


def test_wide_characters_and_accents_keep_columns_aligned() -> None:
    lines = text_table(
        [{"a": "漢字", "b": "x"}, {"a": "e\u0301a", "b": "x"}, {"a": "abcd", "b": "x"}]
    ).splitlines()
    assert lines[2:] == ["漢字  x", "e\u0301a    x", "abcd  x"]


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (746.93, 60.62, "747 ± 61"),
        (18.0, 0.2, "18.00 ± 0.20"),
        (1234.5, 123.4, "1,230 ± 120"),
        (9.999, 0.0996, "10.00 ± 0.10"),
        (35.0, 0.0, "35.0 ± 0"),
        (1234.5678, None, "1,230"),
        (0.00123456, None, "0.00123"),
        (None, None, None),
    ],
)
def test_a_mean_has_the_digits_of_its_spread(mean: float | None, sd: float | None, shown: str | None) -> None:
    assert plus_minus(mean, sd) == shown


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (-8.123, -10.3, -5.9, "-8.1 [-10.3, -5.9]"),
        (0.00001, -1.0, 1.0, "+0.0 [-1.0, +1.0]"),
        (1234.0, 1000.0, 1500.0, "+1,230 [+1,000, +1,500]"),
        (12.345, None, None, "+12"),
        (12.345, 12.345, 12.345, "+12"),
    ],
)
def test_a_value_has_the_digits_of_its_interval(
    value: float, low: float | None, high: float | None, shown: str
) -> None:
    assert within(value, low, high, signed=True) == shown


def test_p_values_have_three_decimals_where_they_are_small() -> None:
    assert (p_value(0.0497), p_value(1e-9), p_value(1.0)) == ("0.050", "<0.001", "1.00")
    assert (p_value(0.04567), p_value(0.00123), p_value(0.52)) == ("0.046", "0.001", "0.52")


def test_estimates_have_two_digits() -> None:
    assert (rounded(83_247, 2), rounded(0, 2), rounded(-0.004321, 2)) == ("83,000", "0", "-0.0043")
