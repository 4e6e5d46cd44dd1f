"""Tables of the page: those of the sections, and the comparison to take in at a glance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, NamedTuple, TypeAlias

from curation_assets.report.html import Child, Html, join, tag
from curation_assets.report.section import Table
from curation_assets.report.tables import number

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
    """Return a section's table; rows that are about an artifact link to where that is told of."""
    linked = [references.get(link) if link else None for link in table.links]
    return _foldable(
        plain_table(table.columns, table.rows, table.caption, linked, source), len(table.rows), table.caption
    )


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
) -> Html:
    """Return a table in a box of its own that scrolls; columns of numbers are aligned right."""
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    head = tag(
        "tr",
        [tag("th", c, scope="col", class_="n" if r else None) for c, r in zip(columns, right, strict=True)],
    )
    lines = []
    for at, row in enumerate(rows):
        reference = linked[at] if at < len(linked) else None
        cells = [_shown(value) for value in row]
        lines.append(
            tag("tr", [_cell(i, c, right[i], reference if i == 0 else None) for i, c in enumerate(cells)])
        )
    said = tag("caption", caption, [" (", tag("a", "all digits", href=source), ")"] if source else None)
    whole = tag("table", said, tag("thead", head), tag("tbody", lines))
    return tag("div", whole, class_="box", tabindex="0", role="region", aria_label=caption)


def _cell(place: int, shown: str, right: bool, reference: Reference | None) -> Html:
    kind = "n" if right else "w" if len(shown) > _WIDE else None
    inside: Child = shown
    if reference:
        inside = tag("a", shown or "–", href=f"#{reference.id}", title=f"from {reference.title}")
    if place == 0:
        return tag("th", inside, scope="row", class_=kind)
    return tag("td", inside, class_=kind)


def _shown(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, Real) else str(value)


def _is_numeric(values: Sequence[Cell]) -> bool:
    told = [value for value in values if value not in (None, "", "–") and not str(value).startswith("not ")]
    return bool(told) and all(
        (isinstance(value, Real) and not isinstance(value, bool)) or _NUMBER.fullmatch(str(value).strip())
        for value in told
    )


def glance(found: Glance, references: References, *, open_: bool) -> Html:
    """Return the comparison at a glance, folded away unless `open_`."""
    spans = tag(
        "tr",
        tag("td"),
        [tag("th", name, scope="colgroup", colspan=str(width)) for name, width in found.spans],
    )
    names = tag(
        "tr",
        tag("th", "sampler", scope="col"),
        [tag("th", c, scope="col", class_="n") for c in found.columns],
    )
    lines = [
        tag("tr", tag("th", tag("code", name), scope="row"), [_mark(mark, references) for mark in marks])
        for name, marks in found.rows.items()
    ]
    caption = tag("caption", found.title)
    table = tag("table", caption, tag("thead", spans, names), tag("tbody", lines), class_="glance")
    used = {mark.verdict for marks in found.rows.values() for mark in marks}
    key = [
        tag("li", tag("span", sign, class_=f"mark {verdict}"), f" {meaning}")
        for verdict, (sign, meaning) in SIGNS.items()
        if verdict in used
    ]
    box = tag("div", table, class_="box", tabindex="0", role="region", aria_label=found.title)
    inside = join(box, tag("ul", key, class_="key"), tag("p", found.note, class_="note"))
    if open_:
        return tag("div", inside)
    return tag("details", tag("summary", found.title), inside)


def _mark(mark: Mark, references: References) -> Html:
    sign, meaning = SIGNS[mark.verdict]
    reference = references.get(mark.link) if mark.link else None
    shown: Child = mark.shown
    if reference and mark.shown:
        shown = tag("a", mark.shown, href=f"#{reference.id}", title=f"{meaning}; from {reference.title}")
    symbol = tag("span", sign, role="img", aria_label=meaning, title=meaning)
    return tag("td", [shown, " "] if mark.shown else None, symbol, class_=f"n mark {mark.verdict}")
