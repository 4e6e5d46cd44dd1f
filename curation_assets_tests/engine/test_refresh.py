"""Asking for new models: only what is behind is marked, once, and what it costs is said before it is done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation_assets.config.profile import Profile, ProfileError
from curation_assets.engine.follow import Follow
from curation_assets.engine.graph import STEPS
from curation_assets.engine.refresh import ask_refresh, to_text
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current, stdlib_texts, write_shard

MODELS = ("corpus/tokenizer", "clusters/centroids")


def _made(workspace: Workspace) -> list[float]:
    receipts = [workspace.receipt(key) for key in MODELS]
    return [receipt.created for receipt in receipts if receipt]


def _change(folder: Path, documents: int) -> None:
    write_shard(folder / "s0.jsonl", stdlib_texts()[0::4][:-documents])


@pytest.mark.slow
def test_a_mark_is_for_what_is_behind_when_it_is_made(tiny: Profile, tmp_path: Path) -> None:
    workspace, everything = Workspace(tiny), ("prototypes/scores", "corpus/index")
    make_current(workspace, *everything)
    first = _made(workspace)

    early = ask_refresh(workspace, [])
    assert not early.marked and not early.follows and set(MODELS) <= set(early.kept)
    assert "nothing is marked" in to_text(early) and not workspace.catalog.marks()
    _change(tmp_path / "shards", 1)
    make_current(workspace, *everything)
    assert _made(workspace) == first, "what was asked while nothing was behind arms nothing"

    asked = ask_refresh(workspace, ["corpus/tokenizer"])
    assert asked.marked["corpus/tokenizer"].artifacts == 1 and list(workspace.catalog.marks()) == [
        "corpus/tokenizer"
    ]
    assert asked.follows["corpus/tokens"].artifacts == 3 and "clusters/centroids" not in asked.follows
    text = to_text(asked)
    assert (
        "corpus/tokenizer: behind the corpus; 1 artifact" in text and "3 tokens" in text and "of work" in text
    )
    assert Follow(workspace).follows(STEPS["corpus/tokenizer"])
    make_current(workspace, *everything)
    second = _made(workspace)
    assert second[0] > first[0] and second[1] == first[1]

    _change(tmp_path / "shards", 2)
    make_current(workspace, *everything)
    assert _made(workspace) == second, "once is enough"

    asked = ask_refresh(workspace, ["corpus/tokenizer"])
    assert workspace.catalog.marks()
    _change(tmp_path / "shards", 1)  # as it was when the tokenizer was learned
    make_current(workspace, *everything)
    assert ask_refresh(workspace, ["corpus/tokenizer"]).kept == ["corpus/tokenizer"]
    assert not workspace.catalog.marks(), "the mark went with what it was made for"


@pytest.mark.slow
def test_what_is_made_from_a_model_that_is_learned_anew_is_marked_with_it(
    tiny: Profile, tmp_path: Path
) -> None:
    workspace = Workspace(tiny)
    make_current(workspace, "judge/checkpoint")
    _change(tmp_path / "shards", 3)
    make_current(workspace, "corpus/documents")
    asked = ask_refresh(workspace, ["judge/labels", "judge/checkpoint"])
    assert set(asked.marked) == {"judge/labels", "judge/checkpoint"}
    assert ask_refresh(workspace, ["judge/checkpoint"]).kept == ["judge/checkpoint"], (
        "by itself it is not behind"
    )


def test_only_models_that_were_learned_from_the_corpus_can_be_asked_for(tiny: Profile) -> None:
    with pytest.raises(
        ValueError, match="random/scores is no model learned from the corpus: those are corpus/tokenizer"
    ):
        ask_refresh(Workspace(tiny), ["random/scores"])


@pytest.mark.parametrize("name", ["profile.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "nul"])
def test_a_damaged_note_is_one_clear_line(tiny: Profile, name: str, content: str) -> None:
    Workspace(tiny)
    (tiny.data / name).write_text(content)
    with pytest.raises(ProfileError, match=rf"{name} is damaged: remove it"):
        Workspace(tiny).catalog.marks()


def test_marks_of_many_at_once_are_all_kept(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    names = [f"model{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: workspace.catalog.mark([name]), names))
    assert sorted(workspace.catalog.marks()) == names


def test_a_mark_that_came_while_others_were_looked_through_stays(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    workspace.catalog.mark(["one", "other"])
    seen = workspace.catalog.marks()
    workspace.catalog.mark(["other"])
    workspace.catalog.unmark(seen)
    assert list(workspace.catalog.marks()) == ["other"]
