"""Tokens to reach full data, on hand-made curves."""

from __future__ import annotations

import math

import polars as pl
import pytest

from curation_assets.report.convergence import Curves, convergence, rows_for_people
from curation_assets.report.panels import panels
from curation_assets_tests.report.test_figures import rows, table

TASK = "perplexity/in_distribution"
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
    (shown,) = rows_for_people(convergence(Curves(table(FULL, _curve("density", {0: (50, 40, 21)})))))
    assert shown["tokens to reach it"] == "never" and shown["seeds that did"] == "0 of 1"


def test_without_full_data_there_is_nothing_to_reach() -> None:
    curves = Curves(table(_curve("density", {0: (50, 40, 21)})))
    assert convergence(curves).is_empty() and curves.runs == [("density", "20", "small")]


def test_only_perplexities_have_curves() -> None:
    other = rows(("density", "20", "small"), "glue/rte", [50.0])
    assert Curves(table(FULL, other)).sets == ["in_distribution"]


def test_pictures_are_drawn_for_every_rate() -> None:
    curves = Curves(table(FULL, _curve("density", {0: (50, 40, 21)})))
    means = {run[0]: curves.mean(run, "in_distribution") for run in curves.runs}
    drawn = {name: (*curve, curve[1] / 10) for name, curve in means.items() if curve}
    charts = {"20 %": drawn, "60 %": drawn, "80 %": drawn}
    one = panels(charts, "t", "x", "y", joined=True, references={"20 %": ("full", 20.0)})
    assert one.startswith(b"\x89PNG") and one == panels(
        charts, "t", "x", "y", joined=True, references={"20 %": ("full", 20.0)}
    )
    assert one != panels(charts, "t", "x", "y", joined=False)
    cut = panels(charts, "t", "x", "y", joined=True, references={"20 %": ("full", 20.0)}, highest=30.0)
    assert cut != one
    with pytest.raises(ValueError, match="nothing to draw"):
        panels({}, "t", "x", "y", joined=True)


def test_frames_keep_their_types_where_all_is_null() -> None:
    found = convergence(Curves(table(FULL, _curve("density", {0: (50, 40, 21)}))))
    assert found.schema["tokens_to_reach"] == pl.Float64 and found.schema["speed_up_low"] == pl.Float64
