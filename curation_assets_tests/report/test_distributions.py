"""Distributions of scores against sorting and counting everything, changes in rank against scipy, and the report of a small corpus."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from curation_assets.corpus.reading import open_documents
from curation_assets.progress import silent
from curation_assets.registry import RATES, SAMPLERS
from curation_assets.report.distributions import (
    PASSES,
    QUANTILES,
    Distribution,
    Moments,
    OrderStatistics,
    cut_ranks,
    drawn_range,
    quantile_ranks,
)
from curation_assets.report.distributions_build import distributions
from curation_assets.report.html import inline_svg
from curation_assets.report.rank_change import LADDERS, UNRELATED, pairs, rank_changes
from curation_assets.report.section import read_section
from curation_assets.sampling import select
from curation_assets.workspace import MissingInput, Workspace
from curation_assets_tests.report.hand_made import Score, texts, workspace

FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324])
SHARDS = st.lists(st.lists(FINITE, max_size=8), min_size=1, max_size=4).filter(any)


def _arrays(shards: list[list[float]]) -> list[np.ndarray]:
    return [np.array(shard, np.float64) for shard in shards]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=30), min_size=1, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(shards: list[list[float]]) -> None:
    moments = Moments()
    for part in _arrays(shards):
        moments.add(part)
    x = np.concatenate(_arrays(shards))
    assert moments.n == len(x)
    if len(x):
        assert moments.mean == pytest.approx(x.mean(), rel=1e-9, abs=1e-6)
    if len(x) > 1:
        assert moments.sd == pytest.approx(x.std(ddof=1), rel=1e-9, abs=1e-6)
    else:
        assert np.isnan(moments.sd)


def test_the_spread_of_large_numbers_is_not_lost_to_rounding() -> None:
    moments = Moments()
    for part in np.split(1e9 + np.arange(1000.0), 10):
        moments.add(part)
    assert moments.sd == pytest.approx(np.arange(1000).std(ddof=1), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(SHARDS, st.data())
def test_order_statistics_are_those_of_a_sort(shards: list[list[float]], data: st.DataObject) -> None:
    parts = _arrays(shards)
    ordered = np.sort(np.concatenate(parts))
    ranks = data.draw(st.lists(st.integers(0, len(ordered) - 1), max_size=6))
    found = OrderStatistics()
    for number in range(PASSES):
        for part in parts:
            found.add(part)
        found.advance(ranks if number == 0 else ())
    scores, tied = found.scores()
    assert scores.tolist() == ordered[ranks].tolist()
    assert tied.tolist() == [int((ordered == ordered[rank]).sum()) for rank in ranks]


def test_order_statistics_need_all_passes_and_ranks_that_there_are() -> None:
    found = OrderStatistics()
    found.add(np.arange(3.0))
    with pytest.raises(ValueError, match=r"ranks must be 0 to 2, not \[3\]"):
        found.advance([3])
    with pytest.raises(ValueError, match="read 0 times, wanted is 4 times"):
        found.scores()


@settings(deadline=None)
@given(st.integers(1, 5000))
def test_a_quantile_is_the_lowest_score_that_so_many_do_not_exceed(n: int) -> None:
    for share, rank in zip(QUANTILES, quantile_ranks(n), strict=True):
        assert 0 <= rank < n
        assert 1000 * (rank + 1) >= round(1000 * share) * n, "so many are at most this score"
        assert rank == 0 or 1000 * rank < round(1000 * share) * n, "and of no lower one"
    assert quantile_ranks(n)[-1] == n - 1


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 99))
def test_the_cut_is_the_last_score_that_the_selection_keeps(n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 12, n).astype(float)
    ids = [f"d{i}" for i in range(n)]
    for technique, worst in (("top_k", min), ("bottom_k", max)):
        found = {rate: float(np.sort(scores)[rank]) for rate, rank in cut_ranks(n, technique).items()}
        kept = {rate: scores[select(ids, scores, int(rate) / 100, technique, seed)] for rate in RATES}
        assert found == {rate: worst(x) for rate, x in kept.items() if len(x)}
    assert cut_ranks(n, "ips") == cut_ranks(n, "uniform") == {}


@settings(max_examples=30, deadline=None)
@given(SHARDS.filter(lambda shards: max(abs(x) for shard in shards for x in shard) < 1e150))
def test_every_document_is_counted_once(shards: list[list[float]]) -> None:
    found, parts = Distribution("top_k"), _arrays(shards)
    for _ in range(1 + PASSES):
        for part in parts:
            found.add(part)
        found.advance()
    x = np.concatenate(parts)
    assert found.below + found.counts.sum() + found.above == len(x) == found.moments.n
    assert (np.diff(found.edges) >= 0).all() and np.isfinite(found.edges).all()
    assert found.below == (x < found.edges[0]).sum() and found.above == (x > found.edges[-1]).sum()
    assert found.quantiles[0] == x.min() and found.quantiles[1] == x.max()
    assert found.outside <= 0.01


def test_far_extremes_are_not_drawn_and_near_ones_are() -> None:
    flat = dict(zip(QUANTILES, QUANTILES, strict=True))
    assert drawn_range(flat)[[0, -1]].tolist() == [0, 1]
    far = flat | {0: -50.0}
    assert drawn_range(far)[[0, -1]].tolist() == [0.005, 1], "each side for itself"
    spike = dict.fromkeys(QUANTILES, 3.0)
    assert drawn_range(spike).tolist() == [1.5, 4.5]
    assert drawn_range(spike | {1: 9.0})[[0, -1]].tolist() == [3, 9]


def _ladder(*columns: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(LADDERS["ask_llm"], columns, strict=False))


def test_equal_and_opposite_scorers() -> None:
    x = np.random.default_rng(0).normal(size=500)
    table, counts = rank_changes(_ladder(x, 2 * x + 1, -x))
    rows = {(r["smaller"], r["larger"]): r for r in table.iter_rows(named=True)}
    same, opposite = rows["ask_llm_small", "ask_llm_base"], rows["ask_llm_small", "ask_llm_large"]
    assert (same["mean_change"], same["far_share"], same["both_kept"]) == (0, 0, 1)
    assert same["tau"] == pytest.approx(1) and opposite["tau"] == pytest.approx(-1)
    assert same["spearman"] == pytest.approx(1) and opposite["spearman"] == pytest.approx(-1)
    assert opposite["both_kept"] == 0 and opposite["mean_change"] == pytest.approx(50)
    assert np.array_equal(counts["ask_llm_small", "ask_llm_base"], np.eye(20) * 25)
    assert np.array_equal(counts["ask_llm_small", "ask_llm_large"], np.eye(20)[::-1] * 25)


@pytest.mark.parametrize("levels", [7, 10**6])
def test_changes_are_those_of_brute_force(levels: int) -> None:
    rng = np.random.default_rng(1)
    one = rng.integers(0, levels, 400).astype(float)
    other = np.where(rng.random(400) < 0.5, one, rng.integers(0, levels, 400)).astype(float)
    table, counts = rank_changes(_ladder(one, other))
    row = table.row(0, named=True)
    percentile = [100 * ((x[:, None] > x).mean(1) + (x[:, None] == x).mean(1) / 2) for x in (one, other)]
    change = np.abs(percentile[0] - percentile[1])
    assert row["n"] == 400 and row["tau"] == pytest.approx(kendalltau(one, other).statistic)
    assert row["tau_low"] < row["tau"] < row["tau_high"]
    assert row["spearman"] == pytest.approx(spearmanr(one, other).statistic)
    assert row["mean_change"] == pytest.approx(change.mean())
    assert row["mean_change_error"] == pytest.approx(1.959964 * change.std(ddof=1) / 20)
    assert row["far_share"] == (change > 25).mean()
    found = counts["ask_llm_small", "ask_llm_base"]
    places = [np.minimum(p // 5, 19).astype(int) for p in percentile]
    assert found.sum() == 400
    assert found.tolist() == [
        [int(((places[0] == i) & (places[1] == j)).sum()) for j in range(20)] for i in range(20)
    ]


def test_unrelated_scorers_change_by_a_third() -> None:
    rng = np.random.default_rng(2)
    row = rank_changes(_ladder(rng.random(20_000), rng.random(20_000)))[0].row(0, named=True)
    assert abs(row["mean_change"] - UNRELATED) < 2 * row["mean_change_error"] < 1
    assert abs(row["both_kept"] - 0.2) < 0.02 and row["tau_low"] < 0 < row["tau_high"]


def test_a_scorer_without_an_order_has_no_tau() -> None:
    table, _ = rank_changes(_ladder(np.ones(50), np.arange(50.0)))
    row = table.row(0, named=True)
    assert row["tau"] is None and row["spearman"] is None and row["mean_change"] == pytest.approx(25)


def test_the_smallest_is_compared_with_all_and_each_with_the_next() -> None:
    x = np.arange(3.0)
    ladder = LADDERS["ask_llm"]
    short = [
        tuple(name.removeprefix("ask_llm_") for name in pair)
        for pair in pairs(ladder, dict.fromkeys(ladder, x))
    ]
    small = [("small", size) for size in ("base", "large", "xl", "xxl")]
    assert short == [*small, ("base", "large"), ("large", "xl"), ("xl", "xxl")]
    assert pairs(ladder, {"ask_llm_xxl": x, "ask_llm_base": x}) == [("ask_llm_base", "ask_llm_xxl")]
    assert pairs(ladder, {"ask_llm_xxl": x}) == [] and rank_changes(_ladder(x[:2], x[:2]))[0].is_empty()


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
    return folder, distributions(small)("", folder, silent), ids


def test_tables_are_of_every_document_once(made: tuple[Path, dict[str, object], list[str]]) -> None:
    folder, about, ids = made
    assert about["documents"] == len(ids) == len(set(ids))
    table = {r["sampler"]: r for r in pl.read_parquet(folder / "quantiles.parquet").iter_rows(named=True)}
    assert list(table)[: len(SCORES)] == [n for n in SAMPLERS if n in SCORES] and set(table) == set(SAMPLERS)
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
        inline_svg((folder / f"{figure.name}.svg").read_text("utf-8"), figure.alt)
        assert str(about[figure.name]).startswith("![") and (folder / f"{figure.name}.parquet").exists()
    said = section.findings
    assert said[0].startswith("Ask-LLM, from small to xxl: documents move ")
    assert "of the 20 % that small would keep, xxl would keep" in said[0]
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
    assert cut["density"][1:4] == ["drawn by 1/score", "no cut", "no cut"] and len(cut) == len(SAMPLERS)
    assert cut["prototypes"][2] == "not current" and len(changes.rows) == 1
    assert (
        f"All {len(ids)} documents" in section.figures[0].caption
        and "not drawn: 13 samplers." in section.figures[0].caption
    )
    assert "all of them" in section.method


def test_the_ui_shows_pictures_tables_and_sentences(made: tuple[Path, dict[str, object], list[str]]) -> None:
    _, about, _ = made
    for name in ("distributions", "rank_change_ask_llm"):
        assert str(about[name]).startswith("![") and ";base64," in str(about[name])
    assert str(about["quantiles"]).count("\n") == 3 + len(SAMPLERS)
    assert "| ask_llm_small | ask_llm_xxl |" in str(about["rank_changes"])
    assert str(about["findings"]).startswith("- Ask-LLM")


def test_the_report_is_the_same_again(
    small: Workspace, made: tuple[Path, dict[str, object], list[str]], tmp_path: Path
) -> None:
    folder, about, _ = made
    told: list[tuple[int, int]] = []
    assert distributions(small)("", tmp_path, lambda done, total, *rest: told.append((done, total))) == about
    assert told == [(i + 1, 15) for i in range(15)]
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    json.loads((folder / "section.json").read_bytes())


def test_without_scores_there_is_nothing_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(30)}, {})
    with pytest.raises(MissingInput, match="no sampler has current scores"):
        distributions(found)("", tmp_path, silent)
