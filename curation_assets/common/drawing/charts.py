"""Charts: one form for each question. Every chart takes plain arrays and returns a `Picture`.

A sampler is drawn alike in all of them (`styles`). What was not measured is a gap, and is written where a whole series is missing;
spreads over seeds are drawn wherever they are given.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation_assets.common.drawing.picture import (
    WIDTH,
    Picture,
    label,
    legend,
    legend_height,
    name_axes,
    plain,
    sheet,
    write,
)
from curation_assets.common.drawing.styles import (
    DASHES,
    FULL,
    GREY,
    INK,
    MARKERS,
    PAPER,
    PARTS,
    RANDOM,
    REST,
    Style,
    style_of,
)
from curation_assets.config.amount import of_key
from curation_assets.config.registry import SAMPLERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_POINTS = 12  # a curve with more has no markers, and a band for its interval
_BELOW, _BEFORE = 1.35, 1.4  # times: how far below and before the curves logarithmic axes begin
_ASIDE = 0.018  # of the x axis, between intervals over one x
_FRONT = "Pareto front"
_MOST_BINS = 120
_SMALL = 4  # small panels beside each other
_APART = 0.1  # of a panel's width: marks that are closer have one label
_NOTE: dict[str, Any] = {"va": "bottom", "fontsize": 6.5, "most": 30}


class Series(NamedTuple):
    """x and y [points], and the ends of an interval around each y; NaN is not measured."""

    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None

    @property
    def measured(self) -> bool:
        """Whether there is any point."""
        return bool(np.isfinite(np.asarray(self.y, np.float64)).any())

    @property
    def barred(self) -> bool:
        """Whether any point has an interval."""
        return self.low is not None and bool(np.isfinite(np.asarray(self.low, np.float64)).any())


Charts = Mapping[str, Mapping[str, Series]]
"""Panel -> name -> series."""
References = Mapping[str, Mapping[str, float]]
"""Panel -> name -> where its line is."""


def over_amounts(
    keys: Sequence[str],
    rows: Mapping[tuple[str, str], Mapping[str, Any]],
    name: str,
    y: str,
    ends: tuple[str, str] | None = ("low", "high"),
) -> Series:
    """Return a sampler's line over amounts of one kind, from rows by (sampler, key): column `y`, and those of its interval."""

    def column(key: str) -> Floats:
        values = (rows.get((name, amount), {}).get(key) for amount in keys)
        return np.array([np.nan if value is None else value for value in values], np.float64)

    low, high = (column(ends[0]), column(ends[1])) if ends else (None, None)
    return Series([_place_of(amount) for amount in keys], column(y), low, high)


def amount_curves(
    keys: Sequence[str], charts: Charts, title: str, ylabel: str, references: References
) -> Picture:
    """Draw curves over amounts of one kind: sampling rates, or numbers of documents or tokens."""
    ticks = {_place_of(key): str(of_key(key)).partition(" ")[0].removesuffix("%") for key in keys}
    unit = ", %" if of_key(keys[0]).kind == "rate" else ""
    return curves(charts, title, f"{axis(keys)}{unit}", ylabel, references=references, xticks=ticks)


def axis(keys: Sequence[str]) -> str:
    """Return what an axis over amounts of one kind is called."""
    kind = of_key(keys[0]).kind
    return "sampling rate" if kind == "rate" else f"{kind} of the subset"


def _place_of(key: str) -> float:
    """Return where an amount is on its axis."""
    amount = of_key(key)
    return float(key) if amount.kind == "rate" else amount.value


