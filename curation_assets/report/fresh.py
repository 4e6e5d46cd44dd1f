"""Fresh against repeated tokens: how good runs are after so many passes over their subset (v1, figures 17 to 23)."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.markdown import plus_minus, rounded
from curation_assets.report import ties
from curation_assets.report.convergence import Curves
from curation_assets.report.figures import FULL
from curation_assets.report.intervals import t_interval
from curation_assets.report.merit import Floats
from curation_assets.report.scores import EPOCH, Run

EPOCHS = (2, 3, 5, 10, 20, 30)
"""Where the paper cuts its runs."""

SCHEMA = {
    "sampler": pl.String,
    "rate": pl.String,
    "size": pl.String,
    "set": pl.String,
    "epochs": pl.Int64,
    "subset_tokens": pl.Int64,
    "passes": pl.Float64,
    "value": pl.Float64,
    "sd": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "seeds": pl.Int64,
    "tied_with_best": pl.Boolean,
}
"""Columns of fresh.parquet; `passes` is how often the whole run repeats its subset, a cut after that has no value."""

METHOD = (
    "A run is cut after so many epochs, where it has seen as many times the tokens of its subset; between snapshots the perplexity is "
    "read from straight lines over the logarithm of the tokens, before the first and after the last it is missing. At the same cut a "
    "larger subset has seen more tokens, all of them repeated as often, so the rise along a line is what fresh tokens bring; the same "
    "rate at a later cut has the same fresh tokens, repeated more often. The schedule of the learning rate is that of the whole run. "
    "Samplers of one rate have equally many documents, or equally many tokens (selection.rate_of): seldom both."
)


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
    found = {seed: read_at(*curve, float(epochs * tokens)) for seed, curve in curves.seeds(run, task).items()}
    return {seed: value for seed, value in found.items() if value is not None}


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
        x = np.array(list(values.values()))
        interval, tokens = t_interval(x), known.get(run)
        longest = max((float(seen[-1]) for seen, _ in curves.seeds(run, task).values()), default=None)
        cells = (
            *(*run, task, epochs, tokens),
            longest / tokens if longest is not None and tokens else None,
            float(x.mean()) if len(x) else None,
            float(x.std(ddof=1)) if len(x) > 1 else None,
            *((interval.low, interval.high) if interval else (None, None)),
            len(x),
            tied.get(run[0]),
        )
        rows.append(dict(zip(SCHEMA, cells, strict=True)))
    return rows


def findings(table: pl.DataFrame) -> list[str]:
    """Return sentences: how far the runs go, and who cannot be told from the best at each cut, by held-out documents."""
    runs = table.filter((pl.col("sampler") != FULL) & pl.col("passes").is_not_null())
    if runs.is_empty():
        return [
            "How often runs repeat their subsets is not known: none of the subsets of the measured runs is there."
        ]
    shown = "in_distribution" if "in_distribution" in runs["set"] else runs["set"][0]
    runs = runs.filter(pl.col("set") == shown)
    passes = runs["passes"].to_list()
    said = [f"Runs go {rounded(min(passes), 2)} to {rounded(max(passes), 2)} times over their subsets."]
    reached = runs.filter(pl.col("value").is_not_null())
    lacking = [epochs for epochs in EPOCHS if epochs not in set(reached["epochs"])]
    if lacking:
        said.append(
            f"No run is as long as {', '.join(map(str, lacking))} epochs over its subset: those cuts are missing."
        )
    for _, part in reached.group_by("size", "epochs", "rate", maintain_order=True):
        known = part.filter(pl.col("tied_with_best").is_not_null())
        if known.is_empty():
            continue  # one seed: the table has the values
        tied = known.filter(pl.col("tied_with_best"))["sampler"].to_list()
        names = (
            f"all {len(tied)} samplers are tied"
            if len(tied) == len(known)
            else f"not told from the best: {', '.join(tied)}"
        )
        seeds, one = min(known["seeds"].to_list()), known.row(0, named=True)
        where = f"{one['epochs']} epochs at {one['rate']} % with the {one['size']} T5"
        said.append(f"Cut after {where}, over {seeds} seeds, {names}.")
    if len(said) == 1 + bool(lacking) and not reached.is_empty():
        few = max(reached["seeds"].to_list()) < 2
        why = (
            "One seed cannot"
            if few
            else "Without two samplers that share two seeds with a spread nothing can"
        )
        said.append(f"{why} tell samplers apart at any cut.")
    return said


def rows_for_people(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one row a run and set: its passes, and the perplexity at each cut ("not reached" where it has none)."""
    shown = []
    keys = ["sampler", "rate", "size", "set"]
    for _, part in table.group_by(keys, maintain_order=True):
        run = part.row(0, named=True)
        passes = run["passes"]
        cells: dict[str, Any] = {"sampler": run["sampler"], "rate %": run["rate"], "T5": run["size"]}
        cells["set"] = run["set"].replace("_", " ")
        cells["epochs in all"] = "not known" if passes is None else f"{passes:.2f}"
        for row in part.sort("epochs").iter_rows(named=True):
            tied = ", tied" if row["tied_with_best"] else ""
            told = f"{plus_minus(row['value'], row['sd']) or 'not reached'}{tied}"
            cells[f"after {row['epochs']}"] = told
        shown.append(cells)
    return shown
