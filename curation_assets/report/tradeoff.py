"""What choosing the data costs against what it brings (ICLR version, cost table): one row for each trained subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.common.markdown import plus_minus, rounded
from curation_assets.common.progress import duration
from curation_assets.report import ties
from curation_assets.report.cost import break_even
from curation_assets.report.merit import Floats
from curation_assets.report.spent import Spent

SCHEMA = {
    "sampler": pl.String,
    "rate": pl.String,
    "size": pl.String,
    "perplexity": pl.Float64,
    "perplexity_sd": pl.Float64,
    "scoring_seconds": pl.Float64,
    "preparing_seconds": pl.Float64,
    "training_seconds": pl.Float64,
    "scoring_flops": pl.Float64,
    "preparing_flops": pl.Float64,
    "training_flops": pl.Float64,
    "seeds_reached": pl.Int64,
    "seeds": pl.Int64,
    "saved_share": pl.Float64,
    "break_even_seconds": pl.Int64,
    "break_even_flops": pl.Int64,
    "on_front": pl.Boolean,
}

METHOD = """\
**Scoring** is what a sampler's scores of the whole corpus took, with the embeddings, clusters and sketches behind them; \
**preparing** is making the model that scores: a rung of the ladder, the teacher's labels, the judge's own training. Each \
sampler is charged for all that it needs, also for what others share with it. What training needs anyway (tokens, tokenizer) is \
left out. **Training** is one run with one seed.

Seconds are those of the artifacts' receipts, as they were spent on the machine that made them, with whatever ran beside; of an interrupted \
step they are those of the last attempt. Operations are counted by formula (two per multiply-add of the matrix products), for \
models of which only the number of parameters is known as 2 x parameters x tokens, an upper bound.

**Pays off after** so many trainings: (scoring + preparing) / (one training x the share of its tokens that are saved), the \
share being what is left of the budget when the run is as good as full data at the end (see report/convergence, held-out \
documents). It is given only where every seed got there; with one seed that may be chance.

**On the front** is who no other sampler of the same rate and size beats in both: fewer seconds of scoring and preparing, and a \
better mean perplexity. The front is of means and knows nothing of noise; neighbours on it are compared by Tukey's range test over \
seeds (see report/quality). Who lacks a cost or a perplexity is neither on it nor off it.\
"""


def tradeoff(
    quality: pl.DataFrame,
    reached: pl.DataFrame,
    seconds: Mapping[str, Spent],
    flops: Mapping[str, Spent],
    training_seconds: Mapping[tuple[str, str], float | None],
    training_flops: Mapping[str, float],
) -> pl.DataFrame:
    """Return the table (SCHEMA).

    Parameters
    ----------
    quality
        Rows with sampler, rate, size, perplexity, perplexity_sd; full data among them has no row in the result.
    reached
        `convergence.convergence`'s rows of one evaluation set.
    seconds, flops
        By sampler, what choosing took.
    training_seconds, training_flops
        One training, by (sampler, "rate|size") and by size.
    """
    arrivals = {(row["sampler"], row["rate"], row["size"]): row for row in reached.iter_rows(named=True)}
    rows = []
    for row in quality.iter_rows(named=True):
        run = (row["sampler"], row["rate"], row["size"])
        if run[0] not in seconds:
            continue
        arrival = arrivals.get(run, {"seeds_reached": None, "seeds": None, "speed_up": None})
        share = arrival["speed_up"] if arrival["seeds_reached"] == arrival["seeds"] else None
        by_second, by_flop = seconds[run[0]], flops[run[0]]
        took = training_seconds.get((run[0], f"{run[1]}|{run[2]}"))
        rows.append(
            {
                **{name: row[name] for name in ("sampler", "rate", "size", "perplexity", "perplexity_sd")},
                "scoring_seconds": by_second.scoring,
                "preparing_seconds": by_second.preparing,
                "training_seconds": took,
                "scoring_flops": by_flop.scoring,
                "preparing_flops": by_flop.preparing,
                "training_flops": training_flops.get(run[2]),
                "seeds_reached": arrival["seeds_reached"],
                "seeds": arrival["seeds"],
                "saved_share": share,
                "break_even_seconds": _pays(by_second.total, took, share),
                "break_even_flops": _pays(by_flop.total, training_flops.get(run[2]), share),
            }
        )
    return with_front(pl.DataFrame(rows, schema={n: kind for n, kind in SCHEMA.items() if n != "on_front"}))


