"""The comparison on hand-made metrics: means, spread, epochs, order, and what the text under it admits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.common.files import write_json
from curation_assets.report import comparison_view
from curation_assets.report.comparison import compare, with_figures
from curation_assets.report.comparison_view import (
    budget,
    findings,
    how_to_read,
    parameters,
    repetition,
    run_rows,
    terminal_table,
    tokens_kept,
)
from curation_assets.report.figures import Figures, Ladder, figures
from curation_assets.report.intervals import no_intervals
from curation_assets.report.scores import Scores
from curation_assets.report.section import Section, publish, read_section
from curation_assets_tests.report.test_figures import LADDER, NOISE, rows
from curation_assets_tests.report.test_figures import table as as_table

NO_GAPS: dict[str, list[str]] = {"suites": [], "tasks": [], "standins": []}
RECIPE = {
    **{"tokens": 1000, "steps": 10, "batch_size": 4, "raw_length": 25, "window": 25},
    **{"suites": [], "chance": {}, "rate_of": "documents", "gaps": NO_GAPS},
}
LACKING = RECIPE | {"gaps": NO_GAPS | {"tasks": ["glue/ax (test)"]}}


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
    cells = run_rows(table, [], {})
    assert cells[1]["HQ perplexity"] == "not measured" and cells[2]["perplexity"] == "9.0 ± 1.4"
    assert cells[1]["documents"] is None, "a subset that is gone leaves a gap, not a zero"


def test_one_seed_is_called_what_it_is(metrics: pl.DataFrame) -> None:
    one = compare(metrics.filter(pl.col("seed") == 0), TRAINED, ["full_data", "density"])
    assert "One seed" in how_to_read(one, RECIPE)
    two = compare(metrics.filter(pl.col("task") == "in_distribution"), TRAINED, ["full_data", "density"])
    assert "2 seeds" in how_to_read(two, RECIPE) and "One seed" not in how_to_read(two, RECIPE)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [([2, 2], "over 2 seeds of"), ([1, 2], "over 2 seeds of"), ([1, 3], "over 2 to 3 seeds of")],
)
def test_a_spread_is_over_the_seeds_that_have_one(metrics: pl.DataFrame, seeds: list[int], said: str) -> None:
    table = compare(metrics, TRAINED, ["full_data", "density"]).with_columns(seeds=pl.Series(seeds))
    text = how_to_read(table, RECIPE)
    assert said in text and ("none for one seed" in text) == (1 in seeds)


def _published(folder: Path, runs: pl.DataFrame, merit: Figures, recipe: dict[str, Any]) -> Section:
    """Write what the terminal and the page read, and return the section."""
    runs.write_parquet(folder / "comparison.parquet")
    merit.differences.write_parquet(folder / "differences.parquet")
    write_json(folder / "recipe.json", recipe)
    section = comparison_view.section(runs, merit, recipe)
    publish(folder, section, comparison_view.figures(merit.differences), page="comparison.md")
    return read_section(folder)


def test_figures_join_the_table_and_are_told_in_words(metrics: pl.DataFrame, tmp_path: Path) -> None:
    larger = [
        {**_row("full_data", "100", seed, 1000, task, value), "size": "base"}
        for seed, task, value in ((0, "in_distribution", 4.0), (1, "in_distribution", 6.0), (0, "hq", 15.0))
    ]
    metrics = pl.concat([metrics, pl.DataFrame(larger)])
    ladder = Ladder(["small", "base"], {"small": 1_000_000, "base": 2_500_000})
    found = figures(Scores(metrics), ladder, seed=0)
    table = with_figures(compare(metrics, TRAINED, ["full_data", "random", "density"]), found)
    assert table.columns[:6] == ["sampler", "rate", "size", "seeds", "documents", "tokens"]
    density = run_rows(table, [], {})[2]
    assert density["over-scaling %"] == "-50", "(-2 / 2 + 0 / 5) / 2, in percent; the second set has one seed"
    assert density["effective size"] == "<1M" and density["against random"] == "not measured"
    _published(tmp_path, table, found, LACKING)
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "effective size" in text and "-50 |" in text and "**Over-scaling**" in text
    told = terminal_table(tmp_path)
    assert "no run of random" in told and "no data for glue/ax" in told and "10 steps of 4 x 25" in told
    assert "effective size" not in told and "over-scaling %" in told, "the terminal has room for few columns"
    assert found.by_metric["over_scaling"].to_list() == [-100.0, 0.0]


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
    told = _published(tmp_path, table, found, LACKING)
    start = "At 20 % with the small T5 by perplexity, over 3 seeds (Holm, 2 samplers): better than random: density (-10.00 [-10.86, -9.14], "
    assert told.findings[0].startswith(start)
    assert re.search(r"p < 0\.001\); 1 of 2 within the noise\.$", told.findings[0])
    assert "semdedup" not in told.findings[0] and told.findings[-1].startswith("There were no data")
    assert [figure.name for figure in told.figures] == ["difference_20_small"]
    assert (tmp_path / "difference_20_small.svg").exists()
    assert told.tables[0].links[0] == ("random/metrics", "20|small") and len(told.tables) == 3
    assert all(len(one.links) in (0, len(one.rows)) for one in told.tables)


def test_over_several_rates_each_perplexity_has_a_figure_of_its_own(tmp_path: Path) -> None:
    one = _noisy(("random", 20.0), ("density", 10.0))
    metrics = pl.concat([one, one.filter(pl.col("sampler") != "full_data").with_columns(rate=pl.lit("40"))])
    found = figures(Scores(metrics), LADDER, seed=0)
    table = with_figures(compare(metrics, TRAINED, ["random", "density"]), found)
    [figure] = _published(tmp_path, table, found, RECIPE).figures
    assert figure.name == "difference_perplexity_small" and "by sampling rate" in figure.alt


def _findings(metrics: pl.DataFrame) -> list[str]:
    runs = compare(metrics, TRAINED, ["full_data", "random", "density"])
    return findings(runs, figures(Scores(metrics), LADDER, seed=0).differences, RECIPE)


def test_one_seed_and_no_random_are_said_once(metrics: pl.DataFrame) -> None:
    (said,) = _findings(_noisy(("random", 20.0), ("density", 10.0)).filter(pl.col("seed") == 0))
    assert "cannot tell any sampler from random: at 20 % with the small T5" in said
    assert _findings(metrics) == ["At 20 % with the small T5 there is no run of random to compare with."]


def _passes(*epochs: float | None, rates: tuple[str, ...] = ()) -> pl.DataFrame:
    """Return runs of a sampler with so many epochs over their subsets, beside full data, which repeats nothing."""
    shares = rates or tuple(str(20 * i) for i in range(1, len(epochs) + 1))
    runs = [("full_data", "100", 0.1), *(("density", r, e) for r, e in zip(shares, epochs, strict=True))]
    return pl.DataFrame(runs, schema=["sampler", "rate", "epochs"], orient="row")


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ((0.06, 0.3), "that is 6% to 30% of its subset, and nothing is repeated"),
        ((0.27, 0.27), "that is 27% of its subset, and nothing is repeated"),
        ((1.0,), "that is 100% of its subset, and nothing is repeated"),
        ((12.5, 2.5), "subsets are seen 2.50 to 12.50 times, the smaller ones more often"),
        ((3.0, 3.0), "every subset is seen 3.00 times"),
        ((1.6, 0.4), "the smallest subset is seen 1.60 times, the largest not whole (40% of it)"),
        ((None, None), ""),
    ],
)
def test_whether_anything_is_repeated_follows_from_the_runs(
    epochs: tuple[float | None, ...], said: str
) -> None:
    assert repetition(_passes(*epochs)) == said


def test_the_budget_is_that_of_the_runs_and_not_of_the_profile(metrics: pl.DataFrame) -> None:
    table = compare(metrics, TRAINED, ["full_data", "density"])
    assert budget(table, RECIPE).startswith(
        "Every run sees 1,000 raw tokens (10 steps of 4 x 25): every subset"
    )
    longer = table.with_columns(tokens_seen=pl.lit(5000))
    assert budget(longer, RECIPE).startswith("Every run sees 5,000 raw tokens: ")
    mixed = table.with_columns(tokens_seen=pl.Series([1000, 5000]))
    assert "not compared at equal compute" in budget(mixed, RECIPE)


def test_only_what_was_measured_is_named(metrics: pl.DataFrame) -> None:
    held_out = compare(metrics.filter(pl.col("task") == "in_distribution"), TRAINED, ["full_data", "density"])
    assert "on held-out documents of the corpus." in how_to_read(held_out, RECIPE)
    assert "high-quality" in how_to_read(compare(metrics, TRAINED, ["full_data", "density"]), RECIPE)


def _kept(*runs: tuple[str, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(runs, schema=["sampler", "rate", "documents", "tokens"], orient="row")


def test_unequal_tokens_are_said_and_equal_ones_are_not() -> None:
    equal = [("random", "20", 129, 75_000), ("density", "20", 129, 75_100)]
    assert tokens_kept(_kept(*equal), "documents") == []
    assert tokens_kept(_kept(("full_data", "100", 645, 400_000), *equal), "documents") == [], (
        "full data is no subset"
    )
    (said,) = tokens_kept(_kept(*equal, ("prototypes", "20", 129, 99_686)), "documents")
    assert "at 20 % 129 documents with 75,000 to 99,686 tokens" in said and 'rate_of = "tokens"' in said
    longer = _kept(*equal, ("prototypes", "20", 129, 99_686))
    assert "rate_of" not in tokens_kept(longer, "tokens")[0], "who has set it needs no hint"
    (by_tokens,) = tokens_kept(
        _kept(("random", "20", 129, 75_000), ("prototypes", "20", 97, 74_990)), "documents"
    )
    assert by_tokens == "Samplers keep at 20 % 97 to 129 documents with about 75,000 tokens."


def test_chance_stands_in_the_heading(metrics: pl.DataFrame) -> None:
    table = compare(metrics, TRAINED, ["full_data", "density"]).with_columns(
        probes=pl.lit(35.2), probes_sd=pl.lit(0.6)
    )
    assert run_rows(table, ["probes"], {"probes": 35.0})[0]["probes % (chance 35.0)"] == "35.20 ± 0.60"
    assert run_rows(table, ["probes"], {})[0]["probes %"] == "35.20 ± 0.60"
    assert "Knowing nothing scores 35.0 in probes." in how_to_read(
        table, RECIPE | {"chance": {"probes": 35.0}}
    )


def test_windows_that_training_has_not_seen_are_named(metrics: pl.DataFrame) -> None:
    table = compare(metrics, TRAINED, ["full_data", "density"])
    longer = "windows of 26 tokens (`evaluation.window`) are longer than what the models are trained on, 25"
    assert longer in how_to_read(table, RECIPE | {"window": 26})
    assert "evaluation.window" not in how_to_read(table, RECIPE)
    made_before = {name: value for name, value in RECIPE.items() if name != "window"}
    assert how_to_read(table, made_before) == how_to_read(table, RECIPE)


def test_one_seed_has_no_mean_rank() -> None:
    metrics = _noisy(("random", 20.0), ("density", 10.0))
    for seeds, ranked in (([0], False), ([0, 1, 2], True)):
        part = metrics.filter(pl.col("seed").is_in(seeds))
        found = figures(Scores(part), LADDER, seed=0)
        runs = with_figures(compare(part, TRAINED, ["random", "density"]), found)
        shown = run_rows(runs, [], {})
        assert [row["mean rank"] is not None for row in shown] == [ranked] * len(shown)


def test_seeds_without_a_spread_are_not_called_one_seed() -> None:
    same = [
        rows((name, "20", "small"), "perplexity/in_distribution", [9.0, 9.0])
        for name in ("random", "density")
    ]
    found = figures(Scores(as_table(*same)), LADDER, seed=0)
    assert found.differences["verdict"].to_list() == ["no spread"]
    assert no_intervals([2, 2]) == "No spread over seeds: no intervals."
    assert no_intervals([1]) == "One seed: no intervals."


def test_what_holds_at_several_rates_is_said_once() -> None:
    one = _noisy(("random", 20.0), ("density", 20.1))
    metrics = pl.concat([one, one.with_columns(rate=pl.lit("40"))])
    (said,) = _findings(metrics)
    assert said == (
        "No sampler differs from random beyond the noise of training: at 20 and 40 % with the small T5 by perplexity."
    )
