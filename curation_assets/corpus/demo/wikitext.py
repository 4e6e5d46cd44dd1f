"""Wikipedia articles from a MediaWiki dump, with their markup removed."""

from __future__ import annotations

import bz2
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_NOT_PROSE_TAGS = frozenset(
    [
        "table",
        "ref",
        "references",
        "gallery",
        "math",
        "chem",
        "syntaxhighlight",
        "source",
        "timeline",
        "score",
        "imagemap",
    ]
)
_REFERENCE = re.compile(r"<ref\b[^>]*?/>|<ref\b[^>]*>.*?</ref>", re.IGNORECASE | re.DOTALL)
_HEADING_END = "\x00"  # joins a section's title to its first paragraph, so that no split comes between
_NOT_PROSE_LINKS = ("file:", "image:", "category:", "media:")
# What follows the prose of an article; these sections and all after them are lists of works and links.
_TAIL = re.compile(
    r"^==\s*(see also|references|notes|footnotes|citations|sources|bibliography|works cited|further reading"
    r"|external links|notes and references)\s*==\s*$",
    re.IGNORECASE | re.MULTILINE,
)


def articles(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield (title, wikitext) of every article in a bzip2-compressed dump, in file order.

    Redirects and pages outside the article namespace are left out. Memory: one article.
    """
    with bz2.open(path) as file:
        for _, element in ElementTree.iterparse(file):
            if _local(element.tag) != "page":
                continue
            page = {_local(child.tag): child for child in element.iter()}
            if "redirect" not in page and page["ns"].text == "0":
                yield page["title"].text or "", page["text"].text or ""
            element.clear()


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def plain_text(wikitext: str) -> str:
    """Return an article's prose: paragraphs parted by blank lines, section titles on lines of their own.

    Templates, tables, references, formulas, files and categories go, and so does everything from "See also" or the
    notes on.
    """
    import mwparserfromhell

    if tail := _TAIL.search(wikitext):
        wikitext = wikitext[: tail.start()]
    # References go first: one that is left open inside a template would make the parser give up on what follows.
    text = _prose(mwparserfromhell.parse(_REFERENCE.sub("", wikitext)))
    text = re.sub(_HEADING_END + r"\s*", "\n", text)
    text = re.sub(r"[ \t\N{NO-BREAK SPACE}]+\n", "\n", text)
    text = re.sub(r" ?\([\s;,]*\)", "", text)  # brackets that held nothing but templates
    text = re.sub(r"(?<=\S) {2,}", " ", text).replace(" ,", ",")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _prose(code: Any) -> str:
    """Join what a reader would see of the nodes; `Wikicode.remove` would search the tree once a node instead."""
    from mwparserfromhell import nodes

    parts = []
    for node in code.nodes:
        if isinstance(node, nodes.Text):
            parts.append(str(node.value))
        elif isinstance(node, nodes.HTMLEntity):
            parts.append(node.normalize())
        elif isinstance(node, nodes.Heading):
            parts.append(_prose(node.title).strip() + _HEADING_END)
        elif isinstance(node, nodes.ExternalLink):
            parts.append(_prose(node.title) if node.title is not None else "")
        elif isinstance(node, nodes.Wikilink):
            if not str(node.title).strip().lower().startswith(_NOT_PROSE_LINKS):
                parts.append(_prose(node.title if node.text is None else node.text))
        elif isinstance(node, nodes.Tag) and str(node.tag).strip().lower() not in _NOT_PROSE_TAGS:
            parts.append("\n" if str(node.tag) == "br" else _prose(node.contents) if node.contents else "")
    return "".join(parts)