def curves(
    charts: Charts,
    title: str,
    xlabel: str,
    ylabel: str,
    *,
    log: bool = False,
    references: References | None = None,
    xticks: Mapping[float, str] | None = None,
    top: float | None = None,
    styles: Mapping[str, Style] | None = None,
) -> Picture:
    """Draw lines over x, one panel a chart with a shared y axis; `top` cuts off what is above it, and what is left of all that stays.

    Where there are few points with intervals, those of one x stand side by side. `log` axes are logarithmic both.
    """
    every = [one for series in charts.values() for one in series.values()]
    figure, grid, columns = _multiples(title, charts, references, 2.35 if len(charts) > 1 else 2.9)
    handles: dict[str, object] = {}
    for i, (axes, (panel, series)) in enumerate(zip(grid, charts.items(), strict=True)):
        _scale(axes, log, xticks)
        last_row = i + columns >= len(charts)
        name_axes(axes, panel, xlabel if last_row else "", ylabel if i % columns == 0 else "")
        drawn = {name: one for name, one in series.items() if one.measured}
        for (name, one), aside in zip(drawn.items(), _beside(list(drawn.values()), log), strict=True):
            style = (styles or {}).get(name) or style_of(name)
            handles.setdefault(name, _curve(axes, one, style, aside, log, thin=name in (FULL, RANDOM)))
        for name, value in (references or {}).get(panel, {}).items():
            handles.setdefault(name, _reference(axes.axhline, name, value))
        missing = [style_of(name).label for name in series if name not in drawn]
        if missing:
            names = ", ".join(missing) if len(missing) < 3 else f"{len(missing)} of them"
            write(axes, f"not measured: {names}", 0.02, 0.02, fontsize=7.5)
            for sharing in grid:
                sharing.margins(y=0.14)  # room for what it says
    if top is not None:
        # When all is drawn: from then on the axis keeps its range.
        grid[0].set_ylim(_lowest(every) if log else None, top)
        _begin_below(grid, every, top)
    legend(figure, list(handles.values()))
    return Picture(figure)


