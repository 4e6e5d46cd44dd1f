"""The comparison on hand-made metrics: means, spread, epochs, order, and what the text under it admits."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation_assets.report.comparison import compare, how_to_read, rows_for_people, terminal_table, write

RECIPE = {"tokens": 1000, "steps": 10, "batch_size": 4, "raw_length": 25}


def _row(sampler: str, rate: str, seed: int, seen: int, task: str, value: float) -> dict[str, object]:
    return {
        "sampler": sampler,
        "rate": rate,
        "size": "small",
        "seed": seed,
        "tokens_seen": seen,
        "suite": "perplexity",
        "task": task,
        "metric": "perplexity",
        "value": value,
        "n": 5,
    }


@pytest.fixture
def metrics() -> pl.DataFrame:
    rows = []
    for sampler, rate, base in (("density", "20", 8.0), ("full_data", "100", 6.0)):
        for seed in (0, 1):
            for seen, more in ((500, 4.0), (1000, 0.0)):
                rows.append(_row(sampler, rate, seed, seen, "in_distribution", base + more + 2 * seed))
        rows.append(_row(sampler, rate, 0, 1000, "hq", 20.0))
    return pl.DataFrame([*rows, {**rows[0], "metric": "nll", "tokens_seen": 1000, "value": 99.0}])


SUBSETS = pl.DataFrame(
    {
        "sampler": ["full_data", "density"],
        "rate": ["100", "20"],
        "documents": [50, 10],
        "tokens": [400, 80],
    }
)


def test_final_values_are_averaged_over_seeds_in_the_registrys_order(metrics: pl.DataFrame) -> None:
    table = compare(metrics, SUBSETS, ["full_data", "random", "density"])
    assert table["sampler"].to_list() == ["full_data", "density"]
    assert table["perplexity"].to_list() == [7.0, 9.0]
    assert table["perplexity_sd"].to_list() == pytest.approx([2**0.5, 2**0.5])
    assert table["perplexity_hq"].to_list() == [20.0, 20.0] and table["perplexity_hq_sd"].to_list() == [
        None,
        None,
    ]
    assert table["epochs"].to_list() == [2.5, 12.5], (
        "iso-compute: five times less data, five times more epochs"
    )


def test_rates_are_in_numeric_order_and_what_is_not_measured_is_said(metrics: pl.DataFrame) -> None:
    more = pl.DataFrame([_row("density", rate, 0, 1000, "in_distribution", 5.0) for rate in ("80", "10")])
    table = compare(pl.concat([metrics, more]), SUBSETS, ["full_data", "density"])
    assert table["rate"].to_list() == ["100", "10", "20", "80"]
    cells = rows_for_people(table)
    assert cells[1]["HQ perplexity"] == "not measured" and cells[2]["perplexity"] == "9.00 ± 1.41"
    assert cells[1]["documents"] is None, "a subset that is gone leaves a gap, not a zero"


def test_one_seed_is_called_what_it_is(metrics: pl.DataFrame) -> None:
    one = compare(metrics.filter(pl.col("seed") == 0), SUBSETS, ["full_data", "density"])
    assert "One seed" in how_to_read(one, RECIPE)
    two = compare(metrics.filter(pl.col("task") == "in_distribution"), SUBSETS, ["full_data", "density"])
    assert "2 seeds" in how_to_read(two, RECIPE) and "One seed" not in how_to_read(two, RECIPE)


def test_what_is_written_can_be_read_back(metrics: pl.DataFrame, tmp_path: Path) -> None:
    table = compare(metrics, SUBSETS, ["full_data", "density"])
    text = write(tmp_path, table, RECIPE)
    assert pl.read_csv(tmp_path / "comparison.csv").shape == table.shape
    assert text in (tmp_path / "comparison.md").read_text()
    assert "density" in terminal_table(tmp_path) and "10 steps of 4 x 25" in terminal_table(tmp_path)
