"""Runs in worker processes: the same artifacts, and no worker outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.graph import STEPS
from curation_assets.jobs import instance_for, run_graph, worker_count
from curation_assets.plan import Job, Plan, targets, wanted_steps
from curation_assets.profile import Profile, load_profile
from curation_assets.resources import HOST, PID
from curation_assets.workspace import Workspace

TWO = """
extends = "tiny.toml"
name = "two"
[pretraining]
tokens = 120_000
resume_seconds = 0.2
[run]
samplers = ["random", "density"]
rates = ["80"]
[execution]
workers = 2
"""


@pytest.fixture
def two(tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    (tmp_path / "two.toml").write_text(TWO, "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(tmp_path / "two.toml"))
    return load_profile()


def _start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "curation_assets.cli", "run"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _training(profile: Profile, process: subprocess.Popen[str], least: int = 1) -> None:
    """Wait until so many runs have come as far as a resume point."""
    end = time.monotonic() + 240
    while len(list((profile.data / "scratch" / "runs").glob("**/resume.safetensors"))) < least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing trains"
        time.sleep(0.05)


def _processes_of(profile: Profile) -> list[int]:
    """Return the processes that Dagster's runs are tagged with and that are alive."""
    with dg.DagsterInstance.get() as instance:
        pids = {int(run.tags[PID]) for run in instance.get_runs() if HOST in run.tags}
    return [pid for pid in pids if pid != os.getpid() and Path(f"/proc/{pid}").exists()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_workers_share_the_work_and_end_with_who_started_them(two: Profile) -> None:
    """Interrupted, killed, and then left alone: one story, since starting the workers is what costs time."""
    process = _start()
    _training(two, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "continues where this one was" in errors
    assert "Traceback" not in errors and not _processes_of(two)

    process = _start()
    _training(two, process, least=2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    end = time.monotonic() + 20
    while left := _processes_of(two):
        assert time.monotonic() < end, f"workers {left} outlived who started them"
        time.sleep(0.2)

    process = _start()
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    workspace = Workspace(two)
    for step in wanted_steps(two):
        for partition in targets(workspace, step):
            assert workspace.store.receipt(step.key, partition), f"{step.key}[{partition}]"
    resumed = [workspace.metadata(f"{n}/checkpoint", "80|small")["resumed_from_step"] for n in two.samplers]
    resumed.append(workspace.metadata("full_data/checkpoint", "small")["resumed_from_step"])
    assert any(step > 0 for step in resumed), "training went on from a resume point"
    with instance_for(two) as instance:
        pids = {run.tags[PID] for run in instance.get_runs() if HOST in run.tags}
        stuck = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert len(pids) >= 4, "several processes took part"
        assert not [run for run in stuck if HOST in run.tags]
    assert not run_graph(two, print).made, "and all of it is current"


def test_a_plan_puts_the_longest_chain_first(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    steps = wanted_steps(tiny)
    plan, order, done = Plan(workspace, steps), [], set()
    while ready := plan.ready():
        jobs = sorted((Job((step.key,), ("",)) for step in ready), key=plan.urgency, reverse=True)
        for step in ready:
            assert set(step.reads(tiny)) & {s.key for s in steps} <= done, step.key
            plan.begin(step, [])
        done |= {step.key for step in ready}
        order.append([job.keys[0] for job in jobs])
    assert done == {step.key for step in steps}
    after_documents = next(keys for keys in order if "corpus/embeddings" in keys)
    assert after_documents[0] == "judge/labels", "labels, judges, scores, subsets, runs hang on it"
    largest = next(keys for keys in order if "ask_llm_xxl/scores" in keys)
    assert largest.index("ask_llm_xxl/scores") < largest.index("ask_llm_small/scores")


def test_a_step_in_two_jobs_ends_with_the_second(tiny: Profile) -> None:
    documents, tokenizer = STEPS["corpus/documents"], STEPS["corpus/tokenizer"]
    plan = Plan(Workspace(tiny), [documents, tokenizer])
    plan.begin(documents, [("a",), ("b", "c")])
    assert plan.ready() == []
    plan.end(documents, ("b", "c"))
    assert plan.ready() == []
    plan.end(documents, ("a",))
    assert plan.ready() == [tokenizer]


def test_worker_counts(tiny: Profile) -> None:
    execution = tiny.execution.model_copy(update={"workers": 0, "device": "cuda"})
    assert worker_count(tiny) == 1
    assert worker_count(tiny.model_copy(update={"execution": execution})) == 1
    execution = execution.model_copy(update={"device": "cpu"})
    assert 1 <= worker_count(tiny.model_copy(update={"execution": execution})) <= 4
