"""What was tried to make an artifact and has not succeeded: who is at it now, what failed and why, how often.

One small file beside the artifact, gone with the next success. It tells a failure from work not begun, keeps retries
apart, and is not part of any version.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace

import psutil

from curation_assets.engine.store import Store

_FILE = "attempt.json"
BELIEVED = 24 * 3600.0  # seconds for which an attempt on another machine is taken to be going on
_LONGEST = 3600.0
_CLOCK = 10.0  # seconds by which the system's times may be off


@dataclass(frozen=True)
class Attempt:
    """The latest attempt to make an artifact.

    Attributes
    ----------
    wanted : what it was to become: its recipe, or for a corpus file what the listing said of it.
    started : seconds since the epoch.
    number : attempts at `wanted` so far, with this one.
    ended : whether it ended; one that did not is going on, or its process died.
    error : why the last attempt at `wanted` that ended did; "" if none did. It stays while the next one goes on.
    """

    wanted: str
    started: float
    number: int
    run_id: str
    pid: int
    host: str
    ended: bool = False
    error: str = ""

    def running(self) -> bool:
        """Tell whether it goes on: its process lives (of another machine that is believed for a day)."""
        if self.ended:
            return False
        if self.host != socket.gethostname():
            return time.time() - self.started < BELIEVED
        return lives_since(self.pid, self.started)

    def by_another(self) -> bool:
        """Tell whether another process of this machine is at it for certain; what other machines do cannot be seen."""
        return self.host == socket.gethostname() and self.pid != os.getpid() and self.running()

    def next_try(self, retries: int, seconds: float) -> float | None:
        """Return when to try again by itself, in seconds since the epoch; None for never: `retries` have failed too.

        A failure or a sudden death is followed by a pause of `seconds`, then of twice that, and so on up to an hour.
        """
        if self.error and self.number > retries:
            return None
        return self.started + pause(self.number, seconds)


def pause(number: int, seconds: float) -> float:
    """Return how long to wait after try `number` (from 1): `seconds`, then twice that, and so on up to an hour."""
    return min(seconds * 2 ** (number - 1), _LONGEST)


class Attempts:
    """The attempts at the artifacts of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, key: str, partition: str) -> Attempt | None:
        """Return the latest attempt since the last success, or None."""
        try:
            return Attempt(**json.loads(self._store.read(self._path(key, partition))))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, key: str, partition: str, wanted: str, run_id: str) -> Attempt:
        """Write down that an attempt begins."""
        before = self.read(key, partition)
        again = before is not None and before.wanted == wanted
        attempt = Attempt(
            wanted,
            time.time(),
            before.number + 1 if before and again else 1,
            run_id,
            os.getpid(),
            socket.gethostname(),
            error=before.error if before else "",
        )
        self._write(key, partition, attempt)
        return attempt

    def fail(self, key: str, partition: str, attempt: Attempt, error: Exception) -> None:
        """Write down why an attempt failed. A disk that is too full for that keeps nobody from hearing the reason."""
        said = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            self._write(key, partition, replace(attempt, ended=True, error=said[:2_000]))

    def end(self, key: str, partition: str) -> None:
        """Forget the attempts: one succeeded, or a person stopped it."""
        self._store.remove(self._path(key, partition))

    def _path(self, key: str, partition: str) -> str:
        return f"{self._store.place(key, partition)}/{_FILE}"

    def _write(self, key: str, partition: str, attempt: Attempt) -> None:
        self._store.write(self._path(key, partition), json.dumps(asdict(attempt)).encode(), durable=False)


def lives_since(pid: int, when: float) -> bool:
    """Tell whether a process of this machine is there that began before `when`, in seconds since the epoch.

    One that began later only has the number of that, as happens after a restart; one that has ended is none, also while
    its parent has not heard.
    """
    try:
        process = psutil.Process(pid)
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not ended and process.create_time() <= when + _CLOCK
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # somebody else's, of which the system says no more
