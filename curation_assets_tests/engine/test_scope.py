"""Some assets with what they are made from; and what is made anew although it is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.config.profile import Profile
from curation_assets.config.registry import RATES
from curation_assets.engine.driver import Committed, Event, bring_up_to_date
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt, title
from curation_assets.engine.scope import Scope, with_inputs
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current, write_shard


def _made(workspace: Workspace, scope: Scope) -> dict[str, Receipt]:
    """Return what a run makes, but for the listing of the corpus, which each run makes."""
    with InlineExecutor(workspace, "curation_assets.products", lambda line: None) as executor:
        events: list[Event] = list(bring_up_to_date(workspace, scope, executor, checks=False))
    return {
        title(event.key, event.receipt.partition): event.receipt
        for event in events
        if isinstance(event, Committed) and event.made and event.key != "corpus/source"
    }


def _partitions(workspace: Workspace, scope: Scope) -> dict[str, list[str]]:
    return {step.key: scope.partitions(workspace, step) for step in scope.steps}


def test_one_partition_of_an_asset_is_made_with_what_it_is_made_from(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    scope = with_inputs(tiny, ["random/subset"], "20")
    made = _made(workspace, scope)
    own = {name for name in made if name.startswith("random/")}
    assert own == {"random/subset[20]", *(f"random/scores[s{n}.jsonl]" for n in range(3))}
    assert not {name.partition("/")[0] for name in made} - {"random", "corpus"}
    assert not _made(workspace, scope), "what is current is left alone"
    assert set(_made(workspace, with_inputs(tiny, ["random/subset"]))) == {
        f"random/subset[{rate}]" for rate in RATES if rate != "20"
    }


def test_partitions_follow_upwards(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    found = _partitions(workspace, with_inputs(tiny, ["density/metrics"], "40|base"))
    assert found["density/metrics"] == found["density/checkpoint"] == ["40|base"]
    assert found["density/subset"] == ["40"] and found["density/sketch"] == [""]
    assert "full_data/checkpoint" not in found
    found = _partitions(workspace, with_inputs(tiny, ["ask_llm_xl/scores"], "s1.jsonl"))
    assert found["ask_llm_xl/scores"] == ["s1.jsonl"] and found["judge/checkpoint"] == ["xl"]
    assert "corpus/documents" in found and found["full_data/checkpoint"] == ["xl"]
    several = _partitions(workspace, with_inputs(tiny, ["random/metrics", "full_data/metrics"]))
    assert several["random/metrics"] and several["full_data/metrics"]


def test_what_is_forced_replaces_what_was_there_and_nothing_follows(tiny: Profile) -> None:
    """Equal content has the version that it had; the file's other steps, and other files, stay as they are."""
    workspace = Workspace(tiny)
    make_current(workspace, "random/subset", "random/scores")
    before = workspace.receipt("random/scores", "s1.jsonl")
    subset = workspace.receipt("random/subset", "20")
    made = _made(workspace, with_inputs(tiny, ["random/scores"], "s1.jsonl", anew=True))
    assert list(made) == ["random/scores[s1.jsonl]"] and before is not None
    now = workspace.receipt("random/scores", "s1.jsonl")
    assert now is not None and now.version == before.version and now.folder != before.folder
    assert now.files["scores.parquet"] == before.files["scores.parquet"]
    assert workspace.receipt("random/subset", "20") == subset
    assert not _made(workspace, with_inputs(tiny, ["random/subset"]))


def test_a_model_that_is_forced_is_learned_anew_from_the_corpus_as_it_is(
    tiny: Profile, tmp_path: Path
) -> None:
    workspace, step = Workspace(tiny), STEPS["corpus/tokenizer"]
    make_current(workspace, "corpus/tokens")
    first = workspace.artifact("corpus/tokenizer")
    again = _made(workspace, with_inputs(tiny, ["corpus/tokenizer"], anew=True))
    assert again["corpus/tokenizer"].version == first.version, "of the same corpus the same model"
    write_shard(tmp_path / "shards" / "s3.jsonl", [(f"n{n}", f"Zebras number {n} quux.") for n in range(99)])
    made = _made(workspace, with_inputs(tiny, ["corpus/tokens"]))
    assert "corpus/tokenizer" not in made and Versions(workspace).behind(step, "")
    made = _made(workspace, with_inputs(tiny, ["corpus/tokenizer"], anew=True))
    assert made["corpus/tokenizer"].version != first.version
    assert not Versions(workspace).behind(step, "")
    assert len(_made(workspace, with_inputs(tiny, ["corpus/tokens"]))) == 4, "what reads it follows"


def test_two_files_of_one_content_are_each_made_anew(tiny: Profile, tmp_path: Path) -> None:
    """Nothing is taken over from the other."""
    workspace = Workspace(tiny)
    rows = [("a", "A text that two files have."), ("b", "Another text.")]
    for name in ("s0", "s1", "s2"):
        write_shard(tmp_path / "shards" / f"{name}.jsonl", rows)
    make_current(workspace, "random/scores")
    made = _made(workspace, with_inputs(tiny, ["random/scores"], anew=True))
    assert len({receipt.folder for receipt in made.values()}) == 3


@pytest.mark.parametrize("key", ["report/comparison", "report/page"])
def test_nothing_is_made_for_a_report(tiny: Profile, key: str) -> None:
    assert [step.key for step in with_inputs(tiny, [key]).steps] == [key]
