"""`curation ui` in a process of its own, and a browser to look at it with: for tests, and for the pictures in the docs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_SETTINGS = """
--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync
"""
_START_SECONDS, _END_SECONDS = 300.0, 20.0


def launch(playwright: Playwright) -> Browser:
    """Start the Chromium that is installed, without a window; none is ever downloaded."""
    if CHROMIUM is None:
        raise FileNotFoundError("no Chromium on the PATH: apt-get install chromium")
    root = os.geteuid() == 0  # whom Chromium refuses its sandbox
    return playwright.chromium.launch(
        executable_path=CHROMIUM, args=_SETTINGS.split(), chromium_sandbox=not root
    )


@contextlib.contextmanager
def served(log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run `curation ui` on a free port of loopback and give its address; all that it started ends with the block.

    A polite request to end this process (a time limit, say) ends the block, too.

    Raises
    ------
    RuntimeError
        It ended, or has not loaded the graph in time: with the end of what it said.
    """
    port = _free_port()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = [sys.executable, "-m", "curation_assets.cli", "ui", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while not _has_loaded(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"`curation ui` is not there: {log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield url
    finally:
        _end(process)
        signal.signal(signal.SIGTERM, before)


def asked(url: str, query: str) -> dict[str, Any]:
    """Return what Dagster's GraphQL answers."""
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def _has_loaded(url: str) -> bool:
    try:
        return bool(asked(url, "{ assetNodes { id } }")["assetNodes"])
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a session: its first process politely, which stops those that work, and then what is left."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _END_SECONDS
    while left := _living(process.pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of `curation ui` are still there: {left}")
        time.sleep(0.1)


def _living(session: int) -> list[int]:
    """Return the processes of a session that are more than entries in a table."""
    found = []
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(other.pid) == session and other.status() != psutil.STATUS_ZOMBIE:
                found.append(other.pid)
    return found
