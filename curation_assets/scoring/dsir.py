"""Importance weights on hashed n-grams (DSIR: Xie et al. 2023, arXiv 2302.03169): how much likelier a document's words are in a reference.

Uni- and bigrams of words are hashed into buckets. Counts of parts of a corpus add up; so of all that is learned from a corpus only
a row of counts is kept. A document's score is the mean over its n-grams of log(p_reference / p_corpus). The authors' weight is the
sum: it grows with the length, and most of what it orders documents by is that (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.hashing import splitmix64
from curation_assets.common.progress import Progress, silent
from curation_assets.scoring.words import blocks_of_texts, read_characters, split_words

_UNIGRAM, _BIGRAM = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
_ONE = 2.0**32  # log ratios are added as integers: a sum is the same in any order


class NGrams(NamedTuple):
    """The buckets of the n-grams of documents: int64 [w] of the words, and of the pairs; int64 [n + 1] where each document's begin."""

    words: NDArray[np.int64]
    pairs: NDArray[np.int64]
    word_offsets: NDArray[np.int64]
    pair_offsets: NDArray[np.int64]

    def counts(self, buckets: int) -> NDArray[np.int64]:
        """Return how many n-grams fall into each bucket, int64 [buckets]."""
        return np.bincount(self.words, minlength=buckets) + np.bincount(self.pairs, minlength=buckets)


def hashed_ngrams(texts: Sequence[str], buckets: int, seed: int) -> NGrams:
    """Return the hashed words, and pairs of neighbouring words, of documents."""
    hashes, _, offsets = split_words(read_characters(texts))
    first, second = hashes[:-1], hashes[1:]
    within = np.ones(len(first), bool)
    ends = offsets[1:-1]
    within[ends[(ends > 0) & (ends < len(hashes))] - 1] = False
    pairs = splitmix64(first[within] + np.uint64(_BIGRAM)) ^ second[within]
    lengths = np.maximum(np.diff(offsets) - 1, 0)
    return NGrams(
        _bucket(hashes, _UNIGRAM, buckets, seed),
        _bucket(pairs, _BIGRAM, buckets, seed),
        offsets,
        np.concatenate([[0], np.cumsum(lengths)]),
    )


def ngram_counts(
    texts: Sequence[str], buckets: int, seed: int, progress: Progress = silent
) -> NDArray[np.int64]:
    """Return how many n-grams of documents fall into each bucket, int64 [buckets]; counts of parts add up."""
    total = np.zeros(buckets, np.int64)
    for _, ngrams in _in_blocks(texts, buckets, seed, progress):
        total += ngrams.counts(buckets)
    return total


def log_ratios(reference: NDArray[np.int64], corpus: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return log(p_reference / p_corpus) of each bucket, float64 [buckets], with one added to each count.

    The authors add 1e-8 to the probabilities, which gives a bucket that a small reference leaves empty a ratio of e-9 and decides by
    a handful of n-grams.
    """
    if reference.shape != corpus.shape or reference.ndim != 1:
        raise ValueError(f"counts of {list(reference.shape)} and {list(corpus.shape)} buckets")
    if not reference.any() or not corpus.any():
        raise ValueError("there is no n-gram in the reference or in the corpus")
    smooth = [(counts + 1) / (counts.sum() + len(counts)) for counts in (reference, corpus)]
    return np.log(smooth[0]) - np.log(smooth[1])


def dsir_scores(
    texts: Sequence[str], ratios: NDArray[np.float64], seed: int, progress: Progress = silent
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the mean log ratio over each document's n-grams, float64 [n], and how many n-grams it has; a document without one has 0."""
    weight = np.rint(ratios * _ONE).astype(np.int64)
    score, number = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
    for rows, ngrams in _in_blocks(texts, len(ratios), seed, progress):
        total = _sums(weight[ngrams.words], ngrams.word_offsets)
        total += _sums(weight[ngrams.pairs], ngrams.pair_offsets)
        number[rows] = np.diff(ngrams.word_offsets) + np.diff(ngrams.pair_offsets)
        score[rows] = total / _ONE / np.maximum(number[rows], 1)
    return score, number


def _in_blocks(
    texts: Sequence[str], buckets: int, seed: int, progress: Progress
) -> Iterator[tuple[slice, NGrams]]:
    for rows in blocks_of_texts(texts):
        yield rows, hashed_ngrams(texts[rows], buckets, seed)
        progress(rows.stop, len(texts), "documents")


def _bucket(hashes: NDArray[np.uint64], salt: int, buckets: int, seed: int) -> NDArray[np.int64]:
    start = splitmix64(np.array([(salt + seed) % 2**64], np.uint64))
    return (splitmix64(hashes ^ start) % np.uint64(buckets)).astype(np.int64)


def _sums(values: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    cumulated = np.concatenate([[0], np.cumsum(values)])
    return cumulated[offsets[1:]] - cumulated[offsets[:-1]]
