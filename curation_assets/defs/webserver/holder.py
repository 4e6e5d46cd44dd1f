"""One UI, and so one daemon, for a data folder: a lock that the living process holds, and whose file says who that is."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from curation_assets.config.profile import ProfileError

OURS = "CURATION_UI"
"""Names, in the environment of what a UI started, that UI's process."""
_FILE = ".ui.lock"
_ENDED = "ended"


@dataclass(frozen=True)
class Holder:
    """The process of the UI that is at work, and where it answers."""

    pid: str
    url: str


class Lock:
    """A data folder that this process holds.

    Attributes
    ----------
    ended : when the last UI with a daemon ended, in seconds since the epoch; 0 if none did, or it was killed.
    started : whether this one has started a daemon.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file, self.started = file, False
        file.seek(0)
        words = file.read().split()
        self.ended = float(words[1]) if len(words) == 2 and words[0] == _ENDED else 0.0

    def announce(self, url: str) -> None:
        """Write down where the UI will be."""
        self._write(f"{os.getpid()} {url}\n")

    def release(self) -> None:
        """Write down that the UI has ended, if it had a daemon."""
        ended = time.time() if self.started else self.ended
        self._write(f"{_ENDED} {ended}\n" if ended else "")

    def _write(self, line: str) -> None:
        self._file.truncate(0)
        self._file.write(line)
        self._file.flush()


@contextmanager
def held(data: Path) -> Iterator[Lock]:
    """Hold a data folder for the UI of this process; however that ends, the lock ends with it.

    Raises
    ------
    ProfileError
        Another UI holds it; the message names it.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / _FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = _read(data)
            raise ProfileError(
                f"a UI is at work in {data} already: {other.url}, process {other.pid} (stop it with: kill {other.pid})"
                if other
                else f"a UI is at work in {data} already"
            ) from None
        lock = Lock(file)
        try:
            yield lock
        finally:
            lock.release()


def another(data: Path) -> Holder | None:
    """Return the UI that is at work in a data folder, unless this process belongs to it."""
    try:
        with (data / _FILE).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:
        holder = _read(data)
        return None if holder is None or os.environ.get(OURS) == holder.pid else holder
    return None


def _read(data: Path) -> Holder | None:
    with suppress(OSError, ValueError):
        pid, url = (data / _FILE).read_text("utf-8").split()
        return Holder(pid, url) if pid.isdigit() else None
    return None
