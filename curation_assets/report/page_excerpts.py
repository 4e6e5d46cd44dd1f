"""Documents to read, on the page: lists side by side, each document with a strip of its percentiles under all samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from curation_assets.common.drawing.looks import look
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.html import Html, tag
from curation_assets.report.page_tables import References
from curation_assets.report.section import Excerpt

_BAR, _GAP, _FAMILY_GAP, _HEIGHT = 7, 2, 5, 30


def excerpts(found: Sequence[Excerpt], references: References) -> Html:
    """Return all documents: one fold for each group, the first open."""
    groups = [(name, list(members)) for name, members in groupby(found, key=lambda e: e.group)]
    key = tag(
        "p",
        "Each strip has one bar for each sampler, in the order and colours of the figures; up is above the middle percentile, down "
        "below.",
        class_="note",
    )
    return tag("div", key, [_group(name, part, references, i == 0) for i, (name, part) in enumerate(groups)])


def _group(name: str, members: list[Excerpt], references: References, first: bool) -> Html:
    sides = [(side, list(part)) for side, part in groupby(members, key=lambda e: e.side)]
    about = ", ".join(f"{side} ({len(part)})" for side, part in sides)
    columns = [
        tag("section", tag("h4", side), tag("ol", [_document(e, name, references) for e in part]))
        for side, part in sides
    ]
    title = tag("h3", name, tag("small", f" {about}"))
    return tag(
        "details", tag("summary", title), tag("div", columns, class_="sides"), open=first, class_="group"
    )


def _document(found: Excerpt, group: str, references: References) -> Html:
    own = [name for name in found.percentiles if name in group.split(" and ")]
    told = ", ".join(f"{name} {found.percentiles[name]:.1f}" for name in sorted(own, key=group.index))
    reference = references.get(found.link) if found.link else None
    return tag(
        "li",
        tag("p", tag("code", found.heading), class_="id"),
        tag("p", found.meta, class_="meta"),
        tag("pre", found.text, tabindex="0"),
        tag("div", strip(found.percentiles), tag("span", "percentile: ", told), class_="percentiles"),
        tag("details", tag("summary", "all percentiles"), tag("p", _all(found.percentiles))),
        tag("p", tag("a", "where this comes from", href=f"#{reference.id}"), class_="meta")
        if reference
        else None,
        class_="document",
    )


def _ordered(percentiles: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the registry's samplers in its order, then others by name."""
    known = [name for name in SAMPLERS if name in percentiles]
    return [(name, percentiles[name]) for name in [*known, *sorted(set(percentiles) - set(known))]]


def _all(percentiles: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in _ordered(percentiles))


def strip(percentiles: Mapping[str, float]) -> Html:
    """Return bars from the middle percentile up or down to each sampler's, grouped by family."""
    x, family, middle = 0, "", _HEIGHT / 2
    bars = []
    for name, value in _ordered(percentiles):
        own = SAMPLERS[name].family if name in SAMPLERS else "other"
        x += _FAMILY_GAP if family and own != family else 0
        family = own
        y = middle - (value - 50) / 50 * middle
        top, height = min(y, middle), max(abs(middle - y), 0.6)
        shape = f"M{x} {top:.1f}h{_BAR}v{height:.1f}h-{_BAR}z"
        bars.append(tag("path", tag("title", f"{name} {value:.1f}"), d=shape, fill=look(name).colour))
        x += _BAR + _GAP
    line = tag("path", d=f"M0 {middle - 0.25:g}h{x - _GAP}v.5h-{x - _GAP}z", fill="currentColor")
    about = f"percentiles: {_all(percentiles)}"
    return tag(
        "svg", line, bars, viewBox=f"0 0 {x - _GAP} {_HEIGHT}", role="img", aria_label=about, class_="strip"
    )
