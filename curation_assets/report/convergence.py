"""How many tokens a sampler's training needs to be as good as training on everything (v1, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from curation_assets.common.drawing.styles import FULL
from curation_assets.report.intervals import t_interval
from curation_assets.report.merit import Floats, tokens_to_reach
from curation_assets.report.schemas import schema
from curation_assets.report.scores import PERPLEXITY, Run

SCHEMA = schema(
    "text sampler rate size set",
    "real final target tokens tokens_to_reach speed_up speed_up_low speed_up_high",
    "whole seeds_reached seeds",
)


class Curves:
    """Perplexity by tokens seen: (run, set) -> {seed: (tokens [snapshots], perplexity [snapshots])}."""

    def __init__(self, metrics: pl.DataFrame) -> None:
        rows = metrics.filter((pl.col("suite") == PERPLEXITY) & (pl.col("metric") == PERPLEXITY))
        keys = ["sampler", "rate", "size", "task", "seed"]
        self._curves: dict[tuple[Run, str], dict[int, tuple[Floats, Floats]]] = {}
        for key, part in rows.sort("tokens_seen").group_by(keys, maintain_order=True):
            sampler, rate, size, task, seed = key
            run, values = (str(sampler), str(rate), str(size)), part.select("tokens_seen", "value")
            curve = values.to_numpy().astype(np.float64).T
            self._curves.setdefault((run, str(task)), {})[int(str(seed))] = (curve[0], curve[1])
        wanted = dict.fromkeys(metrics.select("sampler", "rate", "size").unique(maintain_order=True).rows())
        self.runs: list[Run] = [run for run in wanted if any(key[0] == run for key in self._curves)]
        self.sets: list[str] = list(dict.fromkeys(key[1] for key in self._curves))

    def seeds(self, run: Run, task: str) -> dict[int, tuple[Floats, Floats]]:
        """Return a run's curves by seed; none where it was not measured."""
        return self._curves.get((run, task), {})

    def mean(self, run: Run, task: str) -> tuple[Floats, Floats] | None:
        """Return the curve averaged over seeds, at the snapshots that all have."""
        result = average(self.seeds(run, task))
        return None if result is None else (result.tokens, result.mean)

    def together(self, runs: Sequence[Run], task: str) -> dict[int, tuple[Floats, Floats]]:
        """Return the curve averaged over runs, by seed: of the seeds and at the snapshots that all of the runs have."""
        members = [self.seeds(run, task) for run in runs]
        result = {}
        for seed in set.intersection(*map(set, members)) if members else set():
            curve = average({number: member[seed] for number, member in enumerate(members)})
            if curve is not None:
                result[seed] = (curve.tokens, curve.mean)
        return dict(sorted(result.items()))


class Average(NamedTuple):
    """Tokens, the mean over seeds and its 95 % Student t interval, [snapshots]; NaN where there is no interval."""

    tokens: Floats
    mean: Floats
    low: Floats
    high: Floats


def average(by_seed: Mapping[int, tuple[Floats, Floats]]) -> Average | None:
    """Return the mean over seeds at the snapshots that all have; None without any."""
    curves = list(by_seed.values())
    common = [t for t in curves[0][0] if all(t in seen for seen, _ in curves)] if curves else []
    if not common:
        return None
    values = np.array([[y[np.flatnonzero(seen == t)[0]] for t in common] for seen, y in curves])
    result = [t_interval(column) for column in values.T]
    ends = np.array([(i.low, i.high) if i else (np.nan, np.nan) for i in result])
    return Average(np.array(common), values.mean(axis=0), ends[:, 0], ends[:, 1])


def convergence(curves: Curves) -> pl.DataFrame:
    """Return one row (SCHEMA) for each sampler, rate, size and evaluation set that full data was measured by as well."""
    rows = [
        row
        for run in curves.runs
        for task in curves.sets
        if run[0] != FULL and (row := _one(curves, run, task))
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _one(curves: Curves, run: Run, task: str) -> dict[str, Any] | None:
    own, full = curves.mean(run, task), curves.mean((FULL, "100", run[2]), task)
    if own is None or full is None:
        return None
    target, total = float(full[1][-1]), float(own[0][-1])
    reached = tokens_to_reach(*own, target, higher_is_better=False)
    targets = curves.seeds((FULL, "100", run[2]), task)
    by_seed = [
        tokens_to_reach(*curve, float(targets[seed][1][-1]), higher_is_better=False)
        for seed, curve in curves.seeds(run, task).items()
        if seed in targets
    ]
    there = [1 - tokens / total for tokens in by_seed if tokens is not None]
    interval = t_interval(there) if len(there) == len(by_seed) else None
    values = (
        *(*run, task, float(own[1][-1]), target, total, reached),
        None if reached is None else 1 - reached / total,
        interval.low if interval else None,
        interval.high if interval else None,
        len(there),
        len(by_seed),
    )
    return dict(zip(SCHEMA, values, strict=True))
