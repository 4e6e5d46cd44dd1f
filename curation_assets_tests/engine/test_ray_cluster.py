"""A cluster that is started for a run: on loopback, for who has its token, and gone with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

_MARK = "CURATION_TEST_CLUSTER"
_RUN = """
import signal, sys, time
from curation_assets.common.stopping import stoppable
from curation_assets.engine.executors.ray_cluster import alive, connected
with stoppable(print), connected(""):
    print(len(alive()), flush=True)
    time.sleep(60)
"""


def _processes(mark: str) -> list[psutil.Process]:
    every = psutil.process_iter(["environ"])
    return [process for process in every if (process.info["environ"] or {}).get(_MARK) == mark]


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    return holds()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_it_however_its_run_ends(number: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {_MARK: str(tmp_path), "TMPDIR": "/tmp"}
    command = [sys.executable, "-c", _RUN]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "1\n"
        started = _processes(str(tmp_path))
        assert {"gcs_server", "raylet"} <= {process.name() for process in started}
        pids = {process.pid for process in started}
        listening = [
            c for c in psutil.net_connections("inet") if c.pid in pids and c.status == psutil.CONN_LISTEN
        ]
        assert listening and {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}
        [folder] = [
            Path(words[-1]) for p in started if "-m" in (words := p.cmdline()) and "ray_cluster" in words[-2]
        ]
        assert folder.is_dir()
        run.send_signal(number)
        assert run.wait(10) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert _until(lambda: not _processes(str(tmp_path)), 20), _processes(str(tmp_path))
    assert not folder.exists()


_TWICE = """
from curation_assets.engine.executors.ray_cluster import alive, connected
for _ in range(2):
    with connected(""):
        print(len(alive()), flush=True)
"""
_LATE = """
import ray
from curation_assets.engine.executors.ray_cluster import connected
with connected(""):
    pass
"""


def _python(script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TMPDIR": "/tmp"}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)


def test_a_process_starts_one_after_the_other() -> None:
    done = _python(_TWICE)
    assert done.stdout == "1\n1\n", done.stderr


def test_who_imported_ray_before_is_told_at_once() -> None:
    """Ray read then that no token is wanted, and where it is reached."""
    assert "ProfileError: this process imported Ray before" in _python(_LATE).stderr
