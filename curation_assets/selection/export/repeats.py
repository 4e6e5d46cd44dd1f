"""Which of the chosen documents appear more than once: bands of their ranks, each with a factor.

A document that appears three times is in passes 0, 1 and 2 over the choice. Each pass is written behind the one before it, so that two
copies lie a whole pass apart, and never side by side, where a trainer would see both in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.hashing import noise
from curation_assets.config.export_settings import MOST_TIMES, Band
from curation_assets.selection.threshold import Block, Threshold, count_thresholds

_SALT = 0x9B05688C2B3E6C1F  # no sampler's noise: of documents that were drawn by that, the draw would take too few or too many

Ranked = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Called once a pass: gives (selection key float64, `doc_hash` uint64) of the chosen documents, some at a time."""


@dataclass(frozen=True)
class Repeats:
    """How often each of the chosen documents appears, by the rank of its selection key: of a top-k sampler, of its score.

    Attributes
    ----------
    cuts : the threshold at which each band ends.
    seed : of the draw, by `doc_hash`, that says which documents of a factor of 1.5 appear twice.
    """

    bands: tuple[Band, ...]
    cuts: tuple[Threshold, ...]
    seed: int

    def times(self, keys: np.ndarray, doc_hash: np.ndarray) -> NDArray[np.int64]:
        """Return how often documents appear, int64 [n]."""
        factor = np.ones(len(keys))
        for band, cut in reversed([*zip(self.bands, self.cuts, strict=True)]):
            factor[cut.keep(keys, doc_hash)] = band.times
        whole = np.floor(factor)
        return (whole + (noise(doc_hash, self.seed ^ _SALT) < factor - whole)).astype(np.int64)

    def passes(self, ranked: Ranked) -> list[int]:
        """Return how many documents each pass has."""
        counted = np.zeros(MOST_TIMES + 2, np.int64)
        for keys, doc_hash in ranked():
            counted += np.bincount(self.times(keys, doc_hash), minlength=len(counted))
        at_least = counted[::-1].cumsum()[::-1][1:]
        return at_least[at_least > 0].tolist()


def repeats(bands: tuple[Band, ...], ranked: Ranked, documents: int, seed: int) -> Repeats:
    """Find where the bands of so many documents end, in a few passes over them with constant memory."""

    def blocks() -> Iterator[Block]:
        return (Block(*each) for each in ranked())

    sizes = np.array([documents])
    cuts = [count_thresholds(blocks, sizes, np.array([round(band.upto * documents)])) for band in bands]
    return Repeats(bands, tuple(cuts), seed)
