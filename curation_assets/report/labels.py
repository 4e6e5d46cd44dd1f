"""Which scores labels support: how well each tells good documents from bad ones, beside what costs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.common.auc import auc, length_controlled_auc
from curation_assets.report.correlation import Z
from curation_assets.report.documents import signs
from curation_assets.report.schemas import schema

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

_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_WORDS = """
a about after all also an and any are as at be because been but by can could did do for from had has have he her his how i if in into is
it its more most my no not of on one or other our out she so some such than that the their them then there these they this to up was we
were what when which who will with would you your
"""
_STOP_WORDS = frozenset(_WORDS.split())


def baselines(texts: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return what any score must beat: characters, the share of lines that end as sentences do, the share of English stop words."""
    return {
        LENGTH: np.array([len(text) for text in texts], np.float64),
        SENTENCE_ENDS: np.array([_share(map(_END.search, _lines(text))) for text in texts], np.float64),
        STOP_WORDS: np.array(
            [_share(word in _STOP_WORDS for word in _WORD.findall(text.lower())) for text in texts],
            np.float64,
        ),
    }


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if line]


def _share(holds: Iterable[object]) -> float:
    each = [bool(one) for one in holds]
    return sum(each) / len(each) if each else 0.0


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
