"""How far samplers choose the same documents: of each pair of subsets at a rate what both have, beside what chance would give."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.report.composition import Floats, Ints, Key, adjusted, deviations
from curation_assets.report.schemas import schema

OVERLAP = schema(
    "text sampler other rate",
    "whole documents documents_other common",
    "real jaccard share expected sd beyond_chance z p",
)
"""Columns of the table of pairs. `share` is of the smaller of the two; `expected` and `sd` are those of the documents that two independent
choices of these sizes have in common; `beyond_chance` is (common - expected) / (smaller - expected): 0 for those, 1 where one holds the
other. z and p (Holm's over the table) are null where that is too small to tell."""

_BLOCK = 1 << 16  # documents multiplied together; float32 counts them exactly


class Overlaps:
    """Counts, shard by shard, how many documents each two subsets of one rate have in common."""

    def __init__(self, made: list[Key]) -> None:
        self._names: dict[str, list[str]] = {}
        for name, rate in made:
            self._names.setdefault(rate, []).append(name)
        self._common = {
            rate: np.zeros((len(names), len(names)), np.int64) for rate, names in self._names.items()
        }

    def add(self, documents: int, rows: Mapping[Key, Ints]) -> None:
        """Take in a shard: how many documents it has, and the rows of them that each subset has."""
        for rate, names in self._names.items():
            has = np.zeros((len(names), documents), bool)
            for i, name in enumerate(names):
                has[i, rows[name, rate]] = True
            for start in range(0, documents, _BLOCK):
                block = has[:, start : start + _BLOCK].astype(np.float32)
                self._common[rate] += (block @ block.T).astype(np.int64)

    def table(self, documents: int) -> pl.DataFrame:
        """Return one row (OVERLAP) for each pair of subsets of a rate, of a corpus of so many documents."""
        rows: list[tuple] = []
        for rate, names in self._names.items():
            common = self._common[rate]
            for i, j in itertools.combinations(range(len(names)), 2):
                rows.append(
                    (names[i], names[j], rate, *_pair(common[i, i], common[j, j], common[i, j], documents))
                )
        table = pl.DataFrame(rows, schema=OVERLAP, orient="row")
        p = adjusted(table["z"].fill_null(float("nan")).to_numpy())
        return table.with_columns(pl.Series("p", p, pl.Float64))


def _pair(one: int, other: int, common: int, documents: int) -> tuple[int | float | None, ...]:
    """Return what OVERLAP has of two subsets after their names and rate; their overlap by chance is hypergeometric."""
    kept, there = np.array([common, one - common]), np.array([other, documents - other])
    (expected, _), (sd, _), (z, _) = deviations(kept, there)
    smaller, off = min(one, other), common - float(expected)
    beyond = off / (smaller - float(expected)) if smaller > expected else None
    union = one + other - common
    shares = (common / union if union else None, common / smaller if smaller else None)
    return (
        one,
        other,
        common,
        *shares,
        float(expected),
        float(sd),
        beyond,
        None if np.isnan(z) else float(z),
        None,
    )


def matrix(table: pl.DataFrame, rate: str) -> tuple[list[str], Floats]:
    """Return the samplers of a rate, and how far each two choose alike beyond chance [k, k]; NaN where that is not defined."""
    own = table.filter(pl.col("rate") == rate)
    names = list(dict.fromkeys([*own["sampler"], *own["other"]]))
    place = {name: i for i, name in enumerate(names)}
    values: NDArray[np.float64] = np.eye(len(names))
    for a, b, value in own.select("sampler", "other", "beyond_chance").rows():
        values[place[a], place[b]] = values[place[b], place[a]] = np.nan if value is None else value
    return names, values
