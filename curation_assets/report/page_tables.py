"""Tables of the page: those of the sections, and the comparison to take in at a glance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, NamedTuple, TypeAlias

from curation_assets.common.markdown import number, significant
from curation_assets.report.html import Child, Html, join, tag
from curation_assets.report.section import Table

Cell: TypeAlias = "str | int | float | None"
Verdict = Literal["better", "worse", "noise", "unknown", "missing"]
_WIDE = 28  # characters; a longer cell is broken into lines
_LONG = 24  # rows; a longer table is folded away
_NUMBER = re.compile(r"[<>≥≤+−±-]?\s*\d[\d,.]*\s*(?:[%kMB×sh]|e[+-]?\d+)?(?:\s*(?:±|\[|to|and|\().*)?")

SIGNS: dict[Verdict, tuple[str, str]] = {
    "better": ("▲", "better than random sampling, beyond the noise"),
    "worse": ("▼", "worse than random sampling, beyond the noise"),
    "noise": ("·", "within the noise"),
    "unknown": ("?", "the noise is not known: one seed, or no spread over seeds"),
    "missing": ("–", "not measured"),
}


class Reference(NamedTuple):
    """Where on the page an artifact is told of, and its name."""

    id: str
    title: str


References: TypeAlias = Mapping[tuple[str, str], Reference]


class Mark(NamedTuple):
    """A cell of a glance: the number as people read it, what it means, and the artifact that it comes from."""

    shown: str
    verdict: Verdict
    link: tuple[str, str] | None = None


@dataclass(frozen=True)
class Glance:
    """Samplers against random sampling, {sampler: a mark for each column}; `spans` are (heading, columns under it)."""

    title: str
    spans: Sequence[tuple[str, int]]
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Mark]]
    note: str


def data_table(table: Table, references: References, source: str) -> Html:
    """Return a section's table: the columns that there is room for, and all of them behind a click.

    Rows that are about an artifact link to where that is told of.
    """
    linked = [references.get(link) if link else None for link in table.links]
    cells = [[_shown(value) for value in row] for row in table.rows]
    order = [table.columns.index(name) for name in table.first] or list(range(len(table.columns)))
    widths = [_width(name, [row[i] for row in cells]) for i, name in enumerate(table.columns)]
    small, large = (_fitting(order, widths, room) for room in (_SMALL, _LARGE))
    caption, columns, rows = table.caption, table.columns, table.rows
    if len(small) == len(columns):
        return _foldable(plain_table(columns, rows, caption, linked, source), len(rows), caption)
    kept = [i for i in range(len(columns)) if i in large]
    first = plain_table(
        *([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], caption, linked, source),
        more=[i not in small for i in kept],
    )
    whole = tag(
        "details",
        tag("summary", f"All {len(columns)} columns"),
        plain_table(columns, rows, f"{caption}: all columns", linked),
        class_="whole" if len(large) < len(columns) else "whole small",
    )
    return _foldable(join(first, whole), len(rows), caption)


class _Room(NamedTuple):
    """Pixels for a table in a window of some width, and about what its parts take there (`style.css`)."""

    width: float
    character: float
    padding: float
    long: float


_SMALL, _LARGE = _Room(352, 7.6, 8, 150), _Room(880, 8.1, 13, 250)  # in a window of 390 pixels, and of 1200
_GLANCE = _LARGE._replace(width=640)


def _fitting(order: Sequence[int], widths: Sequence[int], room: _Room) -> set[int]:
    """Return the first columns of `order` that fit beside each other, one at least; `widths` are in characters."""
    kept: set[int] = set()
    left = room.width
    for i in order:
        left -= room.long if widths[i] > _WIDE else room.padding + room.character * widths[i]
        if kept and left < 0:
            break
        kept.add(i)
    return kept


def _width(name: str, cells: Sequence[str]) -> int:
    """Return how many characters wide a column is, whose heading is broken at spaces."""
    return max(4, *map(len, cells), *map(len, name.split()))


def _foldable(table: Html, rows: int, caption: str) -> Html:
    if rows <= _LONG:
        return table
    return tag("details", tag("summary", f"{caption} ({rows:,} rows)"), table, class_="long")


def plain_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    caption: str,
    linked: Sequence[Reference | None] = (),
    source: str = "",
    *,
    more: Sequence[bool] = (),
    digits: int = 0,
) -> Html:
    """Return a table in a box of its own that scrolls; columns of numbers are aligned right.

    `more` marks columns that only large windows show. `digits` are the significant ones of numbers that are not whole; 0 for four.
    """
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    extra = list(more) or [False] * len(columns)
    head = [
        tag("th", c, scope="col", class_=_classes("n" if r else None, m))
        for c, r, m in zip(columns, right, extra, strict=True)
    ]
    lines = []
    for at, row in enumerate(rows):
        reference = linked[at] if at < len(linked) else None
        cells = [_shown(value, digits) for value in row]
        lines.append(
            tag(
                "tr",
                [_cell(i, c, right[i], extra[i], None if i else reference) for i, c in enumerate(cells)],
            )
        )
    said = tag("caption", caption, [" (", tag("a", "all digits", href=source), ")"] if source else None)
    whole = tag("table", said, tag("thead", tag("tr", head)), tag("tbody", lines))
    return tag("div", whole, class_="box", tabindex="0", role="region", aria_label=caption)


def _classes(kind: str | None, more: bool) -> str | None:
    return " ".join(filter(None, (kind, "more" if more else None))) or None


def _cell(place: int, shown: str, right: bool, more: bool, reference: Reference | None) -> Html:
    kind = _classes("n" if right else "w" if len(shown) > _WIDE else None, more)
    inside: Child = shown
    if reference:
        inside = tag("a", shown or "–", href=f"#{reference.id}", title=f"from {reference.title}")
    if place == 0:
        return tag("th", inside, scope="row", class_=kind)
    return tag("td", inside, class_=kind)


def _shown(value: Cell, digits: int = 0) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, Real):
        return str(value)
    return number(value) if isinstance(value, Integral) or not digits else significant(value, digits)


def _is_numeric(values: Sequence[Cell]) -> bool:
    told = [value for value in values if value not in (None, "", "–") and not str(value).startswith("not ")]
    return bool(told) and all(
        (isinstance(value, Real) and not isinstance(value, bool)) or _NUMBER.fullmatch(str(value).strip())
        for value in told
    )


def glance(found: Glance, references: References, *, open_: bool) -> Html:
    """Return the comparison at a glance, folded away unless `open_`: the columns that there is room for, and all behind a click."""
    count = len(found.columns)
    shown = [[marks[i].shown for marks in found.rows.values()] for i in range(count)]
    widths = [_width(name, [f"{cell} ·" for cell in shown[i]]) for i, name in enumerate(found.columns)]
    widths.append(_width("sampler", list(found.rows)))
    small, large = (_fitting([count, *range(count)], widths, room) - {count} for room in (_SMALL, _GLANCE))
    table = _glance_table(found, references, large, small)
    used = {mark.verdict for marks in found.rows.values() for mark in marks}
    key = [
        tag("li", tag("span", sign, class_=f"mark {verdict}"), f" {meaning}")
        for verdict, (sign, meaning) in SIGNS.items()
        if verdict in used
    ]
    whole = None
    if len(small) < count:
        summary = tag("summary", f"All {count} columns")
        kind = "whole" if len(large) < count else "whole small"
        everything = set(range(count))
        whole = tag("details", summary, _glance_table(found, references, everything, everything), class_=kind)
    inside = join(table, whole, tag("ul", key, class_="key"), tag("p", found.note, class_="note"))
    if open_:
        return tag("div", inside)
    return tag("details", tag("summary", found.title), inside)


def _glance_table(found: Glance, references: References, kept: set[int], small: set[int]) -> Html:
    """Return the table with the columns that are `kept`; those that are not `small` show in large windows alone."""
    spans, first = [], 0
    for name, width in found.spans:
        own = [i for i in range(first, first + width) if i in kept]
        first += width
        few = sum(i in small for i in own)
        if few:
            spans.append(
                tag(
                    "th",
                    name,
                    scope="colgroup",
                    colspan=str(few),
                    class_=None if few == len(own) else "fewer",
                )
            )
        if few < len(own):
            spans.append(tag("th", name, scope="colgroup", colspan=str(len(own)), class_="more"))
    heads = [
        tag("th", c, scope="col", class_=_classes("n", i not in small))
        for i, c in enumerate(found.columns)
        if i in kept
    ]
    lines = [
        tag(
            "tr",
            tag("th", tag("code", name), scope="row"),
            [_mark(mark, references, i not in small) for i, mark in enumerate(marks) if i in kept],
        )
        for name, marks in found.rows.items()
    ]
    head = tag("thead", tag("tr", tag("td"), spans), tag("tr", tag("th", "sampler", scope="col"), heads))
    table = tag("table", tag("caption", found.title), head, tag("tbody", lines), class_="glance")
    return tag("div", table, class_="box", tabindex="0", role="region", aria_label=found.title)


def _mark(mark: Mark, references: References, more: bool) -> Html:
    sign, meaning = SIGNS[mark.verdict]
    reference = references.get(mark.link) if mark.link else None
    shown: Child = mark.shown
    if reference and mark.shown:
        shown = tag("a", mark.shown, href=f"#{reference.id}", title=f"{meaning}; from {reference.title}")
    symbol = tag("span", sign, role="img", aria_label=meaning, title=meaning)
    return tag(
        "td", [shown, " "] if mark.shown else None, symbol, class_=_classes(f"n mark {mark.verdict}", more)
    )