def with_front(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with `on_front`, found for each rate and size by itself; null without a cost or a perplexity."""
    spent = table["scoring_seconds"] + table["preparing_seconds"]
    cost = spent.cast(pl.Float64).fill_null(np.nan).to_numpy()
    quality = table["perplexity"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(cost) & np.isfinite(quality)
    cells = (
        table.select(pl.struct("rate", "size").rank("dense"))["rate"].to_numpy()
        if len(table)
        else np.empty(0)
    )
    found = np.zeros(len(table), np.bool_)
    for cell in np.unique(cells):
        rows = np.flatnonzero((cells == cell) & known)
        found[rows] = pareto(cost[rows], quality[rows])
    column = [bool(on) if is_known else None for on, is_known in zip(found, known, strict=True)]
    return table.with_columns(pl.Series("on_front", column, pl.Boolean))


def pareto(cost: Floats, quality: Floats) -> NDArray[np.bool_]:
    """Tell who is on the front, [n]: nobody is as good in cost and `quality` (lower is better, [n] each) and better in one of them."""
    cheaper, better = cost[None, :] < cost[:, None], quality[None, :] < quality[:, None]
    no_dearer, no_worse = cost[None, :] <= cost[:, None], quality[None, :] <= quality[:, None]
    return np.logical_not(np.any((cheaper & no_worse) | (better & no_dearer), axis=1))


def _pays(choosing: float | None, training: float | None, saved: float | None) -> int | None:
    known = choosing is not None and training is not None and saved is not None
    return break_even(choosing, training, saved) if known else None  # type: ignore[arg-type]


def rows_for_people(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows with columns named in words."""
    return [
        {
            "sampler": row["sampler"],
            "rate %": row["rate"],
            "T5": row["size"],
            "perplexity": plus_minus(row["perplexity"], row["perplexity_sd"]),
            "scoring": _seconds(row["scoring_seconds"]),
            "preparing": _seconds(row["preparing_seconds"]),
            "one training": _seconds(row["training_seconds"]),
            "scoring FLOPs": _flops(row["scoring_flops"]),
            "preparing FLOPs": _flops(row["preparing_flops"]),
            "training FLOPs": _flops(row["training_flops"]),
            "saves %": None if row["saved_share"] is None else f"{100 * row['saved_share']:.0f}",
            "pays off after": _trainings(row),
            "on the front": row["on_front"],
        }
        for row in table.iter_rows(named=True)
    ]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _flops(flops: float | None) -> str:
    return "not known" if flops is None else f"{flops:.1e}" if flops else "0"


def _trainings(row: dict[str, Any]) -> str:
    if row["seeds"] is None:
        return "no full data to compare with"
    if 0 < row["seeds_reached"] < row["seeds"]:
        return f"{row['seeds_reached']} of {row['seeds']} seeds got there"
    if not row["saved_share"]:
        return "never"
    counts = (row["break_even_seconds"], row["break_even_flops"])
    known = [
        f"{rounded(n, 2) if n > 9 else n} by {unit}"
        for n, unit in zip(counts, ("seconds", "FLOPs"), strict=True)
        if n is not None
    ]
    return ", ".join(known) or "not known"


def findings(table: pl.DataFrame, by_seed: Mapping[tuple[str, str], Mapping[str, Floats]]) -> list[str]:
    """Return sentences on each rate and size: the front and whether its steps are beyond the noise, and who pays off.

    `by_seed` has by (rate, size) the samplers' perplexities, {sampler: [seeds]}.
    """
    said = []
    for (rate, size), part in table.group_by("rate", "size", maintain_order=True):
        where = f"At {rate} % with the {size} T5"
        front = part.filter(pl.col("on_front")).sort("perplexity", descending=True).rows(named=True)
        if front:
            said.append(f"{where} {_front(front, by_seed.get((str(rate), str(size)), {}))}")
        unknown = part.filter(pl.col("on_front").is_null())["sampler"].to_list()
        if unknown:
            said.append(f"{where} no cost or no perplexity is known of {', '.join(unknown)}.")
        said.append(f"{where} {_paying(part)}")
    return said


def _front(front: Sequence[Mapping[str, Any]], by_seed: Mapping[str, Floats]) -> str:
    names = [
        f"{r['sampler']} ({_seconds(_choosing(r))}, perplexity {plus_minus(r['perplexity'], r['perplexity_sd'])})"
        for r in front
    ]
    text = f"the front of cost and quality has, from the worst perplexity to the best: {', '.join(names)}."
    told, compared = ties.apart(by_seed), ties.whole(by_seed)
    if len(front) < 2:
        return text
    if told is None:
        return f"{text} Whether they differ beyond the noise cannot be told: there is one seed, or no spread over seeds."
    steps = []
    for worse, better in pairwise(front):
        pair = [worse["sampler"], better["sampler"]]
        if not set(pair) <= set(compared):
            steps.append(f"{pair[1]} and {pair[0]} lack a seed and are not compared")
            continue
        gap = float(compared[pair[0]].mean() - compared[pair[1]].mean())
        verdict = "beyond the noise" if gap > told else "within the noise"
        steps.append(f"{pair[1]} is {rounded(gap, 2)} better than {pair[0]}, {verdict}")
    seeds = len(next(iter(compared.values())))
    return f"{text} Over {seeds} seeds, {'; '.join(steps)} (told apart from {rounded(told, 2)} on)."


def _choosing(row: Mapping[str, Any]) -> float:
    return float(row["scoring_seconds"] + row["preparing_seconds"])


def _paying(part: pl.DataFrame) -> str:
    known = part.filter(pl.col("seeds").is_not_null())
    if known.is_empty():
        return "nothing can be said of paying off: there is no full data of that size to compare with."
    paying = known.filter(pl.col("saved_share") > 0).rows(named=True)
    if not paying:
        return f"none of {len(known)} samplers pays off: none is as good as full data before the end, in every seed and by the mean over seeds."
    chance = "; it is one seed, which may be chance" if known["seeds"].max() == 1 else ""
    return (
        f"as good as full data in every seed, and paid off after so many trainings{chance}: "
        + "; ".join(f"{row['sampler']}, {_trainings(dict(row))}" for row in paying)
        + "."
    )
