"""README.md, its neighbours and docs/*.md as data: their code blocks, commands, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

_FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *(\S*)\s*$")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_FILE = re.compile(r"^# ([\w./-]+\.\w+)$")


@dataclass(frozen=True)
class Block:
    """A block of code: the page, the line of its first line, the language ("" where it is indented), and its text.

    `heading` is the last heading before it.
    """

    page: Path
    line: int
    language: str
    text: str
    heading: str

    @property
    def where(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str:
        """The file that it says it is, in its first line; "" for none."""
        found = _FILE.match(self.text.split("\n", 1)[0])
        return found[1] if found else ""


@dataclass(frozen=True)
class Command:
    """A line of a shell block: variables that are set for it, and its words."""

    where: str
    variables: dict[str, str]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([*(f"{name}={value}" for name, value in self.variables.items()), *self.words])


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced and the indented code blocks of a page, in order."""
    lines = page.read_text("utf-8").split("\n")
    heading, at = "", 0
    while at < len(lines):
        if fence := _FENCE.match(lines[at]):
            end = _closing(lines, at, fence[2], page)
            yield Block(page, at + 2, fence[3], "\n".join(lines[at + 1 : end]), heading)
            at = end + 1
        elif lines[at].startswith("    ") and lines[at].strip() and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            text = "\n".join(line[4:] for line in lines[at:end]).rstrip()
            yield Block(page, at + 1, "", text, heading)
            at = end
        else:
            if found := _HEADING.match(lines[at]):
                heading = found[1]
            at += 1


def _closing(lines: list[str], start: int, fence: str, page: Path) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].strip().startswith(fence) and not lines[at].strip().strip(fence[0]):
            return at
    raise ValueError(f"{page.name}:{start + 1}: this block does not end")


def of_language(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page in some languages."""
    return [block for block in blocks(page) if block.language in languages]


def commands(block: Block) -> list[Command]:
    """Return the commands of a shell block: a line each, unless it ends with a backslash; comments are left out."""
    found = []
    for line in block.text.replace("\\\n", " ").split("\n"):
        words = shlex.split(line, comments=True)
        variables = {}
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, variables[name] = words.pop(0).partition("=")
        if words:
            found.append(Command(block.where, variables, tuple(words)))
        elif variables:
            raise ValueError(f"{block.where}: nothing is called in {line!r}")
    return found


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    lines = page.read_text("utf-8").split("\n")
    for block in blocks(page):
        first = block.line - 1
        for at in range(first, first + block.text.count("\n") + 1):
            lines[at] = ""
    return "\n".join("" if _FENCE.match(line) else line for line in lines)


def links(page: Path) -> list[str]:
    """Return where the links and pictures of a page lead."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {slug(heading) for heading in _HEADING.findall(prose(page))}


def slug(heading: str) -> str:
    """Return a heading's anchor: lower case, punctuation gone, spaces as hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def spans(page: Path) -> list[str]:
    """Return the `code` in a page's text."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))