def lines(series: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str, xlabel: str, ylabel: str) -> Picture:
    """Draw y over x for each named series, in the order given, which decides the looks; points whose y is NaN leave a gap."""
    count = len(PARTS)
    styles = {
        name: Style(PARTS[i % count], MARKERS[i // count % 5], DASHES[i // count % 5], name)
        for i, name in enumerate(series)
    }
    charts = {"": {name: Series(*xy) for name, xy in series.items()}}
    return curves(charts, title, xlabel, ylabel, styles=styles)


def points(
    charts: Charts,
    title: str,
    xlabel: str,
    ylabel: str,
    front: Mapping[str, Sequence[str]],
    references: References,
) -> Picture:
    """Draw each series as points with their intervals over a logarithmic x; `front` names, by panel, those to be joined by a line."""
    figure, grid, columns = _multiples(title, charts, {"": {_FRONT: 0.0}, **references}, 2.7)
    handles: dict[str, object] = {}
    lines: dict[str, object] = {}
    for i, (axes, (panel, series)) in enumerate(zip(grid, charts.items(), strict=True)):
        _scale(axes, log_x=True)
        last_row = i + columns >= len(charts)
        name_axes(axes, panel, xlabel if last_row else "", ylabel if i % columns == 0 else "")
        members = [series[name] for name in front.get(panel, ()) if name in series]
        if len(members) > 1:
            ends = sorted((np.asarray(s.x)[0], np.asarray(s.y)[0]) for s in members)
            (line,) = axes.plot(*zip(*ends, strict=True), color=GREY, linewidth=1, label=_FRONT, zorder=1)
            lines.setdefault(_FRONT, line)
        for name, one in series.items():
            style = style_of(name)
            if one.low is not None and one.high is not None:
                axes.vlines(one.x, one.low, one.high, color=style.colour, alpha=0.5)
            drawn = {"color": style.colour, "marker": style.marker or "o", "label": label(style.label)}
            (dots,) = axes.plot(one.x, one.y, linestyle="none", markersize=6, **drawn)
            handles.setdefault(name, dots)
        for name, value in references.get(panel, {}).items():
            lines.setdefault(name, _reference(axes.axhline, name, value))
    legend(figure, [*handles.values(), *lines.values()])
    return Picture(figure)


def stacked(
    rows: Sequence[str],
    parts: Sequence[str],
    shares: Floats,
    title: str,
    xlabel: str,
    *,
    ordered: bool = False,
    rest: bool = False,
) -> Picture:
    """Draw one bar of 100 % a row, shares [rows, parts] in the order of `parts`; a row of NaN says "not made".

    `ordered` parts (lengths, say) get a scale from dark to light, others colours of their own; with `rest` the last part is
    what is left over, in grey.
    """
    import matplotlib

    own = len(parts) - rest
    if not ordered and own > len(PARTS):
        raise ValueError(f"{own} parts, but only {len(PARTS)} colours: sum the smallest up")
    scale = matplotlib.colormaps["cividis"](np.linspace(0.05, 0.97, own)) if ordered else PARTS[:own]
    figure, (axes,), _ = sheet(title, 1, 1, 0.9 + legend_height(parts), 0.2 * len(rows))
    name_axes(axes, "", xlabel, "")
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    made, places = np.isfinite(shares.sum(axis=1)), np.arange(len(rows))
    widths = np.where(made[:, None], shares, 0.0)
    lefts = np.cumsum(widths, axis=1) - widths
    bar: dict[str, Any] = {"height": 0.84, "edgecolor": PAPER, "linewidth": 0.5}
    handles = [
        axes.barh(places, 100 * width, left=100 * left, label=label(part), color=colour, **bar)
        for part, colour, width, left in zip(parts, [*scale, REST], widths.T, lefts.T, strict=False)
    ]
    for row in np.flatnonzero(~made):
        axes.annotate("not made", (1, row), va="center", fontsize=8, color=GREY)
    axes.set_yticks(places, [label(style_of(name).label) for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    legend(figure, handles)
    return Picture(figure)


class Dot(NamedTuple):
    """A value and the ends of its interval; None is not measured, or no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


def forest(
    panels: Mapping[str, Mapping[str, Dot]],
    names: Sequence[str],
    title: str,
    xlabels: Mapping[str, str],
    references: References,
) -> Picture:
    """Draw one line a name, with a gap between families, one panel a score, a dot with its interval, references as vertical lines.

    It is what a comparison at one sampling rate looks like: lines over rates would be single points. A name that a panel lacks, or that
    has no value there, is written as not measured.
    """
    families = [SAMPLERS[name].family if name in SAMPLERS else "" for name in names]
    steps = [0.0, *(1.0 if one == other else 1.5 for one, other in pairwise(families))]
    places = np.cumsum(steps)
    figure, grid, _ = sheet(title, len(panels), 4, 0.85, 0.185 * (places[-1] + 1) + 0.55, sharey=True)
    handles: dict[str, object] = {}
    for axes, (panel, dots) in zip(grid, panels.items(), strict=True):
        heading = "\n".join(plain(line) for line in textwrap.wrap(panel, 18))
        axes.set_title(heading, loc="left", fontsize=8.5, color=INK)
        axes.set_xlabel(plain(xlabels.get(panel, "")), fontsize=8, color=GREY)
        axes.spines[["left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
        for name, value in references.get(panel, {}).items():
            handles.setdefault(name, _reference(axes.axvline, name, value))
        for name, place in zip(names, places, strict=True):
            _dot(axes, float(place), style_of(name), dots.get(name, Dot(None)))
        low, high = axes.get_xlim()
        if high - low < 1e-9 * max(abs(low), abs(high), 1.0):  # all values equal but for rounding
            axes.set_xlim(round(low, 6) - 1.0, round(low, 6) + 1.0)
    grid[0].set_yticks(places, [plain(style_of(name).label) for name in names])
    grid[0].set_ylim(places[-1] + 0.7, -0.7)
    legend(figure, list(handles.values()))
    return Picture(figure)


def _dot(axes: Axes, place: float, style: Style, dot: Dot) -> None:
    if dot.value is None or not np.isfinite(dot.value):
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "center", "va": "center"}
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
        axes.annotate("not measured", (0.5, place), fontsize=6.5, color=GREY, bbox=box, **where)
        return
    if dot.low is not None and dot.high is not None:
        axes.hlines(place, dot.low, dot.high, color=style.colour, alpha=0.55, linewidth=2.4)
    axes.plot([dot.value], [place], marker=style.marker or "P", color=style.colour, markersize=5)


def histogram(values: ArrayLike, title: str, xlabel: str) -> Picture:
    """Draw how `values` (any shape) are distributed, with their number and median; how many are not finite is written.

    Bins are Freedman and Diaconis's, 120 of them at the most.

    Raises
    ------
    ValueError
        There is no finite value.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    finite = x[np.isfinite(x)]
    if not len(finite):
        raise ValueError(f"nothing to draw for {title!r}: none of {len(x):,} values is finite")
    low, median, high = (float(q) for q in np.percentile(finite, [25, 50, 75]))
    span, width = float(np.ptp(finite)), 2 * (high - low) / len(finite) ** (1 / 3)
    bins = min(-(-span // width), _MOST_BINS) if width else _MOST_BINS if span else 1
    facts = f"{len(x):,} values, median {median:.4g}"
    facts += f"; {len(x) - len(finite):,} not finite, left out" if len(finite) < len(x) else ""
    figure, (axes,), _ = sheet(title, 1, 1, 3.1, 0)
    axes.stairs(*np.histogram(finite, int(bins)), fill=True, color=PARTS[0])
    axes.axvline(median, color=PARTS[-1], linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    name_axes(axes, "", xlabel, "count")
    axes.set_title(facts, loc="left", fontsize=8.5, color=GREY)
    return Picture(figure)


def densities(
    histograms: Mapping[str, tuple[Floats, NDArray]],
    title: str,
    cuts: Mapping[str, Mapping[str, float]],
    notes: Mapping[str, str],
) -> Picture:
    """Draw a small histogram (edges [b + 1], counts [b]) for each sampler in its colour.

    `cuts` marks scores by name, {sampler: {mark: score}}; of marks that lie close together the first has the label. `notes` is a
    line of text over a histogram.
    """
    figure, grid, _ = sheet(title, len(histograms), _SMALL, 0.55, 1.22)
    for axes, (name, (edges, counts)) in zip(grid, histograms.items(), strict=True):
        style = style_of(name)
        axes.stairs(counts, edges, fill=True, color=style.colour)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1.25 * max(float(counts.max()), 1.0))  # room for the marks' labels
        _mark(axes, cuts.get(name, {}), edges[0], edges[-1])
        write(axes, notes.get(name, ""), 0.02, 0.88, **_NOTE)
        axes.set_title(label(style.label), loc="left", fontsize=7.5, color=INK, pad=3)
        axes.set_yticks([])
        axes.spines[["left"]].set_visible(False)
        axes.grid(visible=False)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(labelsize=7)
    figure.supxlabel("score", fontsize=8.5, color=GREY)
    return Picture(figure)


def _mark(axes: Axes, marks: Mapping[str, float], low: float, high: float) -> None:
    """Draw a line at each mark, and its name at the top where there is room for it."""
    taken: list[float] = []
    for name, score in marks.items():
        if not low <= score <= high:
            continue
        axes.axvline(score, ymax=0.86, color=INK, linewidth=0.7)
        place = (score - low) / (high - low)
        if all(abs(place - other) >= _APART for other in taken):
            taken.append(place)
            write(axes, name, place, 0.87, ha="center", color=INK, **_NOTE)


def joint(counts: Mapping[str, NDArray], title: str, xlabel: str, ylabel: str) -> Picture:
    """Draw how many documents [b, b] lie at each percentile under one score (row) and another (column), one panel a pair.

    Colours are multiples of what two orders without relation would give: one for all panels.
    """
    ratios = {name: one * (one.size / one.sum()) for name, one in counts.items()}
    most = max(2.0, float(np.quantile(np.concatenate([one.ravel() for one in ratios.values()]), 0.98)))
    side = (WIDTH - 0.5) / _SMALL
    figure, grid, columns = sheet(title, len(ratios), _SMALL, 1.3, side + 0.12, sharex=True, sharey=True)
    scale: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": most, "interpolation": "none"}
    for i, (axes, (name, ratio)) in enumerate(zip(grid, ratios.items(), strict=True)):
        axes.grid(visible=False)
        image = axes.imshow(ratio.T, origin="lower", extent=(0, 100, 0, 100), **scale)
        name_axes(axes, name, xlabel if i // columns == (len(ratios) - 1) // columns else "", "")
        axes.title.set_fontsize(8)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        axes.tick_params(labelbottom=i + columns >= len(ratios))
    figure.supylabel(plain(ylabel), fontsize=8.5, color=GREY)
    place: dict[str, Any] = {"orientation": "horizontal", "fraction": 0.05, "aspect": 50, "pad": 0.02}
    bar = figure.colorbar(image, ax=figure.axes, extend="max", **place)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, colors=GREY, labelcolor=INK, length=2)
    bar.set_label("documents, 1 is what two unrelated orders would give", fontsize=7.5, color=GREY)
    return Picture(figure)


def heat_map(names: Sequence[str], matrix: Floats, title: str) -> Picture:
    """Draw a correlation [k, k] of each pair as a coloured cell with its value, from blue at -1 to red at 1; grey where it is NaN."""
    labels = [plain(style_of(name).label) for name in names]
    margin = max(map(len, labels)) * 0.075 + 0.2
    side = min((WIDTH - margin) / len(labels), 0.6)
    figure, (axes,), _ = sheet(title, 1, 1, margin + 0.4, side * len(labels))
    axes.grid(visible=False)
    axes.set_facecolor("#d0d0d0")
    axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="equal", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(labels)), labels, rotation=90, color=INK)
    axes.set_yticks(range(len(labels)), labels, color=INK)
    size = min(8.0, 72 * side / 2.7)  # four characters fill a cell
    for (i, j), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            text = f"{round(float(value), 2) + 0.0:.2f}"
            text = {"1.00": "1", "-1.00": "-1", "0.00": "0"}.get(text, text.replace("0.", ".", 1))
            ink = "#f7f7f7" if abs(value) > 0.62 else "#222222"  # on the cell's colour, not on the page's
            axes.text(j, i, text, ha="center", va="center", fontsize=size, color=ink)
    return Picture(figure)


def _multiples(title: str, charts: Charts, references: References | None, row: float) -> Any:
    """Return a sheet of two panels a row with room for one legend of all series and references."""
    named = [*charts.values(), *(references or {}).values()]
    names = [style_of(name).label for name in dict.fromkeys(name for own in named for name in own)]
    return sheet(title, len(charts), 2, 0.5 + legend_height(names), row, sharey=True)


def _reference(line: Any, name: str, value: float) -> object:
    """Draw a line all through a panel, by its `axhline` or `axvline`."""
    style = style_of(name)
    return line(value, label=label(style.label), color=style.colour, linewidth=1.2, linestyle=style.dash)


def _curve(axes: Axes, one: Series, style: Style, aside: float, log: bool, *, thin: bool) -> object:
    x = np.asarray(one.x, np.float64)
    few = len(x) <= _POINTS
    x = x * np.exp(aside) if log else x + aside
    drawn: dict[str, Any] = {"color": style.colour, "linestyle": style.dash}
    drawn |= {"marker": style.marker if few else "", "linewidth": 1.2 if thin else 1.6}
    (line,) = axes.plot(x, one.y, label=label(style.label), markersize=4.5, **drawn)
    if one.low is not None and one.high is not None:
        low, high = np.asarray(one.low, np.float64), np.asarray(one.high, np.float64)
        if few:
            axes.vlines(x, low, high, color=style.colour, alpha=0.5, linewidth=2.4)
        else:
            axes.fill_between(x, low, high, color=style.colour, alpha=0.1, linewidth=0)
    return line


def _beside(series: Sequence[Series], log: bool) -> list[float]:
    """Return how far aside each series is drawn, in units of x or of its logarithm, so that intervals do not hide each other."""
    barred = [np.asarray(one.x, np.float64) for one in series if one.barred]
    if len(barred) < 2 or max(map(len, barred)) > _POINTS:
        return [0.0] * len(series)
    x = np.concatenate(barred)
    step = _ASIDE * float(np.ptp(np.log(x) if log else x))
    return [step * (i - (len(series) - 1) / 2) for i in range(len(series))]


def _scale(
    axes: Axes, log: bool = False, xticks: Mapping[float, str] | None = None, *, log_x: bool = False
) -> None:
    """Set the scales of a panel and how its ticks are written; `xticks` are the only ones on the x axis, by their place, if given."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    if log or log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        short = EngFormatter(sep="")  # 20k, 5M; but 0.01, not 10m
        axes.xaxis.set_major_formatter(lambda x, _: short(x) if x >= 1000 else f"{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    if xticks is not None:
        axes.set_xticks(list(xticks), list(xticks.values()))


def _lowest(series: Sequence[Series]) -> float | None:
    """Return where a logarithmic y axis begins; wide intervals, which may reach to 0, do not press the curves together."""
    values = np.concatenate([np.asarray(one.y, np.float64) for one in series])
    known = values[values > 0]
    return float(known.min()) / _BELOW if len(known) else None


def _begin_below(panels: Sequence[Axes], series: Sequence[Series], top: float) -> None:
    """Begin logarithmic x axes a little before the first of the curves comes below the top."""
    from matplotlib.ticker import LogLocator

    x, y = (np.concatenate([np.asarray(one[i], np.float64) for one in series]) for i in (0, 1))
    if not (y <= top).any():
        return
    for axes in panels:
        if axes.get_xscale() == "log":
            axes.set_xlim(left=x[y <= top].min() / _BEFORE)
            left, right = axes.get_xlim()
            if right < 30 * left:
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
