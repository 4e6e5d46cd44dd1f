"""Files of odd names in real Dagster runs: none keeps the others back, all are read, scored and selected like others."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from curation_assets.cli.main import main
from curation_assets.config.profile import Profile
from curation_assets.corpus.names import key_of
from curation_assets.defs.instance import instance_for
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.lineage.status import status, to_text
from curation_assets.lineage.trace import to_text as traced
from curation_assets.lineage.trace import trace
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.corpus.shut_folders import unlistable

NAMES = [
    *(
        "Doe, Jane - A Book.jsonl",
        "a|b.jsonl",
        "wait....jsonl",
        "two\nlines.jsonl",
        "x::y.jsonl",
        " edges .jsonl ",
    ),
    *("\x1b[2Jcls.jsonl", "a\u202elnosj.jsonl", "caf\udce9.jsonl", "100%, 50%2C.jsonl", "[0...9],*?#.jsonl"),
    "date=2024-01/" + "x" * 200 + "é" * 20 + ".jsonl",
]
KEYS = [
    "corpus/source",
    "corpus/shards",
    "corpus/documents",
    "corpus/tokenizer",
    "corpus/tokens",
    "corpus/index",
]


@pytest.mark.graph
def test_files_of_odd_names_are_read_scored_and_selected(tiny: Profile, tmp_path: Path) -> None:
    texts = stdlib_texts()
    for number, name in enumerate(NAMES):
        write_shard(tmp_path / "shards" / name, texts[number :: len(NAMES)])
    for plain in range(3):
        (tmp_path / "shards" / f"s{plain}.jsonl").unlink()
    outcome = run_graph(
        tiny, lambda line: None, [STEPS[key] for key in (*KEYS, "random/scores", "random/subset")]
    )
    assert not outcome.failed and not outcome.blocked
    workspace, keys = Workspace(tiny), sorted(map(key_of, NAMES))
    assert workspace.shards() == keys
    scored = [workspace.metadata("corpus/documents", key)["documents"] for key in keys]
    assert all(scored) and all(workspace.receipt("random/scores", key) for key in keys)
    chosen = pl.read_parquet(workspace.open("random/subset", "80") / "subset.parquet")
    assert len(chosen) == round(0.8 * sum(scored))
    with instance_for(tiny) as instance:
        assert sorted(instance.get_dynamic_partitions("shard")) == keys
        made = instance.get_materialized_partitions(dg.AssetKey(["random", "scores"]))
        assert made == set(keys)
    told = traced(trace(workspace, "random/scores", "Doe, Jane - A Book.jsonl"))
    assert "random/scores[Doe%2C Jane - A Book.jsonl]" in told
    assert "\x1b" not in to_text(status(workspace))


@pytest.fixture
def listing_alone(tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile whose runs only list the corpus."""
    monkeypatch.setattr(
        "curation_assets.defs.run_graph.wanted_steps", lambda profile: [STEPS["corpus/source"]]
    )
    return tiny


@pytest.mark.graph
def test_what_is_passed_over_is_told_at_the_end_of_a_run_in_status_and_in_a_check(
    listing_alone: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "500")  # else sentences are broken
    shards = tmp_path / "shards"
    for name in ("b.tar", "c.tar", "_SUCCESS", "README.md", "a\x1b.pdf"):
        (shards / name).touch()
    (shards / "s0.jsonl.gz").write_bytes((shards / "s0.jsonl").read_bytes())
    assert main(["run"]) == 0
    lines = [
        "passed over: b.tar, c.tar: .tar: an archive, which is not read: unpack it",
        "passed over: a\\x1b.pdf: .pdf: not read: extract its text, to .jsonl or .txt",
        "same name: s0.jsonl, s0.jsonl.gz: all are read; remove those that hold the same documents",
    ]
    out = capsys.readouterr().out
    assert all(line in out for line in lines)
    workspace = Workspace(listing_alone)
    said = to_text(status(workspace)).splitlines()
    assert all(f"NOTE  {line}" in said for line in lines)
    outcome = INVARIANTS["corpus/source"]["no_files_passed_over"](workspace)
    assert outcome.warns and not outcome.passed and "4 files listed, 3 passed over" in outcome.description
    assert outcome.metadata["not_meant_as_data"] == {"bookkeeping": 2}
    counts = workspace.metadata("corpus/source")["passed_over"]
    assert list(counts.values()) == [2, 1] and next(iter(counts)).startswith(".tar: an archive")
    with instance_for(listing_alone) as instance:
        check = dg.AssetCheckKey(dg.AssetKey(["corpus", "source"]), "no_files_passed_over")
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
        assert latest.event is not None
        found = latest.event.dagster_event.asset_check_evaluation_data
        assert not found.passed and found.severity == dg.AssetCheckSeverity.WARN


@pytest.mark.graph
def test_nothing_passed_over_is_nothing_told(
    listing_alone: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run"]) == 0
    assert "passed over" not in capsys.readouterr().out
    assert INVARIANTS["corpus/source"]["no_files_passed_over"](Workspace(listing_alone)).passed


@pytest.mark.graph
def test_a_folder_that_cannot_be_listed_ends_a_run_with_the_reason_and_takes_nothing_along(
    listing_alone: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In this process, where the system's answer is changed.
    monkeypatch.setattr(
        "curation_assets.defs.run_graph.run_graph", lambda profile, tell, apart: run_graph(profile, tell)
    )
    part = tmp_path / "shards" / "part2"
    part.mkdir()
    (tmp_path / "shards" / "s2.jsonl").rename(part / "s2.jsonl")
    assert main(["run"]) == 0
    before = Workspace(listing_alone).listed()
    with unlistable(part):
        assert main(["run"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert "part2 cannot be looked at (Permission denied)" in line
    assert Workspace(listing_alone).listed() == before and "part2/s2.jsonl" in before
