"""The report as one HTML page that needs nothing else: no server, no script, no font, no picture from elsewhere.

`render` takes what the sections say and returns the page. Whatever comes in is text, and is escaped by `html`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from curation_assets.engine.workspace import title
from curation_assets.report.html import EMPTY, Html, anchor, inline_svg, join, tag, text
from curation_assets.report.page_appendix import Source, appendix
from curation_assets.report.page_excerpts import excerpts
from curation_assets.report.page_tables import Glance, Reference, References, data_table, glance, plain_table
from curation_assets.report.section import Figure, Section

_LEAD = 3  # sentences of what was found; the rest is behind a click
_FACTS = 6  # of what was compared, likewise
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")


@dataclass(frozen=True)
class Data:
    """Rows behind a figure, for people: columns and as many rows as are shown; `total` is how many there are."""

    columns: list[str]
    rows: list[list[str | int | float | None]]
    total: int


@dataclass(frozen=True)
class Part:
    """One report: its asset key; the section, None where it has not been made; why it is out of date, [] where it is not.

    `svgs` are the figures by name, `data` the rows behind some of them, `downloads` {file as the section calls it: relative path}.
    """

    key: str
    section: Section | None
    stale: list[str] = field(default_factory=list)
    svgs: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Data] = field(default_factory=dict)
    downloads: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    `advice` is what to use, in sentences, `facts` are what was compared, `glances` the comparison to take in at once.
    """

    title: str
    advice: Sequence[str]
    facts: Mapping[str, str]
    glances: Sequence[Glance]
    parts: Sequence[Part]
    sources: Sequence[Source]


