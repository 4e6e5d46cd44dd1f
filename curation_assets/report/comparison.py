"""The comparison of samplers: one row for each sampler, amount and size that has been evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from curation_assets.config.amount import ordered
from curation_assets.config.registry import SIZES
from curation_assets.report.figures import Figures
from curation_assets.report.scores import EPOCH, SETS

COLUMNS = ["sampler", "rate", "size", "seeds", "documents", "tokens", "tokens_seen", "epochs"]
_KEYS = ["sampler", "rate", "size"]


def compare(metrics: pl.DataFrame, trained: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Join final metrics with what the models were trained on, and rank nothing: rows come in the registry's order.

    Parameters
    ----------
    metrics : the long table (design: sampler, rate, size, seed, tokens_seen, suite, task, metric, value, n).
    trained : as `inputs.read_trained` gives it.
    order : sampler names, the full-data baseline first.

    Returns
    -------
    One row for each (sampler, rate, size): the mean over seeds of each set's final perplexity and, where there are at
    least two seeds, the sample standard deviation over them (`..._sd`).
    """
    final = metrics.filter(
        (pl.col("metric") == "perplexity")
        & (pl.col("tokens_seen") == pl.col("tokens_seen").max().over("sampler", "rate", "size", "seed"))
    )
    table = final.group_by(_KEYS).agg(pl.col("seed").n_unique().alias("seeds"), pl.col("tokens_seen").max())
    for task, column in SETS.items():
        one = final.filter(pl.col("task") == task).group_by(_KEYS)
        spread = one.agg(pl.col("value").mean().alias(column), pl.col("value").std().alias(f"{column}_sd"))
        table = table.join(spread, on=_KEYS, how="left")
    table = table.join(trained, on=_KEYS, how="left")
    return (
        table.with_columns((pl.col("tokens_seen") / EPOCH).alias("epochs"))
        .sort(place("sampler", order), place("rate", ordered(table["rate"])), place("size", SIZES))
        .select(*COLUMNS, *(c for column in SETS.values() for c in (column, f"{column}_sd")))
    )


def place(column: str, order: Sequence[str]) -> pl.Expr:
    """Return the place of a column's values in an order, to sort by."""
    return pl.col(column).replace_strict({name: i for i, name in enumerate(order)}, default=len(order))


def with_figures(table: pl.DataFrame, figures: Figures) -> pl.DataFrame:
    """Return the comparison with the columns of the figures of merit."""
    return table.join(figures.columns, on=_KEYS, how="left", maintain_order="left")
