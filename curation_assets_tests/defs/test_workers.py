"""What workers are given to do, and how many there are; that they stop with who started them is in `test_kill`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from curation_assets.config.profile import Profile
from curation_assets.config.registry import RATES
from curation_assets.defs.materializing import PRODUCTS
from curation_assets.engine.forecast import Durations, Plan
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import everything
from curation_assets.engine.workspace import Workspace


def test_a_plan_puts_the_longest_chain_first(tiny: Profile) -> None:
    """Before anything was measured that is the one of the most steps."""
    steps = wanted_steps(tiny)
    plan, order, done = Plan(Workspace(tiny), everything(tiny)), [], set()
    while ready := plan.ready():
        keys = sorted((s.key for s in ready), key=lambda key: plan.urgency(key, ("",)), reverse=True)
        for step in ready:
            assert set(step.reads(tiny)) & {s.key for s in steps} <= done, step.key
            plan.begin(step, [], 0)
        done |= set(keys)
        order.append(keys)
    assert done == {step.key for step in steps}
    after_documents = next(keys for keys in order if "corpus/embeddings" in keys)
    assert after_documents[:2] == ["corpus/tokenizer", "judge/labels"], (
        "judges, scores, subsets, runs hang on both"
    )
    sizes = sorted(tiny.sizes, key=lambda size: plan.urgency("full_data/checkpoint", (size,)), reverse=True)
    assert sizes[0] == "xxl"


def _receipt(key: str, partition: str, seconds: float) -> Receipt:
    return Receipt(key, partition, "v", "r", "c", {}, "", {}, seconds=seconds)


def test_what_takes_long_is_known_from_what_was_made(tiny: Profile) -> None:
    durations = Durations()
    scores, other = STEPS["ask_llm_small/scores"], STEPS["ask_llm_xl/scores"]
    assert durations.seconds(scores, "a") is None
    durations.add(scores, _receipt(scores.key, "a", 3.0))
    durations.add(scores, _receipt(scores.key, "b", 5.0))
    durations.add(scores, replace(_receipt(scores.key, "c", 0.0), metadata={"taken_over_from": "a"}))
    assert durations.seconds(scores, "a") == 3.0 and durations.seconds(scores, "d") == 4.0
    assert durations.seconds(other, "a") == 4.0, "of the same family and stage"
    metrics = STEPS["random/metrics"]
    durations.add(metrics, _receipt(metrics.key, "20|small", 7.0))
    assert durations.seconds(metrics, "40|small") == 7.0 and durations.seconds(metrics, "20|xl") is None


def test_a_step_in_two_tasks_ends_with_the_second(tiny: Profile) -> None:
    documents, tokenizer = STEPS["corpus/documents"], STEPS["corpus/tokenizer"]
    plan = Plan(Workspace(tiny), everything(tiny, [documents, tokenizer]))
    plan.begin(documents, ["a", "b", "c"], 2)
    assert plan.ready() == [] and not plan.end(documents)
    assert plan.ready() == [] and plan.end(documents)
    assert plan.ready() == [tokenizer]


def test_the_time_left_is_told_once_it_is_known(tiny: Profile) -> None:
    step = STEPS["random/metrics"]
    plan = Plan(Workspace(tiny), everything(tiny, [step]))
    cells = [f"{rate}|small" for rate in RATES]
    plan.begin(step, cells, len(cells))
    assert plan.left(1) == ""
    plan.finish(step, cells[0], _receipt(step.key, cells[0], 30.0))
    assert plan.left(1) == ", about 2 min 00 s left"
    for cell in cells[1:]:
        plan.finish(step, cell, _receipt(step.key, cell, 30.0))
    assert plan.left(1) == ""


@pytest.mark.process
def test_what_workers_are_forked_from_has_not_touched_a_gpu() -> None:
    """A process that was forked from one that has cannot use it."""
    code = (
        "import importlib, torch\n"
        "def touched(*_): raise AssertionError('asked for GPUs')\n"
        "for name in ('is_available', 'device_count', '_lazy_init'): setattr(torch.cuda, name, touched)\n"
        f"importlib.import_module({PRODUCTS!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
