"""How an asset is made, and what people are told of it before they open it; each room's `products.py` lists its own."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name

from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne


def imported(target: str, *arguments: str) -> Builder:
    """Return a builder that is imported when it is first called: who describes or plans an asset imports no torch for it.

    Parameters
    ----------
    target : "package.module:function", a builder, or with `arguments` a function of them that returns one.
    """

    def build(context: Context) -> BuildOne:
        found = resolve_name(target)
        made: BuildOne = (found(*arguments) if arguments else found)(context)
        return made

    return build


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
