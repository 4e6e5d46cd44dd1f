"""The report as one HTML page that needs nothing else: no server, no script, no font, no picture from elsewhere.

`render` takes what the sections say and returns the page, by the templates beside this file. Whatever comes in is text, and is
escaped there; figures are images, in which nothing can run.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import accumulate, groupby
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from curation_assets.common.drawing.styles import style_of
from curation_assets.common.files import fingerprint
from curation_assets.common.markdown import HIDDEN, number, significant
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.context import FOLLOWS
from curation_assets.engine.workspace import title
from curation_assets.report.section import Excerpt, Link, Section, Table

_WIDE = 28  # characters; a longer cell is broken into lines
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
Verdict = Literal["better", "worse", "noise", "unknown", "missing"]
SIGNS: dict[Verdict, tuple[str, str]] = {
    "better": ("▲", "better than random sampling, beyond the noise"),
    "worse": ("▼", "worse than random sampling, beyond the noise"),
    "noise": ("·", "within the noise"),
    "unknown": ("?", "the noise is not known: one seed, or no spread over seeds"),
    "missing": ("–", "not measured"),
}


class Mark(NamedTuple):
    """A cell of a glance: the number as people read it, what it means, and the artifact that it comes from."""

    shown: str
    verdict: Verdict
    link: Link | None = None

    @property
    def sign(self) -> str:
        """What tells the verdict without colour."""
        return SIGNS[self.verdict][0]

    @property
    def meaning(self) -> str:
        """The verdict in words."""
        return SIGNS[self.verdict][1]


@dataclass(frozen=True)
class Glance:
    """Samplers against random sampling, {sampler: a mark for each column}; `spans` are (heading, columns under it)."""

    title: str
    spans: Sequence[tuple[str, int]]
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Mark]]
    note: str

    def key(self) -> list[tuple[str, tuple[str, str]]]:
        """Return the signs that occur, {verdict: (sign, meaning)}."""
        used = {mark.verdict for marks in self.rows.values() for mark in marks}
        return [(verdict, sign) for verdict, sign in SIGNS.items() if verdict in used]

    def spans_of(self, columns: Sequence[tuple[int, bool]]) -> Iterator[tuple[str, int, str | None]]:
        """Yield (heading, columns under it, class) for some columns, of which those with True show in large windows alone."""
        for (name, width), end in zip(self.spans, accumulate(width for _, width in self.spans), strict=True):
            own = [more for i, more in columns if end - width <= i < end]
            few = own.count(False)
            if few:
                yield name, few, None if few == len(own) else "fewer"
            if few < len(own):
                yield name, len(own), "more"


class Column(NamedTuple):
    """A column on the page: numbers are aligned right, `more` shows in large windows alone."""

    name: str
    numeric: bool
    more: bool = False

    def classes(self, text: str = "") -> str | None:
        """Return the classes of a cell with this text."""
        wide = "w" if len(text) > _WIDE else ""
        return " ".join(filter(None, ("n" if self.numeric else wide, "more" if self.more else ""))) or None


@dataclass(frozen=True)
class Grid:
    """A table as it stands on the page: `lines` are (cells with their columns, what the row is about)."""

    caption: str
    columns: list[Column]
    texts: list[list[str]]
    references: Sequence[Reference | None] = ()
    source: str | None = None

    @property
    def lines(self) -> Iterator[tuple[list[tuple[Column, str]], Reference | None]]:
        """The rows."""
        references = self.references or [None] * len(self.texts)
        for row, reference in zip(self.texts, references, strict=True):
            yield list(zip(self.columns, row, strict=True)), reference


@dataclass(frozen=True)
class Part:
    """One report: its asset key; the section, None where it has not been made; why it is out of date or cannot be read, [] where it can.

    `svgs` are the figures by name, `data` the rows behind some of them, `downloads` {file as the section calls it: relative path}.
    """

    key: str
    section: Section | None
    stale: Sequence[str] = ()
    svgs: Mapping[str, bytes] = field(default_factory=dict)
    data: Mapping[str, Grid] = field(default_factory=dict)
    downloads: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its anchor."""
        return anchor("part", self.key)

    @property
    def name(self) -> str:
        """Its heading."""
        return self.section.title if self.section else self.key.rsplit("/", 1)[-1].capitalize()

    @property
    def out_of_date(self) -> str:
        """Why it is out of date, in a sentence."""
        if list(self.stale) == [FOLLOWS]:
            return "Made from what is out of date itself."
        return f"Out of date: {'; '.join(self.stale)}."

    def files(self, figure: str) -> list[tuple[str, str]]:
        """Return (what it is called, path) of a figure's downloads."""
        known = [(end, self.downloads.get(f"{figure}.{end}")) for end in ("svg", "png", "pdf", "parquet")]
        return [("data" if end == "parquet" else end.upper(), path) for end, path in known if path]


