"""Distributions of scores: moments, quantiles and histograms against a sort of everything, cuts against selection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.config.registry import RATES
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
from curation_assets.selection import select

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
