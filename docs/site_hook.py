"""What makes a site of the pages: README.md is its first page, and what they link to outside docs/ comes along."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parent.parent
_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages beside docs/, and what they are called in the site."""

_OUTSIDE = re.compile(r"\]\(\.\./([\w./-]+)")
_NOT_PAGES = "_links"
"""Folder of the site for files that are no pages: sources that a page points to."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie beside docs/, and the files there that pages link to."""
    linked = {
        name
        for page in files.documentation_pages()
        for name in _OUTSIDE.findall(page.content_string)
        if name not in _PAGES
    }
    for name, page in _PAGES.items():
        files.append(File.generated(config, page, content=_from_root((_ROOT / name).read_text("utf-8"))))
    for name in sorted(linked):  # as text, which a browser shows
        text = (_ROOT / name).read_text("utf-8")
        files.append(File.generated(config, f"{_NOT_PAGES}/{name}.txt", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Have links from docs/ to what lies beside it lead to where that is in the site."""

    def inside(link: re.Match[str]) -> str:
        return f"]({_PAGES.get(link[1], f'{_NOT_PAGES}/{link[1]}.txt')}"

    return _OUTSIDE.sub(inside, markdown)


def _from_root(text: str) -> str:
    """Return a page of the project's root as one of docs/."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(rf"\]\(({'|'.join(_PAGES)})", lambda link: f"]({_PAGES[link[1]]}", text)
