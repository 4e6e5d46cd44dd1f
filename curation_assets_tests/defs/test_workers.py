"""What workers are given to do, and how many there are; that they stop with who started them is in `stories/test_kill`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curation_assets.config.profile import Profile
from curation_assets.defs.run_graph import worker_count
from curation_assets.defs.workers import _HEAVY
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import Job, Plan, wanted_steps
from curation_assets.engine.workspace import Workspace


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


@pytest.mark.process
def test_what_workers_are_forked_from_has_not_touched_a_gpu() -> None:
    """A process that was forked from one that has cannot use it."""
    code = (
        "import importlib, torch\n"
        "def touched(*_): raise AssertionError('asked for GPUs')\n"
        "for name in ('is_available', 'device_count', '_lazy_init'): setattr(torch.cuda, name, touched)\n"
        f"for name in {_HEAVY!r}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
