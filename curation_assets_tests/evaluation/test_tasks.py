"""The table of tasks: the paper's 111, each with everything that measuring it needs."""

from __future__ import annotations

from collections import Counter

import pytest

from curation_assets.evaluation.families import FAMILIES
from curation_assets.evaluation.metrics import METRICS
from curation_assets.evaluation.tasks import SUITES, TASKS, Task, lookup

NAMES = [f"{task.suite}/{task.task}" for task in TASKS]


def test_the_counts_are_the_papers() -> None:
    groups = Counter(task.group for task in TASKS)
    assert groups == {
        "perplexity": 2,
        "glue": 11,
        "superglue": 8,
        "cnn_dm": 1,
        "squad": 1,
        "mmlu": 57,
        "bbh": 23,
        "reasoning": 4,
        "qa": 4,
    }
    assert len(TASKS) == 111 == len(set(NAMES))
    assert SUITES == ("perplexity", "glue", "superglue", "cnn_dm", "squad", "flan")


def test_groups_divide_flan_only() -> None:
    assert all(task.group == task.suite for task in TASKS if task.suite != "flan")
    assert {task.group for task in TASKS if task.suite == "flan"} == {"mmlu", "bbh", "reasoning", "qa"}


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_every_task_can_be_measured(task: Task) -> None:
    assert lookup(task.suite, task.task) is task
    if task.suite == "perplexity":
        assert (task.method, task.random_baseline, task.higher_is_better) == ("perplexity", None, False)
        return
    assert task.family in FAMILIES
    assert task.metric in METRICS
    assert task.higher_is_better
    assert task.dataset and task.configs and task.split
    assert task.random_baseline is not None and 0 <= task.random_baseline < 100
    assert task.method == ("few_shot" if task.suite == "flan" else "fine_tune")
    assert task.train or task.shots == 0


def test_shots_are_the_papers() -> None:
    shots = {task.group: task.shots for task in TASKS}
    assert shots == dict.fromkeys(("perplexity", "glue", "superglue", "cnn_dm", "squad", "qa"), 0) | {
        "mmlu": 5,
        "bbh": 3,
        "reasoning": 8,
    }
    assert all(task.shots == shots[task.group] for task in TASKS)


def test_joined_configs_are_the_three_sizes_of_two_tasks() -> None:
    joined = {task.task: task.configs for task in TASKS if len(task.configs) > 1}
    assert set(joined) == {"logical_deduction", "tracking_shuffled_objects"}
    for name, configs in joined.items():
        assert set(configs) == {f"{name}_{size}_objects" for size in ("three", "five", "seven")}


def test_a_training_set_counts_once_in_its_suite() -> None:
    trained = Counter((t.suite, t.dataset, t.configs, t.train) for t in TASKS if t.train)
    assert max(trained.values()) == 1


def test_only_asdiv_and_bbh_take_their_shots_from_the_scored_split() -> None:
    assert {task.group for task in TASKS if task.one_split()} == {"bbh", "reasoning"}
    assert [task.task for task in TASKS if task.one_split() and task.group == "reasoning"] == ["asdiv"]


def test_a_name_without_organisation_is_no_hub_id() -> None:
    assert {task.dataset for task in TASKS if task.dataset and "/" not in task.dataset} == {"unified_qa"}


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"glue/nope.*cola"):
        lookup("glue", "nope")
    with pytest.raises(KeyError, match="superglue"):
        lookup("nope", "cola")
