"""Scores of documents that the encoder cannot read: drawn from the scores of those that it can, by the document's hash.

The vectors of such documents are nearly one: compared, they would be copies of each other. They are not, and as nothing
is known of them they get scores as any document might have them, so that a sampler keeps the same share of them as of the
others, and which ones is a matter of their hashes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.hashing import noise
from curation_assets.config.registry import Column

READABLE = {
    "readable": Column(
        "bool",
        "Whether the encoder could read most of the document; where not, `semdedup`, `prototypes` and `q_classifier` score it at random",
    )
}
"""The column that says so."""

_BINS = 4096
_EDGES = np.linspace(-1.0, 1.0, _BINS + 1)
_SEED = 0x6E6575  # of the draws, apart from the seeds of samplers


def score_histogram(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count scores from -1 to 1 in equal bins, int64 [bins]; the counts of parts add up."""
    return np.histogram(np.clip(scores, -1.0, 1.0), _EDGES)[0]


def draw_scores(
    histogram: NDArray[np.int64], hashes: NDArray[np.uint64], above: float = -1.0
) -> NDArray[np.float64]:
    """Return a score from `above` to 1 for each hash, float64 [n], distributed as the histogram is there; uniform where that is empty."""
    possible = _EDGES[:-1] >= above
    histogram = np.where(possible, histogram, 0)
    if not histogram.any():
        histogram = possible.astype(np.int64)
    cumulated = np.concatenate([[0], histogram.cumsum()]) / histogram.sum()
    return np.interp(noise(hashes, _SEED), cumulated, _EDGES)
