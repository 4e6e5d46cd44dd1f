"""The comparison of samplers: one row for each sampler, rate and size that has been evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.files import read_json, write_json
from curation_assets.registry import SIZES
from curation_assets.report.tables import markdown_table, text_table

SETS = {"in_distribution": "perplexity", "hq": "perplexity_hq"}
"""Evaluation set -> column."""
FULL = "full_data"
COLUMNS = ["sampler", "rate", "size", "seeds", "documents", "tokens", "epochs"]


def compare(metrics: pl.DataFrame, subsets: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Join final metrics with what the subsets hold, and rank nothing: rows come in the registry's order.

    Parameters
    ----------
    metrics : the long table (design: sampler, rate, size, seed, tokens_seen, suite, task, metric, value, n).
    subsets : sampler, rate, documents, tokens.
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
    by = ["sampler", "rate", "size"]
    table = final.group_by(by).agg(
        pl.col("seed").n_unique().alias("seeds"), pl.col("tokens_seen").max().alias("trained")
    )
    for task, column in SETS.items():
        one = final.filter(pl.col("task") == task).group_by(by)
        spread = one.agg(pl.col("value").mean().alias(column), pl.col("value").std().alias(f"{column}_sd"))
        table = table.join(spread, on=by, how="left")
    table = table.join(subsets, on=["sampler", "rate"], how="left")
    rank = {name: i for i, name in enumerate(order)}
    sizes = {size: i for i, size in enumerate(SIZES)}
    return (
        table.with_columns((pl.col("trained") / pl.col("tokens")).alias("epochs"))
        .with_columns(pl.col("sampler").replace_strict(rank, default=len(rank)).alias("_rank"))
        .sort(
            "_rank", pl.col("rate").cast(pl.Int32), pl.col("size").replace_strict(sizes, default=len(sizes))
        )
        .select(*COLUMNS, *(c for column in SETS.values() for c in (column, f"{column}_sd")))
    )


def rows_for_people(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the comparison's rows with perplexities as "mean ± spread" and columns named in words."""
    shown = []
    for row in table.iter_rows(named=True):
        cells = {
            "sampler": row["sampler"],
            "rate %": row["rate"],
            "T5": row["size"],
            "documents": row["documents"],
            "tokens": row["tokens"],
            "epochs": f"{row['epochs']:.2f}" if row["epochs"] is not None else None,
        }
        for column, title in (("perplexity", "perplexity"), ("perplexity_hq", "HQ perplexity")):
            cells[title] = _spread(row[column], row[f"{column}_sd"])
        shown.append(cells)
    return shown


def _spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "not measured"
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def how_to_read(table: pl.DataFrame, recipe: dict[str, Any]) -> str:
    """Return the sentences under the table: what was held equal, and what the figures can and cannot tell."""
    seeds = min(table["seeds"].to_list(), default=0)
    noise = (
        "One seed: differences between samplers cannot be told from the noise of training; set `pretraining.seeds` to "
        "several for a spread."
        if seeds < 2
        else f"± is the standard deviation over {seeds} seeds of training; it is no confidence interval."
    )
    return (
        f"Span-corruption perplexity (lower is better) on held-out documents of the corpus and on high-quality texts. "
        f"Every run sees {recipe['tokens']:,} raw tokens ({recipe['steps']:,} steps of {recipe['batch_size']} x "
        f"{recipe['raw_length']}), so a smaller subset is repeated more often. {noise}"
    )


def write(folder: Path, table: pl.DataFrame, recipe: dict[str, Any]) -> str:
    """Write comparison.parquet, .csv and .md to `folder`; return the Markdown."""
    table.write_parquet(folder / "comparison.parquet")
    table.write_csv(folder / "comparison.csv")
    text = f"{markdown_table(rows_for_people(table))}\n\n{how_to_read(table, recipe)}\n"
    (folder / "comparison.md").write_text(f"# Comparison of samplers\n\n{text}", "utf-8")
    write_json(folder / "recipe.json", recipe)
    return text


def terminal_table(folder: Path) -> str:
    """Return the comparison in `folder` for a terminal."""
    table = pl.read_parquet(folder / "comparison.parquet")
    recipe = read_json(folder / "recipe.json")
    return f"{text_table(rows_for_people(table))}\n\n{how_to_read(table, recipe)}"
