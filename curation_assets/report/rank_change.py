"""How documents move up and down the ranking as a scorer grows (v1, figure 6)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.config.registry import MILESTONES, SIZES
from curation_assets.report.correlation import Correlation, Z, kendall
from curation_assets.report.documents import Ranks
from curation_assets.report.schemas import schema

Floats = NDArray[np.float64]

LADDERS: dict[str, tuple[str, ...]] = {
    "ask_llm": tuple(f"ask_llm_{size}" for size in SIZES),
    "perplexity": tuple(f"perplexity_{size}" for size in SIZES),
    "perplexity_training": (*(f"perplexity_large_{steps}" for steps in MILESTONES), "perplexity_large"),
}
"""Scorers of one kind, each larger or longer trained than the one before it."""

RATE = 20
"""Percent of the documents whose overlap is told: the paper's rate of comparison (table 1)."""
UNRELATED = 100 / 3
"""Mean change in percentile between two orders that have nothing to do with each other."""
_FAR = 25  # percentiles
_BINS = 20

SCHEMA = schema(
    "text ladder smaller larger",
    "whole n",
    "real tau tau_low tau_high spearman mean_change mean_change_error far_share both_kept",
)
"""Columns of rank_change.parquet. `mean_change` is in percentiles, with the reach of its 95 % interval over documents beside it;
`far_share` of the documents move by more than 25; `both_kept` is the share of the smaller's top 20 % that is in the larger's."""


def pairs(ladder: tuple[str, ...], known: Mapping[str, Floats]) -> list[tuple[str, str]]:
    """Return what is compared, as (smaller, larger): the smallest with each larger one, then neighbours."""
    there = [name for name in ladder if name in known]
    result = [(there[0], name) for name in there[1:]] + list(pairwise(there))
    return list(dict.fromkeys(result)) if len(there) > 1 else []


def rank_changes(
    scores: Mapping[str, Floats],
) -> tuple[pl.DataFrame, dict[tuple[str, str], NDArray[np.int64]]]:
    """Compare the scorers of each of `LADDERS` that there are.

    Parameters
    ----------
    scores
        Of each sampler, [n], of the same documents; n at least 3, or nothing is compared.

    Returns
    -------
    One row (SCHEMA) a pair, and {pair: how many documents are at each percentile under the smaller (row) and the larger (column)}.
    """
    rows, counts = [], {}
    for title, ladder in LADDERS.items():
        own = {name: scores[name] for name in ladder if name in scores}
        if len(own) < 2 or len(next(iter(own.values()))) < 3:
            continue
        ranks = Ranks(list(own), np.stack(list(own.values())))
        percentile = {name: ranks.of(i, x) for i, (name, x) in enumerate(own.items())}
        agreement = kendall(own)
        for pair in pairs(ladder, own):
            one, other = (percentile[name] for name in pair)
            rows.append(_row(title, pair, one, other, agreement))
            edges = np.linspace(0, 100, _BINS + 1)
            counts[pair] = np.histogram2d(one, other, [edges, edges])[0].astype(np.int64)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row"), counts


def _row(title: str, pair: tuple[str, str], one: Floats, other: Floats, agreement: Correlation) -> tuple:
    change = np.abs(one - other)
    i, j = (agreement.names.index(name) for name in pair)
    ordered = one.std() > 0 and other.std() > 0
    top = (
        np.argsort(-one, kind="stable")[: _top(len(one))],
        np.argsort(-other, kind="stable")[: _top(len(one))],
    )
    return (
        *(title, *pair, len(one)),
        *(_known(float(m[i, j])) for m in (agreement.matrix, agreement.low, agreement.high)),
        float(np.corrcoef(one, other)[0, 1]) if ordered else None,
        float(change.mean()),
        float(Z * change.std(ddof=1) / np.sqrt(len(change))),
        float((change > _FAR).mean()),
        len(np.intersect1d(*top)) / len(top[0]),
    )


def _top(n: int) -> int:
    return max(round(n * RATE / 100), 1)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
