"""Stopping at once, whatever the processes are doing.

Artifacts are whole or absent, and what a kill leaves is cleared away: so nobody is asked to stop, who may be in the middle of C++
code that does not look up for minutes. All processes below this one are killed, and this one is interrupted.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

import psutil

INTERRUPTED = 130
"""Exit status of what was stopped, by whatever signal."""
requested = threading.Event()
"""Set from the moment a signal asks this process to stop: what dies from then on was killed on purpose."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 6.0  # seconds in which this process has to clear away what the others left


def end_processes(roots: Iterable[psutil.Process]) -> None:
    """Kill processes and all that are below them, and return when they are gone."""
    below = []
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            below += [*root.children(recursive=True), root]
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(below, timeout=_PATIENCE / 2)


@contextmanager
def stoppable(say: Callable[[str], object]) -> Iterator[None]:
    """End this process and all below it when a signal asks to: Ctrl-C, SIGTERM, or SIGHUP of a closed terminal.

    Those below it are killed, then this one is interrupted (KeyboardInterrupt) to clear away what they left, and ends with status
    INTERRUPTED. A second signal ends it at once. SIGHUP and SIGINT that were ignored before (by nohup, in a script's background)
    stay so.
    """
    stopped = False

    def stop(number: int, _: object) -> None:
        nonlocal stopped
        if number == signal.SIGHUP:
            _leave_terminal()
        again, stopped = stopped, True
        requested.set()
        if (
            not again
        ):  # before anything is said: a terminal may be stopped, too, and what is printed wait for ever
            last_resort = threading.Timer(_PATIENCE, os._exit, [INTERRUPTED])
            last_resort.daemon = True
            last_resort.start()
        end_processes(process for process in psutil.Process().children() if not _cleans_up(process))
        if again:
            os._exit(INTERRUPTED)
        _print(say, "stopping ...")
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or number == signal.SIGTERM:  # `kill` is meant, whoever started this
            signal.signal(number, stop)
    try:
        yield
    finally:
        if stopped:  # whatever became of the interrupt: somebody may have swallowed it
            _print(say, "stopped; the same command continues where this one was")
            atexit._run_exitfuncs()
            resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # and it has gone, too
            os._exit(INTERRUPTED)  # to take apart what torch and Dagster built takes seconds
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(say: Callable[[str], object], line: str) -> None:
    with suppress(OSError, RuntimeError):  # the terminal has gone, or just this was being printed
        say(line)


@contextmanager
def deaf() -> Iterator[None]:
    """Have processes that are started meanwhile ignore a terminal's signals, which are for the process that stops them."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cleans_up(process: psutil.Process) -> bool:
    """Tell whether this is multiprocessing's own process, which removes its semaphores and ends with this one."""
    return process.pid == getattr(resource_tracker._resource_tracker, "_pid", None)


def _leave_terminal() -> None:
    """Send what is still printed nowhere: the terminal has gone, and writing to it fails."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # none, or a test's
            os.dup2(nowhere, stream.fileno())
