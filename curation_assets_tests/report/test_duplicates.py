"""The report on near-duplicates: against counting by the scores, what its section says, and where there is nothing to count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.cli.summary import what_was_found
from curation_assets.common.progress import silent
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.report.duplicates import Duplicates
from curation_assets.report.duplicates_build import duplicates
from curation_assets.report.duplicates_view import figures, findings, headline, section
from curation_assets.report.section import read_section
from curation_assets.samplers.semdedup import about_cut
from curation_assets.scoring.semdedup import THRESHOLDS, threshold_counts
from curation_assets.selection.build import subset
from curation_assets_tests.conftest import write_shard
from curation_assets_tests.making import load, materialize
from curation_assets_tests.samplers.test_semdedup import NEEDED
from curation_assets_tests.samplers.test_unreadable import make, write_corpus

KEY = "report/duplicates"
COPIES = 7


def _found(cuts: dict[str, float], threshold: float = 0.9) -> Duplicates:
    """Return 100 documents, of which one goes at each hundredth from 1.0 down."""
    score, duplicate = np.concatenate([[1.0], -THRESHOLDS[::-10][:99]]), np.zeros(100, np.int64)
    duplicate[0] = -1
    return Duplicates(100, *threshold_counts(score, duplicate), threshold, cuts)


def test_a_rate_that_cuts_below_the_threshold_is_told_from_one_above() -> None:
    found = _found({"20": 0.31, "80": 0.95})
    assert found.at(0.9) == (11, 1) and found.at(1.0) == (1, 1) and found.share(0.9) == 0.11
    first = headline(found)
    assert first.startswith(
        "11 of 100 documents (11.0%) are near-duplicates: their cosine to one that is kept is 0.9 or more."
    )
    assert "one representative of each of 1 group;" in first
    assert first.endswith("semdedup's 20 % subset is cut at cosine 0.31: it picks outliers, not copies.")
    low, high, hangs = findings(found)[1:]
    assert low.startswith("Cut below 0.9") and "20 % at cosine 0.31" in low and "that keeps 89.0% here" in low
    assert high.startswith("Cut at 0.9 or above") and "80 % at cosine 0.95" in high
    assert "6 at 0.95, 11 at 0.9, 16 at 0.85; 1 are exact copies" in hangs
    assert "outliers" not in headline(_found({"80": 0.95}))
    assert "near-duplicates alone go" in [row[2] for row in section(found).tables[1].rows]


def test_the_threshold_of_the_profile_counts_and_has_a_row() -> None:
    found = _found({}, 0.875)
    assert headline(found).startswith("13 of 100 documents")
    (table,) = section(found).tables
    assert ["0.875", 13, "13.0%", 1, 87] in table.rows
    assert [row[1] for row in table.rows] == sorted(int(str(row[1])) for row in table.rows)


def test_the_curve_falls_and_is_drawn() -> None:
    found = _found({"20": 0.31})
    curve = found.curve()
    assert curve["threshold"][0] == 1.0 and curve["removed"].is_sorted() and curve["kept"][-1] == 1
    [(figure, picture)] = figures(found)
    assert figure.name == "duplicates" and "removed at 0.9" in figure.alt + picture.svg()


@pytest.mark.parametrize(
    ("lowest", "picks"),
    [(-0.31, "outliers, not copies"), (-0.9, "drops copies alone"), (0.5, "outliers, not copies")],
)
def test_a_subset_tells_at_which_cosine_it_is_cut(lowest: float, picks: str) -> None:
    about = about_cut(lowest)
    assert about["cut_at_cosine"] == -lowest and picks in about["what_that_does"]


def _workspace(home: Path, patch: pytest.MonkeyPatch, execution: str) -> Workspace:
    """Return a corpus of 40 documents, copies of some of them in other words, and some that nobody can read."""
    workspace = write_corpus(home, patch, 0, 0, execution)
    rows = [(f"k{i}", f"number {i + 1} of the documents") for i in range(40)]
    rows += [(f"c{i}", f"number {i + 1} once more, in other words") for i in range(COPIES)]
    rows += [(f"u{i}", f"? {i} of the documents that nobody reads") for i in range(20)]
    for number in range(2):
        write_shard(home / "shards" / f"s{number}.jsonl", rows[number::2])
    return workspace


def test_what_is_counted_is_what_the_scores_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for groups in (1, 3):
        workspace = _workspace(tmp_path / str(groups), monkeypatch, f"groups = {groups}\n")
        make(workspace, *NEEDED)
        for rate in ("20", "80"):
            step = STEPS["semdedup/subset"]
            build = load(subset(SAMPLERS["semdedup"]), workspace, step)
            receipt, _ = materialize(workspace, step, rate, lambda _, build=build: build)
            assert receipt.metadata["cut_at_cosine"] == -receipt.metadata["threshold"]
        build = load(duplicates, workspace, STEPS[KEY])
        receipt, _ = materialize(workspace, STEPS[KEY], "", lambda _, build=build: build)
        tables = [
            pq.read_table(workspace.open("semdedup/scores", s) / "scores.parquet") for s in workspace.shards()
        ]
        scores = pl.DataFrame(pa.concat_tables(tables))
        near = scores.filter(pl.col("similarity") >= 0.9)
        assert receipt.metadata["near_duplicates"] == len(near) == COPIES == receipt.metadata["groups"]
        assert scores.filter(pl.col("score") <= -0.9).equals(near), "a threshold spares what nobody can read"
        assert receipt.metadata["documents"] == 40 + COPIES
        curve = pl.read_parquet(workspace.open(KEY) / "curve.parquet")
        for t, removed in curve.select("threshold", "removed").rows():
            assert removed == (scores["similarity"] >= t).sum()
        shown.append(read_section(workspace.open(KEY)))
        assert {table.columns[1] for table in shown[-1].tables} == {"documents removed", "cut at cosine"}
    assert shown[0] == shown[1], "the number of groups changes nothing"
    assert any("20 documents that the encoder cannot read" in text for text in shown[0].findings)
    monkeypatch.setenv("COLUMNS", "80")
    said = what_was_found(workspace)
    assert said.startswith("What was found:\n- 7 of 47 documents (14.9%) are near-duplicates")
    assert all(len(line) <= 80 for line in said.splitlines()) and said.endswith("\n\n")


def test_without_neighbours_the_section_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = _workspace(tmp_path, monkeypatch, "")
    assert what_was_found(workspace) == ""
    make(workspace, *NEEDED[: NEEDED.index("corpus/documents") + 1])
    (tmp_path / "out").mkdir()
    load(duplicates, workspace, STEPS[KEY])("", tmp_path / "out", silent)
    shown = read_section(tmp_path / "out")
    assert shown.findings == [
        "Near-duplicates have not been counted: semdedup's neighbours are missing or out of date (run.samplers)."
    ]
    assert not shown.headline and not shown.tables
