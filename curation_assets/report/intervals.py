"""Intervals of means, and comparisons that know how many of them there are.

With the three or so seeds of a comparison a percentile bootstrap over seeds is much too narrow (three values have ten
distinct resamples). Intervals over seeds are Student's t with one degree of freedom less than seeds, on one value a seed,
and thus wide for few. They tell how another draw of initial weights, masks and order of documents would come out, on the
same corpus and the same evaluation. `bootstrap` is over metrics: how much a mean hangs on which tasks it is over. One
seed, or seeds without any spread, give no interval, never one of width zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FEW_METRICS = 8  # a bootstrap over fewer says nothing
_CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A 95 % interval, and the two-sided p of a mean of zero; NaN of a bootstrap, which tests nothing."""

    low: float
    high: float
    p: float = float("nan")


def t_interval(values: ArrayLike, center: float | None = None) -> Interval | None:
    """Return Student's t interval of the mean of `values` [k], NaN left out; None where there is no spread to go by.

    `center` replaces the mean where the estimate is another one (a ratio of means).
    """
    from scipy import stats

    x = finite(values)
    error = float(stats.sem(x)) if len(x) > 1 else 0.0
    middle = center if center is not None else float(x.mean()) if len(x) else 0.0
    if error <= 1e-12 * max(1.0, abs(middle)):
        return None
    low, high = stats.t.interval(_CONFIDENCE, len(x) - 1, middle, error)
    return Interval(float(low), float(high), float(2 * stats.t.sf(abs(middle) / error, len(x) - 1)))


def bootstrap(values: ArrayLike, seed: int) -> Interval | None:
    """Return the percentile bootstrap interval of the mean of `values` [m] over metrics; None for fewer than eight."""
    from scipy import stats

    x = finite(values)
    if len(x) < _FEW_METRICS:
        return None
    draws = {"n_resamples": 10_000, "method": "percentile", "rng": np.random.Generator(np.random.PCG64(seed))}
    low, high = stats.bootstrap((x,), np.mean, confidence_level=_CONFIDENCE, **draws).confidence_interval
    return Interval(float(low), float(high))


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Return the values that are no NaN."""
    x = np.asarray(values, np.float64)
    return x[np.isfinite(x)]


class Summary(NamedTuple):
    """Values over seeds: their mean, sample standard deviation and interval, None where there is none, and how many there are."""

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    seeds: int


def summary(by_seed: ArrayLike) -> Summary:
    """Return the summary of a run's values [seeds], NaN where not measured."""
    x, interval = finite(by_seed), t_interval(by_seed)
    low, high = (interval.low, interval.high) if interval else (None, None)
    mean, sd = float(x.mean()) if len(x) else None, float(x.std(ddof=1)) if len(x) > 1 else None
    return Summary(mean, sd, low, high, len(x))


def no_intervals(seeds: Iterable[int]) -> str:
    """Say why nothing has an interval, of runs with so many seeds each."""
    return "One seed: no intervals." if max(seeds, default=0) < 2 else "No spread over seeds: no intervals."


@dataclass(frozen=True)
class Difference:
    """A mean difference over paired seeds; `interval` is None for one seed, `p` is adjusted where `compare_all` made it."""

    mean: float
    seeds: int
    interval: Interval | None
    p: float | None

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the difference is there: the adjusted p is below 5 %, which the interval without 0 is part of."""
        return None if self.interval is None or self.p is None else self.p < 1 - _CONFIDENCE


def paired(one: ArrayLike, other: ArrayLike) -> Difference | None:
    """Compare two runs seed by seed, [seeds] each: one - other; None where no seed has both."""
    difference = finite(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    if not len(difference):
        return None
    interval = t_interval(difference)
    return Difference(float(difference.mean()), len(difference), interval, interval.p if interval else None)


def compare_all(runs: Mapping[str, ArrayLike], reference: ArrayLike) -> dict[str, Difference]:
    """Compare each sampler's run with the reference (random sampling); p is Holm's over all samplers of the table."""
    differences = {name: difference for name, x in runs.items() if (difference := paired(x, reference))}
    adjusted = holm([difference.p for difference in differences.values()])
    return {name: replace(d, p=p) for (name, d), p in zip(differences.items(), adjusted, strict=True)}


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for how many there are (Holm 1979), None left as it is and not counted."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    out: list[float | None] = [None] * len(p)
    least = 0.0
    for k, (value, i) in enumerate(known):
        least = max(least, min(1.0, (len(known) - k) * value))
        out[i] = least
    return out
