"""Figures of merit of a sampler, from numbers alone (v1, section 4; ICLR version: effective size).

Values are float64 [metrics, seeds], NaN where not measured: column k is seed k of every run, so that runs are compared
seed by seed. `intervals` says what the intervals are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation_assets.evaluation.tasks import STANDIN
from curation_assets.report.intervals import Interval, t_interval

Floats = NDArray[np.float64]

LEAST_GAIN = 0.01
"""Share of its own value by which a metric must improve from one model to a larger one to measure anything against."""


class Metric(NamedTuple):
    """One thing measured: "suite/task" and its direction."""

    name: str
    higher_is_better: bool


@dataclass(frozen=True)
class OverScaling:
    """Over-scaling in percent: 0 is as good as the same model on all data, 100 as the next larger model on all data.

    Attributes
    ----------
    value : mean over the metrics that count; None where none does.
    interval : over seeds; None for one seed.
    by_metric : {metric: percent} of those that count.
    left_out : {metric: why} of the others.
    """

    value: float | None
    interval: Interval | None
    by_metric: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def over_scaling(
    metrics: Sequence[Metric],
    sampled: ArrayLike,
    full: ArrayLike,
    larger: ArrayLike,
    *,
    least_gain: float = LEAST_GAIN,
) -> OverScaling:
    """Return the over-scaling of a sampler (v1, section 4.3 and table 1).

    The mean over metrics of 100 (sampled - full) / (larger - full), where each of the three is a mean over the seeds that
    all have. A metric counts only where the larger model is really better: its gain must exceed `least_gain` of the
    metric's value and twice the gain's standard error over seeds. Stand-ins never count.

    The interval takes each seed's linearised value (the delta method of a ratio of means), so that noise of the gain is in
    it as well, over the seeds that all counting metrics have.

    Parameters
    ----------
    metrics
        The m metrics.
    sampled, full, larger
        [m, seeds]: the model trained on the subset, the same on all data, the next larger one on all data.
    """
    a, b, c = (_matrix(values, metrics) for values in (sampled, full, larger))
    sign = np.array([1.0 if metric.higher_is_better else -1.0 for metric in metrics])[:, None]
    numerator, gain = sign * (a - b), sign * (c - b)
    by_metric, left_out, by_seed = {}, {}, []
    for i, metric in enumerate(metrics):
        both = np.isfinite(numerator[i]) & np.isfinite(gain[i])
        reason = _useless(metric, gain[i][both], b[i][both], least_gain)
        if reason:
            left_out[metric.name] = reason
            continue
        top, bottom = float(numerator[i][both].mean()), float(gain[i][both].mean())
        by_metric[metric.name] = 100 * top / bottom
        by_seed.append(100 * (top + numerator[i] - top / bottom * gain[i]) / bottom)
    if not by_metric:
        return OverScaling(None, None, by_metric, left_out)
    value = float(np.mean(list(by_metric.values())))
    return OverScaling(value, t_interval(np.mean(by_seed, axis=0), value), by_metric, left_out)


def _useless(metric: Metric, gain: Floats, value: Floats, least_gain: float) -> str:
    """Return why a metric cannot tell two sizes of model apart, or "" where it can; gain and value are [seeds]."""
    if metric.name.endswith(STANDIN):
        return "a stand-in for the official task"
    if not len(gain):
        return "not measured for all of the models"
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else 0.0
    share = least_gain * abs(float(value.mean()))
    gained = float(gain.mean())
    if gained > max(share, 2 * error, 0.0):
        return ""
    bound = "twice its standard error" if 2 * error > share else f"{least_gain:.0%} of the value"
    return f"the larger model gains {gained:.3g}, not more than {bound}, {max(share, 2 * error):.3g}"


def _matrix(values: ArrayLike, metrics: Sequence[Metric]) -> Floats:
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or len(x) != len(metrics):
        raise ValueError(f"{len(metrics)} metrics need values of [metrics, seeds], not {list(x.shape)}")
    return x


class Size(NamedTuple):
    """A parameter count; `bound` is "<" or ">" where it lies beyond the ladder and all that is known is that."""

    parameters: float
    bound: str = ""


def size_at(parameters: ArrayLike, scores: ArrayLike, score: float) -> Size:
    """Return the parameter count at which the ladder reaches `score` (higher is better).

    Between rungs the isotonic scores are joined by straight lines over the logarithm of the parameters. Of a flat part the
    smallest size is taken. Beyond the ladder nothing is extrapolated.

    Parameters
    ----------
    parameters, scores
        [rungs], parameters rising, two rungs at least.
    """
    from scipy.optimize import isotonic_regression

    size, fit = np.asarray(parameters, np.float64), isotonic_regression(scores).x
    if len(size) < 2 or len(size) != len(fit) or not (np.diff(size) > 0).all() or size[0] <= 0:
        raise ValueError(f"a ladder needs two or more rungs, smallest first, not {size.tolist()}")
    if score < fit[0]:
        return Size(float(size[0]), "<")
    if score > fit[-1]:
        return Size(float(size[-1]), ">")
    right = int(np.searchsorted(fit, score, side="left"))
    if fit[right] == score:
        return Size(float(size[right]))
    share = (score - fit[right - 1]) / (fit[right] - fit[right - 1])
    low, high = np.log(size[right - 1 : right + 1])
    return Size(float(np.exp(low + share * (high - low))))


class EffectiveSize(NamedTuple):
    """The size, the ends of its interval over seeds (None for one seed), and the metrics that it is not from."""

    size: Size | None
    low: Size | None
    high: Size | None
    left_out: dict[str, str]


def effective_size(
    metrics: Sequence[Metric],
    parameters: ArrayLike,
    ladder: ArrayLike,
    sampled: ArrayLike,
    *,
    least_gain: float = LEAST_GAIN,
) -> EffectiveSize:
    """Return the parameter count at which training on all data would reach the sampled run's score (ICLR version).

    The score is the mean over metrics, each scaled to 0 at the smallest and 1 at the largest rung; a metric by which the
    largest rung is not really better than the smallest (as in `over_scaling`) does not count. The interval is that of the
    score over seeds, taken through the ladder as it was measured.

    Parameters
    ----------
    parameters
        [rungs], rising.
    ladder
        [rungs, metrics, seeds], trained on all data.
    sampled
        [metrics, seeds].
    """
    rungs = np.asarray(ladder, np.float64)
    x = _matrix(sampled, metrics)
    sign = np.array([1.0 if metric.higher_is_better else -1.0 for metric in metrics])
    left_out, scaled, own = {}, [], []
    for i, metric in enumerate(metrics):
        seen = np.isfinite(rungs[:, i]).any(axis=1).all() and np.isfinite(x[i]).any()
        gain = sign[i] * (rungs[-1, i] - rungs[0, i])
        both = np.isfinite(gain) & bool(seen)
        reason = _useless(metric, gain[both], rungs[0, i][both], least_gain)
        if reason:
            left_out[metric.name] = reason
            continue
        means = sign[i] * np.nanmean(rungs[:, i], axis=1)
        scaled.append((means - means[0]) / (means[-1] - means[0]))
        own.append((sign[i] * x[i] - means[0]) / (means[-1] - means[0]))
    if not scaled:
        return EffectiveSize(None, None, None, left_out)
    fit, value = np.mean(scaled, axis=0), float(np.mean([np.nanmean(row) for row in own]))
    interval = t_interval(np.mean(own, axis=0), value)
    ends = [size_at(parameters, fit, end) for end in interval[:2]] if interval else [None, None]
    return EffectiveSize(size_at(parameters, fit, value), ends[0], ends[1], left_out)


def tokens_to_reach(
    tokens: ArrayLike, values: ArrayLike, target: float, *, higher_is_better: bool
) -> float | None:
    """Return the tokens at which a run first reaches `target`; None if it never does.

    Parameters
    ----------
    tokens, values
        The run's curve, [snapshots], tokens rising and positive. Of the values the best so far counts, joined by straight
        lines over the logarithm of the tokens. A first snapshot that is good enough gives its own tokens: it was there by
        then at the latest.
    """
    seen, y = np.asarray(tokens, np.float64), np.asarray(values, np.float64)
    if seen.shape != y.shape or not (seen > 0).all() or not (np.diff(seen) > 0).all():
        raise ValueError(f"a curve needs rising, positive tokens, one for each of {len(y)} values")
    sign = 1.0 if higher_is_better else -1.0
    best, wanted = np.maximum.accumulate(sign * y), sign * target
    there = np.flatnonzero(best >= wanted)
    if not len(there):
        return None
    i = int(there[0])
    if i == 0 or best[i] == wanted:
        return float(seen[i])
    share = (wanted - best[i - 1]) / (best[i] - best[i - 1])
    return float(np.exp(np.log(seen[i - 1]) + share * (np.log(seen[i]) - np.log(seen[i - 1]))))


class Ranks(NamedTuple):
    """Ranks, 1 for the best, of equals the mean: [samplers, metrics], and their mean over metrics, [samplers]."""

    by_metric: Floats
    mean: Floats


def ranks(values: ArrayLike, higher_is_better: Sequence[bool]) -> Ranks:
    """Rank samplers by each metric.

    `values` is [samplers, metrics], NaN where not measured: such a sampler has no rank by that metric, and no mean rank at
    all, since one over other metrics would not compare. The mean ranks are among the samplers that have every metric.
    """
    from scipy.stats import rankdata

    x = np.asarray(values, np.float64)
    if x.ndim != 2 or x.shape[1] != len(higher_is_better):
        raise ValueError(f"{len(higher_is_better)} metrics need values of [samplers, metrics], not {x.shape}")
    worse = np.where(np.asarray(higher_is_better, bool), -x, x)
    by_metric = rankdata(worse, axis=0, nan_policy="omit").astype(np.float64)
    mean = np.full(len(x), np.nan)
    whole = np.isfinite(x).all(axis=1) & bool(x.shape[1])
    if whole.any():
        mean[whole] = rankdata(worse[whole], axis=0).mean(axis=1)
    return Ranks(by_metric, mean)
