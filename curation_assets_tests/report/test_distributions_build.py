"""The report on distributions of scores, of a real corpus: tables against its scores, and what its section says."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from curation_assets.common.progress import silent
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.report.distributions_build import distributions
from curation_assets.report.documents import Scored
from curation_assets.report.scored import Corpus
from curation_assets.report.section import read_section
from curation_assets.selection import select
from curation_assets_tests.making import load
from curation_assets_tests.report.hand_made import Score, texts, workspace


def _scores(salt: int, levels: int = 10**6) -> Score:
    return lambda ids: np.array([float(1 + zlib.crc32(f"{salt}{i}".encode()) % levels) for i in ids])


SCORES = {
    "random": _scores(0),
    "density": _scores(1, 9),
    "semdedup": lambda ids: np.array([-1.0 if i[-1] < "p" else 1e9 for i in ids]),
    "perplexity_small": lambda ids: np.ones(len(ids)),
    "ask_llm_small": _scores(2),
    "ask_llm_xxl": _scores(3),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Three shards; the third repeats documents of the first."""
    rows = texts(90)
    shards = {"s0.jsonl": rows[:40], "s1.jsonl": rows[40:], "s2.jsonl": rows[:5]}
    with pytest.MonkeyPatch.context() as patch:
        yield workspace(tmp_path_factory.mktemp("distributions"), patch, shards, SCORES)


@pytest.fixture(scope="module")
def made(
    small: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object], list[str]]:
    folder = tmp_path_factory.mktemp("report")
    ids = [
        i
        for shard in ("s0.jsonl", "s1.jsonl")
        for i in pq.read_table(open_documents(small, shard), columns=["doc_id"])["doc_id"].to_pylist()
    ]
    return folder, load(distributions, small, STEPS["report/distributions"])("", folder, silent), ids


def test_tables_are_of_every_document_once(made: tuple[Path, dict[str, object], list[str]]) -> None:
    folder, about, ids = made
    assert about["documents"] == len(ids) == len(set(ids))
    table = {r["sampler"]: r for r in pl.read_parquet(folder / "quantiles.parquet").iter_rows(named=True)}
    assert list(table)[: len(SCORES)] == [n for n in SAMPLERS if n in SCORES] and set(table) == {
        *SAMPLERS.scored
    }
    bins = pl.read_parquet(folder / "distributions.parquet")
    for name, score in SCORES.items():
        x, row = np.sort(score(ids)), table[name]
        assert row["n"] == len(ids) and row["mean"] == pytest.approx(x.mean())
        assert row["sd"] == pytest.approx(x.std(ddof=1))
        assert (row["q0"], row["q50"], row["q100"]) == (x[0], x[(len(x) - 1) // 2], x[-1])
        assert (row["sampled"], row["distinct_in_sample"]) == (len(ids), len(set(x.tolist())))
        own = bins.filter(pl.col("sampler") == name)
        assert own["documents"].sum() == len(ids)
        first, last = own.row(0, named=True), own.row(-1, named=True)
        assert (first["drawn"], first["documents"], last["documents"]) == (
            False,
            row["outside_below"],
            row["outside_above"],
        )
        assert own.filter("drawn")["documents"].to_list() == np.histogram(x, [*own["high"][:-1]])[0].tolist()
    missing = table["prototypes"]
    assert missing["n"] is None and missing["mean"] is None and "prototypes" in str(about["not_current"])


def test_cuts_are_those_of_the_selection(made: tuple[Path, dict[str, object], list[str]]) -> None:
    folder, _, ids = made
    for row in pl.read_parquet(folder / "cuts.parquet").iter_rows(named=True):
        x = SCORES[row["sampler"]](ids)
        if row["technique"] in ("uniform", "ips"):
            assert row["score"] is None and row["tied"] is None
            continue
        kept = x[select(ids, x, int(row["rate"]) / 100, row["technique"], 0)]
        assert (row["score"], row["tied"]) == (kept.min(), (x == kept.min()).sum())


def test_the_section_tells_what_moves_what_is_tied_and_what_is_missing(
    made: tuple[Path, dict[str, object], list[str]],
) -> None:
    folder, about, ids = made
    section = read_section(folder)
    assert [figure.name for figure in section.figures] == ["distributions", "rank_change_ask_llm"]
    for figure in section.figures:
        assert str(about[figure.name]).startswith("![") and (folder / f"{figure.name}.parquet").exists()
    said = section.findings
    assert said[0].startswith("Ask-LLM, from small to xxl: documents move ")
    assert "of the top 20 % of the documents by small, xxl has in its own" in said[0]
    assert (
        said[1]
        == "With fewer than two current scorers there is no change in rank to show: Perplexity, Perplexity in training."
    )
    assert said[2].startswith("The cut falls among documents of exactly the same score")
    assert f"perplexity_small at 10 % ({len(ids)} documents)" in said[2]
    assert said[3] == "Every document has the same score: perplexity_small."
    assert said[4].startswith("Without current scores of every shard, and not shown: prototypes")
    quantiles, cuts, changes = section.tables
    rows = {row[0]: row for row in quantiles.rows}
    assert rows["prototypes"][2] == "not current" and rows["density"][1] == len(ids)
    cut = {row[0]: row for row in cuts.rows}
    assert cut["density"][1:4] == ["drawn by 1/score", "no cut", "no cut"] and len(cut) == len(
        SAMPLERS.scored
    )
    assert cut["prototypes"][2] == "not current" and len(changes.rows) == 1
    assert (
        f"All {len(ids)} documents" in section.figures[0].caption
        and f"not drawn: {len(SAMPLERS.scored) - len(SCORES)} samplers." in section.figures[0].caption
    )
    assert "all of them" in section.method


def test_the_ui_shows_pictures_tables_and_sentences(made: tuple[Path, dict[str, object], list[str]]) -> None:
    _, about, _ = made
    for name in ("distributions", "rank_change_ask_llm"):
        assert str(about[name]).startswith("![") and ";base64," in str(about[name])
    assert "| ask_llm_small | ask_llm_xxl |" in str(about["tables"])
    assert str(about["findings"]).startswith("- Ask-LLM")


def test_the_report_is_the_same_again(
    small: Workspace, made: tuple[Path, dict[str, object], list[str]], tmp_path: Path
) -> None:
    folder, about, _ = made
    told: list[tuple[int, int]] = []
    assert (
        load(distributions, small, STEPS["report/distributions"])(
            "", tmp_path, lambda done, total, *rest: told.append((done, total))
        )
        == about
    )
    assert told == [(i + 1, 15) for i in range(15)]
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    json.loads((folder / "section.json").read_bytes())


def test_without_scores_there_is_nothing_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(30)}, {})
    with pytest.raises(MissingInput, match="no sampler has current scores"):
        load(distributions, found, STEPS["report/distributions"])("", tmp_path, silent)


def test_scores_are_read_some_at_a_time(small: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> list[Scored]:
        context = Context(small, STEPS["report/distributions"], "")
        return [*Corpus(context, small.shards(), ["random", "density"], silent, 1)]

    whole = read()
    assert [one.shard for one in whole] == [0, 1, 2]
    monkeypatch.setattr("curation_assets.report.scored._BLOCK", 7)
    parts = read()
    assert len(parts) > 3 * len(whole) and all(len(part.rows) <= 7 for part in parts)
    for one in whole:
        _, *columns = zip(*(part for part in parts if part.shard == one.shard), strict=True)
        for expected, values in zip(one[1:], columns, strict=True):
            assert np.array_equal(np.concatenate(values, axis=-1), expected)
