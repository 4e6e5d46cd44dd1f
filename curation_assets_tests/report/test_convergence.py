"""Tokens to reach full data, on hand-made curves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.report.convergence import Curves, average, convergence
from curation_assets.report.convergence_view import by_tokens, reached_findings, reached_rows
from curation_assets_tests.report.test_figures import rows, table

TASK, SET = "perplexity/in_distribution", "in_distribution"
RUN = ("density", "20", "small")
SNAPSHOTS = (100, 1000, 10_000)


def _curve(sampler: str, by_seed: dict[int, tuple[float, ...]]) -> list[dict[str, object]]:
    run = (sampler, "100" if sampler == "full_data" else "20", "small")
    found = []
    for seed, values in by_seed.items():
        for seen, value in zip(SNAPSHOTS, values, strict=True):
            found += [row | {"seed": seed} for row in rows(run, TASK, [value], tokens_seen=seen)]
    return found


def _one(*parts: list[dict[str, object]]) -> dict[str, object]:
    (row,) = convergence(Curves(table(*parts))).iter_rows(named=True)
    return row


FULL = _curve("full_data", {0: (50, 30, 20), 1: (50, 30, 20)})


def test_the_mean_curve_decides_and_the_seeds_give_the_interval() -> None:
    row = _one(FULL, _curve("density", {0: (50, 25, 15), 1: (50, 20, 15)}))
    assert row["target"] == 20 and row["final"] == 15
    reached = 1000 * 10 ** (2.5 / 7.5)  # mean curve: 22.5 at 1000, 15 at 10,000
    assert row["tokens_to_reach"] == pytest.approx(reached)
    assert row["speed_up"] == pytest.approx(1 - reached / 10_000)
    assert (row["seeds_reached"], row["seeds"]) == (2, 2)
    by_seed = [1 - math.sqrt(1000 * 10_000) / 10_000, 0.9]
    middle, half = sum(by_seed) / 2, abs(by_seed[0] - by_seed[1]) / 2
    assert row["speed_up_low"] == pytest.approx(middle - 12.7062 * half, rel=1e-4)


def test_who_never_gets_there_has_no_speed_up() -> None:
    row = _one(FULL, _curve("density", {0: (50, 40, 21), 1: (50, 40, 19.5)}))
    assert row["tokens_to_reach"] is None and row["speed_up"] is None
    assert (row["seeds_reached"], row["speed_up_low"]) == (1, None)
    (shown,) = reached_rows(convergence(Curves(table(FULL, _curve("density", {0: (50, 40, 21)})))))
    assert shown["tokens to reach it"] == "never" and shown["seeds that did"] == "0 of 1"


def test_without_full_data_there_is_nothing_to_reach() -> None:
    curves = Curves(table(_curve("density", {0: (50, 40, 21)})))
    assert convergence(curves).is_empty() and curves.runs == [("density", "20", "small")]


def test_only_perplexities_have_curves() -> None:
    other = rows(("density", "20", "small"), "glue/rte", [50.0])
    assert Curves(table(FULL, other)).sets == ["in_distribution"]


def test_the_average_has_an_interval_where_seeds_differ() -> None:
    found = average(Curves(table(_curve("density", {0: (50, 25, 15), 1: (50, 20, 15)}))).seeds(RUN, SET))
    assert found is not None and found.mean.tolist() == [50, 22.5, 15]
    assert np.isnan(found.low).tolist() == [True, False, True], "no spread, no interval"
    half = 12.7062 * 2.5
    assert (found.low[1], found.high[1]) == pytest.approx((22.5 - half, 22.5 + half), rel=1e-4)
    assert average({}) is None


def test_a_family_is_averaged_seed_by_seed_over_the_seeds_that_all_have() -> None:
    curves = Curves(
        table(
            _curve("perplexity_small", {0: (50, 20, 10), 1: (9, 9, 9)}),
            _curve("perplexity_xl", {0: (30, 20, 5)}),
        )
    )
    together = curves.together(curves.runs, SET)
    assert list(together) == [0] and together[0][1].tolist() == [40, 20, 7.5]
    assert curves.together([], SET) == {}


def test_figures_have_families_averaged_beside_every_sampler(tmp_path: Path) -> None:
    parts = [
        _curve(name, {0: (50, 40, 21), 1: (50, 38, 20)}) for name in ("perplexity_xl", "ask_llm_xl", "random")
    ]
    (figure, picture), *others = by_tokens(Curves(table(FULL, *parts)))
    assert (
        figure.name == "tokens_in_distribution_20_small"
        and not others
        and "intervals over seeds" in figure.caption
    )
    svg = picture.svg()
    for words in (
        "Families averaged",
        "perplexity, mean of 1",
        "Ask-LLM, mean of 1",
        "Perplexity by size of scorer",
    ):
        assert words in svg
    assert "Coverage" not in svg, "no panel without a curve"
    picture.save(tmp_path, "one")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pdf", ".png", ".svg"]
    ((alone, _),) = by_tokens(Curves(table(FULL)))
    assert alone.name == "tokens_in_distribution_full_data"


def test_the_findings_say_who_got_there_in_every_seed() -> None:
    (said,) = reached_findings(
        convergence(Curves(table(FULL, _curve("density", {0: (50, 25, 15), 1: (50, 20, 15)}))))
    )
    assert said.startswith("At 20 % with the small T5 1 of 1 samplers reach") and "over 2 seeds" in said
    assert "within the noise]" in said, "the interval of two seeds is wide, and holds 0"
    (one,) = reached_findings(convergence(Curves(table(FULL, _curve("density", {0: (50, 25, 15)})))))
    assert one.endswith("It is one seed, which may be chance.")
    (some,) = reached_findings(
        convergence(Curves(table(FULL, _curve("density", {0: (50, 40, 21), 1: (50, 40, 19.5)}))))
    )
    assert "none of 1" in some and "In some seeds only: density" in some
    assert (
        "nothing to reach"
        in reached_findings(convergence(Curves(table(FULL[:0] + _curve("density", {0: (5, 4, 3)})))))[0]
    )


def test_frames_keep_their_types_where_all_is_null() -> None:
    found = convergence(Curves(table(FULL, _curve("density", {0: (50, 40, 21)}))))
    assert found.schema["tokens_to_reach"] == pl.Float64 and found.schema["speed_up_low"] == pl.Float64
