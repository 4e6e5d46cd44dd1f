"""What the examples step gathers from a mirror, what it refuses, and what it says is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curation_assets.common.progress import silent
from curation_assets.config.profile import Profile, load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace as RealWorkspace
from curation_assets.evaluation import examples_build as module
from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families import FAMILIES
from curation_assets.evaluation.hub import Source
from curation_assets.evaluation.instructions import instruction_examples
from curation_assets.evaluation.tasks import TASKS
from curation_assets_tests.making import load


def write(root: Path, place: str, rows: list[dict[str, Any]]) -> None:
    path = root / f"{place}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    squad = {"title": "T", "context": "Red is a colour.", "question": "What is red?"}
    rows = [squad | {"id": f"s{n}", "answers": {"text": ["a colour"], "answer_start": [7]}} for n in range(9)]
    write(tmp_path, "rajpurkar/squad/plain_text/train", rows)
    write(tmp_path, "rajpurkar/squad/plain_text/validation", rows[:4])
    news = [{"article": f"Rain fell {n} times.", "highlights": "Rain.", "id": str(n)} for n in range(5)]
    write(tmp_path, "abisee/cnn_dailymail/3.0.0/train", news)
    write(tmp_path, "abisee/cnn_dailymail/3.0.0/validation_standin", news[:2])
    return tmp_path


def profile_for(mirror: Path, tmp_path: Path, **options: Any) -> Profile:
    fields = {"suites": ["squad", "cnn_dm"], "eval_root": str(mirror), "max_examples": 3} | options
    fields["suites"] = ["perplexity", *fields["suites"]]  # type: ignore[misc]
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "local"\n[evaluation]\n{lines}\n')
    return load_profile(path)


def gather(profile: Profile) -> Any:
    found = module._Gathered()
    source = Source(profile.evaluation.eval_root)
    for suite in profile.evaluation.suites[1:]:
        module._gather_suite(suite, Workspace(profile), source, found)
    return found


class Workspace:
    """As much of one as a suite from a mirror needs."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile


def test_a_stand_in_is_never_named_as_the_official_split(mirror: Path, tmp_path: Path) -> None:
    found = gather(profile_for(mirror, tmp_path))
    by = {(row["task"], row["part"]): row for row in found.rows}
    assert by["squad", "test"]["examples"] == 3 and by["squad", "test"]["note"] == "validation"
    assert ("cnn_dm", "test") not in by and by["cnn_dm@standin", "test"]["examples"] == 2
    assert "not the official split" in by["cnn_dm@standin", "test"]["note"]
    assert found.missing == []
    module._refuse_gaps(found, [], str(mirror))


def test_gaps_are_all_told_at_once_unless_they_are_allowed(mirror: Path, tmp_path: Path) -> None:
    found = gather(profile_for(mirror, tmp_path, suites=["squad", "glue"], optional=["glue"]))
    assert {gap["task"] for gap in found.missing} == {task.task for task in TASKS if task.suite == "glue"}
    module._refuse_gaps(found, ["glue"], str(mirror))
    with pytest.raises(ValueError, match=r"11 gaps in .*evaluation.optional.*glue/ax.*glue/wnli"):
        module._refuse_gaps(found, [], str(mirror))


def test_a_suite_without_any_training_example_is_a_gap(mirror: Path, tmp_path: Path) -> None:
    (mirror / "rajpurkar/squad/plain_text/train.jsonl").unlink()
    found = gather(profile_for(mirror, tmp_path, suites=["squad"]))
    with pytest.raises(ValueError, match=r"1 gap in .*squad: no training example at all"):
        module._refuse_gaps(found, [], str(mirror))
    module._refuse_gaps(found, ["squad"], str(mirror))
    assert found.missing[-1]["reason"] == "no training example at all: the suite is not measured"


def test_a_suite_that_cannot_be_trained_for_is_not_measured(mirror: Path, tmp_path: Path) -> None:
    tests = module.to_table("squad", "squad", "test", [Example("a", "q", "t", (), ("t",), "")])
    cnn = [
        module.to_table("cnn_dm", "cnn_dm", p, [Example("a", "q", "t", (), ("t",), "")])
        for p in ("test", "train")
    ]
    module.write_table(tmp_path / "test.parquet", module.pa.concat_tables([tests, cnn[0]]))
    module.write_table(tmp_path / "train.parquet", cnn[1])
    assert [suite.suite for suite in module.read_suites(tmp_path)] == ["cnn_dm"]


def test_instructions_are_training_sets_and_never_held_out_tasks(mirror: Path, tmp_path: Path) -> None:
    profile = profile_for(mirror, tmp_path, max_training_examples=4)
    found = {
        name: (rows, note)
        for name, rows, note in instruction_examples(profile.evaluation, Source(str(mirror)))
    }
    assert len(found["squad"][0]) == 4 and found["squad"][1] == "instructions: train"
    assert found["glue_cola"][0] == [] and found["glue_cola"][1].startswith("missing: ")
    held_out = {task.task for task in TASKS if task.group in ("mmlu", "bbh")}
    assert not {name.removeprefix("flan_") for name in found} & held_out


def test_instructions_may_be_a_dataset_with_inputs_and_targets(mirror: Path, tmp_path: Path) -> None:
    rows = [{"inputs": f"Say {n}.", "targets": str(n), "task": "x"} for n in range(7)]
    write(mirror, "some/flan/default/train", rows)
    profile = profile_for(mirror, tmp_path, instructions="some/flan", max_training_examples=3)
    ((name, examples, _),) = instruction_examples(profile.evaluation, Source(str(mirror)))
    assert name == "some/flan" and examples[2] == Example("2", "Say 2.", "2", (), ("2",), "")
    assert len(examples) == 3


def test_what_is_seen_of_a_mirror_changes_with_its_files(mirror: Path, tmp_path: Path) -> None:
    settings = profile_for(mirror, tmp_path).evaluation
    seen = module._seen(settings)
    assert set(seen["seen"]) == {
        "rajpurkar/squad/plain_text/train.jsonl",
        "rajpurkar/squad/plain_text/validation.jsonl",
        "abisee/cnn_dailymail/3.0.0/train.jsonl",
        "abisee/cnn_dailymail/3.0.0/validation_standin.jsonl",
    }
    with (mirror / "rajpurkar/squad/plain_text/train.jsonl").open("a") as out:
        out.write("\n")
    assert module._seen(settings) != seen


def test_every_family_is_used() -> None:
    assert {task.family for task in TASKS} - {"perplexity"} == set(FAMILIES)


def test_where_a_mirror_lies_changes_no_version(
    tiny: Profile, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(mirror / "rajpurkar", other / "rajpurkar")
    shutil.copytree(mirror / "abisee", other / "abisee")
    made = []
    for place in (mirror, other):
        profile = profile_for(place, tmp_path, suites=["squad", "cnn_dm", "glue"], optional=["glue"])
        workspace = RealWorkspace(profile.model_copy(update={"execution": tiny.execution, "name": tiny.name}))
        folder = tmp_path / f"made-{len(made)}"
        folder.mkdir()
        made.append(load(module.examples, workspace, STEPS["evaluation/examples"])("", folder, silent))
    assert made[0]["version"] == made[1]["version"] and made[0]["place"] != made[1]["place"]
    assert "glue/cola (test)" in made[0]["missing"] and made[0]["tasks"] == 2
