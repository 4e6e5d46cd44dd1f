"""How far samplers choose the same documents, for people: the map of pairs at one rate, its table, and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.charts import heat_map
from curation_assets.config.amount import label
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.overlap import matrix
from curation_assets.report.section import Cell, Drawn, Figure, Table, some
from curation_assets.report.ties import LEVEL

_NOISY = ("ips", "uniform")
"""Techniques that draw by the noise of documents."""
_NAMED = 3

METHOD = (
    "Two choices overlap by the documents that both have; the share is of the smaller one, Jaccard's index of those that either has. "
    "Two independent choices of these sizes have a hypergeometric number in common: its mean and standard deviation stand beside it, and "
    "(+) and (−) mark what they do not explain: the normal test with continuity correction, by Holm's method over all pairs and amounts, has p "
    "below 5 %. The figure has what is beyond chance, (common − expected) / (smaller choice − expected): 0 for independent choices, 1 where "
    "one choice holds the other."
)


def findings(table: pl.DataFrame, rate: str) -> list[str]:
    """Return sentences at one rate: what chance gives, who is most and least alike, and who draws by the same noise."""
    own = _pairs(table, rate)
    if own.is_empty():
        return []
    smaller = np.minimum(own["documents"].to_numpy(), own["documents_other"].to_numpy())
    chance = float((own["expected"].to_numpy() / smaller).mean())
    tested = own.drop_nulls("p")
    alike, apart = (
        tested.filter((pl.col("p") < LEVEL) & side) for side in (pl.col("z") > 0, pl.col("z") < 0)
    )
    by_chance = f"At {label(rate)}, two independent choices have {chance:.1%} of their documents in common."
    beyond = (
        f"Of {len(own)} pairs of samplers {len(alike)} have more than that beyond chance, {len(apart)} less."
    )
    small = "The choices are too small to tell more or less than that from luck."
    sentences = [f"{by_chance} {small if tested.is_empty() else beyond}"]
    if len(own) > 1:
        sentences.append(
            f"Most alike at {label(rate)}: {some([_named(row) for row in own.iter_rows(named=True)][:_NAMED], _NAMED)}; least alike: "
            f"{_named(own.row(-1, named=True))}."
        )
    names = {*own["sampler"], *own["other"]}
    noisy = [name for name, spec in SAMPLERS.items() if name in names and spec.technique in _NOISY]
    if len(noisy) > 1:
        sentences.append(
            f"Not independent by design: {', '.join(noisy)} draw by the same noise of each document, so that their choices differ by their "
            "scores and not by luck."
        )
    return sentences


def _pairs(table: pl.DataFrame, rate: str) -> pl.DataFrame:
    """Return the pairs at one rate of which neither is empty, the most alike first."""
    own = table.filter(pl.col("rate") == rate).drop_nulls("share")
    return own.sort("share", descending=True, maintain_order=True)


def _named(row: dict[str, Any]) -> str:
    return f"{row['sampler']} and {row['other']} ({row['share']:.1%} in common)"


def shown(table: pl.DataFrame, rate: str) -> list[Table]:
    """Return the table of pairs at one rate, the most alike first; none where there is no pair."""
    own = _pairs(table, rate)
    if own.is_empty():
        return []
    columns = ["sampler", "and", "in common", "share, %", "by chance, %", "Jaccard, %", "beyond chance"]
    lines: list[list[Cell]] = [_line(row) for row in own.iter_rows(named=True)]
    links = [(f"{name}/subset", rate) for name in own["sampler"]]
    caption = f"Documents that two samplers' choices have in common at {label(rate)}"
    return [Table(caption, columns, lines, ["sampler", "and"], "overlap.parquet", list(links), columns)]


def _line(row: dict[str, Any]) -> list[Cell]:
    smaller = min(row["documents"], row["documents_other"])
    mark = "" if row["p"] is None or row["p"] >= LEVEL else " (+)" if row["z"] > 0 else " (−)"
    return [
        row["sampler"],
        row["other"],
        row["common"],
        f"{100 * row['share']:.1f}{mark}",
        f"{100 * row['expected'] / smaller:.1f} ± {100 * row['sd'] / smaller:.1f}",
        f"{100 * row['jaccard']:.1f}",
        None if row["beyond_chance"] is None else f"{round(row['beyond_chance'], 2) + 0.0:.2f}",
    ]


def figures(table: pl.DataFrame, rate: str) -> Iterator[Drawn]:
    """Yield the map of pairs at one rate, where there are three samplers or more."""
    names, values = matrix(table, rate)
    if len(names) < 3:
        return
    title = f"Documents in common beyond chance at {label(rate)}"
    smaller = pl.min_horizontal("documents", "documents_other")
    spreads = (
        _pairs(table, rate).drop_nulls("beyond_chance").select(pl.col("sd") / (smaller - pl.col("expected")))
    )
    spread = spreads.to_series().max()
    noise = f" Independent choices spread around 0 by {spread:.2g}." if isinstance(spread, float) else ""
    caption = f"0 is what two independent choices have in common, 1 the same choice; all rates are in the data.{noise}"
    yield (
        Figure("overlap", f"{title}, one row and one column a sampler", caption),
        heat_map(names, values, title),
    )
