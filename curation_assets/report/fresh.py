"""Fresh against repeated tokens: how good runs are after so many passes over their subset (v1, figures 17 to 23)."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.styles import FULL
from curation_assets.report import ties
from curation_assets.report.convergence import Curves
from curation_assets.report.intervals import summary
from curation_assets.report.merit import Floats
from curation_assets.report.schemas import schema
from curation_assets.report.scores import EPOCH, Run

EPOCHS = (2, 3, 5, 10, 20, 30)
"""Where the paper cuts its runs."""

SCHEMA = schema(
    "text sampler rate size set",
    "whole epochs subset_tokens",
    "real passes value sd low high",
    "whole seeds",
    "truth tied_with_best",
)
"""Columns of fresh.parquet; `passes` is how often the whole run repeats its subset, a cut after that has no value."""


def read_at(tokens: Floats, values: Floats, at: float) -> float | None:
    """Return a curve's value at `at` tokens, by straight lines over their logarithm; None outside its snapshots.

    `tokens` and `values` are [snapshots], tokens rising and positive.
    """
    if not len(tokens) or not tokens[0] <= at <= tokens[-1]:
        return None
    return float(np.interp(np.log(at), np.log(tokens), values))


def fresh(curves: Curves, trained: pl.DataFrame) -> pl.DataFrame:
    """Return one row (SCHEMA) for each run, evaluation set and cut; `trained` is what `inputs.read_trained` gives.

    A run of which it is not known what it was trained on has rows without a value.
    """
    per_epoch = trained.select("sampler", "rate", "size", EPOCH).rows()
    known = {(sampler, rate, size): tokens for sampler, rate, size, tokens in per_epoch}
    rows = []
    for task in curves.sets:
        for epochs in EPOCHS:
            by_cell: dict[tuple[str, str], dict[Run, dict[int, float]]] = {}
            for run in curves.runs:
                by_cell.setdefault(run[1:], {})[run] = _cut(curves, run, task, known.get(run), epochs)
            for runs in by_cell.values():
                rows += _rows(curves, task, epochs, runs, known)
    return pl.DataFrame(rows, schema=SCHEMA)


def _cut(curves: Curves, run: Run, task: str, tokens: int | None, epochs: int) -> dict[int, float]:
    """Return {seed: value} of the seeds that reach the cut."""
    if not tokens:
        return {}
    result = {
        seed: read_at(*curve, float(epochs * tokens)) for seed, curve in curves.seeds(run, task).items()
    }
    return {seed: value for seed, value in result.items() if value is not None}


def _rows(
    curves: Curves,
    task: str,
    epochs: int,
    runs: dict[Run, dict[int, float]],
    known: dict[Run, int],
) -> list[dict[str, Any]]:
    seeds = sorted({seed for values in runs.values() for seed in values})
    table = {
        run[0]: np.array([values.get(seed, np.nan) for seed in seeds])
        for run, values in runs.items()
        if run[0] != FULL and values
    }
    tied = ties.tied_with_best(table, higher_is_better=False)
    rows = []
    for run, values in runs.items():
        tokens, over_seeds = known.get(run), summary(list(values.values()))
        longest = max((float(seen[-1]) for seen, _ in curves.seeds(run, task).values()), default=None)
        cells = (
            *(*run, task, epochs, tokens),
            longest / tokens if longest is not None and tokens else None,
            *(*over_seeds, tied.get(run[0])),
        )
        rows.append(dict(zip(SCHEMA, cells, strict=True)))
    return rows