def render(report: Report) -> str:
    """Return the page. The same report gives the same bytes."""
    css = files("curation_assets.report").joinpath("style.css").read_text("utf-8")
    references: References = {
        (s.key, s.partition): Reference(anchor("from", s.key, s.partition), title(s.key, s.partition))
        for s in report.sources
    }
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(css)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", report.title),
        tag("style", Html(css)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the contents", class_="skip", href="#contents"),
        _first_screen(report, references),
        tag(
            "div",
            _contents(report),
            tag(
                "main",
                [_part(part, references) for part in report.parts],
                appendix(report.sources, references),
            ),
            class_="columns",
        ),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _policy(css: str) -> str:
    """Return a policy that lets this style sheet and style attributes in, and nothing else: no script, no request.

    Browsers that do not tell sheets from attributes go by `style-src`.
    """
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; style-src-elem 'sha256-{digest}'; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _first_screen(report: Report, references: References) -> Html:
    comparison = report.parts[0] if report.parts else None
    warnings = [_warning(part) for part in report.parts if part.section is None or part.stale]
    return tag(
        "header",
        tag("h1", report.title),
        tag(
            "div",
            tag(
                "section",
                tag("h2", "What was found"),
                _found(report.advice, comparison),
                class_="found",
            ),
            tag(
                "section",
                [glance(g, references, open_=i == 0) for i, g in enumerate(report.glances)],
                class_="glances",
            ),
            tag(
                "section",
                tag("h2", "What was compared"),
                _facts(list(report.facts.items())),
            ),
            class_="summary",
        ),
        tag("ul", warnings, class_="warnings") if warnings else None,
    )


def _found(advice: Sequence[str], comparison: Part | None) -> Html:
    """Return what to use and the first findings of the comparison, three sentences in all; the rest folded; where the reasons stand."""
    said = comparison.section.findings if comparison and comparison.section else []
    if comparison is None or not said:
        nothing = tag("p", "Nothing yet: the comparison has not been made, or has found nothing.")
        return join(_sentences(advice), nothing)
    first = [*advice[:1], *said][:_LEAD]
    rest = [*advice[1:], *said[len(first) - len(advice[:1]) :]]
    return join(
        _sentences([*first, *rest]), tag("p", tag("a", "Why, and how sure", href=f"#{_id(comparison)}"))
    )


def _sentences(said: Sequence[str]) -> Html:
    """Return sentences as a list, those after the first few folded away."""
    lines = [tag("li", prose_line(one)) for one in said]
    if len(lines) <= _LEAD:
        return tag("ul", lines, class_="findings") if lines else EMPTY
    more = tag("summary", f"{len(lines) - _LEAD} more")
    return join(
        tag("ul", lines[:_LEAD], class_="findings"),
        tag("details", more, tag("ul", lines[_LEAD:], class_="findings"), class_="more-findings"),
    )


def _facts(facts: Sequence[tuple[str, str]]) -> Html:
    def listed(some: Sequence[tuple[str, str]]) -> Html:
        return tag("dl", [[tag("dt", k), tag("dd", v)] for k, v in some], class_="facts")

    rest = tag("details", tag("summary", "More"), listed(facts[_FACTS:])) if facts[_FACTS:] else None
    return join(listed(facts[:_FACTS]), rest)


def _warning(part: Part) -> Html:
    if part.section is None:
        return tag("li", tag("a", _name(part), href=f"#{_id(part)}"), " has not been made.")
    return tag("li", tag("a", _name(part), href=f"#{_id(part)}"), " is out of date.")


def _contents(report: Report) -> Html:
    lines = [
        tag("li", tag("a", _name(part), href=f"#{_id(part)}"), None if part.section else " (not made)")
        for part in report.parts
    ]
    end = tag("li", tag("a", "Where the numbers come from", href="#sources"))
    return tag("nav", tag("h2", "Contents"), tag("ol", lines, end), id="contents", aria_label="Contents")


def _name(part: Part) -> str:
    return part.section.title if part.section else part.key.rsplit("/", 1)[-1].capitalize()


def _id(part: Part) -> str:
    return anchor("part", part.key)


def _part(part: Part, references: References) -> Html:
    section = part.section
    if section is None:
        how = tag("p", tag("strong", "Not made yet."), " ", _how_to_make(part.key))
        return tag("section", tag("h2", _name(part)), how, id=_id(part), class_="part missing")
    tables = [data_table(table, references, part.downloads.get(table.source, "")) for table in section.tables]
    origin = references.get((part.key, ""))
    return tag(
        "section",
        tag("h2", section.title),
        _stale(part) if part.stale else None,
        prose(section.intro),
        _sentences(section.findings) if section.findings else None,
        [_figure(part, figure) for figure in section.figures],
        excerpts(section.excerpts, references) if section.excerpts else None,
        tables,
        tag("details", tag("summary", "How this was computed"), prose(section.method), class_="method")
        if section.method
        else None,
        tag("p", "From ", tag("a", tag("code", part.key), href=f"#{origin.id}"), class_="origin")
        if origin
        else None,
        id=_id(part),
        class_="part",
    )


def _stale(part: Part) -> Html:
    return tag(
        "div",
        tag(
            "p",
            tag("strong", "Out of date. "),
            "Made from what is not there any more: ",
            "; ".join(part.stale),
            ".",
        ),
        tag("p", _how_to_make(part.key)),
        class_="stale",
        role="note",
    )


def _how_to_make(key: str) -> Html:
    return join(
        "To make it: ", tag("code", "curation run"), ", or materialize ", tag("code", key), " in the UI."
    )


def _figure(part: Part, figure: Figure) -> Html:
    links = [(end, part.downloads.get(f"{figure.name}.{end}")) for end in ("svg", "png", "pdf", "parquet")]
    known = [tag("a", end.upper() if end != "parquet" else "data", href=path) for end, path in links if path]
    return tag(
        "figure",
        tag(
            "div",
            inline_svg(part.svgs[figure.name], figure.alt),
            class_="picture",
            tabindex="0",
            role="group",
            aria_label=figure.alt,
        ),
        tag(
            "figcaption",
            tag("span", figure.caption or figure.alt),
            tag("span", [[" ", link] for link in known], class_="downloads") if known else None,
        ),
        _data(part.data[figure.name]) if figure.name in part.data else None,
        id=anchor("figure", part.key, figure.name),
    )


def _data(data: Data) -> Html:
    shown = len(data.rows)
    more = "" if shown == data.total else f", the first {shown:,} of {data.total:,} rows"
    table = plain_table(data.columns, data.rows, f"Numbers of the figure{more}", digits=3)
    return tag("details", tag("summary", "Numbers of this figure"), table)


def prose(source: str) -> Html:
    """Return paragraphs of plain text; `**words**` are strong."""
    return join(*(tag("p", prose_line(part)) for part in re.split(r"\n\s*\n", source.strip()) if part))


def prose_line(source: str) -> Html:
    """Return a sentence of plain text as markup; `**words**` are strong."""
    return Html(_BOLD.sub(r"<strong>\1</strong>", text(source))) if source else EMPTY
