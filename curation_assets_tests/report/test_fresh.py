"""Runs cut after so many epochs over their subset: read from the curve, missing where the run does not get there."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.report.convergence import Curves
from curation_assets.report.convergence_view import by_epochs, cut_findings, cut_rows
from curation_assets.report.fresh import EPOCHS, fresh, read_at
from curation_assets_tests.report.test_convergence import _curve
from curation_assets_tests.report.test_figures import table

TRAINED = pl.DataFrame(
    {
        "sampler": ["full_data", "density", "random"],
        "rate": ["100", "20", "20"],
        "size": ["small", "small", "small"],
        "documents": [50, 10, 10],
        "tokens": [4950, 990, 1990],  # and one for the end of each document
    }
)


def test_cuts_are_read_at_epochs_times_the_subset_tokens() -> None:
    curves = Curves(
        table(_curve("density", {0: (50, 30, 20), 1: (50, 32, 20)}))
    )  # at 100, 1000 and 10,000 tokens
    rows = {row["epochs"]: row for row in fresh(curves, TRAINED).iter_rows(named=True)}
    assert tuple(rows) == EPOCHS and {row["passes"] for row in rows.values()} == {10.0}
    for epochs in (2, 3, 5):
        share = math.log10(epochs)  # of the way from 1000 to 10,000
        assert rows[epochs]["value"] == pytest.approx(31 - 11 * share) and rows[epochs]["seeds"] == 2
        spread = abs(2 * (1 - share))
        assert rows[epochs]["sd"] == pytest.approx(spread / math.sqrt(2))
        assert rows[epochs]["high"] - rows[epochs]["value"] == pytest.approx(12.7062 * spread / 2, rel=1e-4)
    assert rows[10]["value"] == 20 and rows[10]["low"] is None, "both seeds end alike: no spread to go by"
    assert rows[20]["value"] is rows[30]["value"] is None and rows[20]["seeds"] == 0


def test_a_run_without_its_subset_has_no_cut() -> None:
    found = fresh(Curves(table(_curve("semdedup", {0: (50, 30, 20)}))), TRAINED)
    assert found["value"].null_count() == found["passes"].null_count() == len(EPOCHS)
    assert "is not known" in cut_findings(found)[0]
    assert cut_rows(found)[0]["epochs in all"] == "not known"


@given(st.integers(1, 40_000))
def test_nothing_is_read_outside_the_snapshots(at: int) -> None:
    tokens, values = np.array([100.0, 1000.0, 10_000.0]), np.array([50.0, 30.0, 20.0])
    found = read_at(tokens, values, at)
    assert (found is None) == (not 100 <= at <= 10_000)
    assert found is None or 20 <= found <= 50


def test_who_cannot_be_told_from_the_best_is_tied_at_the_cut() -> None:
    seeds = (0.0, 0.2, -0.1)
    density = {i: (50.0, 30 + e, 20 + e) for i, e in enumerate(seeds)}
    near = {i: (50.0, 30.1 + 2 * e, 20.1 + 2 * e) for i, e in enumerate(seeds)}
    far = {i: (90.0, 80 + e * 1.1, 70 + e * 1.1) for i, e in enumerate(seeds)}
    same = TRAINED.vstack(TRAINED.tail(1).with_columns(sampler=pl.lit("prototypes")))
    same = same.with_columns(tokens=pl.lit(2000, pl.Int64))
    found = fresh(
        Curves(table(_curve("density", density), _curve("random", near), _curve("prototypes", far))), same
    )
    at_two = found.filter(pl.col("epochs") == 2)
    assert dict(at_two.select("sampler", "tied_with_best").rows()) == {
        "density": True,
        "random": True,
        "prototypes": False,
    }
    said = cut_findings(found)
    assert said[0] == "Runs go 5.0 to 5.0 times over their subsets." and "10, 20, 30 epochs" in said[1]
    assert (
        said[2]
        == "Cut after 2 epochs at 20 % with the small T5, over 3 seeds, not told from the best: density, random."
    )
    assert cut_rows(found)[0]["after 2"].endswith(", tied")
    assert cut_rows(found)[0]["after 10"] == "not reached"


def test_a_figure_for_every_cut_that_is_reached_with_full_data_at_the_same_cut() -> None:
    parts = [_curve("full_data", {0: (50, 30, 20)}), _curve("density", {0: (50, 30, 20)})]
    larger = [row | {"rate": "40"} for row in parts[1]]
    subsets = pl.concat([TRAINED, TRAINED[1:2].with_columns(rate=pl.lit("40"))])
    cut = fresh(Curves(table(*parts, larger)), subsets)
    drawn = list(by_epochs(cut))
    assert [figure.name for figure, _ in drawn] == [f"epochs_{epochs}_small" for epochs in (2, 3, 5, 10)]
    assert "as the reference" in drawn[0][0].caption and "does not reach" in drawn[1][0].caption
    assert "not measured" in drawn[0][1].svg()
    [(figure, picture)] = by_epochs(cut.filter(pl.col("rate") != "40"))
    assert figure.name == "epochs_20_small" and "as the reference" in figure.caption
    assert all(f"After {epochs} epochs" in picture.svg() for epochs in (2, 3, 5, 10)), "one rate, one figure"
    assert list(by_epochs(fresh(Curves(table(parts[0])), TRAINED))) == []
