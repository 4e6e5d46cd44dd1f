"""Text for a terminal: as wide as that is, each line of printable characters alone."""

from __future__ import annotations

import re
import shutil
import textwrap

_DEFAULT, _LEAST = 80, 40


def columns() -> int:
    """Return how wide a line may be: the terminal's columns, or COLUMNS, and 80 where there is no terminal."""
    return max(shutil.get_terminal_size((_DEFAULT, 24)).columns, _LEAST)


def plain(text: str) -> str:
    """Put a text on one line that a terminal shows as it is: names and messages may hold what a file's owner likes."""
    line = re.sub(r"[\t-\r]+", " ", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def counted(count: int, what: str) -> str:
    """Return "1 file", "2,000 files"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(name: str, width: int) -> str:
    """Return a name of at most `width` characters: where it is longer, its middle is left out."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[-end:] if end else ''}"


def wrapped(text: str, first: str = "", others: str = "  ", width: int | None = None) -> list[str]:
    """Break a text into lines; `first` begins the first of them, `others` the rest. A word that is too long is cut."""
    return textwrap.wrap(
        plain(text),
        width or columns(),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )
