"""The axes of charts: their scales, ticks and limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE = 1.4


class Series(NamedTuple):
    """x and y [points], and the ends of an interval around each y; NaN is not measured."""

    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None


def scales(axes: Axes, log_x: bool, log_y: bool, xticks: Sequence[float] | None) -> None:
    """Set the scales of a panel and how its ticks are written; `xticks` are the only ones on the x axis, if given."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if xticks is not None:
        axes.set_xticks(list(xticks), [f"{x:g}" for x in xticks])


def from_below(panels: Iterable[Axes], series: Sequence[Series], top: float) -> None:
    """Begin logarithmic x axes a little before the first of the curves comes below the top."""
    from matplotlib.ticker import LogLocator

    first = [
        float(np.asarray(one.x, np.float64)[inside].min())
        for one in series
        if (inside := np.asarray(one.y, np.float64) <= top).any()
    ]
    for axes in panels:
        if first and axes.get_xscale() == "log":
            axes.set_xlim(left=min(first) / _BEFORE)
            left, right = axes.get_xlim()
            if right < 30 * left:
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _short(value: float) -> str:
    """Return a number in few characters: 0.01, 500, 20k, 5M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
