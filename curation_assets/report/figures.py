"""The figures of merit of every run in the metrics table, as columns to join with the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.styles import FULL, RANDOM
from curation_assets.evaluation.tasks import STANDIN
from curation_assets.report.intervals import Difference, Interval, bootstrap, compare_all, summary
from curation_assets.report.merit import (
    EffectiveSize,
    Floats,
    Size,
    effective_size,
    over_scaling,
    ranks,
)
from curation_assets.report.schemas import schema
from curation_assets.report.scores import PERPLEXITY, SETS, Run, Scores

_KEYS = schema("text sampler rate size")


@dataclass(frozen=True)
class Ladder:
    """The profile's sizes, smallest first, and {size: parameters} of those that were trained on all data."""

    sizes: list[str]
    parameters: dict[str, int]

    def next_larger(self, size: str) -> str:
        """Return the next rung, "" above the last."""
        after = self.sizes.index(size) + 1 if size in self.sizes else len(self.sizes)
        return self.sizes[after] if after < len(self.sizes) else ""


@dataclass(frozen=True)
class Figures:
    """Tables: `columns`, one row a run; `by_metric`, over-scaling; `left_out`, metrics that did not count; `differences`."""

    columns: pl.DataFrame
    by_metric: pl.DataFrame
    left_out: list[dict[str, Any]]
    differences: pl.DataFrame


def in_words(group: str) -> str:
    """Return a column's name as people read it."""
    return "HQ perplexity" if group == SETS["hq"] else group.replace("_", " ")


def in_title(words: str) -> str:
    """Return words as a title begins: with a capital letter, the others as they are."""
    return words[:1].upper() + words[1:]


def suites(scores: Scores) -> list[str]:
    """Return the columns of suite averages: every group but the perplexities."""
    return [group for group in scores.groups if not group.startswith(PERPLEXITY)]


def figures(scores: Scores, ladder: Ladder, seed: int) -> Figures:
    """Work out all figures of all runs; `seed` is the bootstrap's."""
    rows, by_metric, reasons = {}, [], _Reasons()
    for run in scores.runs:
        rows[run] = dict(zip(_KEYS, run, strict=True)) | _averages(scores, run)
        if run[0] != FULL:
            columns, parts = _over_scaling(scores, ladder, run, seed, reasons)
            rows[run] |= columns | _effective_size(scores, ladder, run, reasons)
            by_metric += parts
    differences: list[dict[str, Any]] = []
    for rate, size in dict.fromkeys(run[1:] for run in scores.runs if run[0] != FULL):
        cell = [run for run in scores.runs if run[1:] == (rate, size)]
        for run, rank in _mean_ranks(scores, cell).items():
            rows[run]["mean_rank"] = rank
        for group in scores.groups:
            for run, difference in _differences(scores, cell, group).items():
                rows[run] |= _columns(group, difference)
                differences.append(_line(run, group, difference, scores.higher_is_better(group)))
    return Figures(
        pl.DataFrame(list(rows.values()), schema_overrides=_KEYS, infer_schema_length=None),
        pl.DataFrame(by_metric, schema={**_KEYS, "metric": pl.String, "over_scaling": pl.Float64}),
        reasons.rows(),
        pl.DataFrame(differences, schema=_DIFFERENCE),
    )


