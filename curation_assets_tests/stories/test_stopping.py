"""`curation run` stops at once whatever it is doing: in a terminal of its own, where Ctrl-C is a key."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
rates = ["80"]
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
    store = Workspace(tiny.model_copy(update={"name": "phases"})).store
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
        assert not list(tiny.data.rglob("attempt.json")), "the next run does not wait for this one"
        made = store.fs.glob(f"{store.root}/{before}/*/current.json")
        assert made, f"what came before {key} is there"
        phases.write_text(f"{_PHASES}1\n", "utf-8")


_PARENT = """
import signal, subprocess, sys, time
from curation_assets.common.stopping import stoppable
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore these
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)
with stoppable(lambda line: print(line, flush=True)):
    child = subprocess.Popen([sys.executable, "-c", "import signal, time\\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\\n"
        "print('deaf', flush=True)\\ntime.sleep(60)"], start_new_session=True)
    print(child.pid, flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            {then}
"""


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process that is `stoppable`, and a deaf one below it; the parameter is what the first does when it is interrupted."""
    command = [sys.executable, "-c", _PARENT.replace("{then}", request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)} - {"deaf"}
        yield process, psutil.Process(int(lines.pop()))
        process.kill()


@pytest.mark.parametrize(
    "parent", ["break", "raise RuntimeError('of another kind')", "sys.exit(0)"], indirect=True
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_becomes_of_the_interrupt_it_is_the_end(
    parent: tuple[subprocess.Popen[str], psutil.Process], number: signal.Signals
) -> None:
    process, child = parent
    process.send_signal(number)
    said, _ = process.communicate(timeout=_SECONDS)
    assert process.returncode == 130
    expected = ["stopping ...", "stopped; the same command continues where this one was"]
    assert said.splitlines() == ([] if number == signal.SIGHUP else expected), (
        "a closed terminal shows nothing"
    )
    assert not child.is_running()


@pytest.mark.parametrize("parent", ["time.sleep(60)"], indirect=True)
def test_a_second_ctrl_c_does_not_wait_for_what_the_first_began(
    parent: tuple[subprocess.Popen[str], psutil.Process],
) -> None:
    process, _ = parent
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping ...\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(_SECONDS) == 130 and time.monotonic() - began < 3.0
    assert process.stdout.read() == ""


def test_what_was_to_be_ignored_is() -> None:
    """`nohup curation run` outlives its terminal."""
    code = "import os, signal\nfrom curation_assets.common.stopping import stoppable\nwith stoppable(print): os.kill(os.getpid(), signal.SIGHUP)"
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, timeout=60, text=True)
    assert done.returncode == 0 and done.stdout == ""
