"""Tukey's range test on blocks, against the paired t test, a least-squares fit and scipy's critical values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import studentized_range, ttest_rel

from curation_assets.report.ties import apart, tied_with_best, whole

seeds = st.lists(st.floats(-5, 5), min_size=3, max_size=3)


@given(seeds, seeds)
def test_two_samplers_are_told_apart_as_by_the_paired_t_test(one: list[float], other: list[float]) -> None:
    told = apart({"a": one, "b": other})
    difference = np.array(one) - np.array(other)
    if told is None:
        assert np.ptp(difference) < 1e-8
        return
    p = float(ttest_rel(one, other).pvalue)
    assert abs(p - 0.05) < 1e-6 or (abs(difference.mean()) > told) == (p < 0.05)


def test_the_noise_is_the_residual_of_samplers_and_seeds() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    design = np.array(
        [[i == k for k in range(5)] + [j == k for k in range(3)] for i in range(5) for j in range(3)], float
    )
    fit, *_ = np.linalg.lstsq(design, x.ravel(), rcond=None)
    variance = ((x.ravel() - design @ fit) ** 2).sum() / 8
    wanted = studentized_range.ppf(0.95, 5, 8) * np.sqrt(variance / 3)
    assert apart({str(i): row for i, row in enumerate(x)}) == pytest.approx(wanted)
    shifted = x + np.array([10.0, -20.0, 3.0])  # an easier seed is easier for all
    assert apart({str(i): row for i, row in enumerate(shifted)}) == pytest.approx(wanted)


def test_without_any_difference_a_sampler_is_told_from_the_best_in_one_table_of_twenty() -> None:
    """The point of the test: the best of twelve equals does not look like a winner."""
    draw = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        table = {str(i): row for i, row in enumerate(draw.normal(size=(12, 3)))}
        found += not all(tied_with_best(table, higher_is_better=True).values())
    assert found / 400 < 0.08


def test_direction_and_what_cannot_be_compared() -> None:
    noise = np.array([0.0, 0.1, -0.1])
    values = {
        "low": 1 + noise,
        "near": 1.05 - noise,
        "high": 9 + 2 * noise,
        "gap": np.array([0.5, np.nan, 0.5]),
    }
    lower = tied_with_best(values, higher_is_better=False)
    assert lower == {"low": True, "near": True, "high": False, "gap": None}
    assert tied_with_best(values, higher_is_better=True) == {
        "low": False,
        "near": False,
        "high": True,
        "gap": None,
    }
    assert list(whole(values)) == ["low", "near", "high"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"a": [1.0, 2.0]},
        {"a": [1.0], "b": [2.0]},
        {"a": [1.0, 2.0], "b": [3.0, 4.0]},
        {"a": [np.nan], "b": [1.0]},
    ],
)
def test_nothing_is_told_without_two_samplers_two_seeds_and_a_spread(values: dict[str, list[float]]) -> None:
    assert apart(values) is None
    assert tied_with_best(values, higher_is_better=True) == dict.fromkeys(values)
