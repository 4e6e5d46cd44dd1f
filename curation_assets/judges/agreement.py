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
    return _interval(_taus(one, two, resamples, seed), len(one))


def difference(
    one: NDArray[np.floating],
    other: NDArray[np.floating],
    teacher: NDArray[np.floating],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Return by how much tau-b of `one` and the teacher exceeds that of `other`, with its interval over the same resamples."""
    taus = (_taus(each, teacher, resamples, seed) for each in (one, other))
    return _interval(next(taus) - next(taus), len(teacher))


def _taus(
    one: NDArray[np.floating], two: NDArray[np.floating], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return tau-b of the documents, then of each resample; NaN where one of the scores is all the same."""
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
    return np.clip(np.divide(sums[0], untied, out=np.full_like(untied, np.nan), where=untied > 0), -1, 1)


def _interval(values: NDArray[np.float64], n: int) -> Agreement:
    """Return the first value with the percentiles of the others, as far as there are any."""
    first, others = float(values[0]), values[1:][~np.isnan(values[1:])]
    if np.isnan(first):
        return Agreement(None, None, None, n)
    if not len(others):
        return Agreement(first, None, None, n)
    low, high = np.percentile(others, _INTERVAL)
    return Agreement(first, float(low), float(high), n)
