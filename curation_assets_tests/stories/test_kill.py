"""`curation run` with workers of its own: stopped politely and killed at once, it continues where it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest

from benchmarks.kill import Receipts, again, differences, receipts
from curation_assets.config.profile import Profile, load_profile
from curation_assets.defs.instance import instance_for
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import work_in, write_tiny
from curation_assets_tests.pseudo_terminal import hear_signals

pytestmark = pytest.mark.graph

SLOW = """
extends = "tiny.toml"
name = "slow"
[pretraining]
tokens = 60_000
snapshots = [0.5, 1.0]
resume_seconds = 0.2
[run]
samplers = ["random", "density"]
amounts = ["80%"]
[execution]
workers = 2
"""
COMMAND = [sys.executable, "-m", "curation_assets.cli", "run"]


@dataclass
class Story:
    """A run that was stopped in its first training, killed in that and in a later one, and then left alone to the end.

    `outlived` are processes that were still there 20 s after who started them; `made` is what was there after each start.
    """

    profile: Profile
    stop_status: int = 0
    stop_errors: str = ""
    outlived: list[psutil.Process] = field(default_factory=list)
    made: list[Receipts] = field(default_factory=list)

    def interrupted(self, number: signal.Signals, what: str) -> tuple[int, str]:
        """Run until a training has come to a resume point that is new, and send a signal; return its status and errors."""
        points = self.profile.data / "scratch" / "runs"
        began = time.time()
        process = subprocess.Popen(
            COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hear_signals
        )
        try:
            end = time.monotonic() + 240
            while not any(_written_since(path, began) for path in points.glob(f"{what}/**/resume-*")):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end, f"{what} is not trained"
                time.sleep(0.02)
            below = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        self.outlived += psutil.wait_procs(below, timeout=20)[1]
        self.made.append(receipts(self.profile))
        return process.returncode, errors


def _written_since(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime > moment
    except FileNotFoundError:  # it has been replaced since it was listed
        return False


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Iterator[Story]:
    root = tmp_path_factory.mktemp("killed")
    write_tiny(root, teacher)
    (root / "slow.toml").write_text(SLOW, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        found = Story(work_in(root, patch, "slow.toml"))
        found.stop_status, found.stop_errors = found.interrupted(signal.SIGTERM, "full_data")
        found.interrupted(signal.SIGKILL, "full_data")
        subprocess.run(COMMAND, check=True, stdout=subprocess.DEVNULL, timeout=300)
        found.made.append(receipts(found.profile))
        yield found


def test_a_polite_stop_says_how_it_goes_on(story: Story) -> None:
    assert story.stop_status == 130 and "continues where this one was" in story.stop_errors
    assert "Traceback" not in story.stop_errors, story.stop_errors


def test_workers_end_with_who_started_them(story: Story) -> None:
    assert not story.outlived


def test_what_was_finished_is_not_made_again(story: Story) -> None:
    for before, now in zip(story.made, story.made[1:], strict=False):
        assert again(before, now) == []
        assert now.keys() >= before.keys()
    assert story.made[-1].keys() > story.made[0].keys()


def test_a_training_goes_on_from_where_it_was(story: Story) -> None:
    workspace = Workspace(story.profile)
    assert workspace.metadata("full_data/checkpoint", "small")["resumed_from_step"] > 0


def test_nothing_is_left_over(story: Story) -> None:
    assert not Workspace(story.profile).catalog.attempts()
    with instance_for(story.profile) as instance:
        statuses = [run.status for run in instance.get_runs()]
    status = dg.DagsterRunStatus
    assert statuses == [status.SUCCESS, status.FAILURE, status.CANCELED], (
        "a command is one run, and one that was killed is not shown as running for ever"
    )
    execution = story.profile.execution.model_copy(update={"workers": 1})
    alone = story.profile.model_copy(update={"execution": execution})
    assert not run_graph(alone, lambda line: None).made, "nothing is left to do"


def test_it_ends_with_the_bytes_of_a_run_that_nobody_disturbed(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    undisturbed = load_profile()
    assert not run_graph(undisturbed, lambda line: None).failed
    assert list(differences(story.made[-1], receipts(undisturbed))) == []
