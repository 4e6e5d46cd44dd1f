"""From the metrics table to figures: which rows are read, what is averaged, and that no winner is named inside the noise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.report.figures import Ladder, figures, suites
from curation_assets.report.scores import Scores

LADDER = Ladder(["small", "base", "large"], {"small": 1_000, "base": 10_000, "large": 100_000})
NOISE = np.array([0.0, 0.2, -0.2])


def rows(run: tuple[str, str, str], task: str, values: Iterable[float], **more: Any) -> list[dict[str, Any]]:
    suite, name = task.split("/")
    metric = more.pop("metric", "perplexity" if suite == "perplexity" else "accuracy")
    fixed = dict(zip(("sampler", "rate", "size"), run, strict=True))
    return [
        fixed
        | {"seed": seed, "tokens_seen": 1000, "suite": suite, "task": name, "metric": metric}
        | {"value": float(value), "n": 5}
        | more
        for seed, value in enumerate(values)
    ]


def table(*parts: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for part in parts for row in part])


def _ladder() -> list[list[dict[str, Any]]]:
    levels = {"small": (20, 60), "base": (15, 70), "large": (10, 80)}
    found = []
    for size, (perplexity, accuracy) in levels.items():
        run = ("full_data", "100", size)
        found.append(rows(run, "perplexity/in_distribution", perplexity + NOISE))
        found.append(rows(run, "glue/rte", accuracy - NOISE))
    return found


def _sampler(name: str, perplexity: Iterable[float], accuracy: Iterable[float]) -> list[list[dict[str, Any]]]:
    run = (name, "20", "small")
    return [rows(run, "perplexity/in_distribution", perplexity), rows(run, "glue/rte", accuracy)]


def test_over_scaling_size_ranks_and_averages_of_a_run() -> None:
    metrics = table(
        *_ladder(),
        *_sampler("random", 22 + NOISE, 58 - NOISE),
        *_sampler("density", 17.5 + NOISE, 65 - NOISE),
    )
    found = figures(Scores(metrics), LADDER, seed=0)
    by_sampler = {row["sampler"]: row for row in found.columns.iter_rows(named=True) if row["rate"] == "20"}
    density, random = by_sampler["density"], by_sampler["random"]
    assert density["over_scaling"] == pytest.approx(50.0) and density["over_scaling_metrics"] == 2
    assert random["over_scaling"] == pytest.approx((-40 - 20) / 2)
    assert density["effective_size"] == pytest.approx(1_000 * 10**0.5), (
        "half of the first step, a factor of 10"
    )
    assert (random["effective_size"], random["effective_size_bound"]) == (1_000, "<")
    assert (density["mean_rank"], random["mean_rank"]) == (1.0, 2.0)
    assert density["glue"] == pytest.approx(65) and density["glue_sd"] == pytest.approx(0.2)
    assert density["vs_random_glue"] == pytest.approx(7) and random["vs_random_glue"] is None
    assert density["beyond_noise_glue"] is None, (
        "the difference is the same in every seed: no spread to go by"
    )
    assert density["over_scaling_metrics_low"] is None, "two metrics are too few for a bootstrap"


def test_nothing_inside_the_noise_is_called_better_or_worse() -> None:
    wide = np.array([3.0, -3.0, 0.5])
    metrics = table(
        *_ladder(),
        *_sampler("random", 20 + NOISE, 60 - NOISE),
        *_sampler("density", 18 + wide, 61 + wide),
        *_sampler("semdedup", 30 + NOISE * [1, 2, 1], 59.9 + wide),
    )
    found = figures(Scores(metrics), LADDER, seed=0)
    verdicts = {(r["sampler"], r["score"]): r["verdict"] for r in found.differences.iter_rows(named=True)}
    assert verdicts == {
        ("density", "perplexity"): "within noise",
        ("density", "glue"): "within noise",
        ("semdedup", "perplexity"): "worse",
        ("semdedup", "glue"): "within noise",
    }


def test_one_seed_tells_nothing() -> None:
    metrics = table(*_ladder(), *_sampler("random", [20], [60]), *_sampler("density", [10], [90]))
    found = figures(Scores(metrics.filter(pl.col("seed") == 0)), LADDER, seed=0)
    assert (
        set(found.differences["verdict"]) == {"one seed"} and found.differences["p_adjusted"].is_null().all()
    )
    density = found.columns.filter(pl.col("sampler") == "density").row(0, named=True)
    assert density["over_scaling"] is not None and density["over_scaling_low"] is None


def test_standins_parts_and_earlier_snapshots_are_no_part_of_any_figure() -> None:
    run = ("density", "20", "small")
    metrics = table(
        *_ladder(),
        *_sampler("density", [17.5], [65]),
        rows(run, "perplexity/in_distribution", [99], tokens_seen=10),
        rows(run, "perplexity/in_distribution", [99], metric="nll"),
        rows(run, "glue/rte", [99], metric="f1"),
        rows(run, "glue/qqp@standin", [99], metric="accuracy_f1"),
    )
    scores = Scores(metrics)
    found = figures(scores, LADDER, seed=0)
    density = found.columns.filter(pl.col("sampler") == "density").row(0, named=True)
    assert density["over_scaling"] == pytest.approx(50.0) and density["glue"] == 65
    assert scores.standins() == ["glue/qqp"] and suites(scores) == ["glue"]
    left_out = {(r["figure"], r["metric"]): r["reason"] for r in found.left_out}
    assert "stand-in" in left_out["over-scaling", "glue/qqp@standin"]


def test_an_average_over_other_tasks_is_none() -> None:
    metrics = table(*_ladder(), rows(("full_data", "100", "small"), "glue/mrpc", [80], metric="accuracy_f1"))
    glue = figures(Scores(metrics), LADDER, seed=0).columns
    by_size = dict(zip(glue["size"], glue["glue"], strict=True))
    assert by_size == {"small": pytest.approx(70.0), "base": None, "large": None}, "of the first seed alone"


def test_what_is_missing_for_a_figure_is_named() -> None:
    metrics = table(*_sampler("density", [17.5], [65]), rows(("full_data", "100", "small"), "glue/rte", [60]))
    found = figures(Scores(metrics), Ladder(["small", "base"], {"small": 1}), seed=0)
    reasons = {row["figure"]: row["reason"] for row in found.left_out}
    assert reasons["over-scaling"] == "full_data/metrics[base] has not been made"
    assert reasons["effective size"] == "one size was measured on all data, and two are needed"
    top = figures(Scores(metrics), Ladder(["small"], {}), seed=0)
    assert "no larger model" in top.left_out[0]["reason"]


def test_a_task_without_its_metric_of_record_is_an_error() -> None:
    with pytest.raises(ValueError, match="glue/cola lack matthews"):
        Scores(table(rows(("density", "20", "small"), "glue/cola", [50], metric="f1")))
