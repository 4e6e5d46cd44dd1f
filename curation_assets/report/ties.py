"""Which samplers can be told from the best one: Tukey's range test over seeds, each seed a block."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from curation_assets.report.merit import Floats

LEVEL = 0.05
METHOD = (
    "Tied means: not told from the best by Tukey's range test at 5 %, on seeds as blocks (seed k of every sampler is compared with "
    "seed k of the others). The test allows for all pairs at once, so also for the best having been picked by the same numbers. It "
    "takes the noise of training to be about as large for every sampler of the same amount and size; with two samplers it is the "
    "paired t test."
)


def apart(values: Mapping[str, ArrayLike]) -> float | None:
    """Return by how much the means of two samplers must differ at least to be told apart; None where nothing can be told.

    Parameters
    ----------
    values
        By sampler, [seeds] of the same seeds; NaN where not measured. Samplers that lack a seed that others have are left
        out of the estimate of the noise, and seeds that fewer than two samplers have too.

    Returns
    -------
    None for fewer than two whole samplers or seeds, and where there is no spread over seeds to go by.
    """
    x = whole(values)
    if len(x) < 2 or next(iter(x.values())).size < 2:
        return None
    table = np.stack(list(x.values()))
    k, n = table.shape
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    free = (k - 1) * (n - 1)
    error = float(np.sqrt((rest**2).sum() / free / n))
    if error <= 1e-12 * max(1.0, float(np.abs(table).mean())):
        return None
    return _range(k, free) * error


def tied_with_best(values: Mapping[str, ArrayLike], *, higher_is_better: bool) -> dict[str, bool | None]:
    """Tell for each sampler whether it is the best or cannot be told from it; None where that is not known.

    The best is the one with the best mean among those that have all seeds; the others are not compared.
    """
    x, least = whole(values), apart(values)
    result: dict[str, bool | None] = dict.fromkeys(values)
    if least is None:
        return result
    means = {name: float(row.mean()) * (1 if higher_is_better else -1) for name, row in x.items()}
    best = max(means.values())
    return result | {name: best - mean < least for name, mean in means.items()}


def whole(values: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """Return the samplers that have every seed which any two of them have, at those seeds: {name: [seeds]}."""
    if not values:
        return {}
    table = np.stack([np.asarray(row, np.float64) for row in values.values()])
    seeds = np.isfinite(table).sum(axis=0) >= 2
    full = np.all(np.isfinite(table[:, seeds]), axis=1) if seeds.any() else np.zeros(len(table), np.bool_)
    return {name: row[seeds] for name, row, keep in zip(values, table, full, strict=True) if keep}


@lru_cache(maxsize=256)
def _range(samplers: int, free: int) -> float:
    """Return the critical value of the studentized range."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - LEVEL, samplers, free))
