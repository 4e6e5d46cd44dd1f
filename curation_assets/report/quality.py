"""Quality against the share of the data that is kept (v1, figures 4 and 10 to 16, table 1): every metric, amount and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.styles import FULL
from curation_assets.config.registry import SAMPLERS
from curation_assets.report import ties
from curation_assets.report.figures import Ladder, in_words, suites
from curation_assets.report.intervals import Summary, compare_all, summary
from curation_assets.report.merit import Floats, over_scaling, ranks
from curation_assets.report.schemas import schema
from curation_assets.report.scores import PERPLEXITY, Run, Scores

OVER_SCALING = "over_scaling"
SCHEMA = schema(
    "text sampler rate size metric",
    "truth higher_is_better",
    "real mean sd low high",
    "whole seeds",
    "real rank",
    "whole ranked",
    "real mean_rank",
    "truth tied_with_best",
    "real vs_full vs_full_p chance",
)
"""Columns of quality.parquet; a cell that was not measured has a row with no mean and 0 seeds. `chance` is
what knowing nothing scores by the metric."""


class Cell:
    """What the samplers of one amount and size reached, metric by metric, seed by seed."""

    def __init__(self, scores: Scores, ladder: Ladder, rate: str, size: str) -> None:
        self.scores, self.rate, self.size = scores, rate, size
        self.runs = [run for run in scores.runs if run[0] != FULL and run[1:] == (rate, size)]
        self.full: Run = (FULL, "100", size)
        self._larger = scores.values((FULL, "100", ladder.next_larger(size)))
        values = (scores.values(self.full), self._larger)
        self._over_scaling = {
            run: over_scaling(scores.metrics, scores.values(run), *values) for run in self.runs
        }

    def by_seed(self, metric: str) -> dict[str, Floats]:
        """Return what tells samplers apart by a metric: {sampler: [seeds]}, NaN where not measured.

        Of over-scaling it is the part that differs between samplers: the same metrics must count for all of them, or there
        is none; the gain to the larger model is their mean over seeds.
        """
        if metric != OVER_SCALING:
            return {run[0]: self.scores.column(run, metric) for run in self.runs}
        counting = {tuple(scaled.by_metric) for scaled in self._over_scaling.values() if scaled.by_metric}
        if len(counting) != 1:
            return {}
        names = counting.pop()
        rows = [i for i, m in enumerate(self.scores.metrics) if m.name in names]
        gain = np.nanmean(self._larger[rows] - self.scores.values(self.full)[rows], axis=1)
        return {
            run[0]: (100 * self.scores.values(run)[rows] / gain[:, None]).mean(axis=0) for run in self.runs
        }

    def value(self, run: Run, metric: str) -> Summary:
        """Return what a run reached by a metric."""
        if metric != OVER_SCALING:
            return summary(self.scores.column(run, metric))
        scaled = self._over_scaling.get(run)
        if scaled is None or scaled.value is None:
            return Summary(None, None, None, None, 0)
        rows = [i for i, m in enumerate(self.scores.metrics) if m.name in scaled.by_metric]
        three = np.stack([self.scores.values(run), self.scores.values(self.full), self._larger])
        seeds = int(np.isfinite(three[:, rows]).all(axis=0).any(axis=0).sum())
        low, high = (scaled.interval.low, scaled.interval.high) if scaled.interval else (None, None)
        return Summary(scaled.value, None, low, high, seeds)


def metrics_of(scores: Scores) -> list[str]:
    """Return the metrics that quality is told by: the perplexities, over-scaling, the averages of the suites."""
    perplexities = sorted(group for group in scores.groups if group.startswith(PERPLEXITY))
    return [*perplexities, OVER_SCALING, *suites(scores)]


def higher_is_better(scores: Scores, metric: str) -> bool:
    """Tell a metric's direction."""
    return metric == OVER_SCALING or scores.higher_is_better(metric)


