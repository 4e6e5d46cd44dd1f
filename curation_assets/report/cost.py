"""What choosing data costs beside training on it, in floating-point operations (ICLR version, cost table).

Two operations per multiply-add, of the matrix products alone. Documents come as a histogram of their lengths in tokens:
`lengths` [u] and `counts` [u], so that nothing grows with the corpus. `forward_flops` counts a T5 by its shape; of other
models only the parameters are known, and 2 x parameters x tokens is an upper bound (embedding tables are looked up, not
multiplied, and attention is left out, which is small for short inputs).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from curation_assets.models.t5 import Shape

Ints = NDArray[np.int64]
_BACKWARD = 3  # a training step's products, in forward passes


class Lengths(NamedTuple):
    """How long documents are: `counts[i]` of them have `tokens[i]` tokens; int64 [u] each."""

    tokens: Ints
    counts: Ints

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return int(self.counts.sum())

    def read(self, most: int) -> int:
        """Return how many tokens a model reads that cuts documents to `most` tokens."""
        return int((np.minimum(self.tokens, most) * self.counts).sum())


def histogram(lengths: ArrayLike) -> Lengths:
    """Return the histogram of documents' lengths [n]."""
    tokens, counts = np.unique(np.asarray(lengths, np.int64), return_counts=True)
    return Lengths(tokens, counts.astype(np.int64))


def added(one: Lengths, other: Lengths) -> Lengths:
    """Return the histogram of both sets of documents."""
    tokens, place = np.unique(np.concatenate([one.tokens, other.tokens]), return_inverse=True)
    counts = np.zeros(len(tokens), np.int64)
    np.add.at(counts, place, np.concatenate([one.counts, other.counts]))
    return Lengths(tokens, counts)


def perplexity_flops(
    shape: Shape, vocab_size: int, documents: Lengths, *, window: int, max_windows: int | None
) -> float:
    """Return the cost of span-corruption perplexity: a forward pass for each window that the scorer reads."""
    from curation_assets.common.windows import cut_windows
    from curation_assets.models.span_corruption import corrupted_lengths
    from curation_assets.pretraining.flops import forward_flops

    document, begin, end, _ = cut_windows(documents.tokens, window, max_windows)
    sizes, place = np.unique(end - begin, return_inverse=True)
    times = np.bincount(place, weights=documents.counts[document], minlength=len(sizes))
    inputs, targets = corrupted_lengths(sizes)
    return sum(
        float(n) * forward_flops(shape, vocab_size, float(i), float(t))
        for n, i, t in zip(times, inputs, targets, strict=True)
    )


def ask_llm_flops(
    shape: Shape, vocab_size: int, documents: Lengths, *, max_tokens: int, question: int
) -> float:
    """Return the cost of Ask-LLM under a T5: the encoder reads question and document, the decoder takes one step.

    `question` is the tokens of the prompt without the document, `max_tokens` the most of both.
    """
    from curation_assets.pretraining.flops import forward_flops

    inputs = np.minimum(documents.tokens + question, max_tokens)
    sizes, place = np.unique(inputs, return_inverse=True)
    times = np.bincount(place, weights=documents.counts, minlength=len(sizes))
    return sum(
        float(n) * forward_flops(shape, vocab_size, float(i), 1.0) for n, i in zip(times, sizes, strict=True)
    )


def by_parameters(parameters: int, tokens: float) -> float:
    """Return at most what a forward pass over so many tokens costs a model of which only the size is known."""
    return 2.0 * parameters * tokens


def judge_training_flops(
    shape: Shape, vocab_size: int, documents: float, epochs: float, inputs: float
) -> float:
    """Return the cost of teaching a judge: `documents` labels of about `inputs` tokens, `epochs` times, one target each."""
    from curation_assets.pretraining.flops import forward_flops

    return _BACKWARD * documents * epochs * forward_flops(shape, vocab_size, inputs, 1.0)


def sketch_flops(documents: int, dim: int, projections: int) -> float:
    """Return the cost of density: so many projections of each embedding, to count and again to look up."""
    return 2 * (2.0 * documents * dim * projections)


def kmeans_flops(points: int, clusters: int, dim: int, iterations: int) -> float:
    """Return the cost of fitting centroids: each point against each centroid, in every iteration."""
    return 2.0 * points * clusters * dim * iterations


def assignment_flops(documents: int, clusters: int, dim: int) -> float:
    """Return the cost of finding each document's nearest centroid."""
    return 2.0 * documents * clusters * dim


def similarity_flops(cluster_sizes: ArrayLike, dim: int) -> float:
    """Return the cost of comparing every two documents of a cluster once."""
    n = np.asarray(cluster_sizes, np.float64)
    return float((n * (n - 1) * dim).sum())


def break_even(scoring: float, training: float, saved: float) -> int | None:
    """Return after how many trainings scoring has paid off; None if never, since they save nothing.

    Parameters
    ----------
    scoring, training
        What choosing the data costs once, and one training on it, in one unit.
    saved
        Share of a training that the chosen data saves.
    """
    if scoring < 0 or training <= 0:
        raise ValueError(f"costs must be positive, not {scoring} for scoring and {training} for a training")
    if saved <= 0:
        return None
    return math.ceil(scoring / (training * saved) - 1e-9)
