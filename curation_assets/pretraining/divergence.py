"""When a training loss says that the run has diverged, though it is still finite.

THE RULE: once the warm-up and a window of steps after it are over, a run has diverged when the mean loss of the last window (20
steps, or 2 % of the run where that is more) lies more than 1 nat above the loss of the first step.

The first loss is that of the untrained model: what knowing nothing costs, about ln(vocabulary). A healthy run is below it
for good within a few steps, and a nat above it over 20 steps is no noise: the loss of a batch of 50 targets scatters by 0.15 nats,
of a batch of 5 by 0.5. The warm-up is left out: the rate is still rising, and a loss that overshoots there may come back. Runs of
fewer steps than warm-up and window are never judged, and a loss that jumps but stays below the start is not taken for divergence.

The verdict is a function of the losses alone, however often it is asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MARGIN = 1.0  # nats
_FEW = 5  # steps

Losses = NDArray[np.floating]


def window(steps: int) -> int:
    """Return how many steps' losses are averaged in a run of so many steps."""
    return max(20, round(0.02 * steps))


def risen(losses: Losses, since: int, steps: int, warmup: int) -> int | None:
    """Return the first step after `since` at which the rule above holds, None where there is none.

    Parameters
    ----------
    losses : float[n], n >= since
        Of all steps so far, nats; step s, counted from 1, is `losses[s - 1]`.
    steps, warmup
        Of the whole run.
    """
    width = window(steps)
    first = max(since + 1, warmup + width)
    if len(losses) < first:
        return None
    bad = np.flatnonzero(_means(losses[first - width :], width)[width - 1 :] > losses[0] + MARGIN)
    return first + int(bad[0]) if len(bad) else None


def last_good(losses: Losses) -> int:
    """Return the step up to which a run that diverged was sound, 0 where that can be said of none.

    That is the last step at which its loss, and the mean of the last five, were within 1 nat of the best mean. A run that has once been
    1 nat above its start counts as sound again only when the mean has been 1 nat below: a model whose
    weights have burst may well guess uniformly, and that looks like the start.
    """
    if not len(losses):
        return 0
    means, start = _means(losses, _FEW), losses[0]
    highest = min(start, means.min()) + MARGIN
    steps = np.arange(1, len(losses) + 1)
    burst = np.maximum.accumulate(np.where(losses > start + MARGIN, steps, 0))
    learnt = np.maximum.accumulate(np.where(means < start - MARGIN, steps, 0))
    sound = (means <= highest) & (losses <= highest) & ((burst == 0) | (learnt > burst))
    return int(steps[sound].max(initial=0))


def _means(losses: Losses, width: int) -> NDArray[np.float64]:
    """Return the mean of each loss and the `width - 1` before it, of fewer where there are not so many."""
    sums = np.cumsum(losses, dtype=np.float64)
    sums[width:] -= sums[:-width].copy()
    return sums / np.minimum(np.arange(1, len(losses) + 1), width)
