"""Importance weights on hashed n-grams: by hand, the same for any layout, and true where the answer is known."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.scoring.dsir import dsir_scores, hashed_ngrams, log_ratios, ngram_counts

TEXTS = st.lists(st.text(st.sampled_from("ab c.\n"), max_size=10), min_size=1, max_size=5)
BUCKETS = 10_007


def _ngrams(text: str) -> list[str]:
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)]


@settings(deadline=None)  # tables of all characters are made once
@given(TEXTS, TEXTS)
def test_scores_are_the_mean_log_ratio_of_each_documents_ngrams(
    texts: list[str], reference: list[str]
) -> None:
    if not any(map(_ngrams, texts)) or not any(map(_ngrams, reference)):
        return
    counts = [ngram_counts(some, BUCKETS, 3) for some in (reference, texts)]
    score, number = dsir_scores(texts, log_ratios(*counts), 3)
    of_all = [[gram for text in some for gram in _ngrams(text)] for some in (reference, texts)]
    kinds = sorted({gram for some in of_all for gram in some})

    def ratio(gram: str) -> float:
        (p, n), (q, m) = ((some.count(gram), len(some)) for some in of_all)
        return math.log((p + 1) / (n + BUCKETS)) - math.log((q + 1) / (m + BUCKETS))

    assert len({tuple(np.flatnonzero(ngram_counts([kind.split()[0]], BUCKETS, 3))) for kind in kinds}) == len(
        {kind.split()[0] for kind in kinds}
    ), "no two of these words share a bucket"
    for text, one, grams in zip(texts, score, number, strict=True):
        own = _ngrams(text)
        assert grams == len(own)
        assert one == pytest.approx(sum(map(ratio, own)) / max(len(own), 1), abs=1e-8)


@settings(deadline=None)  # tables of all characters are made once
@given(TEXTS, st.integers(0, 2**64 - 1))
def test_counts_add_up_and_a_score_is_the_documents_alone(texts: list[str], seed: int) -> None:
    parts = sum(ngram_counts([text], 97, seed) for text in texts)
    assert ngram_counts(texts, 97, seed).tolist() == parts.tolist()
    ratios = np.linspace(-3, 3, 97)
    together, _ = dsir_scores(texts, ratios, seed)
    assert together.tolist() == [dsir_scores([text], ratios, seed)[0][0] for text in texts]


def test_blocks_make_no_difference() -> None:
    texts = [f"word{i % 7} and word{i % 11}. " * 900 for i in range(40)]
    ratios = np.sin(np.arange(1000.0))
    together, _ = dsir_scores(texts, ratios, 0)
    assert together.tolist() == [dsir_scores([text], ratios, 0)[0][0] for text in texts]


def test_another_seed_is_another_hash() -> None:
    one, other = (hashed_ngrams(["a few words of text"], 1000, seed) for seed in (0, 1))
    assert (one.words != other.words).any() and len(one.words) == 5 and len(one.pairs) == 4


def test_counts_of_other_settings_and_empty_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=r"counts of \[3\] and \[4\] buckets"):
        log_ratios(np.ones(3, np.int64), np.ones(4, np.int64))
    with pytest.raises(ValueError, match="no n-gram"):
        log_ratios(np.zeros(3, np.int64), np.ones(3, np.int64))