class _Reasons:
    """Why metrics do not count, each reason once with the runs that it holds for."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, str, str], list[str]] = {}

    def add(self, figure: str, run: Run, left_out: dict[str, str]) -> None:
        for metric, reason in left_out.items():
            self._runs.setdefault((figure, run[2], metric, reason), []).append(f"{run[0]} {run[1]}")

    def rows(self) -> list[dict[str, Any]]:
        names = ("figure", "T5", "metric", "reason")
        return [dict(zip(names, key, strict=True)) | {"runs": len(runs)} for key, runs in self._runs.items()]


def _averages(scores: Scores, run: Run) -> dict[str, float | None]:
    merit: dict[str, float | None] = {}
    for group in suites(scores):
        over_seeds = summary(scores.column(run, group))
        merit |= {group: over_seeds.mean, f"{group}_sd": over_seeds.sd}
    return merit


def _over_scaling(
    scores: Scores, ladder: Ladder, run: Run, seed: int, reasons: _Reasons
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    larger = ladder.next_larger(run[2])
    above = (FULL, "100", larger)
    merit = over_scaling(
        scores.metrics, scores.values(run), scores.values((FULL, "100", run[2])), scores.values(above)
    )
    if not larger:
        reasons.add("over-scaling", run, {"all": "there is no larger model on the ladder"})
    elif above not in scores.runs:
        reasons.add("over-scaling", run, {"all": f"full_data/metrics[{larger}] has not been made"})
    else:
        reasons.add("over-scaling", run, merit.left_out)
    tasks = bootstrap(list(merit.by_metric.values()), seed)
    columns = {
        "over_scaling": merit.value,
        **_ends("over_scaling_", merit.interval),
        "over_scaling_metrics": len(merit.by_metric),
        **_ends("over_scaling_metrics_", tasks),
    }
    keys = dict(zip(_KEYS, run, strict=True))
    return columns, [
        keys | {"metric": name, "over_scaling": value} for name, value in merit.by_metric.items()
    ]


def _effective_size(scores: Scores, ladder: Ladder, run: Run, reasons: _Reasons) -> dict[str, Any]:
    sizes = [s for s in ladder.sizes if (FULL, "100", s) in scores.runs and s in ladder.parameters]
    parameters = [ladder.parameters[s] for s in sizes]
    merit = EffectiveSize(None, None, None, {})
    if len(sizes) < 2 or not (np.diff(parameters) > 0).all():
        too_few = f"{'one size was' if sizes else 'no size was'} measured on all data, and two are needed"
        why = too_few if len(sizes) < 2 else "sizes do not rise"
        reasons.add("effective size", run, {"all": why})
    else:
        rungs = np.stack([scores.values((FULL, "100", s)) for s in sizes])
        merit = effective_size(scores.metrics, parameters, rungs, scores.values(run))
        reasons.add("effective size", run, merit.left_out)
    return {
        **_size("effective_size", merit.size),
        **_size("effective_size_low", merit.low),
        **_size("effective_size_high", merit.high),
    }


def _size(name: str, size: Size | None) -> dict[str, Any]:
    return {name: size.parameters if size else None, f"{name}_bound": size.bound if size else None}


def _mean_ranks(scores: Scores, runs: list[Run]) -> dict[Run, float | None]:
    """Rank the samplers of one amount and size by the official metrics that any of them has."""
    x: Floats = np.stack([_seed_means(scores.values(run)) for run in runs])
    official = [not metric.name.endswith(STANDIN) for metric in scores.metrics]
    used = np.flatnonzero(np.isfinite(x).any(axis=0) & np.array(official))
    merit = ranks(x[:, used], [scores.metrics[i].higher_is_better for i in used])
    return {
        run: float(mean) if np.isfinite(mean) else None for run, mean in zip(runs, merit.mean, strict=True)
    }


def _seed_means(values: Floats) -> Floats:
    counts = np.isfinite(values).sum(axis=1)
    return np.where(counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), np.nan)


def _differences(scores: Scores, runs: list[Run], group: str) -> dict[Run, Difference]:
    reference = [run for run in runs if run[0] == RANDOM]
    if not reference:
        return {}
    others = {run: scores.column(run, group) for run in runs if run[0] != RANDOM}
    merit = compare_all({run[0]: x for run, x in others.items()}, scores.column(reference[0], group))
    return {run: merit[run[0]] for run in others if run[0] in merit}


def _columns(group: str, difference: Difference) -> dict[str, Any]:
    return {
        f"vs_random_{group}": difference.mean,
        **_ends(f"vs_random_{group}_", difference.interval),
        f"beyond_noise_{group}": difference.beyond_noise,
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{name}low": interval.low if interval else None,
        f"{name}high": interval.high if interval else None,
    }


_DIFFERENCE = _KEYS | schema(
    "text score",
    "real difference low high",
    "whole seeds",
    "real p_adjusted",
    "text verdict",
)


def verdict(difference: Difference, higher_is_better: bool) -> str:
    """Return "better" or "worse" beyond the noise, "within noise", or "one seed" where nothing can be told."""
    if difference.beyond_noise is None:
        return "one seed" if difference.seeds < 2 else "no spread"
    if not difference.beyond_noise:
        return "within noise"
    return "better" if (difference.mean > 0) == higher_is_better else "worse"


def _line(run: Run, group: str, difference: Difference, higher_is_better: bool) -> dict[str, Any]:
    return dict(zip(_KEYS, run, strict=True)) | {
        "score": group,
        "difference": difference.mean,
        **_ends("", difference.interval),
        "seeds": difference.seeds,
        "p_adjusted": difference.p,
        "verdict": verdict(difference, higher_is_better),
    }
