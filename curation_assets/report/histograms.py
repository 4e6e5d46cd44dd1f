"""Charts of documents: how scores are distributed, and how percentiles under two samplers go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from curation_assets.common.drawing.canvas import WIDTH, Picture, label, multiples, name_axes, plain, write
from curation_assets.common.drawing.looks import GREY, INK, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_NOTE: dict[str, Any] = {"va": "bottom", "fontsize": 6.5, "most": 30}
_APART = 0.1  # of a panel's width: marks that are closer have one label


def densities(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    xlabel: str = "score",
    *,
    cuts: Mapping[str, Mapping[str, float]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Picture:
    """Draw a small histogram (edges [b + 1], counts [b]) for each sampler in its colour.

    `cuts` marks scores by name, {sampler: {mark: score}}; of marks that lie close together the first has the label. `notes` is a
    line of text over a histogram.

    Raises
    ------
    ValueError
        There is no histogram, or a histogram's edges do not fit its counts.
    """
    if not panels:
        raise ValueError(f"nothing to draw for {title!r}: there is no histogram")
    figure, grid = multiples(title, len(panels), _COLUMNS, 0.55, 1.22)
    for axes, (name, (edges, counts)) in zip(grid.ravel(), panels.items(), strict=False):
        drawn = look(name)
        x, y = np.asarray(edges, np.float64), np.asarray(counts, np.float64)
        if x.shape != (len(y) + 1,):
            raise ValueError(f"{name!r} has {len(x)} edges for {len(y)} counts")
        axes.stairs(y, x, fill=True, color=drawn.colour)
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(0, 1.25 * max(float(y.max()), 1.0))  # room for the marks' labels
        _mark(axes, (cuts or {}).get(name, {}), x[0], x[-1])
        write(axes, (notes or {}).get(name, ""), 0.02, 0.88, **_NOTE)
        axes.set_title(label(drawn.label), loc="left", fontsize=7.5, color=INK, pad=3)
        axes.set_yticks([])
        axes.spines[["left"]].set_visible(False)
        axes.grid(visible=False)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(labelsize=7)
    figure.supxlabel(plain(xlabel), fontsize=8.5, color=GREY)
    return Picture(figure, title)


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


def joint(panels: Mapping[str, ArrayLike], title: str, xlabel: str, ylabel: str) -> Picture:
    """Draw how many documents [b, b] lie at each percentile under one score (row) and another (column), one panel a pair.

    Colours are multiples of what two orders without relation would give: one for all panels.

    Raises
    ------
    ValueError
        There is no pair, or a pair's counts are no square or are all zero.
    """
    if not panels:
        raise ValueError(f"nothing to draw for {title!r}: there is no pair")
    shown = {name: np.asarray(counts, np.float64) for name, counts in panels.items()}
    for name, counts in shown.items():
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.sum():
            raise ValueError(f"{name!r} has counts of shape {counts.shape} with the sum {counts.sum():g}")
    shown = {name: counts * (counts.size / counts.sum()) for name, counts in shown.items()}
    most = max(2.0, float(np.quantile(np.concatenate([c.ravel() for c in shown.values()]), 0.98)))
    side = (WIDTH - 0.5) / _COLUMNS
    figure, grid = multiples(title, len(panels), _COLUMNS, 1.3, side + 0.12, sharex=True, sharey=True)
    rows, columns = grid.shape
    for i, (axes, (name, ratio)) in enumerate(zip(grid.ravel(), shown.items(), strict=False)):
        axes.grid(visible=False)
        drawn = axes.imshow(
            ratio.T,
            origin="lower",
            extent=(0, 100, 0, 100),
            cmap="cividis",
            vmin=0,
            vmax=most,
            interpolation="none",
        )
        name_axes(axes, name, xlabel if i // columns == rows - 1 else "", "")
        axes.title.set_fontsize(8)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        axes.tick_params(labelbottom=i + columns >= len(panels))
    figure.supylabel(plain(ylabel), fontsize=8.5, color=GREY)
    bar = figure.colorbar(
        drawn,
        ax=list(grid.ravel()),
        orientation="horizontal",
        fraction=0.05,
        aspect=50,
        pad=0.02,
        extend="max",
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, colors=GREY, labelcolor=INK, length=2)
    bar.set_label("documents, 1 is what two unrelated orders would give", fontsize=7.5, color=GREY)
    return Picture(figure, title)
