"""How an asset is made, and what people are told of it before they open it; each room's `products.py` lists its own."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.engine.workspace import Builder


@dataclass(frozen=True)
class Product:
    """One asset: how it is made and what people are told of it, in Markdown.

    Attributes
    ----------
    what : one line of plain text; lists show its beginning.
    more : what there is to know before one opens it.
    files : what lies in it besides the tables of `columns`.
    paper : where the paper has it: `figure 7`, `appendix B`; the first such place becomes a tag.
    use : what to do with it.
    """

    key: str
    build: Builder
    what: str
    more: str = ""
    files: str = ""
    paper: str = ""
    use: str = ""
