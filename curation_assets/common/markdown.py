"""Tables for people: Markdown for the web UI and reports, aligned text for terminals.

Cells may hold text from the corpus, which nobody has vetted: Markdown and HTML in it are escaped, control
characters (line breaks, terminal colours, reversed writing) are replaced, and long texts are shortened.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import pyarrow as pa

Rows: TypeAlias = Sequence[Mapping[str, Any]] | pa.Table | pa.RecordBatch

_CELL = 80  # characters shown of a cell
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that hide, reorder or steer text; tabs and line feeds are none."""
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# An underscore inside a word is no markup, and sampler names are full of them.
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
# Readers of Markdown make links of addresses, escaped or not, unless something that is no text stands in them.
_ADDRESS = re.compile(r"(?<=[A-Za-z]:)(?=//)|(?<=[Ww]{3})(?=\.)|(?=@)")
_NOTHING = "<!-- -->"


def markdown_table(rows: Rows, columns: Sequence[str] | None = None, limit: int | None = None) -> str:
    """Return `rows` as a GitHub-flavoured Markdown table.

    Parameters
    ----------
    rows
        Dictionaries, or an Arrow table or batch. A key that a row lacks is an empty cell, as None is.
    columns
        Which columns, in which order; all, in the order of first appearance, if None.
    limit
        Rows shown at most; a line below says how many there are.

    Columns of numbers are aligned right; integers have thousands separators, other numbers four significant
    digits.

    Raises
    ------
    ValueError
        A name in `columns` is in no row.
    """
    names, shown, total = _select(rows, columns, limit)
    if not names:
        return "*no rows*"
    cells = [[_escape(_text(row.get(name))) for name in names] for row in shown]
    rule = ["---:" if _is_numeric(shown, name) else "---" for name in names]
    lines = [[_escape(_clean(name)) or " " for name in names], rule, *cells]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return table + (f"\n\n{_left_out(len(shown), total)}" if len(shown) < total else "")


def preview(rows: Rows, n: int = 10) -> str:
    """Return the first `n` rows as a Markdown table."""
    return markdown_table(rows, limit=n)


def text_table(rows: Rows, columns: Sequence[str] | None = None, limit: int | None = None) -> str:
    """Return `rows` as aligned columns for a terminal; the arguments are those of `markdown_table`."""
    names, shown, total = _select(rows, columns, limit)
    if not names:
        return "no rows"
    heads = [_clean(name) for name in names]
    cells = [[_text(row.get(name)) for name in names] for row in shown]
    widths = [max(_width(line[i]) for line in [heads, *cells]) for i in range(len(names))]
    right = [_is_numeric(shown, name) for name in names]
    lines = [heads, ["─" * width for width in widths], *cells]
    text = "\n".join(
        "  ".join(_pad(*cell) for cell in zip(line, widths, right, strict=True)).rstrip() for line in lines
    )
    return text + (f"\n{_left_out(len(shown), total)}" if len(shown) < total else "")


def number(value: Real | float) -> str:
    """Render a number: `1,234,567` if it is an integer, otherwise four significant digits (`0.01235`, `12,346`)."""
    if isinstance(value, Integral):
        return f"{int(value):,}"
    return significant(float(value), 4)


def significant(x: Real | float, digits: int) -> str:
    """Render a number to so many significant digits at least: those before the point are all shown."""
    x = float(x)
    if not math.isfinite(x):
        return {"inf": "∞", "-inf": "-∞"}.get(str(x), "nan")
    if x and not 1e-4 <= abs(x) < 1e15:
        return f"{x:.{digits - 1}e}"
    decimals = digits - 1 - math.floor(math.log10(abs(x))) if x else 0
    return f"{x:,.{max(decimals, 0)}f}"


