"""`curation run` with workers of its own: stopped politely and killed at once, it continues where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from benchmarks.kill import differences, disturbed, receipts
from curation_assets.config.profile import Profile, load_profile
from curation_assets.defs.instance import instance_for
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.workspace import Workspace

SLOW = """
[pretraining]
tokens = 120_000
snapshots = [0.5, 1.0]
resume_seconds = 0.2
[run]
samplers = ["random", "density"]
rates = ["80"]
[execution]
workers = 2
"""


@pytest.fixture
def slow(tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    path = tmp_path / "slow.toml"
    path.write_text('extends = "tiny.toml"\nname = "slow"\n' + SLOW, "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(path))
    return load_profile()


Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `curation run`; what a failed test leaves running is ended with it."""
    command = [sys.executable, "-m", "curation_assets.cli", "run"]
    started: list[subprocess.Popen[str]] = []

    def one() -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.wait()


def _training(profile: Profile, process: subprocess.Popen[str], least: int = 1) -> None:
    """Wait until so many trainings have come as far as a resume point."""
    end = time.monotonic() + 240
    while len(list((profile.data / "scratch" / "runs").glob("**/resume-*.safetensors"))) < least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing trains"
        time.sleep(0.05)


def _below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(below) >= 3, "a server to fork from, and two workers"
    return below


def _all_end(below: list[psutil.Process]) -> None:
    left = psutil.wait_procs(below, timeout=20)[1]
    assert not left, f"workers {left} outlived who started them"


def test_stopped_and_killed_it_continues(
    slow: Profile, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in training, killed with its workers at any instant, and in the end what a run makes that nobody disturbed."""
    process = start()
    _training(slow, process)
    below = _below(process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "continues where this one was" in errors
    assert "Traceback" not in errors, errors
    _all_end(below)

    process = start()
    _training(slow, process, least=2)
    below = _below(process)
    process.kill()
    process.communicate(timeout=60)
    _all_end(below)

    killed = disturbed(slow, os.environ, times=1, longest=8.0, seed=0)
    assert killed.kills and not killed.redone and not killed.leftovers, killed
    _all_is_made(slow)
    made = receipts(slow)
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "undisturbed"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "undisturbed" / "dagster_home"))
    undisturbed = load_profile()
    assert not run_graph(undisturbed, lambda line: None).failed
    assert list(differences(made, receipts(undisturbed))) == []


def _all_is_made(profile: Profile) -> None:
    """Check that trainings went on from where they were, that several processes took part, and that nothing is left to do."""
    workspace = Workspace(profile)
    cells = [("full_data/checkpoint", "small"), *((f"{n}/checkpoint", "80|small") for n in profile.samplers)]
    assert any(workspace.metadata(*cell)["resumed_from_step"] > 0 for cell in cells)
    with instance_for(profile) as instance:
        runs = [run.status for run in instance.get_runs()]
    status = dg.DagsterRunStatus
    assert runs == [status.SUCCESS, status.FAILURE, status.FAILURE, status.CANCELED], (
        "a command is one run; one that was killed is not shown as running for ever"
    )
    execution = profile.execution.model_copy(update={"workers": 1})
    assert not run_graph(profile.model_copy(update={"execution": execution}), lambda line: None).made
