"""Figures as PNG bytes, drawn for a side panel about 600 pixels wide.

White canvas (the page around it may be dark), grey for everything that is not data, and the palette of Okabe and
Ito, which people with any colour vision can tell apart; markers and line styles tell the rest. Drawn without
pyplot, so nothing is shared between threads.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from curation_assets.common.drawing.canvas import to_png as _png

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


def _bin_edges(x: np.ndarray) -> np.ndarray:
    """Return edges by Freedman and Diaconis's rule, at most `_MOST_BINS` of them over the whole range."""
    quarter, three = np.percentile(x, [25, 75])
    width = 2 * (three - quarter) / len(x) ** (1 / 3)
    span = float(x.max() - x.min())
    bins = int(np.clip(np.ceil(span / width), 1, _MOST_BINS)) if width > 0 else _MOST_BINS
    return np.histogram_bin_edges(x, bins=bins if span > 0 else 1)
