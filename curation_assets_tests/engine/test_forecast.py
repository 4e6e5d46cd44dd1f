"""What is left of a run, and how long it may take: running sums against counting everything anew."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.config.profile import Profile
from curation_assets.engine.follow import Follow
from curation_assets.engine.forecast import Durations, Plan, _Left
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import everything, following
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current

_STEPS = [STEPS[key] for key in ("density/scores", "random/scores", "random/metrics", "density/metrics")]
_PARTITIONS = {"shard": ["a", "b", "c"], "rate|size": ["20|small", "20|base", "80|small"]}


def _receipt(key: str, partition: str, seconds: float) -> Receipt:
    return Receipt(key, partition, "v", "r", "c", {}, "", {}, seconds=seconds)


@given(
    st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 2), st.integers(0, 99))),
    st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 2), st.integers(0, 99))),
)
def test_sums_are_those_of_counting_anew(
    before: list[tuple[Step, int, int]], finished: list[tuple[Step, int, int]]
) -> None:
    durations = Durations()
    for step, number, seconds in before:
        durations.add(step, _receipt(step.key, _PARTITIONS[step.by][number], seconds))
    left = {step.key: _Left(step, _PARTITIONS[step.by], durations) for step in _STEPS}
    for step, number, seconds in finished:
        partition = _PARTITIONS[step.by][number]
        left[step.key].finish(partition)
        durations.add(step, _receipt(step.key, partition, seconds))
    for step in _STEPS:
        each = [durations.seconds(step, partition) for partition in left[step.key]]
        seconds, unknown = left[step.key].estimate()
        assert unknown == each.count(None)
        assert seconds == pytest.approx(sum(value for value in each if value is not None))


def test_what_is_not_made_by_itself_is_not_foreseen(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    make_current(workspace, "corpus/shards")
    plan = Plan(workspace, following(tiny, listing=False))
    plan.forecast(Follow(workspace))
    assert len(plan._left["random/scores"]) == 3
    assert not plan._left["random/checkpoint"] and not plan._left["report/comparison"]
    automation = tiny.automation.model_copy(update={"training": True})
    trains = tiny.model_copy(update={"automation": automation})
    plan = Plan(Workspace(trains), following(trains, listing=False))
    plan.forecast(Follow(Workspace(trains)))
    assert plan._left["random/checkpoint"] and plan._left["report/comparison"]


def test_what_is_most_urgent_stays_the_same_step_while_its_files_are_made(tiny: Profile) -> None:
    keys, files = ("density/scores", "semdedup/scores", "prototypes/scores"), 40
    plan = Plan(Workspace(tiny), everything(tiny, [STEPS[key] for key in keys]))
    tasks = {key: [(f"{number}.jsonl",) for number in range(files)] for key in keys}
    for key in keys:
        plan.begin(STEPS[key], [partition for (partition,) in tasks[key]], files)
    order = []
    while left := [key for key in keys if tasks[key]]:
        order.append(max(left, key=lambda key: plan.urgency(key, tasks[key][0])))
        (partition,) = tasks[order[-1]].pop()
        plan.finish(STEPS[order[-1]], partition, _receipt(order[-1], partition, 1.0))
        plan.left(1)  # what has become known counts from now on
    assert len(order) == len(keys) * files
    assert sum(one != other for one, other in pairwise(order)) < 2 * len(keys)
