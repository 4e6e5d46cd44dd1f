"""The processes of the UI: a code server, the web server and the daemon, each a process group that ends when this one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import psutil

from curation_assets.common.files import fingerprint
from curation_assets.defs.webserver.holder import Lock
from curation_assets.defs.webserver.listening import PASSWORD, Listening

_MODULE = "curation_assets.definitions"
_PATIENCE = 5.0  # seconds that processes have to stop by themselves
_LOOK = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(RuntimeError):
    """One of the UI's processes ended by itself."""


class Supervisor:
    """Starts the processes, watches them and stops them.

    Parameters
    ----------
    environment : theirs, besides that of this process.
    folder : where those that go on work.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self._stop = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, listening: Listening, lock: Lock) -> int:
        """Serve until a signal says to stop, with a data folder held by `lock`.

        Returns the exit status: 0 when stopped, 1 when a process ended by itself, and that of the preparations where
        these failed.
        """
        with folder_for_sockets(self._folder) as folder, self._signals():
            try:
                if status := self._prepare(lock.ended):
                    return status
                self._start_all(listening, Path(folder), lock)
                while not self._stop.wait(_LOOK):
                    self._all_alive()
                _say("stopping the UI")
                return 0
            except Ended as error:
                _say(f"curation: {error}", to=sys.stderr)
                return 1
            finally:
                self._stop_all()

    def _prepare(self, ended: float) -> int:
        """Have the corpus listed by a process of its own, whose memory ends with it; return how it ended."""
        preparing = self._start(
            "preparations", "curation_assets.defs.webserver.prepare", str(ended), folder=Path.cwd()
        )
        while not self._stop.is_set() and preparing.poll() is None:
            self._stop.wait(_LOOK)
        return 0 if self._stop.is_set() else self._processes.pop("preparations").wait()

    def _start_all(self, listening: Listening, folder: Path, lock: Lock) -> None:
        """Start the code server, and once it answers those that ask it; then say where the UI is."""
        code, workspace = folder / "code.sock", folder / "workspace.yaml"
        server = {"location_name": _MODULE, "host": "localhost", "socket": str(code)}
        workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}), "utf-8")
        start = ("start", "--socket", str(code), "-m", _MODULE, "--location-name", _MODULE)
        with listening.bound as bound:
            family, address = bound.family, bound.getsockname()
            if self._stop.is_set():
                return
            self._start("code server", "dagster", "code-server", *start, "--log-level", "warning")
            if not self._listens(socket.AF_UNIX, str(code)):
                return
            words = (str(bound.fileno()), str(workspace), json.dumps(listening.names))
            secret = {PASSWORD: listening.password} if listening.password else {}
            self._start(
                "web server",
                "curation_assets.defs.webserver.web",
                *words,
                keep=(bound.fileno(),),
                secret=secret,
            )
        lock.started = True
        self._start("daemon", "dagster._daemon", "run", "--workspace", str(workspace))
        if self._listens(family, address, answers=True):
            _say(f"UI: {listening.url}   (Ctrl-C or `kill {os.getpid()}` stops it)")

    def _start(
        self,
        name: str,
        module: str,
        *words: str,
        keep: tuple[int, ...] = (),
        secret: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", "curation_assets.defs.webserver.leash", module, *words],
            stdin=subprocess.PIPE,  # never written to: its end is that of this process
            env=os.environ | self._environment | (secret or {}),
            cwd=folder or self._folder,
            pass_fds=keep,
            process_group=0,
        )
        return self._processes[name]

    def _listens(self, family: int, address: str | tuple[str, int], answers: bool = False) -> bool:
        """Wait until somebody listens there, or a web server answers; return whether that came before a signal to stop."""
        while not self._stop.is_set():
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_LOOK)
                with suppress(OSError):  # not yet
                    probe.connect(address)
                    if not answers:
                        return True
                    probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    if probe.recv(1):
                        return True
            self._all_alive()
            self._stop.wait(_LOOK)
        return False

    def _all_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise Ended(f"the {name} of the UI ended by itself, with status {process.returncode}")

    def _stop_all(self) -> None:
        """Ask every process to stop, those of the runs that go on as well; then end what is left."""
        groups = {process.pid for process in self._processes.values()}
        if preparing := self._processes.get(
            "preparations"
        ):  # artifacts are whole or absent: nothing is to be put right
            _signal({preparing.pid}, signal.SIGKILL)
        _signal(groups, signal.SIGTERM)  # one that is still importing ends without a word
        deadline = time.monotonic() + _PATIENCE
        while _members(groups) and time.monotonic() < deadline:
            time.sleep(_LOOK)
        _signal(groups, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals stop the UI. A hang-up that is ignored already stays so: that is what `nohup` asks for."""
        caught = [
            each for each in _SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN
        ]
        before = {each: signal.signal(each, lambda *_: self._stop.set()) for each in caught}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def folder_for_sockets(data: Path) -> tempfile.TemporaryDirectory[str]:
    """Give a folder of a short path, as sockets need it; those go that were left by UIs of this data folder, of which this one has the lock."""
    prefix = f"curation-ui-{fingerprint(str(data))[:8]}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=prefix)


def _say(line: str, to: TextIO | None = None) -> None:
    """Print a line, to a terminal that may be closed already."""
    with suppress(OSError, ValueError):
        print(line, file=to or sys.stdout, flush=True)


def _signal(groups: set[int], number: signal.Signals) -> None:
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _members(groups: set[int]) -> list[int]:
    """Return the processes of groups that are more than entries in a table."""
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) in groups and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members