def name_of(metric: str) -> str:
    """Return a metric's name as people read it."""
    return {OVER_SCALING: "over-scaling", PERPLEXITY: "in-distribution perplexity"}.get(
        metric, in_words(metric)
    )


def title(metric: str) -> str:
    """Return a metric's name with its unit."""
    return name_of(metric) if metric.startswith(PERPLEXITY) else f"{name_of(metric)} %"


def quality(scores: Scores, ladder: Ladder, samplers: Sequence[str], rates: Sequence[str]) -> pl.DataFrame:
    """Return one row (SCHEMA) for each sampler, amount and metric at every size that any sampler was trained at, and full data's.

    Cells that were not measured are rows too: no mean, 0 seeds.
    """
    rows: list[dict[str, Any]] = []
    for size in dict.fromkeys(run[2] for run in scores.runs if run[0] != FULL):
        rows += _full_rows(scores, size)
        for rate in rates:
            rows += _cell_rows(Cell(scores, ladder, rate, size), samplers)
    return pl.DataFrame(rows, schema=SCHEMA)


def _full_rows(scores: Scores, size: str) -> list[dict[str, Any]]:
    fixed = {"sampler": FULL, "rate": "100", "size": size}
    return [
        _row(fixed, scores, metric, summary(scores.column((FULL, "100", size), metric)))
        for metric in metrics_of(scores)
        if metric != OVER_SCALING
    ]


def _cell_rows(cell: Cell, samplers: Sequence[str]) -> list[dict[str, Any]]:
    scores, metrics = cell.scores, metrics_of(cell.scores)
    values = {(s, m): cell.value((s, cell.rate, cell.size), m) for s in samplers for m in metrics}
    places, means = _ranks(scores, samplers, metrics, values)
    rows = []
    for metric in metrics:
        by_seed = cell.by_seed(metric)
        candidates = {name: x for name, x in by_seed.items() if not SAMPLERS[name].reads_labels}
        tied = ties.tied_with_best(candidates, higher_is_better=higher_is_better(scores, metric))
        plain = metric != OVER_SCALING  # over-scaling is itself a difference to full data
        against = compare_all(by_seed, scores.column(cell.full, metric)) if plain else {}
        for sampler in samplers:
            fixed = {"sampler": sampler, "rate": cell.rate, "size": cell.size}
            difference = against.get(sampler)
            rows.append(
                _row(fixed, scores, metric, values[sampler, metric])
                | {
                    "rank": places.get((sampler, metric)),
                    "ranked": sum((name, metric) in places for name in samplers),
                    "mean_rank": means.get(sampler),
                    "tied_with_best": tied.get(sampler),
                    "vs_full": difference.mean if difference else None,
                    "vs_full_p": difference.p if difference else None,
                }
            )
    return rows


def _row(fixed: dict[str, str], scores: Scores, metric: str, value: Summary) -> dict[str, Any]:
    chance = None if metric == OVER_SCALING else scores.chance(metric)
    about = {"metric": metric, "higher_is_better": higher_is_better(scores, metric), "chance": chance}
    return fixed | about | value._asdict()


def _ranks(
    scores: Scores,
    samplers: Sequence[str],
    metrics: Sequence[str],
    values: dict[tuple[str, str], Summary],
) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Return {(sampler, metric): rank} and {sampler: mean rank} of one amount and size."""
    x = np.array([[values[s, m].mean for m in metrics] for s in samplers], np.float64)
    scaled = ranks(x, [higher_is_better(scores, m) for m in metrics])
    places = {
        (s, m): float(scaled.by_metric[i, j])
        for i, s in enumerate(samplers)
        for j, m in enumerate(metrics)
        if np.isfinite(x[i, j])
    }
    used = [j for j, m in enumerate(metrics) if m != OVER_SCALING and np.isfinite(x[:, j]).any()]
    mean = ranks(x[:, used], [higher_is_better(scores, metrics[j]) for j in used]).mean
    return places, {s: float(mean[i]) for i, s in enumerate(samplers) if np.isfinite(mean[i])}
