"""Attempts to make artifacts, and who writes: what the catalog remembers of work that goes on, and of what failed."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

SILENCE = 60.0  # seconds without a heartbeat, after which a writer is taken to be dead
HEARTBEAT = 10.0  # seconds between two of them
_LONGEST = 3600.0
_CLOCK = 10.0  # seconds by which the system's times may be off


@dataclass(frozen=True)
class Attempt:
    """The latest attempt to make an artifact: a lease, which holds as long as its writer's heart beats.

    Attributes
    ----------
    wanted : what it was to become: its recipe, or for a corpus file what the listing said of it.
    started : seconds since the epoch.
    number : attempts at `wanted` so far, with this one.
    writer : the run that holds it, see `catalog.Writer`.
    replaces : folder of the artifact that was current when it began; "" for none.
    ended : whether it ended; one that did not is going on, or its writer died.
    error : why the last attempt that ended did, also at something else; "" if none did. It stays while the next one goes on.
    alive : whether its writer was alive when this was read.
    by : its writer's process and host, for people.
    """

    key: str
    partition: str
    wanted: str
    started: float
    number: int
    writer: str
    run_id: str = ""
    replaces: str = ""
    ended: bool = False
    error: str = ""
    alive: bool = True
    by: str = ""

    def running(self) -> bool:
        """Tell whether it goes on."""
        return not self.ended and self.alive

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


@cache
def this_machine() -> str:
    """Return what tells the processes that this one can see by their numbers: boot and process namespace, not a host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return f"{socket.gethostname()}/{int(psutil.boot_time())}"


def dead_for_certain(machine: str, pid: int, started: float) -> bool:
    """Tell whether a process that could be seen from here is gone, so that nobody need wait for its silence."""
    return machine == this_machine() and pid != os.getpid() and not lives_since(pid, started)


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
