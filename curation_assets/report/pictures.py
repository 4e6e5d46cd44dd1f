"""Figures as PNG bytes, drawn for a side panel about 600 pixels wide.

White canvas (the page around it may be dark), grey for everything that is not data, and the palette of Okabe and
Ito, which people with any colour vision can tell apart; markers and line styles tell the rest. Drawn without
pyplot, so nothing is shared between threads.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_WIDTH = 6.2  # inches, with _DPI 868 pixels: sharp at 600 on a dense screen too
_DPI = 140
_INK, _GREY, _FAINT = "#222222", "#6b6b6b", "#e6e6e6"
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX"
_MOST_BINS = 120


def mark(i: int) -> str:
    """Return the marker of a series of points: with its colour one of a kind, as there are as many colours as markers."""
    return _MARKERS[(i + i // len(_PALETTE)) % len(_MARKERS)]


def histogram(values: ArrayLike, title: str, xlabel: str) -> bytes:
    """Draw how `values` (any shape) are distributed, with their number and median.

    Values that are not finite cannot be drawn; the figure says how many there are.

    Raises
    ------
    ValueError
        There is no finite value.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    finite = x[np.isfinite(x)]
    if not len(finite):
        raise ValueError(f"nothing to draw for {title!r}: none of {len(x):,} values is finite")
    median = float(np.median(finite))
    facts = f"{len(x):,} values, median {median:.4g}"
    if len(finite) < len(x):
        facts += f"; {len(x) - len(finite):,} not finite, left out"
    figure, axes = _figure(title, facts, height=3.1)
    counts, edges = np.histogram(finite, bins=_bin_edges(finite))
    axes.stairs(counts, edges, fill=True, color=_PALETTE[0])
    axes.axvline(median, color=_PALETTE[1], linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    _thousands(axes.yaxis)
    _name_axes(axes, xlabel, "count")
    return _png(figure)


def heatmap(
    matrix: ArrayLike, labels: Sequence[str], title: str, *, column_labels: Sequence[str] | None = None
) -> bytes:
    """Draw a matrix [rows, columns] as coloured cells with their values, such as correlations of samplers.

    `labels` name the rows, and the columns too unless `column_labels` do. Values between -1 and 1 with a negative
    one among them get a diverging scale from -1 to 1, others a sequential one. NaN is an empty grey cell.

    Raises
    ------
    ValueError
        The labels do not fit the matrix, or there is no finite value.
    """
    m = np.asarray(matrix, dtype=np.float64)
    columns = labels if column_labels is None else column_labels
    if m.shape != (len(labels), len(columns)):
        raise ValueError(f"matrix of shape {m.shape} with {len(labels)} row and {len(columns)} column labels")
    finite = m[np.isfinite(m)]
    if not len(finite):
        raise ValueError(f"nothing to draw for {title!r}: no cell is finite")
    diverging = bool(finite.min() < 0 and np.abs(finite).max() <= 1 + 1e-9)
    low, high = (-1.0, 1.0) if diverging else (finite.min(), finite.max())
    longest = max(map(len, labels)) * 0.075
    side = (_WIDTH - longest - 0.7) / len(columns)
    height = side * len(labels) if len(columns) > 7 else 0.42 * len(labels)
    figure, axes = _figure(title, "", height=height + max(map(len, columns)) * 0.075 + 0.6)
    shown = axes.imshow(m, cmap="RdBu_r" if diverging else "cividis", vmin=low, vmax=high, aspect="auto")
    axes.set_facecolor("#d0d0d0")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 6 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.spines[:].set_visible(False)
    size = min(8.0, 72 * side / 2.6)  # four characters fill a cell
    brightness = shown.to_rgba(m)[..., :3] @ (0.299, 0.587, 0.114)
    for (i, j), value in np.ndenumerate(m):
        if np.isfinite(value):
            ink = _INK if brightness[i, j] > 0.55 else "white"
            axes.text(j, i, _short(value), ha="center", va="center", fontsize=size, color=ink)
    if len(columns) <= 7:
        bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8.5, color=_GREY)
    return _png(figure)


def lines(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    *,
    reference: tuple[str, float] | None = None,
) -> bytes:
    """Draw y over x for each named series, in the order given; `reference` adds a named horizontal line.

    Points whose y is NaN leave a gap.

    Raises
    ------
    ValueError
        There is no series, x and y differ in length, or `log_x` meets an x that is not positive.
    """
    if not series:
        raise ValueError(f"nothing to draw for {title!r}: there is no series")
    rows = -(-(len(series) + bool(reference)) // 3)
    figure, axes = _figure(title, "", height=3.3 + 0.17 * rows)
    for i, (name, (x, y)) in enumerate(series.items()):
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if xs.ndim != 1 or xs.shape != ys.shape:
            raise ValueError(f"series {name!r} has x of shape {xs.shape} and y of shape {ys.shape}")
        if log_x and not (xs > 0).all():
            raise ValueError(f"series {name!r} has an x that is not positive: no place on a logarithmic axis")
        look = i // len(_PALETTE)
        axes.plot(
            xs,
            ys,
            label=_plain(name),
            color=_PALETTE[i % len(_PALETTE)],
            linestyle=_DASHES[look % len(_DASHES)],
            marker=_MARKERS[look % len(_MARKERS)] if len(xs) <= 25 else "",
            markersize=4,
            linewidth=1.6,
        )
    if reference is not None:
        axes.axhline(
            reference[1], label=_plain(reference[0]), color=_GREY, linewidth=1.2, linestyle=(0, (6, 3))
        )
    if log_x:
        axes.set_xscale("log")
    axes.grid(color=_FAINT, linewidth=0.8)
    _name_axes(axes, xlabel, ylabel)
    if len(series) > 1 or reference is not None:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=_INK)
    return _png(figure)


