"""Quality by rate on hand-made metrics: means, ranks, ties, what is missing, and what is said of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.report.quality import OVER_SCALING, quality
from curation_assets.report.quality_view import figures, file_name, findings, references, section, tables
from curation_assets.report.scores import Scores
from curation_assets.report.section import publish, read_section
from curation_assets_tests.report.test_figures import LADDER, NOISE, rows, table

SAMPLERS = ["random", "density", "semdedup", "prototypes"]
RATES = ("10", "20")
PERPLEXITY, RTE = "perplexity/in_distribution", "glue/rte"


def _run(name: str, rate: str, perplexity: Any, accuracy: Any = None) -> list[dict[str, Any]]:
    run = (name, rate, "small")
    found = rows(run, PERPLEXITY, perplexity)
    return found if accuracy is None else found + rows(run, RTE, accuracy)


@pytest.fixture
def found() -> pl.DataFrame:
    """20 %: density as good as semdedup, random far behind; 10 %: one sampler; prototypes never trained."""
    full = [_run("full_data", "100", 20 + NOISE, 60 - NOISE)]
    larger = [
        rows(("full_data", "100", "base"), PERPLEXITY, 10 + NOISE * 0.9),
        rows(("full_data", "100", "base"), RTE, 80 - NOISE * 0.9),
    ]
    cells = [
        _run("random", "20", 30 + NOISE[[1, 2, 0]], 50 + NOISE[[2, 1, 0]]),
        _run("density", "20", 18 + NOISE[[1, 0, 2]], 61 + NOISE),
        _run("semdedup", "20", 18.1 + NOISE[[2, 0, 1]], 70 + NOISE[[1, 0, 2]]),
        _run("random", "10", 40 + NOISE),
    ]
    return quality(Scores(table(*full, *larger, *cells)), LADDER, SAMPLERS, RATES)


def _cell(found: pl.DataFrame, sampler: str, rate: str, metric: str) -> dict[str, Any]:
    part = found.filter(
        (pl.col("sampler") == sampler) & (pl.col("rate") == rate) & (pl.col("metric") == metric)
    )
    return part.row(0, named=True)


def test_every_cell_has_a_row_and_what_was_not_measured_has_no_mean(found: pl.DataFrame) -> None:
    metrics = ["perplexity", OVER_SCALING, "glue"]
    assert len(found) == 2 + len(SAMPLERS) * len(RATES) * len(metrics), "full data has no over-scaling"
    missing = _cell(found, "prototypes", "20", "perplexity")
    assert (missing["mean"], missing["seeds"], missing["rank"], missing["tied_with_best"]) == (
        None,
        0,
        None,
        None,
    )
    assert _cell(found, "random", "10", "glue")["mean"] is None


def test_means_spreads_and_intervals_are_over_seeds(found: pl.DataFrame) -> None:
    row = _cell(found, "density", "20", "perplexity")
    assert row["mean"] == pytest.approx(18) and row["sd"] == pytest.approx(0.2) and row["seeds"] == 3
    assert row["high"] - row["mean"] == pytest.approx(4.302653 * 0.2 / np.sqrt(3))
    scaled = _cell(found, "density", "20", OVER_SCALING)
    assert (
        scaled["mean"] == pytest.approx((100 * 2 / 10 + 100 * 1 / 20) / 2) and scaled["low"] < scaled["mean"]
    )


def test_ranks_are_within_a_rate_and_share_the_mean(found: pl.DataFrame) -> None:
    ranks = {name: _cell(found, name, "20", "perplexity")["rank"] for name in SAMPLERS}
    assert ranks == {"random": 3, "density": 1, "semdedup": 2, "prototypes": None}
    assert [_cell(found, name, "20", "glue")["rank"] for name in SAMPLERS[:3]] == [3, 2, 1]
    means = [_cell(found, name, "20", "glue")["mean_rank"] for name in SAMPLERS[:3]]
    assert means == [3.0, 1.5, 1.5], "over perplexity and GLUE"
    assert _cell(found, "random", "20", "glue")["ranked"] == 3
    alone = _cell(found, "random", "10", "perplexity")
    assert (alone["rank"], alone["ranked"], alone["tied_with_best"]) == (1, 1, None)
    equal = table(_run("random", "20", [5.0]), _run("density", "20", [5.0]))
    tied = quality(Scores(equal), LADDER, SAMPLERS, ["20"])
    assert [_cell(tied, name, "20", "perplexity")["rank"] for name in SAMPLERS[:2]] == [1.5, 1.5]


def test_a_difference_inside_the_noise_is_a_tie(found: pl.DataFrame) -> None:
    by_perplexity = [_cell(found, name, "20", "perplexity")["tied_with_best"] for name in SAMPLERS]
    assert by_perplexity == [False, True, True, None]
    assert [_cell(found, name, "20", "glue")["tied_with_best"] for name in SAMPLERS] == [
        False,
        False,
        True,
        None,
    ]
    assert _cell(found, "semdedup", "20", OVER_SCALING)["tied_with_best"] is True


def test_the_findings_name_no_winner_inside_the_noise(found: pl.DataFrame) -> None:
    said = findings(found)
    assert (
        said[0].startswith("4 of 8 combinations")
        and "each with 3 seeds" in said[0]
        and "are missing" in said[0]
    )
    text = "\n".join(said)
    assert "at 20 % tied for the best of 3 over 3 seeds: density, semdedup" in text
    assert "at 20 % semdedup is the best of 3 beyond the noise, 70.00 [69.50, 70.50] over 3 seeds" in text
    assert (
        "density is the best" not in text
        and "By in-distribution perplexity with the small T5, compared" in text
    )


def test_with_one_seed_nobody_is_better() -> None:
    metrics = table(
        _run("full_data", "100", [9.0]), _run("random", "20", [5.0]), _run("density", "20", [4.0])
    )
    found = quality(Scores(metrics), LADDER, SAMPLERS, RATES)
    text = " ".join(findings(found))
    assert "one seed" in text and "is the best" not in text and "tied" not in text and "better" not in text
    assert found["tied_with_best"].null_count() == len(found)
    assert _cell(found, "density", "20", "perplexity")["rank"] == 1, (
        "a rank of means, which the text does not rely on"
    )


def test_the_table_has_every_sampler_with_its_metrics_as_link(found: pl.DataFrame) -> None:
    ten, twenty = tables(found)
    assert "at 10 %" in ten.caption and "at 20 %" in twenty.caption
    lines = {row[0]: dict(zip(twenty.columns, row, strict=True)) for row in twenty.rows}
    assert list(lines) == ["full data", *SAMPLERS]
    density = lines["density"]
    assert density["in-distribution perplexity"] == "18.00 ± 0.20"
    assert density["rank by in-distribution perplexity"] == "1, tied" and density["mean rank"] == "1.5"
    assert lines["random"]["rank by in-distribution perplexity"] == "3"
    assert (
        lines["prototypes"]["glue % (chance 50.0)"] == "not measured"
        and lines["full data"]["rank by glue"] is None
    )
    assert twenty.links[:2] == [("full_data/metrics", "small"), ("random/metrics", "20|small")]
    assert twenty.links[-1] is None, "prototypes has no metrics to show"


@pytest.mark.slow
def test_a_figure_for_every_metric_is_drawn_the_same_each_time(found: pl.DataFrame, tmp_path: Path) -> None:
    told: list[int] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        drawn, seen = figures(found), lambda done, *rest: told.append(done)
        shown = publish(tmp_path / name, section(found), drawn, page="quality.md", progress=seen)
    names = ["perplexity_small", "over_scaling_small", "glue_small"]
    assert list(shown) == [*names, "findings", "tables", "how_to_read"] and told == [1, 2, 3, 1, 2, 3]
    assert [figure.name for figure in read_section(tmp_path / "a").figures] == names
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 9 + 2
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    # of coverage: prototypes and the hybrids
    assert "not measured: 3 of them" in (tmp_path / "a" / "perplexity_small.svg").read_text("utf-8")


def test_names_of_files_are_plain_and_different() -> None:
    taken: set[str] = set()
    for text in ("../a b", "A/B", "é", "?"):
        file_name(text, taken)
    assert taken == {"a_b", "a_b_2", "figure", "figure_2"}
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in taken)
    json.dumps(sorted(taken))


def test_chance_stands_beside_what_has_one(found: pl.DataFrame) -> None:
    chance = dict(found.select("metric", "chance").unique().rows())
    assert chance == {"perplexity": None, OVER_SCALING: None, "glue": 50.0}
    text = " ".join(findings(found))
    assert "By glue % with the small T5, 2 of 3 models are above chance, 50.0" in text, (
        "random is at 50 ± 0.2"
    )
    assert "perplexity with the small T5, 3 of 3 models are above" not in text
    assert references(found) == "random sampling, full data and chance"
    assert section(found).intro.endswith("The references are random sampling, full data and chance.")


def test_references_are_those_that_there_are() -> None:
    alone = quality(Scores(table(_run("density", "20", [5.0]))), LADDER, SAMPLERS, ["20"])
    assert references(alone) == "" and "references" not in section(alone).intro
    two = quality(
        Scores(table(_run("density", "20", [5.0]), _run("random", "20", [5.0]))), LADDER, SAMPLERS, ["20"]
    )
    assert references(two) == "random sampling"


def test_a_chance_that_depends_on_the_corpus_is_given_and_an_unknown_one_is_none() -> None:
    probes = [
        rows(("random", "20", "small"), f"probes/{task}", [40.0], metric=metric)
        for task, metric in (("document_origin", "balanced_accuracy"), ("shuffled_words", "accuracy"))
    ]
    assert Scores(table(*probes)).chance("probes") is None
    assert Scores(table(*probes), {("probes", "document_origin"): 20.0}).chance("probes") == 35.0


def test_one_seed_has_no_ranks_and_three_digits() -> None:
    metrics = table(_run("random", "20", [1234.5678]), _run("density", "20", [812.3456]))
    (shown,) = tables(quality(Scores(metrics), LADDER, SAMPLERS, ["20"]))
    assert not any("rank" in name for name in shown.columns) and "no ranks" in shown.caption
    assert [row[1] for row in shown.rows if row[0] in ("random", "density")] == ["1,230", "812"]
