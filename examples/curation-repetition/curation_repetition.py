"""Repetition: how much of a document says again what it has said before (after Rae et al., 2021, table A1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.progress import Progress
from curation_assets.config.section import Positive, Section
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Column, Sampler, Scores


class Repetition(Section):
    """[samplers.repetition]: n-grams of `n` tokens are compared."""

    n: Positive = 3


def repetition_scores(
    ids: NDArray[np.integer], offsets: NDArray[np.int64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return minus the share of each document's n-grams of tokens that occurred before in it, and how many n-grams it has.

    `ids` are the tokens of all documents in a row, `offsets` where each begins and ends. A document with fewer than n
    tokens has no n-gram: its score is 0, the highest.
    """
    documents = len(offsets) - 1
    if len(ids) < n:
        return np.zeros(documents), np.zeros(documents, np.int64)
    grams = np.lib.stride_tricks.sliding_window_view(np.asarray(ids, np.int64), n)
    document = np.repeat(np.arange(documents), np.diff(offsets))[: len(grams)]
    whole = np.arange(len(grams)) + n <= offsets[1:][document]  # those that end in the document they begin in
    rows = np.column_stack([document[whole], grams[whole]])
    total = np.bincount(rows[:, 0], minlength=documents)
    distinct = np.bincount(np.unique(rows, axis=0)[:, 0], minlength=documents)
    return np.where(total > 0, distinct / np.maximum(total, 1) - 1.0, 0.0), total


def score(settings: Repetition, documents: Documents, progress: Progress) -> Scores:
    """Score the documents of one corpus file, or a part of them."""
    repetition, ngrams = repetition_scores(*documents.tokens, settings.n)
    return {"score": repetition, "ngrams": ngrams}


SAMPLER = Sampler(
    name="repetition",
    family="heuristic",
    technique="top_k",
    description="Minus the share of the document's token n-grams that occurred before in it: text that repeats itself goes first.",
    inputs=("corpus/tokens",),
    settings=Repetition,
    columns={"ngrams": Column("int64", "N-grams of the document")},
    score=score,
)
