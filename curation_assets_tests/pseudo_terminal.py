"""A command in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

import psutil

COLUMNS = 80


def hear_signals() -> None:
    """Undo what whoever runs the tests ignores, as a shell does for its background jobs: for `preexec_fn`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """A command as the leader of a session whose terminal it has."""

    def __init__(self, command: list[str]) -> None:
        self.shown = b""
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=self._log_in
        )
        os.close(slave)

    @staticmethod
    def _log_in() -> None:
        """Make the terminal the process's own, which hears all signals, as in a person's shell."""
        os.login_tty(0)
        hear_signals()

    def wait_for(self, what: str, seconds: float) -> None:
        """Read until something is shown."""
        end = time.monotonic() + seconds
        while what.encode() not in self.shown:
            assert self._read() and time.monotonic() < end, self.shown.decode(errors="replace")

    def below(self) -> list[psutil.Process]:
        """The processes that it has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._master, key)

    def ended(self, seconds: float) -> int:
        """Return its exit status, and read all that it shows until then."""
        end = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < end, self.shown.decode(errors="replace")
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.1)[0]:
            return self.process.poll() is None
        try:
            self.shown += (new := os.read(self._master, 1 << 16))
        except OSError:  # nobody has it open any more
            return False
        return bool(new)
