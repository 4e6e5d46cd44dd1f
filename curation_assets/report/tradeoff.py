"""What choosing the data costs against what it brings (ICLR version, cost table): one row for each trained subset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from curation_assets.progress import duration
from curation_assets.report.cost import break_even
from curation_assets.report.spent import Spent
from curation_assets.report.tables import plus_minus

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
}

METHOD = """\
**Scoring** is what a sampler's scores of the whole corpus took, with the embeddings, clusters and sketches behind them; \
**preparing** is making the model that scores: a rung of the ladder, the teacher's labels, the judge's own training. Each \
sampler is charged for all that it needs, though several share some of it. What training needs anyway (tokens, tokenizer) is \
left out. **Training** is one run with one seed.

Seconds are those of the artifacts' receipts, as they were spent on this machine, with whatever ran beside; of an interrupted \
step they are those of the last attempt. Operations are counted by formula (two per multiply-add of the matrix products), for \
models of which only the number of parameters is known as 2 x parameters x tokens, an upper bound.

**Pays off after** so many trainings: (scoring + preparing) / (one training x the share of its tokens that are saved), the \
share being what is left of the budget when the run is as good as full data at the end (see report/convergence, held-out \
documents). It is given only where every seed got there; with one seed that may be chance.\
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
    return pl.DataFrame(rows, schema=SCHEMA)


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
        }
        for row in table.iter_rows(named=True)
    ]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _flops(flops: float | None) -> str:
    return "not known" if flops is None else f"{flops:.2e}" if flops else "0"


def _trainings(row: dict[str, Any]) -> str:
    if row["seeds"] is None:
        return "no full data to compare with"
    if 0 < row["seeds_reached"] < row["seeds"]:
        return f"{row['seeds_reached']} of {row['seeds']} seeds got there"
    if not row["saved_share"]:
        return "never"
    counts = (row["break_even_seconds"], row["break_even_flops"])
    known = [
        f"{n:,} by {unit}" for n, unit in zip(counts, ("seconds", "FLOPs"), strict=True) if n is not None
    ]
    return ", ".join(known) or "not known"
