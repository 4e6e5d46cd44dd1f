"""Small multiples: one form for each question. Every chart takes plain arrays and returns a `Picture`.

A sampler looks the same in all of them (`looks`). What was not measured is a gap, and is said where a whole series is missing;
spreads over seeds are drawn wherever they are given. `histograms` has the charts of documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation_assets.common.drawing.canvas import (
    Picture,
    label,
    legend,
    legend_rows,
    multiples,
    name_axes,
    sheet,
    write,
)
from curation_assets.common.drawing.looks import FULL, GREY, PAPER, PARTS, REST, look
from curation_assets.common.drawing.scales import Series, from_below, scales
from curation_assets.config.registry import RATES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_LEGEND = 0.19  # inches a line of the legend
_PANEL = 2.35  # inches a row of panels
_POINTS = 12  # a curve with more has no markers, and a band for its interval
_BELOW = 1.35  # times: how far below the curves a logarithmic axis begins
_ASIDE = 0.018  # of the x axis, between intervals over one x
_FRONT = "Pareto front"


def over_rates(
    rows: Mapping[tuple[str, str], Mapping[str, Any]],
    name: str,
    y: str,
    ends: tuple[str, str] | None = ("low", "high"),
) -> Series:
    """Return a sampler's line over the sampling rates, from rows by (sampler, rate): column `y`, and those of its interval."""

    def column(key: str) -> Floats:
        found = (rows.get((name, rate), {}).get(key) for rate in RATES)
        return np.array([np.nan if value is None else value for value in found], np.float64)

    low, high = (column(ends[0]), column(ends[1])) if ends else (None, None)
    return Series(np.array(RATES, np.float64), column(y), low, high)


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
    """Draw lines over x, one panel a chart with a shared y axis; `top` cuts off what is above it, and what is left of all that stays.

    Where there are few points with intervals, those of one x stand side by side.

    Raises
    ------
    ValueError
        There is no series, or one's arrays differ in length.
    """
    names = _names(charts, title)
    top_and_legend = 0.5 + _legend(names, references)
    figure, grid = multiples(title, len(charts), columns, top_and_legend, _PANEL, sharey=True)
    columns = grid.shape[1]
    handles: dict[str, object] = {}
    for i, (axes, (name, series)) in enumerate(zip(grid.ravel(), charts.items(), strict=False)):
        scales(axes, log_x, log_y, xticks)
        last_row = i + columns >= len(charts)
        name_axes(axes, name, xlabel if last_row else "", ylabel if i % columns == 0 else "")
        missing = [n for n, one in series.items() if not np.isfinite(np.asarray(one.y, np.float64)).any()]
        drawn = [own for own in series if own not in missing]
        beside = _beside([series[own] for own in drawn], log_x)
        for own, aside in zip(drawn, beside, strict=True):
            handles.setdefault(own, _curve(axes, own, series[own], aside, log_x))
        for own, value in (references or {}).get(name, {}).items():
            handles.setdefault(own, _reference(axes, own, value))
        if missing:
            _say_missing(axes, missing)
            for sharing in grid.ravel():
                sharing.margins(y=0.14)  # room for what it says
    if top is not None:
        bottom = _lowest([one for series in charts.values() for one in series.values()], log_y)
        grid[0, 0].set_ylim(bottom, top)  # when all is drawn: from then on the axis keeps its range
        from_below(
            grid.ravel()[: len(charts)], [one for series in charts.values() for one in series.values()], top
        )
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
        There is no series, or one's arrays differ in length.
    """
    names = _names(charts, title)
    top = 0.5 + _legend([*names, _FRONT], references)
    figure, grid = multiples(title, len(charts), 2, top, 2.7, sharey=True)
    columns = grid.shape[1]
    handles: dict[str, object] = {}
    lines: dict[str, object] = {}
    for i, (axes, (name, series)) in enumerate(zip(grid.ravel(), charts.items(), strict=False)):
        scales(axes, log_x, False, None)
        name_axes(
            axes, name, xlabel if i + columns >= len(charts) else "", ylabel if i % columns == 0 else ""
        )
        members = [series[n] for n in (front or {}).get(name, ()) if n in series]
        if len(members) > 1:
            ends = np.array([[np.asarray(s.x)[0], np.asarray(s.y)[0]] for s in members], np.float64)
            ends = ends[np.argsort(ends[:, 0])]
            (line,) = axes.plot(*ends.T, color=GREY, linewidth=1, label=_FRONT, zorder=1)
            lines.setdefault(_FRONT, line)
        for own, one in series.items():
            handles.setdefault(own, _dots(axes, own, one))
        for own, value in (references or {}).get(name, {}).items():
            lines.setdefault(own, _reference(axes, own, value))
    legend(figure, [*handles.values(), *lines.values()])
    return Picture(figure, title)


def stacked(
    rows: Sequence[str],
    parts: Sequence[str],
    shares: ArrayLike,
    title: str,
    xlabel: str,
    *,
    ordered: bool = False,
    rest: bool = False,
) -> Picture:
    """Draw one bar of 100 % a row, shares [rows, parts] in the order of `parts`; a row of NaN says "not made".

    `ordered` parts (lengths, say) get a scale from dark to light, others colours of their own; with `rest` the last part is
    what is left over, in grey.

    Raises
    ------
    ValueError
        Shares do not fit the names, a row of them does not sum to one, or there are more parts than colours.
    """
    x = np.asarray(shares, dtype=np.float64)
    if x.shape != (len(rows), len(parts)) or not x.size:
        raise ValueError(f"shares of shape {x.shape} for {len(rows)} rows and {len(parts)} parts")
    made = np.isfinite(x).all(axis=1)
    wrong = np.flatnonzero(made & ~np.isclose(x.sum(axis=1), 1))
    if len(wrong):
        raise ValueError(f"shares of {rows[wrong[0]]!r} sum to {x[wrong[0]].sum():.6g}, not to 1")
    colours = _part_colours(len(parts), ordered, rest)
    legend_height = _LEGEND * legend_rows(parts)
    figure, grid = sheet(title, 1, 1, 0.9 + 0.2 * len(rows) + legend_height)
    axes = grid[0, 0]
    name_axes(axes, "", xlabel, "")
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    left = np.zeros(len(rows))
    places = np.arange(len(rows))
    handles = []
    for j, part in enumerate(parts):
        width = np.where(made, x[:, j], 0.0)
        drawn = {"color": colours[j], "height": 0.84, "edgecolor": PAPER, "linewidth": 0.5}
        handles.append(axes.barh(places, 100 * width, left=100 * left, label=label(part), **drawn))
        left = left + width
    for row in np.flatnonzero(~made):
        axes.annotate("not made", (1, row), va="center", fontsize=8, color=GREY)
    axes.set_yticks(places, [label(look(name).label) for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    legend(figure, handles)
    return Picture(figure, title)


def _part_colours(count: int, ordered: bool, rest: bool) -> list[str]:
    import matplotlib
    from matplotlib.colors import to_hex

    own = count - rest
    if ordered:
        scale = matplotlib.colormaps["cividis"](np.linspace(0.05, 0.97, own))
        colours = [to_hex(colour) for colour in scale]
    elif own > len(PARTS):
        raise ValueError(f"{own} parts, but only {len(PARTS)} colours: sum the smallest up")
    else:
        colours = list(PARTS[:own])
    return [*colours, REST] if rest else colours


def _names(charts: Charts, title: str) -> list[str]:
    names = list(dict.fromkeys(name for series in charts.values() for name in series))
    if not names:
        raise ValueError(f"nothing to draw for {title!r}: there is no series")
    return names


def _legend(names: Sequence[str], references: References | None) -> float:
    """Return the height of the legend in inches."""
    lines = [name for own in (references or {}).values() for name in own]
    return _LEGEND * legend_rows([look(name).label for name in dict.fromkeys([*names, *lines])])


def _arrays(name: str, one: Series) -> tuple[Floats, Floats]:
    x, y = np.asarray(one.x, np.float64), np.asarray(one.y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"series {name!r} has x of shape {x.shape} and y of shape {y.shape}")
    return x, y


def _lowest(series: Sequence[Series], log_y: bool) -> float | None:
    """Return where a logarithmic y axis begins; wide intervals, which may reach to 0, do not press the curves together."""
    values = np.concatenate([np.asarray(one.y, np.float64) for one in series])
    known = values[np.isfinite(values) & (values > 0)]
    return float(known.min()) / _BELOW if log_y and len(known) else None


def _beside(series: Sequence[Series], log_x: bool) -> list[float]:
    """Return how far aside each series is drawn, in units of x or of its logarithm, so that intervals do not hide each other."""
    barred = [
        np.asarray(one.x, np.float64)
        for one in series
        if one.low is not None and np.isfinite(np.asarray(one.low, np.float64)).any()
    ]
    if len(barred) < 2 or max(map(len, barred)) > _POINTS:
        return [0.0] * len(series)
    x = np.concatenate(barred)
    step = _ASIDE * float(np.ptp(np.log(x) if log_x else x))
    return [step * (i - (len(series) - 1) / 2) for i in range(len(series))]


def _curve(axes: Axes, name: str, one: Series, aside: float, log_x: bool) -> object:
    drawn = look(name)
    x, y = _arrays(name, one)
    few = len(x) <= _POINTS
    x = x * np.exp(aside) if log_x else x + aside
    (line,) = axes.plot(
        *(x, y),
        label=label(drawn.label),
        color=drawn.colour,
        linestyle=drawn.dash,
        marker=drawn.marker if few else "",
        markersize=4.5,
        linewidth=1.2 if name in (FULL, "random") else 1.6,
    )
    if one.low is not None and one.high is not None:
        low, high = np.asarray(one.low, np.float64), np.asarray(one.high, np.float64)
        if few:
            axes.vlines(x, low, high, color=drawn.colour, alpha=0.5, linewidth=2.4)
        else:
            axes.fill_between(x, low, high, color=drawn.colour, alpha=0.1, linewidth=0)
    return line


def _dots(axes: Axes, name: str, one: Series) -> object:
    drawn = look(name)
    x, y = _arrays(name, one)
    if one.low is not None and one.high is not None:
        axes.vlines(x, np.asarray(one.low), np.asarray(one.high), color=drawn.colour, alpha=0.5)
    (dots,) = axes.plot(
        *(x, y),
        label=label(drawn.label),
        color=drawn.colour,
        linestyle="none",
        marker=drawn.marker or "o",
        markersize=6,
    )
    return dots


def _reference(axes: Axes, name: str, value: float) -> object:
    drawn = look(name)
    return axes.axhline(
        value, label=label(drawn.label), color=drawn.colour, linewidth=1.2, linestyle=drawn.dash
    )


def _say_missing(axes: Axes, missing: list[str]) -> None:
    names = ", ".join(look(name).label for name in missing)
    text = f"not measured: {names}" if len(missing) < 3 else f"not measured: {len(missing)} of them"
    write(axes, text, 0.02, 0.02, fontsize=7.5)
