"""How far two judges order the same documents alike: Kendall's tau-b with a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS = 512  # of the pair matrices that are in memory at a time
_INTERVAL = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of n documents, in [-1, 1], and its 95 % interval; None where one judge gives all the same score."""

    tau: float | None
    low: float | None
    high: float | None
    n: int


def kendall(
    one: NDArray[np.floating], two: NDArray[np.floating], *, resamples: int = 1000, seed: int = 0
) -> Agreement:
    """Return tau-b of two scores [n] and its percentile interval over resamples of the documents.

    A resample draws n documents with replacement; the same document drawn twice is a pair tied in both scores. With 0
    resamples there is no interval. Time grows with resamples * n^2, about a second for 1,000 * 2,000^2; memory with n.

    Raises
    ------
    ValueError
        The scores are not equally many, fewer than 2, or not finite.
    """
    one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
    n = len(one)
    if one.shape != two.shape or one.ndim != 1 or n < 2:
        raise ValueError(
            f"wanted two scores of the same 2 or more documents, not {one.shape} and {two.shape}"
        )
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError("the scores must be finite")
    # How often each resample, a row, has each document; the first row is the documents themselves.
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)
    weights = np.concatenate([np.ones((1, n)), counts])
    sums = np.zeros((3, resamples + 1))  # over pairs: agreement, untied in one, untied in two
    for low in range(0, n, _ROWS):
        part = slice(low, low + _ROWS)
        signs = [np.sign(score[part, None] - score) for score in (one, two)]
        for total, pairs in zip(sums, (signs[0] * signs[1], abs(signs[0]), abs(signs[1])), strict=True):
            total += np.einsum("ri,ri->r", weights[:, part], weights @ pairs.T)
    untied = np.sqrt(sums[1] * sums[2])
    if untied[0] == 0:
        return Agreement(None, None, None, n)
    taus = np.clip(sums[0][untied > 0] / untied[untied > 0], -1, 1)
    if len(taus) == 1:
        return Agreement(float(taus[0]), None, None, n)
    bounds = np.percentile(taus[1:], _INTERVAL)
    return Agreement(float(taus[0]), float(bounds[0]), float(bounds[1]), n)
