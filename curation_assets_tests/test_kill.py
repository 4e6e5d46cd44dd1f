"""`curation run` in a process of its own: stopped politely and killed at once, it continues where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.kill import differences, disturbed, receipts
from curation_assets.jobs import instance_for, run_graph
from curation_assets.profile import Profile, load_profile
from curation_assets.resources import HOST
from curation_assets.workspace import Workspace

SLOW = """
[pretraining]
tokens = 120_000
snapshots = [0.5, 1.0]
resume_seconds = 0.2
[run]
samplers = ["random"]
rates = ["80"]
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


def _wait_for(path: Path, pattern: str, process: subprocess.Popen[str], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"nothing matches {pattern} yet"
        time.sleep(0.02)


def test_stopped_and_killed_it_continues(
    slow: Profile, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in training, killed at random instants, and in the end what a run makes that nobody disturbed."""
    runs = slow.data / "scratch" / "runs"
    process = start()
    _wait_for(runs, "full_data/**/resume.safetensors", process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "continues where this one was" in errors

    killed = disturbed(slow, os.environ, times=5, longest=11.0, seed=0)
    assert killed.kills and not killed.redone and not killed.leftovers, killed
    assert Workspace(slow).metadata("full_data/checkpoint", "small")["resumed_from_step"] > 0
    with instance_for(slow) as instance:
        left = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert not [run for run in left if HOST in run.tags], "a killed run is not shown as running for ever"
    made = receipts(slow)
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "undisturbed"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "undisturbed" / "dagster_home"))
    undisturbed = load_profile()
    assert not run_graph(undisturbed, lambda line: None).failed
    assert list(differences(made, receipts(undisturbed))) == []
