"""Renamed files: what was made of their documents is taken over, and never what was made of other documents."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.takeover import rebuild_catalog
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current, stdlib_texts, write_shard
from curation_assets_tests.making import withdraw

pytestmark = pytest.mark.slow

SCORES = ("random/scores", "density/scores", "semdedup/scores", "prototypes/scores")


def _texts() -> list[tuple[str, str]]:
    """Documents that the corpus does not have yet."""
    return stdlib_texts(400)[200:]


def _ids(workspace: Workspace, key: str, shard: str) -> list[str]:
    table = workspace.open(key, shard) / f"{key.rpartition('/')[2]}.parquet"
    return pq.read_table(table, columns=["doc_id"])["doc_id"].to_pylist()


def _check(workspace: Workspace, shards: int) -> None:
    """Every file's scores are of its own documents, and are those that a data folder without a history has."""
    assert len(workspace.shards()) == shards
    for shard in workspace.shards():
        documents = _ids(workspace, "corpus/documents", shard)
        for key in SCORES:
            assert _ids(workspace, key, shard) == documents, f"{key}[{shard}] is of other documents"
            assert Versions(workspace).current(STEPS[key], shard)


def _rotate(folder: Path) -> int:
    (folder / "s0.jsonl").rename(folder / "s0_2024.jsonl")
    write_shard(folder / "s0.jsonl", _texts()[:40])
    return 4


def _swap(folder: Path) -> int:
    (folder / "s0.jsonl").rename(folder / "aside")
    (folder / "s1.jsonl").rename(folder / "s0.jsonl")
    (folder / "aside").rename(folder / "s1.jsonl")
    return 3


def _round(folder: Path) -> int:
    (folder / "s2.jsonl").rename(folder / "aside")
    (folder / "s1.jsonl").rename(folder / "s2.jsonl")
    (folder / "s0.jsonl").rename(folder / "s1.jsonl")
    (folder / "aside").rename(folder / "s0.jsonl")
    return 3


@pytest.mark.parametrize("change", [_rotate, _swap, _round])
def test_scores_are_of_a_files_own_documents_when_names_move(tiny: Profile, tmp_path: Path, change) -> None:
    workspace = Workspace(tiny)
    make_current(workspace, *SCORES)
    shards = change(tmp_path / "shards")
    make_current(workspace, *SCORES)
    _check(workspace, shards)
    if change is _rotate:
        receipt = workspace.receipt("corpus/embeddings", "s0_2024.jsonl")
        assert receipt is not None and receipt.metadata["taken_over_from"] == "s0.jsonl", "what s0 had before"


def test_of_two_equal_files_the_first_keeps_its_documents_whenever_it_is_made(
    tiny: Profile, tmp_path: Path
) -> None:
    """A copy's neighbours are its original's documents: other scores, from inputs of the same versions."""
    workspace, key = Workspace(tiny), "semdedup/scores"
    make_current(workspace, key)
    shutil.copy(tmp_path / "shards" / "s1.jsonl", tmp_path / "shards" / "a.jsonl")
    make_current(workspace, key)
    before = _scores(workspace, "a.jsonl"), _scores(workspace, "s1.jsonl")
    assert before[0] != before[1] and max(before[1]) == -1.0
    withdraw(workspace, key, "a.jsonl")
    make_current(workspace, key)
    assert (_scores(workspace, "a.jsonl"), _scores(workspace, "s1.jsonl")) == before


def test_what_was_taken_over_is_so_again_after_the_catalog_was_made_anew(
    tiny: Profile, tmp_path: Path
) -> None:
    """The manifests know it under its old name alone: nothing is made for that, the next run takes it over once more."""
    workspace, key = Workspace(tiny), "random/scores"
    make_current(workspace, key)
    (tmp_path / "shards" / "s0.jsonl").rename(tmp_path / "shards" / "moved.jsonl")
    make_current(workspace, key)
    before = workspace.receipt(key, "moved.jsonl")
    rebuild_catalog("", workspace.store, workspace.data)
    assert workspace.receipt(key, "moved.jsonl") is None
    assert workspace.receipt(key, "s0.jsonl").folder == before.folder
    make_current(workspace, key)
    after = workspace.receipt(key, "moved.jsonl")
    assert after.folder == before.folder and after.metadata["taken_over_from"] == "s0.jsonl"


def _scores(workspace: Workspace, shard: str) -> list[float]:
    table = pq.read_table(workspace.open("semdedup/scores", shard) / "scores.parquet", columns=["score"])
    return table["score"].to_pylist()


def test_a_later_file_under_an_old_name_gets_scores_of_its_own(tiny: Profile, tmp_path: Path) -> None:
    folder, workspace = tmp_path / "shards", Workspace(tiny)
    make_current(workspace, *SCORES)
    (folder / "s0.jsonl").rename(folder / "moved.jsonl")
    make_current(workspace, *SCORES)
    receipt = workspace.receipt("random/scores", "moved.jsonl")
    assert receipt is not None and receipt.metadata["taken_over_from"] == "s0.jsonl", "nothing was scored"
    write_shard(folder / "s0.jsonl", _texts()[:40])
    make_current(workspace, *SCORES)
    _check(workspace, 4)
    write_shard(folder / "s1.jsonl", _texts()[40:80])  # semdedup's scores of all files are due again
    make_current(workspace, *SCORES)
    _check(workspace, 4)
