"""Several small charts in one picture, one for each rate and size, with the same samplers in the same colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.report.merit import Floats
from curation_assets.report.pictures import (
    _DASHES,
    _DPI,
    _FAINT,
    _GREY,
    _INK,
    _MARKERS,
    _PALETTE,
    _WIDTH,
    _plain,
    _png,
    mark,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = tuple[Floats, Floats, Floats | None]
"""x and y, and the reach of an error bar above and below each y (None for none); [points] each."""
_COLUMNS = 2


def panels(
    charts: Mapping[str, Mapping[str, Series]],
    title: str,
    xlabel: str,
    ylabel: str,
    *,
    joined: bool,
    references: Mapping[str, tuple[str, float]] | None = None,
    highest: float | None = None,
) -> bytes:
    """Draw charts {name: {series: (x, y, spread)}} on logarithmic axes, as lines if `joined`, else as points; return a PNG.

    A series keeps its colour and marker in all charts. `references` adds a named horizontal line to a chart; what is
    above `highest` is cut off. Points whose x or y is not positive and finite are left out.

    Raises
    ------
    ValueError
        There is nothing to draw.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for series in charts.values() for name in series))
    if not names:
        raise ValueError(f"nothing to draw for {title!r}: there is no series")
    columns = min(_COLUMNS, len(charts))
    rows = -(-len(charts) // columns)
    height = 0.4 + 2.6 * rows + 0.17 * -(-(len(names) + bool(references)) // 3)
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white", layout="constrained")
    figure.suptitle(_plain(title), x=0.01, ha="left", fontsize=11, fontweight="bold", color=_INK)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    handles = {}
    for axes in grid.ravel()[len(charts) :]:
        axes.set_visible(False)
    for axes, (name, series) in zip(grid.ravel(), charts.items(), strict=False):
        _style(axes, name, xlabel, ylabel if axes.get_subplotspec().is_first_col() else "")
        for label, points in series.items():
            handles[label] = _draw(axes, names.index(label), label, points, joined)
        if references and name in references:
            label, value = references[name]
            line = axes.axhline(value, label=_plain(label), color=_GREY, linewidth=1.1, linestyle=(0, (6, 3)))
            handles[label] = line
        if highest is not None:
            axes.set_ylim(top=highest)
    figure.legend(
        handles=list(handles.values()),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8,
        labelcolor=_INK,
    )
    return _png(figure)


def _draw(axes: Axes, i: int, label: str, points: Series, joined: bool) -> object:
    x, y, spread = points
    keep = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    look = i // len(_PALETTE)
    (line,) = axes.plot(
        x[keep],
        y[keep],
        label=_plain(label),
        color=_PALETTE[i % len(_PALETTE)],
        linestyle=_DASHES[look % len(_DASHES)] if joined else "none",
        marker=_MARKERS[look % len(_MARKERS)] if joined else mark(i),
        markersize=3 if joined else 6,
        linewidth=1.3,
    )
    if spread is not None:
        axes.vlines(x[keep], (y - spread)[keep], (y + spread)[keep], color=line.get_color(), alpha=0.45)
    return line


def _style(axes: Axes, name: str, xlabel: str, ylabel: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_axisbelow(True)
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b0b0b0")
    axes.tick_params(colors=_GREY, labelcolor=_INK, labelsize=8, length=3)
    axes.set_title(_plain(name), loc="left", fontsize=9, color=_INK)
    axes.set_xlabel(_plain(xlabel), fontsize=8.5, color=_GREY)
    axes.set_ylabel(_plain(ylabel), fontsize=8.5, color=_GREY)
