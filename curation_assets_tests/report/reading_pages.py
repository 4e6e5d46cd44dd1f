"""A page as a parser sees it, for tests."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"meta", "img"}


class Page(HTMLParser):
    """Elements in their order as (name, attributes, text directly in them), and whether all were closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.well_formed = True
        self.feed(source)
        self.close()
        self.well_formed = self.well_formed and not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag not in _VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        if not self._open or self.elements[self._open.pop()][0] != tag:
            self.well_formed = False

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self._open:
            self.elements[self._open[-1]][2].append(data)

    def attributes(self, name: str) -> list[str]:
        """Return the values of an attribute wherever it stands."""
        return [str(attrs[name]) for _, attrs, _ in self.elements if name in attrs]

    def text(self, *names: str) -> str:
        """Return the text directly in elements of these names; of all without names, but not the style sheet's."""
        parts = ("".join(t) for tag, _, t in self.elements if (tag in names if names else tag != "style"))
        return re.sub(r"[ \t]+", " ", "\n".join(parts))


_NAMES = """
html head meta title style body header nav main section h1 h2 h3 h4 p ul ol li dl dt dd a strong code pre span div small details
summary figure figcaption table caption thead tbody tr th td svg path img
"""
ELEMENTS = set(_NAMES.split())
"""What may stand in a page: nothing that runs or loads anything."""


def assert_inert(page: Page) -> None:
    """Check that nothing in a page could run, or load anything from anywhere."""
    assert {name for name, _, _ in page.elements} <= ELEMENTS
    for _, attrs, _ in page.elements:
        for key, value in attrs.items():
            assert not key.startswith("on") and key not in (
                "srcdoc",
                "srcset",
                "action",
                "formaction",
                "background",
                "ping",
            )
            if key == "src":  # an image, in which nothing can run or load anything
                assert re.fullmatch(r"data:image/svg\+xml;base64,[A-Za-z0-9+/]+=*", str(value))
            if key in ("href", "xlink:href"):
                assert re.fullmatch(r"#[A-Za-z][A-Za-z0-9_-]*|(figures|data)/[A-Za-z0-9._-]+", str(value)), (
                    value
                )
            if key == "http-equiv":
                assert value == "Content-Security-Policy"
            if key not in ("title", "alt", "aria-label", "content"):  # those are texts
                assert "url(" not in str(value)
    sheets = [text for name, _, text in page.elements if name == "style"]
    assert len(sheets) == 1 and "url(" not in "".join(sheets[0]) and "@import" not in "".join(sheets[0])
    assert page.well_formed
