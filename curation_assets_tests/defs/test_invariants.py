"""Every asset check fails on the very thing that it is there to catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation_assets.common.files import write_json, write_table
from curation_assets.common.hashing import hash_ids
from curation_assets.config.profile import Profile
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.lineage.status import status, to_text
from curation_assets_tests.making import attempted, commit, fail, put

IDS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def workspace(tiny: Profile) -> Workspace:
    found = Workspace(tiny)
    _put(found, "corpus/source", "", lambda f: write_json(f / "shards.json", {"s0.jsonl": {}}))
    _put(found, "corpus/documents", "s0.jsonl", _documents, {"rows": 7})
    return found


def _put(
    workspace: Workspace,
    key: str,
    partition: str,
    fill: Callable[[Path], object],
    metadata: dict[str, object] | None = None,
    inputs: dict[str, str] | None = None,
) -> None:
    with workspace.store.staged() as folder:
        fill(folder)
        receipt = Receipt(key, partition, "v", "v", "c", inputs or {}, "", {}, metadata or {})
        commit(workspace, folder, receipt)


def _documents(folder: Path) -> None:
    for name, ids in (("documents", IDS), ("validation", ["v"]), ("quarantine", ["q"])):
        write_table(folder / f"{name}.parquet", pa.table({"doc_id": ids, "doc_hash": hash_ids(ids)}))


def _passed(workspace: Workspace, key: str, name: str) -> bool:
    return INVARIANTS[key][name](workspace).passed


def _scores(workspace: Workspace, ids: list[str], scores: list[float]) -> None:
    table = pa.table({"doc_hash": hash_ids(ids), "score": pa.array(scores, pa.float64())})
    _put(workspace, "density/scores", "s0.jsonl", lambda f: write_table(f / "scores.parquet", table))


def test_rows_that_do_not_add_up(workspace: Workspace) -> None:
    assert _passed(workspace, "corpus/documents", "rows_add_up")
    _put(workspace, "corpus/documents", "s0.jsonl", _documents, {"rows": 8})
    assert not _passed(workspace, "corpus/documents", "rows_add_up")


@pytest.mark.parametrize(("row", "good"), [([0.6, 0.8], True), ([0.6, 0.9], False), ([np.nan, 0.0], False)])
def test_vectors_that_are_not_of_unit_length(workspace: Workspace, row: list[float], good: bool) -> None:
    x = np.array([[1, 0], row], np.float32)
    _put(workspace, "corpus/embeddings", "s0.jsonl", lambda f: np.save(f / "embeddings.npy", x))
    assert _passed(workspace, "corpus/embeddings", "unit_length") == good


@pytest.mark.parametrize(
    ("ids", "scores", "complete", "varied"),
    [
        (IDS, [1, 2, 3, 4, 5], True, True),
        (IDS, [1, 2, np.nan, 4, 5], False, True),
        (IDS, [1, 2, np.inf, 4, 5], False, True),
        (IDS[:-1], [1, 2, 3, 4], False, True),
        ([*IDS[:-1], "x"], [1, 2, 3, 4, 5], False, True),
        (IDS, [2, 2, 2, 2, 2], True, False),
    ],
)
def test_scores_that_are_missing_not_finite_or_constant(
    workspace: Workspace, ids: list[str], scores: list[float], complete: bool, varied: bool
) -> None:
    _scores(workspace, ids, scores)
    assert _passed(workspace, "density/scores", "complete_and_finite") == complete
    assert _passed(workspace, "density/scores", "scores_differ") == varied


def test_ids_that_stand_for_several_texts_are_told_as_a_warning(workspace: Workspace) -> None:
    check = INVARIANTS["corpus/index"]["ids_stand_for_one_text"]
    assert check(workspace).passed
    told = {"ids_with_several_texts": 2, "documents_of_such_ids": 5, "such_ids": "'1' in 'a', 'b'"}
    for about, good in (({**told, "ids_with_several_texts": 0}, True), (told, False)):
        _put(workspace, "corpus/index", "", lambda f: write_json(f / "shards.json", {}), about)
        assert check(workspace).passed is good and check(workspace).warns
    assert check(workspace).description.startswith("2 ids stand for several texts: '1' in 'a', 'b'. All 5")


def _subset(workspace: Workspace, rate: str, ids: list[str], scores: str = "one") -> None:
    def fill(folder: Path) -> None:
        write_table(folder / "subset.parquet", pa.table({"doc_hash": hash_ids(ids)}))
        write_json(folder / "manifest.json", {"candidates": 5})

    _put(workspace, "random/subset", rate, fill, inputs={"random/scores": scores})


@pytest.mark.parametrize(
    ("ids", "good"), [(["a", "b"], True), (["a"], False), (["a", "b", "c"], False), (["a", "a"], False)]
)
def test_a_subset_of_the_wrong_size(workspace: Workspace, ids: list[str], good: bool) -> None:
    _subset(workspace, "40", ids)
    assert _passed(workspace, "random/subset", "exact_size") == good


def test_subsets_that_are_not_nested(workspace: Workspace) -> None:
    _subset(workspace, "40", ["a", "b"])
    _subset(workspace, "60", ["a", "b", "c"])
    assert _passed(workspace, "random/subset", "smaller_in_larger")
    _subset(workspace, "60", ["a", "c", "d"])
    assert not _passed(workspace, "random/subset", "smaller_in_larger")
    _subset(workspace, "60", ["a", "c", "d"], scores="another version")
    assert _passed(workspace, "random/subset", "smaller_in_larger"), (
        "subsets of different scores need not be nested"
    )


def test_a_comparison_with_a_value_that_is_no_number(workspace: Workspace) -> None:
    for value, good in ((3.0, True), (np.nan, False), (None, True)):
        table = pa.table({"sampler": ["random"], "perplexity": pa.array([value], pa.float64())})
        _put(
            workspace,
            "report/comparison",
            "",
            lambda f, table=table: write_table(f / "comparison.parquet", table),
        )
        assert _passed(workspace, "report/comparison", "values_finite") == good


def test_a_metric_of_an_earlier_subset(workspace: Workspace) -> None:
    def put(key: str, partition: str, version: str, inputs: dict[str, str]) -> None:
        receipt = Receipt(key, partition, version, version, "c", inputs, "", {}, {})
        with workspace.store.staged() as folder:
            commit(workspace, folder, receipt)

    put("density/subset", "20", "s1", {})
    put("density/checkpoint", "20|small", "c1", {"density/subset": "s1"})
    put("density/metrics", "20|small", "m1", {"density/checkpoint": "c1"})
    assert _passed(workspace, "density/metrics", "matches_subset")
    put("density/subset", "20", "s2", {})
    assert not _passed(workspace, "density/metrics", "matches_subset"), "the subset changed"
    put("density/checkpoint", "20|small", "c2", {"density/subset": "s2"})
    assert not _passed(workspace, "density/metrics", "matches_subset"), "trained anew, not measured"
    put("density/metrics", "20|small", "m2", {"density/checkpoint": "c2"})
    assert _passed(workspace, "density/metrics", "matches_subset")


def test_a_file_that_cannot_be_read(workspace: Workspace) -> None:
    assert _passed(workspace, "corpus/documents", "all_files_read")
    fail(workspace, "corpus/documents", "s0.jsonl", ValueError("no gzip file"), "w")
    outcome = INVARIANTS["corpus/documents"]["all_files_read"](workspace)
    assert not outcome.passed and outcome.warns and "no gzip file" in outcome.description
    with attempted(workspace, "corpus/documents", "s0.jsonl"):
        pass  # somebody stopped it: it could not be read before, and may not be now
    assert not _passed(workspace, "corpus/documents", "all_files_read")
    there = workspace.receipt("corpus/documents", "s0.jsonl")
    assert there is not None
    put(workspace, replace(there, created=there.created + 1))
    assert _passed(workspace, "corpus/documents", "all_files_read")


_READ = {"documents": 100, "tokens": 5000, "unknown_share": 0.01, "unreadable_documents": 1}


@pytest.mark.parametrize(
    ("changed", "known", "whole"),
    [
        ({}, True, True),
        ({"unknown_share": 0.06}, False, True),
        ({"unreadable_documents": 6}, False, True),
        ({"cut_documents": 90, "mostly_cut_documents": 50}, True, True),
        ({"cut_documents": 90, "mostly_cut_documents": 51}, True, False),
    ],
)
def test_text_that_the_encoder_does_not_read(
    workspace: Workspace, changed: dict[str, float], known: bool, whole: bool
) -> None:
    _put(workspace, "corpus/documents", "s0.jsonl", _documents, {"rows": 7, "documents": 5})
    _put(workspace, "corpus/embeddings", "s0.jsonl", lambda f: None, _READ | changed)
    assert _passed(workspace, "corpus/embeddings", "unknown_tokens") == known
    assert _passed(workspace, "corpus/embeddings", "cut_documents") == whole
    said = [line for line in to_text(status(workspace)).split("\n") if line.startswith("WARNING")]
    assert len(said) == (not known) + (not whole) and all("corpus/embeddings" in line for line in said)


def test_text_that_the_tokenizer_does_not_know(workspace: Workspace) -> None:
    for share in (0.05, 0.051):
        about = {"documents": 100, "tokens": 5000, "unknown_share": share}
        _put(workspace, "corpus/tokens", "s0.jsonl", lambda f: None, about)
        assert _passed(workspace, "corpus/tokens", "unknown_tokens") == (share == 0.05)