class Source(NamedTuple):
    """An artifact behind the page: asset key, partition, version ("" where it is missing), and what is wrong with it, if anything.

    `texts` is where texts of the subset behind it are, "" where there are none.
    """

    key: str
    partition: str
    version: str
    state: str = ""
    texts: str = ""

    @property
    def trace(self) -> str:
        """The shell command that follows it back."""
        of = f" --partition {shlex.quote(self.partition)}" if self.partition else ""
        return f"curation trace {shlex.quote(self.key)}{of}"


class Reference(NamedTuple):
    """Where on the page an artifact is told of, its name, and where texts of the subset behind it are."""

    id: str
    title: str
    texts: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    `lead` is what a reader sees first (`summary.first_sentences`), `facts` are what was compared, `glances` the comparison to take in
    at once.
    """

    title: str
    lead: Sequence[str]
    facts: Sequence[tuple[str, str]]
    glances: Sequence[Glance]
    parts: Sequence[Part]
    sources: Sequence[Source]

    @property
    def comparison(self) -> Part | None:
        """The comparison, where it has any finding."""
        first = self.parts[0] if self.parts else None
        return first if first and first.section and first.section.findings else None

    @property
    def found(self) -> list[str]:
        """The lead, then the findings of the comparison."""
        findings = self.comparison.section.findings if self.comparison and self.comparison.section else []
        return [*self.lead, *findings]

    @property
    def warnings(self) -> list[Part]:
        """What is missing or out of date."""
        return [part for part in self.parts if part.section is None or part.stale]


def render(report: Report) -> str:
    """Return the page. The same report gives the same bytes."""
    references = {
        source[:2]: Reference(anchor("from", *source[:2]), title(*source[:2]), source.texts)
        for source in report.sources
    }
    css, policy = styled()
    page = environment().get_template("page.html")
    return page.render(report=report, references=references, css=css, policy=policy)


def styled() -> tuple[Markup, str]:
    """Return the style sheet, and the policy of a page that has it."""
    css = files("curation_assets.report").joinpath("templates/style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    # This style sheet and style attributes, and nothing else: browsers that do not tell one from the other go by `style-src`.
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; style-src-elem 'sha256-{digest}'; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Markup(css), policy


@cache
def environment() -> Environment:
    """Return what renders the templates."""
    environment = Environment(
        loader=PackageLoader("curation_assets.report"),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"strong": _strong, "prose": _prose, "base64": _base64}
    functions = (anchor, fitted, fitted_glance, lists, percentiles)
    environment.globals |= {function.__name__: function for function in functions}
    return environment


def _finalized(value: Any) -> Any:
    """Make every text visible on its way to being escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def visible(value: str) -> str:
    """Replace characters that hide, reorder or steer text by symbols for them: ␛ for escape, ⟨U+202E⟩ for a bidi override.

    Tabs and line feeds stay.
    """
    return HIDDEN.sub(_symbol, value)


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def _strong(text: str) -> Markup:
    """Return a sentence of plain text as markup; `**words**` are strong."""
    return Markup(_BOLD.sub(r"<strong>\1</strong>", str(escape(visible(text)))))


def _prose(text: str) -> Markup:
    """Return paragraphs of plain text as markup."""
    parts = (part for part in re.split(r"\n\s*\n", text.strip()) if part)
    return Markup("".join(f"<p>{_strong(part)}</p>" for part in parts))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def anchor(*parts: str) -> str:
    """Return an id that is safe in an address: readable, and another one for other parts."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(parts)).strip("-").lower()[:60]
    return f"{'' if slug[:1].isalpha() else 'x-'}{slug}-{fingerprint(*parts)[:10]}"


class _Room(NamedTuple):
    """Pixels for a table in a window of some width, and about what its parts take there (`style.css`)."""

    width: float
    character: float
    padding: float
    long: float

    def fit(self, order: Sequence[int], widths: Sequence[int]) -> set[int]:
        """Return the first columns of `order` that fit beside each other, one at least; `widths` are in characters."""
        taken = accumulate(
            self.long if widths[i] > _WIDE else self.padding + self.character * widths[i] for i in order
        )
        return {i for n, (i, end) in enumerate(zip(order, taken, strict=True)) if not n or end <= self.width}


_SMALL, _LARGE = _Room(352, 7.6, 8, 150), _Room(880, 8.1, 13, 250)  # in a window of 390 pixels, and of 1200
_GLANCE = _LARGE._replace(width=640)


def _width(name: str, texts: Sequence[str]) -> int:
    """Return how many characters wide a column is, whose heading is broken at spaces."""
    return max(4, *map(len, texts), *map(len, name.split()))


def _fold(shown: Collection[int], large: Collection[int], count: int) -> str | None:
    """Return the classes of the fold with all columns, which large windows do not need where they show all; None without a fold."""
    return None if len(shown) == count else "whole" if len(large) < count else "whole small"


class Fitted(NamedTuple):
    """A table with the columns that there is room for, with all of them where that is not all, and the classes of that fold."""

    first: Grid
    whole: Grid | None
    fold: str | None


def fitted(table: Table, references: Mapping[Link, Reference], source: str | None) -> Fitted:
    """Return a section's table for the page; rows that are about an artifact refer to where that is told of."""
    linked = [references.get(link) if link else None for link in table.links]
    texts = [[_shown(value) for value in row] for row in table.rows]
    count = len(table.columns)
    widths = [_width(name, [row[i] for row in texts]) for i, name in enumerate(table.columns)]
    order = [table.columns.index(name) for name in table.first] or list(range(count))
    small, large = (room.fit(order, widths) for room in (_SMALL, _LARGE))
    columns = [Column(name, name not in table.text, i not in small) for i, name in enumerate(table.columns)]
    kept = [i for i in range(count) if i in large]
    picked = [[row[i] for i in kept] for row in texts]
    first = Grid(table.caption, [columns[i] for i in kept], picked, linked, source)
    fold = _fold(small, large, count)
    every = [column._replace(more=False) for column in columns]
    return Fitted(first, Grid(f"{table.caption}: all columns", every, texts, linked) if fold else None, fold)


