"""Which scores labels support: how well each tells good documents from bad ones, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.common.auc import auc, length_controlled_auc
from curation_assets.report.correlation import Z
from curation_assets.report.documents import signs
from curation_assets.report.schemas import schema
from curation_assets.scoring.heuristic import heuristic_scores

LENGTH, SENTENCE_ENDS, STOP_WORDS = "length", "sentence_ends", "stop_words"
BASELINES = (LENGTH, SENTENCE_ENDS, STOP_WORDS)
SCHEMA = schema(
    "text score",
    "truth baseline",
    "whole good bad",
    "real auc low high",
    "real controlled controlled_low controlled_high",
)
"""Columns of labels.parquet; null where the documents are too few."""


def baselines(texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return what any score must beat: characters, the share of lines that end as sentences do, the share of English stop words."""
    prose = heuristic_scores(texts)
    length = np.array([len(text) for text in texts], np.float64)
    return {LENGTH: length, SENTENCE_ENDS: prose.sentence_lines, STOP_WORDS: prose.stop_words}


def measured(
    scores: Mapping[str, NDArray[np.float64]],
    simple: Mapping[str, NDArray[np.float64]],
    good: NDArray[np.bool_],
) -> pl.DataFrame:
    """Return one row (SCHEMA) for each score, in the order in which its sampler keeps documents, then one for each baseline.

    `scores` and `simple` are by name, [n] as `good` is; what is `simple` has the documents' `length`.
    """
    ordered = {name: sign * scores[name] for name, sign in zip(scores, signs(list(scores)), strict=True)}
    rows = []
    for name, values in (ordered | dict(simple)).items():
        plain, controlled = auc(values, good), length_controlled_auc(values, good, simple[LENGTH])
        row = {"score": name, "baseline": name in simple, "good": int(good.sum()), "bad": int((~good).sum())}
        row |= zip(("auc", "low", "high"), _interval(*plain), strict=True)
        row |= zip(("controlled", "controlled_low", "controlled_high"), _interval(*controlled), strict=True)
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def _interval(value: float, error: float) -> tuple[float | None, float | None, float | None]:
    if np.isnan(value):
        return None, None, None
    if np.isnan(error):
        return value, None, None
    return value, max(0.0, value - Z * error), min(1.0, value + Z * error)
