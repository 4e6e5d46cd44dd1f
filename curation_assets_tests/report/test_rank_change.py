"""How ranks change from one scorer to a larger one: against scipy and brute force, and at both extremes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from curation_assets.report.rank_change import LADDERS, UNRELATED, pairs, rank_changes


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
