"""What to use: who is named, who is the cheapest of them, and that nothing is said where seeds are too few."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.report.advice import advice, untold
from curation_assets.report.quality import OVER_SCALING, quality
from curation_assets.report.scores import Scores
from curation_assets_tests.report.test_figures import LADDER, NOISE, rows, table

SAMPLERS = ["random", "density", "semdedup", "prototypes", "oracle"]
SHIFTED = NOISE[[1, 2, 0]]


def _table(
    found: dict[str, tuple[Any, Any]], rate: str = "20", full: Any = (20 + NOISE, 60 - NOISE)
) -> pl.DataFrame:
    """Return the quality of samplers with these perplexities and accuracies, [seeds] each, beside full data."""
    runs = {("full_data", "100", "small"): full} | {(name, rate, "small"): v for name, v in found.items()}
    parts = [
        [*rows(run, "perplexity/in_distribution", perplexity), *rows(run, "glue/rte", accuracy)]
        for run, (perplexity, accuracy) in runs.items()
    ]
    return quality(Scores(table(*parts)), LADDER, SAMPLERS, (rate,))


def test_one_of_those_that_the_best_cannot_be_told_from_and_the_cheapest() -> None:
    found = _table(
        {
            "random": (30 + SHIFTED, 50 + NOISE),
            "density": (18 + NOISE, 70 + SHIFTED),
            "semdedup": (18.1 + SHIFTED, 70.1 + NOISE),
        }
    )
    costs = {
        ("density", "20", "small"): 70.0,
        ("semdedup", "20", "small"): 5.0,
        ("random", "20", "small"): 0.0,
    }
    [said] = advice(found, costs)
    assert untold(found) == []
    assert said.startswith("At 20 % with the small T5 use one of density, semdedup: over 3 seeds ")
    assert (
        "by in-distribution perplexity, glue; the cheapest is semdedup (5 s of scoring and preparing)."
        in said
    )
    assert said.endswith("None of them is worse than full data beyond the noise.")
    [said] = advice(found, {at: s for at, s in costs.items() if at[0] != "density"})
    assert "cheapest" not in said, "a sampler without a known cost may be the cheapest"


def test_who_goes_by_labels_is_no_candidate() -> None:
    found = _table(
        {
            "random": (30 + SHIFTED, 50 + NOISE),
            "density": (18 + NOISE, 70 + SHIFTED),
            "oracle": (10 + NOISE, 90 + SHIFTED),
        }
    )
    [said] = advice(found, {})
    assert " use density: " in said and "oracle" not in said


def test_metrics_that_disagree_name_nobody() -> None:
    found = _table({"random": (30 + SHIFTED, 70 + NOISE), "density": (18 + NOISE, 50 + SHIFTED)})
    [said] = advice(found, {})
    assert "none is among the best by each" in said and "use" not in said


def test_where_none_can_be_told_apart_the_cheapest_will_do() -> None:
    found = _table({"random": (30 + SHIFTED, 50 + SHIFTED), "density": (30 + NOISE, 50 + NOISE)})
    [said] = advice(found, {("random", "20", "small"): 0.0, ("density", "20", "small"): 61.0})
    assert "cannot tell any of 2 samplers from the best" in said
    assert "the cheapest will do, random (0 s of scoring and preparing)" in said
    assert said.endswith(
        "All of them are worse than full data beyond the noise: a larger share may be needed."
    )


def test_one_seed_says_nothing_but_what_it_takes() -> None:
    one = NOISE[:1]
    found = _table(
        {"random": (30 + one, 50 + one), "density": (10 + one, 90 + one)}, full=(20 + one, 60 + one)
    )
    assert advice(found, {("density", "20", "small"): 1.0, ("random", "20", "small"): 1.0}) == []
    [said] = untold(found)
    assert (
        said.startswith("This run cannot say which sampler to use: there is one seed")
        and "pretraining.seeds" in said
    )
    assert not any(name in said for name in SAMPLERS)


def test_nothing_measured() -> None:
    assert advice(_table({}), {}) == []
    assert untold(_table({})) == [
        "No sampler's model has been measured yet: train and evaluate at least two samplers."
    ]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(*[st.sampled_from([18.0, 18.05, 30.0])] * 2), min_size=2, max_size=4),
    st.permutations(range(3)),
)
def test_the_best_by_both_metrics_is_always_named(means: list[tuple[float, float]], order: list[int]) -> None:
    """Whoever has both best means is named, and nobody is who differs from a best by many times the noise."""
    noise = np.array([NOISE, NOISE[order], SHIFTED, NOISE[::-1]])
    found = {
        n: (p + noise[i], -a + noise[i - 1])
        for i, (n, (p, a)) in enumerate(zip(SAMPLERS, means, strict=False))
    }
    shown = _table(found)
    known = shown.filter((pl.col("metric") != OVER_SCALING) & pl.col("tied_with_best").is_not_null())
    if known["metric"].n_unique() < 2:
        return  # no spread over seeds in a metric
    [said] = advice(shown, {})
    named = (
        [n for n in found if n in said.split(".")[0]]
        if " use " in said
        else list(found)
        if "any of" in said
        else []
    )
    measured = {n: (np.mean(p), -np.mean(a)) for n, (p, a) in found.items()}
    best = [min(m[i] for m in measured.values()) for i in range(2)]
    for name, value in measured.items():
        if all(value[i] == best[i] for i in range(2)):
            assert name in named
        if any(value[i] > best[i] + 5 for i in range(2)):
            assert name not in named


@pytest.mark.parametrize("missing", ["perplexity", "glue"])
def test_a_sampler_that_lacks_a_metric_is_not_named(missing: str) -> None:
    found = _table(
        {n: (18 + (NOISE, SHIFTED)[i], 70 + (SHIFTED, NOISE)[i]) for i, n in enumerate(SAMPLERS[:2])}
    )
    gone = (pl.col("sampler") == "density") & (pl.col("metric") == missing)
    [said] = advice(found.filter(~gone), {})
    assert "fewer than two samplers were measured by every metric" in said and "use" not in said


def test_who_lacks_a_metric_is_told_of_and_not_judged() -> None:
    found = _table(
        {
            "random": (18 + NOISE, 70 + SHIFTED),
            "density": (18 + SHIFTED, 40 + NOISE),
            "semdedup": (18 + NOISE[::-1], 70 + NOISE),
        }
    )
    gone = (pl.col("sampler") == "random") & (pl.col("metric") == "glue")
    [said] = advice(found.filter(~gone), {})
    assert said.startswith("At 20 % with the small T5, of what was measured by every metric, use semdedup:")
    assert said.endswith("Not measured by every metric, and so not judged: random.")


def test_one_sampler_alone_needs_another_one_and_not_more_seeds() -> None:
    [said] = untold(_table({"random": (30 + NOISE, 50 + SHIFTED)}))
    assert (
        said.startswith("One sampler alone has been measured at 20 % with the small T5")
        and "seeds to at" not in said
    )
