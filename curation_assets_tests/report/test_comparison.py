"""The comparison on hand-made metrics: means, spread, epochs, order, and what the text under it admits."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from curation_assets.report.comparison import (
    compare,
    how_to_read,
    parameters,
    rows_for_people,
    terminal_table,
    with_figures,
    write,
)
from curation_assets.report.comparison_said import findings, section
from curation_assets.report.figures import Ladder, figures
from curation_assets.report.scores import Scores
from curation_assets.report.section import read_section
from curation_assets_tests.report.test_figures import LADDER, NOISE, rows
from curation_assets_tests.report.test_figures import table as as_table

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


TRAINED = pl.DataFrame(
    {
        "sampler": ["full_data", "density"],
        "rate": ["100", "20"],
        "size": ["small", "small"],
        "documents": [50, 10],
        "tokens": [350, 70],
    }
)


def test_final_values_are_averaged_over_seeds_in_the_registrys_order(metrics: pl.DataFrame) -> None:
    table = compare(metrics, TRAINED, ["full_data", "random", "density"])
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
    table = compare(pl.concat([metrics, more]), TRAINED, ["full_data", "density"])
    assert table["rate"].to_list() == ["100", "10", "20", "80"]
    cells = rows_for_people(table)
    assert cells[1]["HQ perplexity"] == "not measured" and cells[2]["perplexity"] == "9.00 ± 1.41"
    assert cells[1]["documents"] is None, "a subset that is gone leaves a gap, not a zero"


def test_one_seed_is_called_what_it_is(metrics: pl.DataFrame) -> None:
    one = compare(metrics.filter(pl.col("seed") == 0), TRAINED, ["full_data", "density"])
    assert "One seed" in how_to_read(one, RECIPE)
    two = compare(metrics.filter(pl.col("task") == "in_distribution"), TRAINED, ["full_data", "density"])
    assert "2 seeds" in how_to_read(two, RECIPE) and "One seed" not in how_to_read(two, RECIPE)


def test_what_is_written_can_be_read_back(metrics: pl.DataFrame, tmp_path: Path) -> None:
    table = compare(metrics, TRAINED, ["full_data", "density"])
    parts = write(tmp_path, table, RECIPE)
    assert pl.read_csv(tmp_path / "comparison.csv").shape == table.shape
    assert list(parts) == ["comparison"] and parts["comparison"] in (tmp_path / "comparison.md").read_text()
    assert "density" in terminal_table(tmp_path) and "10 steps of 4 x 25" in terminal_table(tmp_path)


def test_figures_join_the_table_and_are_told_in_words(metrics: pl.DataFrame, tmp_path: Path) -> None:
    larger = [
        {**_row("full_data", "100", seed, 1000, task, value), "size": "base"}
        for seed, task, value in ((0, "in_distribution", 4.0), (1, "in_distribution", 6.0), (0, "hq", 15.0))
    ]
    metrics = pl.concat([metrics, pl.DataFrame(larger)])
    ladder = Ladder(["small", "base"], {"small": 1_000_000, "base": 2_500_000})
    found = figures(Scores(metrics), ladder, seed=0)
    table = with_figures(compare(metrics, TRAINED, ["full_data", "random", "density"]), found)
    assert table.columns[:7] == ["sampler", "rate", "size", "seeds", "documents", "tokens", "epochs"]
    density = rows_for_people(table)[2]
    assert density["over-scaling %"] == "-50.0", (
        "(-2 / 2 + 0 / 5) / 2, in percent; the second set has one seed"
    )
    assert density["effective size"] == "<1M" and density["against random"] == "not measured"
    recipe = RECIPE | {
        "suites": [],
        "verdicts": found.verdicts,
        "gaps": ["There were no data for glue/ax (test)."],
    }
    parts = write(tmp_path, table, recipe, found)
    assert set(parts) == {"comparison", "how_to_read", "differences_to_random"}
    assert "effective size" in parts["comparison"] and "-50.0" in parts["comparison"]
    told = terminal_table(tmp_path)
    assert "no run of random" in told and "no data for glue/ax" in told
    assert "effective size" not in told and "over-scaling %" in told, "the terminal has room for few columns"
    assert pl.read_parquet(tmp_path / "over_scaling.parquet")["over_scaling"].to_list() == [-100.0, 0.0]


@pytest.mark.parametrize(
    ("count", "text"), [(713e6, "713M"), (1.5e9, "1.5B"), (912_400, "912k"), (60, "60"), (8e8, "800M")]
)
def test_parameter_counts_as_people_write_them(count: float, text: str) -> None:
    assert parameters(count) == text


def _noisy(*samplers: tuple[str, float]) -> pl.DataFrame:
    parts = []
    for i, (name, mean) in enumerate(samplers):
        values = mean + NOISE[[i % 3, (i + 1) % 3, (i + 2) % 3]]
        parts.append(rows((name, "20", "small"), "perplexity/in_distribution", values))
    return as_table(*parts)


def test_the_section_says_with_interval_and_p_what_is_beyond_the_noise(tmp_path: Path) -> None:
    metrics = _noisy(("random", 20.0), ("density", 10.0), ("semdedup", 20.1))
    found = figures(Scores(metrics), LADDER, seed=0)
    table = with_figures(compare(metrics, TRAINED, ["random", "density", "semdedup"]), found)
    recipe = RECIPE | {
        "suites": [],
        "verdicts": found.verdicts,
        "gaps": ["There were no data for glue/ax (test)."],
    }
    shown = section(tmp_path, table, recipe, found)
    told = read_section(tmp_path)
    start = "At 20 % with the small T5 by perplexity, over 3 seeds (Holm, 2 samplers): better than random: density (-10 ["
    assert told.findings[0].startswith(start)
    assert re.search(r"p = 0\.0\d+\); 1 of 2 within the noise\.$", told.findings[0])
    assert "semdedup" not in told.findings[0] and told.findings[-1].startswith("There were no data")
    assert [figure.name for figure in told.figures] == list(shown) == ["difference_20_small"]
    assert (tmp_path / "difference_20_small.svg").exists()
    assert told.tables[0].links[0] == ("random/metrics", "20|small") and len(told.tables) == 3
    assert all(len(one.links) in (0, len(one.rows)) for one in told.tables)


def test_over_several_rates_each_perplexity_has_a_figure_of_its_own(tmp_path: Path) -> None:
    one = _noisy(("random", 20.0), ("density", 10.0))
    metrics = pl.concat([one, one.filter(pl.col("sampler") != "full_data").with_columns(rate=pl.lit("40"))])
    found = figures(Scores(metrics), LADDER, seed=0)
    table = with_figures(compare(metrics, TRAINED, ["random", "density"]), found)
    section(tmp_path, table, RECIPE | {"suites": [], "verdicts": found.verdicts, "gaps": []}, found)
    [figure] = read_section(tmp_path).figures
    assert figure.name == "difference_perplexity_small" and "by sampling rate" in figure.alt


def test_one_seed_and_no_random_are_said_once(metrics: pl.DataFrame) -> None:
    one = _noisy(("random", 20.0), ("density", 10.0)).filter(pl.col("seed") == 0)
    found = figures(Scores(one), LADDER, seed=0)
    (said,) = findings(found.differences, found.verdicts, [])
    assert "cannot tell any sampler from random: at 20 % with the small T5" in said
    without = figures(Scores(metrics), LADDER, seed=0)
    assert findings(without.differences, without.verdicts, []) == without.verdicts
