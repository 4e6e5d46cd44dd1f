"""Progress of long work, told to whoever listens: a terminal, a run's log, or nobody."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Literal, Protocol


class Progress(Protocol):
    """What long work calls as it advances: `progress(done, total, unit, note)`. It must be cheap to call often."""

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Tell that `done` of `total` `unit`s are finished; `note` is a short extra such as a loss."""


class Line(str):
    """A line of a run that says which work it is about, for who shows each piece of work as long as it goes on.

    Attributes
    ----------
    keys, partitions : the assets at work, and on which partitions.
    when : whether their work begins, goes on or has ended.
    """

    keys: tuple[str, ...]
    partitions: tuple[str, ...]
    when: Literal["begin", "during", "end"]

    @classmethod
    def about(
        cls,
        text: str,
        keys: tuple[str, ...],
        partitions: tuple[str, ...],
        when: Literal["begin", "during", "end"],
    ) -> Line:
        """Return the line."""
        line = cls(text)
        line.keys, line.partitions, line.when = keys, partitions, when
        return line


def silent(done: float, total: float, unit: str, note: str = "") -> None:
    """Ignore progress."""


def one_of(progress: Progress, number: int, count: int) -> Progress:
    """Return the progress of part `number`, from 0, of `count` parts of equal size, as progress of the whole."""

    def report(done: float, total: float, unit: str, note: str = "") -> None:
        progress(number * total + done, count * total, unit, note)

    return report


def after(progress: Progress, before: float, whole: float) -> Progress:
    """Return the progress of a part that begins when `before` of `whole` are finished."""

    def report(done: float, total: float, unit: str, note: str = "") -> None:
        progress(before + done, whole, unit, note)

    return report


def part_of(
    progress: Progress, before: float, size: float, whole: float, in_unit: str = "", prefix: str = ""
) -> Progress:
    """Return the progress of a part that is `size` of `whole` and begins when `before` is finished, counted in the whole's unit."""

    def report(done: float, total: float, unit: str, note: str = "") -> None:
        progress(before + size * done / total, whole, in_unit or unit, prefix + note)

    return report


class Throttled:
    """A `Progress` that passes a line on at most every `seconds`, with the rate and the time left.

    Nothing is told of work that takes less than `seconds`; of longer work, the end is.
    """

    def __init__(self, emit: Callable[[str], object], label: str, seconds: float = 3.0) -> None:
        self._emit, self._label, self._seconds = emit, label, seconds
        self._since: tuple[float, float] | None = None  # (time, done) of the first call
        self._emitted = time.monotonic()
        self._begun = False

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Emit one line unless one was emitted less than `seconds` ago."""
        now = time.monotonic()
        if self._since is None:
            self._since = (now, done)
        if now - self._emitted < self._seconds and not (self._begun and done >= total):
            return
        self._emitted, self._begun = now, True
        since, first = self._since
        rate = (done - first) / (now - since) if now > since else 0.0
        left = f", {duration((total - done) / rate)} left" if rate > 0 and done < total else ""
        speed = f", {rate:,.0f} {unit}/s" if rate > 0 else ""
        self._emit(
            f"{self._label}: {done:,.0f} of {total:,.0f} {unit}{speed}{left}{'; ' + note if note else ''}"
        )


def on_stderr(label: str) -> Throttled:
    """Return the progress of a command, whose lines go where its output does not."""
    return Throttled(lambda line: print(line, file=sys.stderr, flush=True), label)


def duration(seconds: float) -> str:
    """Render a duration for people: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
