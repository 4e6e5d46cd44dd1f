"""What a person sees of a run: a log of its stages, and on a terminal what is being worked on below it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from curation_assets.common.progress import Line, duration

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_QUIET_SECONDS = 3.0


@dataclass
class _Work:
    """Work that goes on, and what was heard of it last, and when."""

    began: Line
    since: float
    last: str
    heard: float


class Watching:
    """Hears the lines of a run and prints every stage, and of what happens inside it at most a line every few seconds.

    On a terminal there is a line for each step that is worked on below these, with how far it is and the time left; what it
    tells of its progress stays out of the log then. Of a step at which several work, what was heard last is shown.
    """

    def __init__(self, started: float) -> None:
        self._started, self._printed = started, started
        self._at_work: list[_Work] = []
        self._live = self._on_terminal() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else None

    def _on_terminal(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(highlight=False, markup=False, emoji=False)
        return Live(console=console, get_renderable=self._lines, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was; what is printed from now on stands below the log."""
        if self._live:
            self._live.stop()

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if isinstance(line, Line):
            self._note(line, now)
        stage = line.startswith("---")
        advance = isinstance(line, Line) and line.when == "during" and self._live
        ended = isinstance(line, Line) and line.when == "end"
        if not ended and not advance and (stage or now - self._printed >= _QUIET_SECONDS):
            self._printed = now
            more = self._more(line.keys) if isinstance(line, Line) and line.when == "during" else ""
            self._print(f"{duration(now - self._started):>12}  {line}{more}")

    def _note(self, line: Line, now: float) -> None:
        if line.when == "begin":
            self._at_work = [*self._at_work, _Work(line, now, line.removeprefix("--- "), now)]
        elif line.when == "end":
            ended = (line.keys, line.partitions)
            self._at_work = [w for w in self._at_work if (w.began.keys, w.began.partitions) != ended]
        for work in self._at_work if line.when == "during" else ():
            if line.keys[0] in work.began.keys and line.partitions[0] in work.began.partitions:
                work.last, work.heard = str(line), now

    def _more(self, keys: tuple[str, ...]) -> str:
        """Return ", 3 more at work" where others work on the same step."""
        others = sum(work.began.keys == keys for work in self._at_work) - 1
        return f" ({others:,} more at work)" if others > 0 else ""

    def _print(self, line: str) -> None:
        if self._live:
            self._live.console.print(_shown(line), soft_wrap=True)
        else:
            print(line, flush=True)

    def _lines(self) -> RenderableType:
        """Return a line for each step that is worked on, cut to the terminal's width."""
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        latest = {work.began.keys: work for work in sorted(self._at_work, key=lambda work: work.heard)}
        lines = [
            f"{duration(now - work.since):>12}  {_shown(work.last)}{self._more(keys)}"
            for keys, work in latest.items()
        ]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis", style="cyan") for line in lines))


def _shown(line: str) -> str:
    """Return a line as a terminal may have it: names of files can hold what would steer it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
