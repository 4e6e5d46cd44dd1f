"""A section of the report: what a report asset has to say, for the page that puts all of them together.

Each report asset leaves a `section.json` in its folder beside its figures (`NAME.svg`) and tables (`NAME.parquet`); the page needs
to know nothing else of it. Texts are plain: they are escaped where they are shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation_assets.common.files import read_json, write_json
from curation_assets.common.markdown import escaped, markdown_table

SECTION = "section.json"


@dataclass(frozen=True)
class Figure:
    """A picture: `name`.svg, .png and .pdf lie in the folder; `alt` says what it shows to who cannot see it."""

    name: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table for people, in the cells that they read: `columns`, and rows of as many cells (text, number or None).

    `source` is the parquet file with all digits. `links` has for each row the artifact that it is about, as (asset key, partition),
    or None; it is empty where no row is about one. `first` are the columns that matter most, the most important first: where
    there is no room for all, as many of these are shown as fit, and all behind a click.
    """

    caption: str
    columns: list[str]
    rows: list[list[str | int | float | None]]
    source: str = ""
    links: list[tuple[str, str] | None] = field(default_factory=list)
    first: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return it as Markdown under its caption; cells are text and nothing else."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return f"**{self.caption}**\n\n{markdown_table(rows)}"


@dataclass(frozen=True)
class Excerpt:
    """A document to read.

    Attributes
    ----------
    group, side : the list that it stands in: excerpts of one group come one after another, in one or two sides.
    heading : what it is called, its id for example.
    meta : where it comes from and how long it is.
    text : its beginning; line breaks are kept.
    percentiles : of each sampler, 0 to 100; 100 is what the sampler keeps first.
    link : the artifact that put it here, as (asset key, partition).
    """

    group: str
    side: str
    heading: str
    meta: str
    text: str
    percentiles: dict[str, float]
    link: tuple[str, str] | None = None


@dataclass(frozen=True)
class Section:
    """Title, an introduction, what was found (sentences, most important first), figures, tables, documents to read, and the method."""

    title: str
    intro: str
    findings: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    method: str = ""
    excerpts: list[Excerpt] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write `section.json`."""
        write_json(folder / SECTION, dataclasses.asdict(self))


def bullets(sentences: Sequence[str]) -> str:
    """Return sentences as a Markdown list; they are text and nothing else."""
    return "\n".join(f"- {escaped(one)}" for one in sentences)


def table(
    rows: list[dict[str, Any]], caption: str, source: str = "", first: Sequence[str] = (), **more: Any
) -> Table:
    """Return a table of dictionaries with the same keys; columns that have nothing in any row are left out."""
    columns = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(name) is not None for row in rows)
    ]
    cells = [[row.get(name) for name in columns] for row in rows]
    return Table(caption, columns, cells, source, first=[name for name in first if name in columns], **more)


def read_section(folder: Path) -> Section:
    """Read what `Section.write` wrote."""
    found = read_json(folder / SECTION)
    figures = [Figure(**figure) for figure in found.pop("figures")]
    tables = [Table(**{**t, "links": [_link(link) for link in t["links"]]}) for t in found.pop("tables")]
    excerpts = [Excerpt(**{**e, "link": _link(e["link"])}) for e in found.pop("excerpts", [])]
    return Section(**found, figures=figures, tables=tables, excerpts=excerpts)


def _link(found: list[str] | None) -> tuple[str, str] | None:
    return (found[0], found[1]) if found else None
