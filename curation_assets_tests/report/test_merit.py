"""Figures of merit on hand-made numbers, and the paper's own cells as worked examples of the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from curation_assets.report.intervals import bootstrap, compare_all, holm, paired, t_interval
from curation_assets.report.merit import (
    Metric,
    effective_size,
    over_scaling,
    ranks,
    size_at,
    tokens_to_reach,
)

PPL, HQ = Metric("perplexity/in_distribution", False), Metric("perplexity/hq", False)
GLUE = Metric("glue/mrpc", True)
NAN = float("nan")


def _one(metric: Metric, sampled: float, full: float, larger: float) -> float | None:
    return over_scaling([metric], [[sampled]], [[full]], [[larger]]).value


@pytest.mark.parametrize("percent", [-32.7, -20.5, -6.5, 0.2, 2.8, 33.0])  # v1, table 1, T5-Large at 20 %
@pytest.mark.parametrize(("metric", "full", "larger"), [(PPL, 4.0, 3.5), (GLUE, 80.0, 84.0)])
def test_over_scaling_is_the_share_of_the_way_to_the_next_larger_model(
    metric: Metric, full: float, larger: float, percent: float
) -> None:
    sampled = full + percent / 100 * (larger - full)
    assert _one(metric, sampled, full, larger) == pytest.approx(percent)
    assert _one(metric, full, full, larger) == 0.0
    assert _one(metric, larger, full, larger) == pytest.approx(100.0)


def test_over_scaling_is_the_mean_over_metrics_in_either_direction() -> None:
    found = over_scaling([PPL, GLUE], [[9.0], [78.0]], [[10.0], [80.0]], [[8.0], [84.0]])
    assert found.by_metric == {PPL.name: 50.0, GLUE.name: -50.0} and found.value == 0.0
    assert found.interval is None, "one seed has no interval"


def test_metrics_that_cannot_tell_the_sizes_apart_are_left_out_and_named() -> None:
    metrics = [PPL, Metric("glue/cola", True), Metric("glue/rte", True), Metric("glue/sst2", True)]
    metrics += [Metric("glue/qqp@standin", True), Metric("glue/wnli", True)]
    full = np.array([[10, 10], [50, 50], [60, 60], [70, 70], [80, 80], [56, 56]], float)
    larger = np.array([[8, 8], [49, 49], [60.2, 60.2], [68, 76], [90, 90], [NAN, NAN]], float)
    found = over_scaling(metrics, full - 1, full, larger)
    assert found.by_metric == {PPL.name: 50.0} and found.value == 50.0
    reasons = found.left_out
    assert set(reasons) == {m.name for m in metrics[1:]}
    assert "-1, not more than 1% of the value, 0.5" in reasons["glue/cola"], "a worse larger model"
    assert "0.2, not more than 1% of the value, 0.6" in reasons["glue/rte"]
    assert "2, not more than twice its standard error, 8" in reasons["glue/sst2"]
    assert "stand-in" in reasons["glue/qqp@standin"] and "not measured" in reasons["glue/wnli"]
    nothing = over_scaling(metrics[1:2], full[1:2], full[1:2], larger[1:2])
    assert nothing.value is None and nothing.interval is None


def test_the_interval_of_over_scaling_is_students_over_seeds_with_the_noise_of_the_gain() -> None:
    full, larger = np.array([[10.0, 10.2, 9.8]]), np.array([[8.0, 8.2, 7.8]])
    sampled = full - np.array([[1.0, 1.2, 0.8]])
    found = over_scaling([PPL], sampled, full, larger)
    by_hand = t_interval([50.0, 60.0, 40.0])
    assert found.value == pytest.approx(50.0) and found.interval is not None and by_hand is not None
    assert found.interval[:2] == pytest.approx(by_hand[:2]), "a gain of 2 in every seed adds no noise"
    assert found.interval.high - 50 == pytest.approx(4.302653 * 10 / math.sqrt(3))
    noisy = over_scaling([PPL], sampled, full, np.add(larger, [[0.3, -0.3, 0.0]]))
    assert noisy.interval is not None
    ratio, gain = noisy.value / 100, full - larger - [[0.3, -0.3, 0.0]]  # type: ignore[operator]
    by_hand = t_interval(100 * (1 - ratio * gain[0] + [0.0, 0.2, -0.2]) / gain.mean())
    assert noisy.interval.high - noisy.interval.low == pytest.approx(by_hand[1] - by_hand[0])  # type: ignore[index]


def test_only_seeds_that_all_have_are_used() -> None:
    found = over_scaling([PPL], [[9.0, 1.0, 9.0]], [[10.0, NAN, 10.0]], [[8.0, 8.0, 8.0]])
    assert found.value == pytest.approx(50.0)
    other = over_scaling([PPL, HQ], [[9.0, 9.1], [9.0, NAN]], [[10.0, 10.0]] * 2, [[8.0, 8.0]] * 2)
    assert other.value is not None and other.interval is None, "one metric has one seed"


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 metrics need values of \[metrics, seeds\]"):
        over_scaling([PPL], [1.0], [[1.0]], [[1.0]])


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6))
def test_intervals_agree_with_scipy(values: list[float]) -> None:
    found = t_interval(values)
    if np.std(values) < 1e-6:
        return
    wanted = ttest_1samp(values, 0)
    low, high = wanted.confidence_interval(0.95)
    assert found is not None
    assert found[:2] == pytest.approx((low, high), rel=1e-6, abs=1e-6)
    assert found.p == pytest.approx(wanted.pvalue, abs=1e-9)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [1.0, NAN]])
def test_no_spread_gives_no_interval(values: list[float]) -> None:
    assert t_interval(values) is None


def test_the_bootstrap_is_over_metrics_and_repeatable() -> None:
    assert bootstrap(range(7), 0) is None
    x = np.random.Generator(np.random.PCG64(1)).normal(3, 2, 100)
    found = bootstrap(x, 0)
    assert found == bootstrap(x, 0) != bootstrap(x, 1)
    assert found is not None and found.low < x.mean() < found.high
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * x.std() / 10, rel=0.05)


def test_size_at_reads_the_ladder_both_ways() -> None:
    ladder, scores = [60e6, 220e6, 800e6, 3e9], [0.0, 1.0, 2.0, 3.0]
    assert [size_at(ladder, scores, s).parameters for s in scores] == pytest.approx(ladder)
    share = math.log(713 / 220) / math.log(800 / 220)  # ICLR: random at 10 % is worth 713M of 800M parameters
    assert size_at(ladder, scores, 1 + share).parameters == pytest.approx(713e6)
    assert size_at(ladder, scores, 2 + math.log(1.5 / 0.8) / math.log(3 / 0.8)).parameters == pytest.approx(
        1.5e9
    )
    assert size_at(ladder, scores, -0.1) == (60e6, "<") and size_at(ladder, scores, 3.1) == (3e9, ">")
    flat = [0.0, 2.0, 1.0, 3.0]  # pooled to 0, 1.5, 1.5, 3
    assert size_at(ladder, flat, 1.5).parameters == 220e6, "the smallest that is as good"
    assert size_at(ladder, flat, 2.25).parameters == pytest.approx(math.sqrt(800e6 * 3e9))
    for bad in ([1.0], [2.0, 1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="two or more rungs"):
            size_at(bad, [1.0, 2.0], 1.0)


def test_effective_size_averages_metrics_on_the_scale_of_the_ladder() -> None:
    sizes = [1e6, 1e7, 1e8]
    ladder = np.array([[[20.0], [50.0]], [[15.0], [60.0]], [[10.0], [70.0]]])
    metrics = [PPL, GLUE]
    full = effective_size(metrics, sizes, ladder, ladder[1])
    assert full.size is not None and full.low is None
    assert full.size.parameters == pytest.approx(1e7), "full data is worth its own size"
    mixed = effective_size(metrics, sizes, ladder, [[10.0], [50.0]])
    assert mixed.size is not None and mixed.size.parameters == pytest.approx(1e7), "1 and 0 make one half"
    worse = effective_size(metrics, sizes, ladder, [[25.0], [50.0]])
    assert worse.size is not None and worse.size.bound == "<"
    flat = np.array([[[20.0], [50.0]], [[15.0], [60.0]], [[10.0], [50.1]]])
    alone = effective_size(metrics, sizes, flat, [[15.0], [99.0]])
    assert set(alone.left_out) == {GLUE.name} and alone.size is not None
    assert alone.size.parameters == pytest.approx(1e7)
    assert effective_size([GLUE], sizes, flat[:, 1:], [[99.0]]).size is None


def test_the_interval_of_an_effective_size_ends_at_the_ladder() -> None:
    ladder = np.array([[[20.0] * 3], [[15.0] * 3], [[10.0] * 3]])
    found = effective_size([PPL], [1e6, 1e7, 1e8], ladder, [[15.0, 15.1, 14.9]])
    assert found.low is not None and found.high is not None and found.size is not None
    reach = 4.302653 * 0.1 / math.sqrt(3) / 5  # rungs are 5 apart, and a factor of 10
    assert found.low.parameters == pytest.approx(1e7 * 10**-reach)
    assert found.high.parameters == pytest.approx(1e7 * 10**reach)
    wide = effective_size([PPL], [1e6, 1e7, 1e8], ladder, [[11.0, 15.0, 13.0]])
    assert wide.high == (1e8, ">"), "no extrapolation"


def test_tokens_to_reach_by_hand() -> None:
    tokens, values = [100, 1000, 10_000], [50.0, 20.0, 10.0]
    reach = lambda target: tokens_to_reach(tokens, values, target, higher_is_better=False)  # noqa: E731
    assert reach(15.0) == pytest.approx(math.sqrt(1000 * 10_000)) and reach(20.0) == 1000
    assert reach(10.0) == 10_000 and reach(9.9) is None
    assert reach(60.0) == 100, "by the first snapshot at the latest"
    bumpy = tokens_to_reach([1, 10, 100, 1000], [1.0, 3.0, 2.0, 5.0], 4.0, higher_is_better=True)
    assert bumpy == pytest.approx(math.sqrt(100 * 1000)), "from the best so far, 3, not from the dip"
    with pytest.raises(ValueError, match="rising"):
        tokens_to_reach([10, 10], [1.0, 2.0], 1.5, higher_is_better=True)


def test_ranks_average_ties_and_leave_gaps() -> None:
    values = [[1.0, 80.0], [2.0, 90.0], [1.0, 70.0], [3.0, NAN]]
    found = ranks(values, [False, True])
    assert found.by_metric[:, 0].tolist() == [1.5, 3.0, 1.5, 4.0]
    assert found.by_metric[:3, 1].tolist() == [2.0, 1.0, 3.0] and np.isnan(found.by_metric[3, 1])
    assert found.mean[:3].tolist() == [1.75, 2.0, 2.25] and np.isnan(found.mean[3])


def test_pairing_takes_out_what_seeds_share() -> None:
    reference = np.array([10.0, 20.0, 30.0])
    found = paired(reference - [1.0, 1.1, 0.9], reference)
    assert found is not None and found.mean == pytest.approx(-1.0) and found.seeds == 3
    assert found.interval is not None and found.interval.high < 0 and found.beyond_noise
    assert found.p == pytest.approx(ttest_1samp([-1.0, -1.1, -0.9], 0).pvalue)
    one = paired([9.0, NAN], [10.0, 10.0])
    assert one is not None and one.interval is None and one.beyond_noise is None, "one seed decides nothing"
    assert paired([NAN], [1.0]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.5]) == pytest.approx([0.04, 0.09, None, 0.09, 0.5])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_many_samplers_need_stronger_evidence_than_one() -> None:
    reference = np.zeros(3)
    alone = compare_all({"a": np.array([1.0, 1.3, 0.7])}, reference)
    assert alone["a"].beyond_noise
    noise = {f"s{i}": np.array([1.0, -1.0, 0.1 * i]) for i in range(9)}
    among = compare_all({"a": np.array([1.0, 1.3, 0.7])} | noise, reference)
    assert among["a"].interval == alone["a"].interval and not among["a"].beyond_noise
    assert among["a"].p == pytest.approx(10 * alone["a"].p)  # type: ignore[operator]