def rounded(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """Render a number to so many significant digits: `1,230`, `12.3`, `0.0123`: what is known of one seed, or an estimate."""
    return _at(value, _places(value, digits), signed)


def plus_minus(mean: float | None, deviation: float | None) -> str | None:
    """Render a mean and its spread, `12.34 ± 0.56`, to two significant digits of the spread; None without a mean.

    Without a spread nobody knows how many digits of the mean mean anything: three are shown.
    """
    if mean is None:
        return None
    if not deviation:
        return rounded(mean) if deviation is None else f"{rounded(mean)} ± 0"
    places = _places(deviation, _OF_A_SPREAD)
    return f"{_at(mean, places)} ± {_at(deviation, places)}"


def within(value: float, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Render a value and its interval, `+1.23 [+0.80, +1.66]`, to two significant digits of what it reaches to either side.

    Without an interval two digits of the value are shown.
    """
    if low is None or high is None or not low < high:
        return rounded(value, _OF_A_SPREAD, signed=signed)
    places = _places((high - low) / 2, _OF_A_SPREAD)
    return f"{_at(value, places, signed)} [{_at(low, places, signed)}, {_at(high, places, signed)}]"


def p_value(p: float) -> str:
    """Render a p-value: three decimals where it is small, so that 0.046 does not read as 0.05."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


_OF_A_SPREAD = 2  # significant digits of what says how sure a number is


def _places(value: float, digits: int) -> int:
    """Return how many places after the point show so many significant digits; less than 0 before it."""
    if not value or not math.isfinite(value):
        return 0
    return digits - 1 - math.floor(math.log10(float(f"{abs(value):.{digits - 1}e}")))


def _at(value: float, places: int, signed: bool = False) -> str:
    x = round(value, places) + 0.0  # no "-0"
    return f"{x:{'+' if signed else ''},.{max(places, 0)}f}"


def escaped(text: str) -> str:
    """Return a text of any length as Markdown that means nothing but itself, on one line."""
    return _escape(HIDDEN.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split())))


def _select(
    rows: Rows, columns: Sequence[str] | None, limit: int | None
) -> tuple[list[str], list[Mapping[str, Any]], int]:
    """Return the column names, the rows to show and how many rows there are."""
    if limit is not None and limit < 0:
        raise ValueError(f"limit is {limit}, less than 0")
    total = len(rows)
    shown: list[Mapping[str, Any]]
    if isinstance(rows, pa.Table | pa.RecordBatch):
        known = list(rows.schema.names)
        shown = rows.slice(0, limit).to_pylist()
    else:
        known = list(dict.fromkeys(str(name) for row in rows for name in row))
        shown = list(rows[:limit])
    unknown = [name for name in columns or () if name not in known] if total or known else []
    if unknown:
        raise ValueError(f"no column {unknown[0]!r}; there are {', '.join(known) or 'none'}")
    return list(columns) if columns is not None else known, shown, total


def _left_out(shown: int, total: int) -> str:
    return f"first {shown:,} of {total:,} rows"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Say whether a column holds numbers and nothing else but None."""
    values = [row.get(name) for row in rows]
    return any(v is not None for v in values) and all(v is None or _is_number(v) for v in values)


def _text(value: Any) -> str:
    """Render one value on one line of printable characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return number(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    return _clean(str(value))


def _clean(text: str) -> str:
    """Put a text on one line, replace what is not printable and shorten it."""
    head = " ".join(text[: 8 * _CELL].split())
    if len(head) > _CELL or len(text) > 8 * _CELL:
        head = head[: _CELL - 1].rstrip() + "…"
    return HIDDEN.sub("\N{REPLACEMENT CHARACTER}", head)


def _escape(text: str) -> str:
    """Make a text mean itself inside a cell of a Markdown table."""
    return _ADDRESS.sub(_NOTHING, _MARKUP.sub(r"\\\g<0>", text.translate(_HTML)))


def _width(text: str) -> int:
    """Return how many terminal columns a text takes: two for wide East Asian characters, none for accents."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
