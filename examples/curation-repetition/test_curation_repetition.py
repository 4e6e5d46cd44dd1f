"""Repetition scores by brute force."""

import numpy as np
from curation_repetition import repetition_scores
from hypothesis import given
from hypothesis import strategies as st


def _one(tokens: list[int], n: int) -> float:
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) - 1 if grams else 0.0


@given(st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=6), st.integers(1, 4))
def test_scores_are_those_of_each_document_alone(documents: list[list[int]], n: int) -> None:
    ids = np.array([token for tokens in documents for token in tokens], np.int32)
    offsets = np.cumsum([0, *map(len, documents)])
    scores, ngrams = repetition_scores(ids, offsets, n)
    assert np.allclose(scores, [_one(tokens, n) for tokens in documents])
    assert ngrams.tolist() == [max(len(tokens) - n + 1, 0) for tokens in documents]
