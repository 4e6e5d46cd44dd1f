"""Small multiples: one form for each question. Every chart takes plain arrays and returns a `Picture`.

A sampler looks the same in all of them (`looks`). What was not measured is a gap, and is said where a whole series is missing;
spreads over seeds are drawn wherever they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation_assets.report.canvas import Picture, legend, name_axes, plain, sheet
from curation_assets.report.looks import FULL, GREY, INK, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_LEGEND = 0.19  # inches a line of the legend
_PANEL = 2.35  # inches a row of panels
_POINTS = 12  # a curve with more has no markers, and a band for its interval


class Series(NamedTuple):
    """x and y [points], and the ends of an interval around each y; NaN is not measured."""

    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None


Charts = Mapping[str, Mapping[str, Series]]
"""Panel -> name -> series."""
References = Mapping[str, Mapping[str, float]]
"""Panel -> name -> height of a horizontal line."""


def curves(
    charts: Charts,
    title: str,
    xlabel: str,
    ylabel: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    references: References | None = None,
    xticks: Sequence[float] | None = None,
    columns: int = 2,
    top: float | None = None,
) -> Picture:
    """Draw lines over x, one panel a chart with a shared y axis; `top` cuts off what is above it.

    Raises
    ------
    ValueError
        There is no series, or one's arrays differ in length.
    """
    names = _names(charts)
    if not names:
        raise ValueError(f"nothing to draw for {title!r}: there is no series")
    columns = min(columns, len(charts))
    rows = -(-len(charts) // columns)
    labels = len(names) + len({n for lines in (references or {}).values() for n in lines} - set(names))
    figure, grid = sheet(title, rows, columns, 0.5 + _PANEL * rows + _LEGEND * -(-labels // 4), sharey=True)
    handles: dict[str, object] = {}
    for axes in grid.ravel()[len(charts) :]:
        axes.set_visible(False)
    for i, (axes, (name, series)) in enumerate(zip(grid.ravel(), charts.items(), strict=False)):
        _scales(axes, log_x, log_y, xticks)
        last_row = i + columns >= len(charts)
        name_axes(axes, name, xlabel if last_row else "", ylabel if i % columns == 0 else "")
        missing = [n for n, one in series.items() if not np.isfinite(np.asarray(one.y, np.float64)).any()]
        for label, one in series.items():
            if label not in missing:
                handles.setdefault(label, _curve(axes, label, names.index(label), one))
        for label, value in (references or {}).get(name, {}).items():
            handles.setdefault(label, _reference(axes, label, value))
        _say_missing(axes, missing)
        if top is not None:
            axes.set_ylim(top=top)
    legend(figure, list(handles.values()))
    return Picture(figure, title)


def points(
    charts: Charts,
    title: str,
    xlabel: str,
    ylabel: str,
    *,
    front: Mapping[str, Sequence[str]] | None = None,
    references: References | None = None,
    log_x: bool = True,
) -> Picture:
    """Draw each series as points with its interval; `front` names, by panel, those to be joined by a line.

    Raises
    ------
    ValueError
        There is no series.
    """
    names = _names(charts)
    if not names:
        raise ValueError(f"nothing to draw for {title!r}: there is no series")
    columns = min(2, len(charts))
    rows = -(-len(charts) // columns)
    height = 0.5 + 2.7 * rows + _LEGEND * -(-(len(names) + 2) // 4)
    figure, grid = sheet(title, rows, columns, height, sharey=True)
    handles: dict[str, object] = {}
    for axes in grid.ravel()[len(charts) :]:
        axes.set_visible(False)
    for i, (axes, (name, series)) in enumerate(zip(grid.ravel(), charts.items(), strict=False)):
        _scales(axes, log_x, False, None)
        name_axes(axes, name, xlabel if i + columns >= len(charts) else "", ylabel if i % columns == 0 else "")
        members = [series[n] for n in (front or {}).get(name, ()) if n in series]
        if len(members) > 1:
            ends = np.array([[np.asarray(s.x)[0], np.asarray(s.y)[0]] for s in members], np.float64)
            ends = ends[np.argsort(ends[:, 0])]
            (line,) = axes.plot(*ends.T, color=GREY, linewidth=1, label="Pareto front", zorder=1)
            handles.setdefault("Pareto front", line)
        for label, one in series.items():
            drawn = look(label, names.index(label))
            x, y = _arrays(label, one)
            if one.low is not None and one.high is not None:
                axes.vlines(x, np.asarray(one.low), np.asarray(one.high), color=drawn.colour, alpha=0.5)
            (dots,) = axes.plot(
                x, y, linestyle="none", marker=drawn.marker or "P", color=drawn.colour, markersize=6, label=plain(drawn.label)
            )
            handles.setdefault(label, dots)
        for label, value in (references or {}).get(name, {}).items():
            handles.setdefault(f"{label} line", _reference(axes, label, value))
    legend(figure, list(handles.values()))
    return Picture(figure, title)


def stacked(rows: Sequence[str], parts: Sequence[str], shares: ArrayLike, title: str, xlabel: str) -> Picture:
    """Draw one bar of 100 % a row, shares [rows, parts] in the order of `parts`; a row of NaN says "not made".

    Raises
    ------
    ValueError
        Shares do not fit the names, or a row of them does not sum to one.
    """
    x = np.asarray(shares, dtype=np.float64)
    if x.shape != (len(rows), len(parts)):
        raise ValueError(f"shares of shape {x.shape} for {len(rows)} rows and {len(parts)} parts")
    made = np.isfinite(x).all(axis=1)
    if not np.allclose(x[made].sum(axis=1), 1):
        raise ValueError(f"shares of {rows[int(np.flatnonzero(made)[0])]!r} and others do not sum to 1")
    import matplotlib

    colours = matplotlib.colormaps["cividis"](np.linspace(0.05, 0.97, len(parts)))
    figure, grid = sheet(title, 1, 1, 0.9 + 0.2 * len(rows) + _LEGEND * -(-len(parts) // 4))
    axes = grid[0, 0]
    name_axes(axes, "", xlabel, "")
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    left = np.zeros(len(rows))
    places = np.arange(len(rows))
    handles = []
    for j, part in enumerate(parts):
        width = np.where(made, x[:, j], 0.0)
        handles.append(axes.barh(places, 100 * width, left=100 * left, color=colours[j], height=0.82, label=plain(part)))
        left = left + width
    for row in np.flatnonzero(~made):
        axes.annotate("not made", (1, row), va="center", fontsize=8, color=GREY)
    axes.set_yticks(places, [plain(look(name).label) for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    legend(figure, list(handles))
    return Picture(figure, title)


def densities(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    xlabel: str = "score",
    *,
    cuts: Mapping[str, Mapping[str, float]] | None = None,
) -> Picture:
    """Draw a small histogram (edges [b + 1], counts [b]) for each sampler in its colour; `cuts` marks named scores.

    Raises
    ------
    ValueError
        There is no histogram.
    """
    if not panels:
        raise ValueError(f"nothing to draw for {title!r}: there is no histogram")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = sheet(title, rows, columns, 0.6 + 1.25 * rows)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for i, (axes, (name, (edges, counts))) in enumerate(zip(grid.ravel(), panels.items(), strict=False)):
        drawn = look(name, i)
        axes.stairs(np.asarray(counts, np.float64), np.asarray(edges, np.float64), fill=True, color=drawn.colour)
        for score in (cuts or {}).get(name, {}).values():
            axes.axvline(score, color=INK, linewidth=0.8)
        axes.set_title(plain(drawn.label), loc="left", fontsize=8, color=INK)
        axes.set_xlabel(plain(xlabel) if i + columns >= len(panels) else "", fontsize=8, color=GREY)
        axes.set_yticks([])
        axes.spines[["left"]].set_visible(False)
        axes.grid(visible=False)
        axes.locator_params(axis="x", nbins=3)
    return Picture(figure, title)


def joint(panels: Mapping[str, ArrayLike], title: str, xlabel: str, ylabel: str) -> Picture:
    """Draw counts [b, b] of percentile (row) under one score against percentile (column) under another, one panel a pair.

    Raises
    ------
    ValueError
        There is no pair.
    """
    if not panels:
        raise ValueError(f"nothing to draw for {title!r}: there is no pair")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = sheet(title, rows, columns, 0.6 + 1.75 * rows, sharex=True, sharey=True)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for i, (axes, (name, counts)) in enumerate(zip(grid.ravel(), panels.items(), strict=False)):
        shown = np.asarray(counts, np.float64)
        axes.grid(visible=False)
        axes.imshow(shown.T, origin="lower", extent=(0, 100, 0, 100), cmap="cividis", aspect="equal")
        axes.plot([0, 100], [0, 100], color="#ffffff", linewidth=0.8, linestyle=(0, (4, 3)))
        name_axes(axes, name, xlabel if i + columns >= len(panels) else "", ylabel if i % columns == 0 else "")
        axes.title.set_fontsize(8)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
    return Picture(figure, title)


def _names(charts: Charts) -> list[str]:
    return list(dict.fromkeys(name for series in charts.values() for name in series))


def _arrays(label: str, one: Series) -> tuple[Floats, Floats]:
    x, y = np.asarray(one.x, np.float64), np.asarray(one.y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"series {label!r} has x of shape {x.shape} and y of shape {y.shape}")
    return x, y


def _curve(axes: Axes, label: str, number: int, one: Series) -> object:
    drawn = look(label, number)
    x, y = _arrays(label, one)
    few = len(x) <= _POINTS
    width = 1.2 if label in (FULL, "random") else 1.6
    (line,) = axes.plot(
        *(x, y),
        label=plain(drawn.label),
        color=drawn.colour,
        linestyle=drawn.dash,
        marker=drawn.marker if few else "",
        markersize=4,
        linewidth=width,
    )
    if one.low is not None and one.high is not None:
        low, high = np.asarray(one.low, np.float64), np.asarray(one.high, np.float64)
        if few:
            axes.vlines(x, low, high, color=drawn.colour, alpha=0.5, linewidth=2.4)
        else:
            axes.fill_between(x, low, high, color=drawn.colour, alpha=0.15, linewidth=0)
    return line


def _reference(axes: Axes, label: str, value: float) -> object:
    drawn = look(label)
    return axes.axhline(value, label=plain(drawn.label), color=drawn.colour, linewidth=1.2, linestyle=drawn.dash)


def _say_missing(axes: Axes, missing: list[str]) -> None:
    if missing:
        names = ", ".join(look(name).label for name in missing)
        text = plain(f"not measured: {names}" if len(missing) < 3 else f"not measured: {len(missing)} of them")
        axes.annotate(text, (0.02, 0.02), xycoords="axes fraction", fontsize=7.5, color=GREY)


def _scales(axes: Axes, log_x: bool, log_y: bool, xticks: Sequence[float] | None) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if xticks is not None:
        axes.set_xticks(list(xticks), [f"{x:g}" for x in xticks])
