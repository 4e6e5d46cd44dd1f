"""`curation run` stops at once whatever it is doing: in a terminal of its own, where Ctrl-C is a key."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.pseudo_terminal import Terminal

pytestmark = pytest.mark.graph

_SECONDS = 10.0
_CTRL_C = b"\x03"
_PHASES = """
extends = "tiny.toml"
name = "phases"
[run]
samplers = ["perplexity_small"]
amounts = ["80%"]
[execution]
workers = 1
device = "cpu"
processes = """


@pytest.fixture
def phases(tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "phases.toml"
    path.write_text(f"{_PHASES}2\n", "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(path))
    monkeypatch.setenv("TERM", "xterm")
    return path


def _left_open() -> list[dg.DagsterRun]:
    with dg.DagsterInstance.get() as instance:
        return [run for run in instance.get_runs() if not run.is_finished]


def test_ctrl_c_in_training_in_scoring_and_in_evaluation(phases: Path, tiny: Profile) -> None:
    """Each time the run goes on where it was; training is in two processes, which talk only now and then to who started them."""
    phased = tiny.model_copy(update={"name": "phases"})
    for key, before in {
        "full_data/checkpoint": "corpus/index",
        "perplexity_small/scores": "full_data/checkpoint",
        "perplexity_small/metrics": "perplexity_small/checkpoint",
    }.items():
        terminal = Terminal([sys.executable, "-m", "curation_assets.cli", "run"])
        try:
            terminal.wait_for(f"--- {key}", seconds=240)
            time.sleep(0.5)
            below, shown = terminal.below(), len(terminal.shown)
            assert below
            began = time.monotonic()
            terminal.press(_CTRL_C)
            terminal.wait_for("stopping ...", _SECONDS)
            assert terminal.ended(_SECONDS) == 130
            assert time.monotonic() - began < _SECONDS
        finally:
            terminal.process.kill()
        said = terminal.shown[shown:].decode()
        assert "stopped; the same command continues where this one was" in said
        assert terminal.shown.rfind(b"\x1b[?25h") > terminal.shown.rfind(b"\x1b[?25l") > 0, (
            "the cursor is shown again"
        )
        assert "Traceback" not in said and "Warning" not in said, said
        assert not psutil.wait_procs(below, timeout=1.0)[1], "it left processes behind"
        assert _left_open() == [], "no run of Dagster's is shown as running for ever"
        assert not Workspace(phased).catalog.attempts(), "the next run does not wait for this one"
        made = Workspace(phased).catalog.current_of(before)
        assert made, f"what came before {key} is there"
        phases.write_text(f"{_PHASES}1\n", "utf-8")
