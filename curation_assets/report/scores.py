"""What the metrics table says of each run in the end, as arrays: each task by its metric of record, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import polars as pl

from curation_assets.evaluation.tasks import STANDIN, lookup
from curation_assets.report.merit import Floats, Metric

Run = tuple[str, str, str]
"""Sampler, rate, size."""
PERPLEXITY = "perplexity"
SETS = {"in_distribution": "perplexity", "hq": "perplexity_hq"}
"""Evaluation set -> column."""
EPOCH = pl.col("tokens") + pl.col("documents")
"""Tokens of one epoch, from what a model was trained on: those of its documents, and one more for the end of each."""


class Record(NamedTuple):
    """How a task is told of: its metric of record, the group that it is averaged in, the metric's direction, and chance."""

    metric: str
    group: str
    higher_is_better: bool
    chance: float | None = None


def record(suite: str, task: str) -> Record:
    """Return how a task of the metrics table is told of; a stand-in like the task that it stands for."""
    if suite == PERPLEXITY:
        return Record(PERPLEXITY, SETS.get(task, f"{PERPLEXITY}_{task}"), False)
    result = lookup(suite, task)
    return Record(result.metric, result.group, result.higher_is_better, result.random_baseline)


class Scores:
    """The last values of all runs.

    Attributes
    ----------
    metrics : what was measured of any run, perplexity first; stand-ins among them.
    seeds : of all runs, sorted; the columns of every array.
    runs : (sampler, rate, size) of every run.
    groups : {column: its tasks' places in `metrics`}: each perplexity by itself, other tasks by group, no stand-ins.
    """

    def __init__(
        self, metrics: pl.DataFrame, chance: Mapping[tuple[str, str], float] = MappingProxyType({})
    ) -> None:
        """Take in the metrics table; `chance` is that of tasks of which the table of tasks does not know it."""
        table = _final(metrics)
        self.seeds: list[int] = sorted(table["seed"].unique().to_list())
        known = {
            (suite, task): record(suite, task)
            for suite, task in table.select("suite", "task").unique(maintain_order=True).rows()
        }
        order = sorted(known, key=lambda key: key[0] != PERPLEXITY)
        self.metrics = [
            Metric(f"{suite}/{task}", known[suite, task].higher_is_better) for suite, task in order
        ]
        self.groups: dict[str, list[int]] = {}
        for i, (suite, task) in enumerate(order):
            if not task.endswith(STANDIN):
                self.groups.setdefault(known[suite, task].group, []).append(i)
        self._chance = [chance.get((suite, task), known[suite, task].chance) for suite, task in order]
        self._values: dict[Run, Floats] = {}
        place, column = {key: i for i, key in enumerate(order)}, {s: k for k, s in enumerate(self.seeds)}
        for row in table.iter_rows(named=True):
            key = (row["suite"], row["task"])
            if row["metric"] == known[key].metric:
                run = (row["sampler"], row["rate"], row["size"])
                self._values.setdefault(run, self._empty())[place[key], column[row["seed"]]] = row["value"]
        self.runs = list(self._values)
        seen = np.isfinite(np.stack([self._empty(), *self._values.values()])).any(axis=(0, 2))
        if not seen.all():
            suite, task = order[int(np.argmin(seen))]
            raise ValueError(
                f"metrics of {suite}/{task} lack {known[suite, task].metric}, its metric of record: evaluate it again"
            )

    def _empty(self) -> Floats:
        return np.full((len(self.metrics), len(self.seeds)), np.nan)

    def values(self, run: Run) -> Floats:
        """Return a run's values, [metrics, seeds], NaN where not measured."""
        return self._values.get(run, self._empty())

    def column(self, run: Run, group: str) -> Floats:
        """Return the mean over a group's tasks, [seeds]; NaN where one of them was not measured."""
        return self.values(run)[self.groups[group]].mean(axis=0)

    def higher_is_better(self, group: str) -> bool:
        """Tell a group's direction."""
        return self.metrics[self.groups[group][0]].higher_is_better

    def chance(self, group: str) -> float | None:
        """Return the mean over a group's tasks of what knowing nothing scores; None where that is not defined for one of them."""
        result = [self._chance[i] for i in self.groups[group]]
        return None if None in result else float(np.mean(result))  # type: ignore[arg-type]

    def standins(self) -> list[str]:
        """Return the tasks that were measured on a stand-in split."""
        return [m.name.removesuffix(STANDIN) for m in self.metrics if m.name.endswith(STANDIN)]


def _final(metrics: pl.DataFrame) -> pl.DataFrame:
    last = pl.col("tokens_seen").max().over("sampler", "rate", "size", "seed")
    return metrics.filter(pl.col("tokens_seen") == last)
