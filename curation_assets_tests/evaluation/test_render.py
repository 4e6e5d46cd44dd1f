"""Which rows of a task become examples: choices, splits, stand-ins, shots; and real data where they are at hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curation_assets.evaluation.examples import (
    SHOT_BREAK,
)
from curation_assets.evaluation.families import FAMILIES, glue, render, superglue
from curation_assets.evaluation.hub import BadRow, MissingData, Source
from curation_assets.evaluation.tasks import Task, lookup
from curation_assets_tests.conftest import SHARED
from curation_assets_tests.evaluation.hub_rows import MEASURED, hub_rows, score

EVAL = SHARED / "eval"


def mirror(
    root: Path, task: Task, split: str, rows: list[dict[str, Any]], config: str | None = None
) -> Source:
    path = root.joinpath(task.dataset, config or task.configs[0], f"{split}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Source(str(root))


def sentences(count: int) -> list[dict[str, Any]]:
    return [{"sentence": f"s {n}", "label": n % 2, "idx": n} for n in range(count)]


def test_a_limit_chooses_by_id_alone_and_larger_choices_contain_smaller(tmp_path: Path) -> None:
    task, rows = lookup("glue", "sst2"), sentences(200)
    source = mirror(tmp_path / "a", task, "validation", rows)
    everything, split = render(task, source, "test")
    assert split == "validation" and [e.id for e in everything] == [str(n) for n in range(200)]
    ten, twenty = ({e.id for e in render(task, source, "test", limit, seed=3)[0]} for limit in (10, 20))
    assert len(ten) == 10 and len(twenty) == 20 and ten < twenty
    turned = mirror(tmp_path / "b", task, "validation", rows[::-1])
    assert {e.id for e in render(task, turned, "test", 10, seed=3)[0]} == ten
    assert {e.id for e in render(task, source, "test", 10, seed=4)[0]} != ten


def test_rows_that_are_not_chosen_are_not_rendered(tmp_path: Path) -> None:
    task, rows = lookup("glue", "sst2"), sentences(50)
    kept = {e.id for e in render(task, mirror(tmp_path, task, "validation", rows), "test", 5)[0]}
    spoilt = [row if str(row["idx"]) in kept else row | {"label": "spoilt"} for row in rows]
    source = mirror(tmp_path, task, "validation", spoilt)
    assert len(render(task, source, "test", 5)[0]) == 5
    with pytest.raises(BadRow, match=r"nyu-mll/glue sst2 validation row \d+: label is 'spoilt'"):
        render(task, source, "test")


def test_a_stand_in_is_taken_only_for_the_test_part_and_named(tmp_path: Path) -> None:
    task = lookup("glue", "qqp")
    rows = hub_rows(task, "qqp")
    source = mirror(tmp_path, task, "validation_standin", rows)
    assert render(task, source, "test")[1] == "validation_standin"
    with pytest.raises(MissingData, match=r"nyu-mll/glue qqp train: .* has only validation_standin"):
        render(task, source, "train")
    mirror(tmp_path, task, "validation", rows)
    assert render(task, source, "test")[1] == "validation"


def test_a_task_without_training_set_or_examples_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="glue/ax has no train split"):
        render(lookup("glue", "ax"), Source(str(tmp_path)), "train")
    with pytest.raises(ValueError, match="perplexity/hq is measured on"):
        render(lookup("perplexity", "hq"), Source(str(tmp_path)), "test")
    with pytest.raises(ValueError, match="limit is -1"):
        render(lookup("glue", "ax"), Source(str(tmp_path)), "test", -1)
    with pytest.raises(ValueError, match="not 'dev'"):
        render(lookup("glue", "ax"), Source(str(tmp_path)), "dev")


def test_the_diagnostics_need_a_mirror_with_labels(tmp_path: Path) -> None:
    task = lookup("glue", "ax")
    source = mirror(tmp_path, task, "test", [row | {"label": -1} for row in hub_rows(task, "ax")])
    with pytest.raises(
        MissingData, match=r"test_gold: .* has only test: the labels of its split test are not public"
    ):
        render(task, source, "test")
    mirror(tmp_path, task, "test_gold", hub_rows(task, "ax"))
    assert render(task, source, "test")[1] == "test_gold"


def test_whole_questions_are_chosen(tmp_path: Path) -> None:
    task = lookup("superglue", "multirc")
    source = mirror(tmp_path, task, "validation", hub_rows(task, "multirc"))
    for limit, rows in ((1, 2), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6)):
        examples, _ = render(task, source, "test", limit)
        assert len(examples) == rows
        assert len({e.group for e in examples}) == rows // 2


def test_shots_come_from_the_training_split_and_not_from_the_seed(tmp_path: Path) -> None:
    task = lookup("flan", "strategyqa")
    rows = [hub_rows(task, "default")[0] | {"qid": f"t{n}", "question": f"Was it {n}?"} for n in range(40)]
    source = mirror(tmp_path, task, "train", rows)
    mirror(tmp_path, task, "test", hub_rows(task, "default"))
    heads = [
        SHOT_BREAK.join(e.input.split(SHOT_BREAK)[:-1])
        for seed in (0, 7)
        for e in render(task, source, "test", 4, seed)[0]
    ]
    assert len(heads) == 8 and len(set(heads)) == 1 and heads[0].count("Was it") == 8
    train, split = render(task, source, "train")
    assert split == "train" and len(train) == 40 and SHOT_BREAK not in train[0].input
    mirror(tmp_path, task, "train", rows[:7])
    with pytest.raises(MissingData, match="train has 7 rows, but 8 solved examples are wanted"):
        render(task, source, "test")


def test_shots_out_of_the_only_split_are_not_scored(tmp_path: Path) -> None:
    task = lookup("flan", "logical_deduction")
    for config in task.configs:
        source = mirror(tmp_path, task, "test", hub_rows(task, config), config)
    tests, _ = render(task, source, "test")
    train, _ = render(task, source, "train")
    assert len(tests) == 3 * 102 and len(train) == 3 * 3
    assert not {e.id for e in tests} & {e.id for e in train}
    for config in task.configs:
        mine = [e for e in tests if e.id.startswith(f"{config}/")]
        solved = [
            e.input.removesuffix("\nA:") + f"\nA: {e.target}" for e in train if e.id.startswith(f"{config}/")
        ]
        assert len(mine) == 102
        assert all(e.input.split(SHOT_BREAK)[:-1] == solved for e in mine)
    limited, _ = render(task, source, "test", 50)
    assert len(limited) == 50 and {e.id.split("/")[0] for e in limited} == set(task.configs)


def test_repeated_rows_have_ids_of_their_own(tmp_path: Path) -> None:
    task = lookup("flan", "boolq")
    rows = hub_rows(task, "default")[:1] * 3
    ids = [e.id for e in render(task, mirror(tmp_path, task, "validation", rows), "test")[0]]
    assert ids == [ids[0], f"{ids[0]}#2", f"{ids[0]}#3"]


@pytest.mark.skipif(not EVAL.is_dir(), reason="needs ../shared/eval")
def test_labels_are_the_hubs() -> None:
    features = json.loads((EVAL / "FEATURES.json").read_text("utf-8"))
    checked = 0
    for name, forms in (("nyu-mll/glue", glue.FORMS), ("aps/super_glue", superglue.FORMS)):
        for config, form in forms.items():
            hub = features[f"{name}|{config}"]
            assert tuple(hub["label"]["ClassLabel"]) == form.labels
            assert set(form.columns) <= set(hub)
            checked += 1
    assert checked == 14


@pytest.mark.skipif(not EVAL.is_dir(), reason="needs ../shared/eval")
@pytest.mark.parametrize("task", [t for t in MEASURED if t.group == "bbh"], ids=lambda t: t.task)
def test_the_baselines_of_bbh_are_those_of_the_real_numbers_of_options(task: Task) -> None:
    baselines = []
    for config in task.configs:
        rows = Source(str(EVAL)).rows(task.dataset, config, "test")
        numbers = Counter(len(e.options) for e in FAMILIES["bbh"](task, config, rows, []))
        commonest = numbers.most_common(1)[0][0]
        baselines.append(100 / commonest if commonest else 0)
    assert sum(baselines) / len(baselines) == pytest.approx(task.random_baseline, abs=0.001)


MISSING = {"glue/mnli_mismatched", "flan/unified_qa"}
STANDINS = {"glue/qqp": 3647, "superglue/record": 32, "cnn_dm/cnn_dm": 50}


@pytest.mark.skipif(not EVAL.is_dir(), reason="needs ../shared/eval")
@pytest.mark.parametrize("suite", ["glue", "superglue", "cnn_dm", "squad", "flan"])
def test_real_data_render_whole_and_an_oracle_scores_100(suite: str) -> None:
    lines = (EVAL / "MANIFEST.tsv").read_text("utf-8").splitlines()[1:]
    counts = {tuple(cells[:3]): int(cells[3]) for line in lines if (cells := line.split("\t"))}
    source = Source(str(EVAL))
    for task in (task for task in MEASURED if task.suite == suite):
        name = f"{task.suite}/{task.task}"
        if name in MISSING:
            with pytest.raises(MissingData, match=task.dataset):
                render(task, source, "test")
            continue
        examples, split = render(task, source, "test")
        taken = task.shots if task.one_split() else 0
        assert len(examples) == sum(counts[task.dataset, c, split] - taken for c in task.configs)
        assert (split == f"{task.split}_standin") == (name in STANDINS)
        assert STANDINS.get(name, len(examples)) == len(examples)
        assert len({example.id for example in examples}) == len(examples)
        if len(examples) < 5000:  # the metric itself is tested above
            assert score(task, [e.target for e in examples], examples) == pytest.approx(100)
        if suite != "flan" and task.train:
            assert render(task, source, "train", 20)[0]
