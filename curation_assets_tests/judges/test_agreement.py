"""Kendall's tau by scipy, its interval by drawing documents one resample at a time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from curation_assets.judges import agreement
from curation_assets.judges.agreement import Agreement, kendall


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=30))
def test_tau_is_scipys_ties_included(pairs: list[tuple[int, int]]) -> None:
    one, two = np.array(pairs, float).T
    found = kendall(one, two, resamples=0)
    wanted = kendalltau(one, two).statistic
    if np.isnan(wanted):
        assert found == Agreement(None, None, None, len(pairs))
    else:
        assert found.tau == pytest.approx(wanted, abs=1e-12) and found.low is None


def test_the_interval_is_that_of_scipys_tau_over_resampled_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    one = rng.normal(size=60).round(1)
    two = (one + rng.normal(size=60)).round(1)
    found = kendall(one, two, resamples=200, seed=9)
    rows = np.random.default_rng(9).integers(60, size=(200, 60))
    taus = [kendalltau(one[drawn], two[drawn]).statistic for drawn in rows]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(taus, [2.5, 97.5])), abs=1e-12)
    assert found.low is not None and found.tau is not None and found.low < found.tau
    monkeypatch.setattr(agreement, "_ROWS", 7)
    blocks = kendall(one, two, resamples=200, seed=9)
    assert (blocks.tau, blocks.low, blocks.high) == pytest.approx(
        (found.tau, found.low, found.high), abs=1e-12
    )


def test_the_interval_holds_the_true_tau_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    true, inside = 2 / np.pi * np.arcsin(0.6), 0  # of a bivariate normal distribution
    for _ in range(150):
        one = rng.normal(size=80)
        two = 0.6 * one + 0.8 * rng.normal(size=80)
        found = kendall(one, two, resamples=300)
        assert found.low is not None and found.high is not None
        inside += found.low <= true <= found.high
    assert 0.88 <= inside / 150 <= 0.99


def test_a_hundred_documents_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    began = time.process_time()
    kendall(rng.normal(size=100), rng.normal(size=100))
    assert time.process_time() - began < 2


def test_equal_orders_and_few_documents() -> None:
    line = np.arange(40.0)
    assert kendall(line, np.exp(line / 9)) == Agreement(1.0, 1.0, 1.0, 40)
    assert kendall(line, -line) == Agreement(-1.0, -1.0, -1.0, 40)
    assert kendall(line[:2], line[:2]).tau == 1.0
    assert kendall(line, np.zeros(40)) == Agreement(None, None, None, 40)
    assert kendall(line, line**2, seed=4) == kendall(line, line**2, seed=4)


def test_bad_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        kendall(np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="same"):
        kendall(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="finite"):
        kendall(np.array([0, np.nan]), np.zeros(2))