class FittedGlance(NamedTuple):
    """Columns as (number, whether large windows alone show it): those that there is room for, and all; the classes of the fold."""

    columns: list[tuple[int, bool]]
    spans: list[tuple[str, int, str | None]]
    every: list[tuple[int, bool]]
    fold: str | None


def fitted_glance(glance: Glance) -> FittedGlance:
    """Return which columns of a glance there is room for."""
    count = len(glance.columns)
    texts = [[f"{marks[i].shown} ·" for marks in glance.rows.values()] for i in range(count)]
    widths = [_width(name, own) for name, own in zip(glance.columns, texts, strict=True)]
    widths.append(_width("sampler", list(glance.rows)))
    small, large = (room.fit([count, *range(count)], widths) - {count} for room in (_SMALL, _GLANCE))
    columns = [(i, i not in small) for i in range(count) if i in large]
    every = [(i, False) for i in range(count)]
    return FittedGlance(columns, list(glance.spans_of(columns)), every, _fold(small, large, count))


def numbers_of(columns: Sequence[str], rows: Sequence[Sequence[Any]], total: int) -> Grid:
    """Return the rows behind a figure for people, of so many in `total`."""
    more = "" if len(rows) == total else f", the first {len(rows):,} of {total:,} rows"
    kinds = [{type(value) for value in values} - {type(None)} for values in zip(*rows, strict=True)]
    heads = [
        Column(name, bool(own) and own <= {int, float})
        for name, own in zip(columns, kinds or [set()] * len(columns), strict=True)
    ]
    return Grid(f"Numbers of the figure{more}", heads, [[_shown(value, 3) for value in row] for row in rows])


def _shown(value: Any, digits: int = 0) -> str:
    """Return a cell as people read it; `digits` are the significant ones of numbers that are not whole, 0 for four."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, Real):
        return str(value)
    return number(value) if isinstance(value, Integral) or not digits else significant(value, digits)


def lists(excerpts: Sequence[Excerpt]) -> list[tuple[str, list[tuple[str, list[Excerpt]]]]]:
    """Return the documents to read as [(group, [(side, documents)])], in their order."""
    return [
        (" and ".join(samplers), [(side, list(part)) for side, part in groupby(members, lambda e: e.side)])
        for samplers, members in groupby(excerpts, lambda e: e.samplers)
    ]


class Bar(NamedTuple):
    """A bar of a strip."""

    path: str
    colour: str
    title: str


class Strip(NamedTuple):
    """Percentiles of a document in words, and as bars from the middle percentile up or down, grouped by family."""

    text: str
    bars: list[Bar]
    width: int


def percentiles(of: Mapping[str, float]) -> Strip:
    """Return percentiles of the registry's samplers in its order, then of others by name."""
    known = [name for name in SAMPLERS if name in of]
    names = [*known, *sorted(set(of) - set(known))]
    bars: list[Bar] = []
    x, last = 0, ""
    for name in names:
        family = SAMPLERS[name].family if name in SAMPLERS else "other"
        x += 5 if bars and family != last else 0
        last, y = family, 15 - (of[name] - 50) / 50 * 15
        top, height = min(y, 15), max(abs(15 - y), 0.6)
        path = f"M{x} {top:.1f}h7v{height:.1f}h-7z"
        bars.append(Bar(path, style_of(name).colour, f"{name} {of[name]:.1f}"))
        x += 9
    return Strip(", ".join(bar.title for bar in bars), bars, x - 2)
