"""A section of the report: what a report asset has to say, for the page that puts all of them together.

Each report asset leaves a `section.json` in its folder beside its figures (`NAME.svg`) and tables (`NAME.parquet`); the page needs
to know nothing else of it. Texts are plain: they are escaped where they are shown.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
from pydantic import TypeAdapter

from curation_assets.common.drawing.picture import Picture
from curation_assets.common.drawing.styles import FULL
from curation_assets.common.files import write_json
from curation_assets.common.markdown import escaped, markdown_table
from curation_assets.common.progress import Progress, silent
from curation_assets.config.amount import label, of_key
from curation_assets.engine.workspace import Markdown, Metadata

SECTION = "section.json"
Cell: TypeAlias = str | bool | int | float | None
Link = tuple[str, str]
"""Asset key and partition."""
_PICTURES = 4  # in the metadata; the folder has all


@dataclass(frozen=True)
class Figure:
    """A picture: `name`.svg, .png and .pdf lie in the folder; `alt` says what it shows to who cannot see it."""

    name: str
    alt: str
    caption: str = ""


Drawn = tuple[Figure, Picture]


@dataclass(frozen=True)
class Table:
    """A table for people, in the cells that they read: `columns`, and rows of as many cells (text, number or None).

    `text` are the columns that hold words; the others hold numbers. `source` is the parquet file with all digits. `links` has for
    each row the artifact that it is about, or None; it is empty where no row is about one. `first` are the columns that matter
    most, the most important first: where there is no room for all, as many of these are shown as fit, and all behind a click.
    """

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    text: list[str] = field(default_factory=list)
    source: str = ""
    links: list[Link | None] = field(default_factory=list)
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
    samplers, side : the list that it stands in: excerpts of the same samplers come one after another, in one or two sides.
    heading : what it is called, its id for example.
    meta : where it comes from and how long it is.
    text : its beginning; line breaks are kept.
    percentiles : of each sampler, 0 to 100; 100 is what the sampler keeps first.
    link : the artifact that put it here.
    """

    samplers: list[str]
    side: str
    heading: str
    meta: str
    text: str
    percentiles: dict[str, float]
    link: Link | None = None


@dataclass(frozen=True)
class Section:
    """Title, an introduction, what was found (sentences, most important first), figures, tables, documents to read, and the method.

    `headline` is what of it belongs on the first screen of the page and at the end of a run, in a sentence or two; "" for nothing.
    """

    title: str
    intro: str
    findings: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    method: str = ""
    excerpts: list[Excerpt] = field(default_factory=list)
    headline: str = ""

    def markdown(self) -> str:
        """Return it as a Markdown page beside its figures."""
        images = [f"![{figure.alt}]({figure.name}.png)" for figure in self.figures]
        tables = [table.markdown() for table in self.tables]
        parts = [f"# {self.title}", *images, bullets(self.findings), *tables, self.method]
        return "\n\n".join(filter(None, parts)) + "\n"


def publish(
    folder: Path,
    section: Section,
    drawn: Iterable[Drawn] = (),
    *,
    page: str = "",
    progress: Progress = silent,
) -> Metadata:
    """Write `section.json` and its figures to `folder`, and `page`, if named, in Markdown; return metadata for the UI.

    The first figures by name, `findings`, `tables` and `how_to_read`.
    """
    pictures = list(drawn)  # how many there are, is known when they are there
    for number, (figure, picture) in enumerate(pictures, 1):
        picture.save(folder, figure.name)
        progress(number, len(pictures), "figures")
    section = dataclasses.replace(section, figures=[figure for figure, _ in pictures])
    write_json(folder / SECTION, dataclasses.asdict(section))
    if page:
        (folder / page).write_text(section.markdown(), "utf-8")
    shown = {figure.name: picture.markdown(figure.alt) for figure, picture in pictures[:_PICTURES]}
    shown |= {
        "findings": bullets(section.findings),
        "tables": "\n\n".join(table.markdown() for table in section.tables),
        "how_to_read": section.method,
    }
    return {name: Markdown(text) for name, text in shown.items() if text}


def bullets(sentences: Sequence[str]) -> str:
    """Return sentences as a Markdown list; they are text and nothing else."""
    return "\n".join(f"- {escaped(one)}" for one in sentences)


def table(
    rows: list[dict[str, Any]],
    caption: str,
    source: str = "",
    *,
    text: Sequence[str],
    first: Sequence[str] = (),
    links: Sequence[Link | None] = (),
) -> Table:
    """Return a table of dictionaries with the same keys; columns that have nothing in any row are left out."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in names if any(row.get(name) is not None for row in rows)]
    cells = [[row.get(name) for name in columns] for row in rows]
    text, first = ([name for name in some if name in columns] for some in (text, first))
    return Table(caption, columns, cells, text, source, list(links), first)


def metrics_links(runs: pl.DataFrame) -> list[Link | None]:
    """Return for each run (sampler, amount, size) the metrics that it is about."""
    return [
        (f"{sampler}/metrics", size if sampler == FULL else f"{rate}|{size}")
        for sampler, rate, size in runs.select("sampler", "rate", "size").rows()
    ]


def groups(rows: pl.DataFrame, *keys: str) -> Iterator[tuple[tuple[str, ...], pl.DataFrame]]:
    """Yield the rows of each amount and size, or whatever the keys are, in the order in which they come first."""
    for values, part in rows.group_by(*keys, maintain_order=True):
        yield tuple(map(str, values)), part


def at(rate: str, size: str) -> str:
    """Return what a sentence calls the runs of an amount and size."""
    return f"{label(rate)} with the {size} T5"


def figure_name(*parts: str) -> str:
    """Return the name of a figure, which its file has as well: of letters, digits and underscores."""
    return re.sub(r"\W+", "_", "_".join(parts))


def kind_of(keys: Sequence[str]) -> list[str]:
    """Return what the name of a figure over amounts says of their kind: nothing of rates."""
    kind = of_key(keys[0]).kind
    return [] if kind == "rate" else [kind]


def some(names: Sequence[str], most: int) -> str:
    """Return the first few names of a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def read_section(folder: Path) -> Section:
    """Read what `publish` wrote. ValueError where another version of the program wrote something else."""
    return _SECTION.validate_json((folder / SECTION).read_bytes())


_SECTION = TypeAdapter(Section)
