"""What choosing the data costs against what it brings (ICLR version, cost table): one row for each trained subset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.report.cost import break_even
from curation_assets.report.merit import Floats
from curation_assets.report.schemas import schema
from curation_assets.report.spent import Spent

SCHEMA = schema(
    "text sampler rate size",
    "real perplexity perplexity_sd scoring_seconds preparing_seconds training_seconds scoring_flops preparing_flops training_flops",
    "whole seeds_reached seeds",
    "real saved_share",
    "whole break_even_seconds break_even_flops",
    "truth on_front",
)


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
    """Return the table with `on_front`, for each amount and size by itself; null without a cost or a perplexity."""
    cost = pl.col("scoring_seconds") + pl.col("preparing_seconds")
    numbered = table.with_row_index("_row").with_columns(_cost=cost)
    known = numbered.filter(pl.col("_cost").is_finite() & pl.col("perplexity").is_finite())
    fronts = [
        part.select("_row", on_front=pareto(part["_cost"].to_numpy(), part["perplexity"].to_numpy()))
        for _, part in known.group_by("rate", "size")
    ]
    front = pl.concat(fronts) if fronts else pl.DataFrame(schema={"_row": pl.UInt32, "on_front": pl.Boolean})
    return numbered.join(front, on="_row", how="left", maintain_order="left").drop("_row", "_cost")


def pareto(cost: Floats, quality: Floats) -> NDArray[np.bool_]:
    """Tell who is on the front, [n]: nobody is as good in cost and `quality` (lower is better, [n] each) and better in one of them."""
    cheaper, better = cost[None, :] < cost[:, None], quality[None, :] < quality[:, None]
    no_dearer, no_worse = cost[None, :] <= cost[:, None], quality[None, :] <= quality[:, None]
    return np.logical_not(np.any((cheaper & no_worse) | (better & no_dearer), axis=1))


def _pays(choosing: float | None, training: float | None, saved: float | None) -> int | None:
    known = choosing is not None and training is not None and saved is not None
    return break_even(choosing, training, saved) if known else None  # type: ignore[arg-type]