def bars_with_intervals(
    names: Sequence[str],
    values: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    title: str,
    xlabel: str,
    *,
    reference: tuple[str, float] | None = None,
) -> bytes:
    """Draw one value per name with a bar over its interval from low to high, first name on top.

    The value is a point, not a bar from zero: the differences that matter here (perplexities, scores) are small
    beside the values. `reference` adds a named vertical line, such as training on everything. A NaN value is
    drawn as "not measured".

    Raises
    ------
    ValueError
        Lengths differ, there is no name, or a value lies outside its interval.
    """
    v, low, high = (np.asarray(a, dtype=np.float64) for a in (values, lows, highs))
    if not len(names) or not v.shape == low.shape == high.shape == (len(names),):
        raise ValueError(f"{len(names)} names with {v.shape} values, {low.shape} lows and {high.shape} highs")
    outside = np.flatnonzero((v < low) | (v > high))
    if len(outside):
        i = outside[0]
        raise ValueError(f"{names[i]}: {v[i]} lies outside its interval from {low[i]} to {high[i]}")
    figure, axes = _figure(title, "", height=0.75 + 0.25 * len(names) + 0.2 * bool(reference))
    rows = np.arange(len(names))
    axes.hlines(rows, low, high, color=_PALETTE[0], linewidth=6, alpha=0.3)
    axes.plot(v, rows, "o", color=_PALETTE[0], markersize=5.5)
    for row in np.flatnonzero(np.isnan(v)):
        axes.annotate(
            "not measured",
            (0.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=_GREY,
        )
    if reference is not None:
        axes.axvline(
            reference[1], color=_PALETTE[1], linewidth=1.2, linestyle=(0, (5, 3)), label=_plain(reference[0])
        )
        figure.legend(loc="outside lower center", frameon=False, fontsize=8, labelcolor=_INK)
    axes.set_yticks(rows, [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_FAINT, linewidth=0.8)
    _name_axes(axes, xlabel, "")
    return _png(figure)


def png_markdown(png: bytes, alt: str) -> str:
    """Return a picture as Markdown that carries it within, as Dagster's metadata needs."""
    text = "".join(c if c.isalnum() or c in " .,:;%-()/+" else " " for c in alt).strip()
    return f"![{text}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _figure(title: str, facts: str, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure in the house's style; `facts` is a grey line under the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b0b0b0")
    axes.tick_params(colors=_GREY, labelcolor=_INK, labelsize=8.5, length=3)
    axes.set_title(
        _plain(title), loc="left", fontsize=11, fontweight="bold", color=_INK, pad=22 if facts else 8
    )
    axes.annotate(facts, (0, 1), (0, 7), "axes fraction", "offset points", fontsize=8.5, color=_GREY)
    return figure, axes


def _name_axes(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(_plain(xlabel), fontsize=9, color=_GREY)
    axes.set_ylabel(_plain(ylabel), fontsize=9, color=_GREY)


def _thousands(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_major_formatter("{x:,.0f}")


def _plain(text: str) -> str:
    """Keep matplotlib from reading `$...$` as a formula, or a leading underscore as "not in the legend"."""
    text = text.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def _short(value: float) -> str:
    """Render a cell's value in at most about four characters: `.87`, `-.5`, `12.3`, `1.2e4`."""
    if abs(value) < 0.995:
        return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)  # + 0.0 turns -0.0 into 0.0
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.1e}".replace("e+0", "e")


def _bin_edges(x: np.ndarray) -> np.ndarray:
    """Return edges by Freedman and Diaconis's rule, at most `_MOST_BINS` of them over the whole range."""
    quarter, three = np.percentile(x, [25, 75])
    width = 2 * (three - quarter) / len(x) ** (1 / 3)
    span = float(x.max() - x.min())
    bins = int(np.clip(np.ceil(span / width), 1, _MOST_BINS)) if width > 0 else _MOST_BINS
    return np.histogram_bin_edges(x, bins=bins if span > 0 else 1)


def _png(figure: Figure) -> bytes:
    """Render to PNG; the same figure gives the same bytes.

    256 colours are plenty for a chart and make it a third of the size: it is stored in the run's event log.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    buffer = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
