"""Where the numbers come from: every artifact behind the page, with its version and the command that follows it back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from curation_assets.report.html import Html, tag
from curation_assets.report.page_tables import References


@dataclass(frozen=True)
class Source:
    """An artifact behind the page: asset key, partition, version ("" where it is missing), and what is wrong with it, if anything."""

    key: str
    partition: str
    version: str
    state: str = ""


def appendix(sources: Sequence[Source], references: References) -> Html:
    """Return the table of all artifacts, each where `references` say that it is told of."""
    lines = [
        tag(
            "tr",
            tag("th", tag("code", source.key), scope="row"),
            tag("td", source.partition),
            tag("td", tag("code", source.version) if source.version else "not there"),
            tag("td", source.state or "current"),
            tag("td", tag("code", trace_command(source.key, source.partition))),
            id=references[source.key, source.partition].id,
        )
        for source in sources
    ]
    names = ("Asset", "Partition", "Version", "State", "To follow it back")
    head = tag("thead", tag("tr", [tag("th", name, scope="col") for name in names]))
    caption = tag("caption", f"{len(sources):,} artifacts that the tables of this page are made from")
    return tag(
        "section",
        tag("h2", "Where the numbers come from"),
        tag(
            "p",
            "Each number above comes from one of these artifacts. A version is the fingerprint of the code, settings and inputs that "
            "made it, and of its rate and size: the same version means the same numbers. The command shows the tree behind an "
            "artifact, down to the files of the corpus, and what of it is out of date now; the states below are those of the moment "
            "when this page was made.",
        ),
        _folded(caption, head, lines) if lines else None,
        id="sources",
        class_="part",
    )


def _folded(caption: Html, head: Html, lines: list[Html]) -> Html:
    """Return the table folded away; a link to a row of it opens it."""
    table = tag("table", caption, head, tag("tbody", lines))
    box = tag("div", table, class_="box", tabindex="0", role="region", aria_label="Artifacts")
    return tag("details", tag("summary", f"{len(lines):,} artifacts, with versions and states"), box)


def trace_command(key: str, partition: str) -> str:
    """Return the shell command that follows an artifact back."""
    return f"curation trace {shlex.quote(key)}" + (
        f" --partition {shlex.quote(partition)}" if partition else ""
    )
