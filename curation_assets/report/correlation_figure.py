"""The heat map of the samplers' correlations (v1, figure 7)."""

from __future__ import annotations

import numpy as np

from curation_assets.common.drawing.canvas import WIDTH, Picture, plain, sheet
from curation_assets.common.drawing.looks import INK, look
from curation_assets.report.correlation import Correlation

_CHARACTER = 0.075  # inches
_DARK = 0.62  # of |tau|: beyond it, ink on the cell would not be read


def heat_map(correlation: Correlation, title: str) -> Picture:
    """Draw tau of every pair as a coloured cell with its value, from blue at -1 to red at 1; grey where there is none.

    Raises
    ------
    ValueError
        No pair has a tau.
    """
    m = correlation.matrix
    if not np.isfinite(m).any():
        raise ValueError(f"nothing to draw for {title!r}: no pair of samplers has a tau")
    labels = [look(name).label for name in correlation.names]
    margin = max(map(len, labels)) * _CHARACTER + 0.2
    side = min((WIDTH - margin) / len(labels), 0.6)
    figure, grid = sheet(title, 1, 1, side * len(labels) + margin + 0.4)
    axes = grid[0, 0]
    axes.grid(visible=False)
    axes.set_facecolor("#d0d0d0")
    axes.imshow(m, cmap="RdBu_r", vmin=-1, vmax=1, aspect="equal", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    places = range(len(labels))
    axes.set_xticks(places, [plain(label) for label in labels], rotation=90)
    axes.set_yticks(places, [plain(label) for label in labels])
    size = min(8.0, 72 * side / 2.7)  # four characters fill a cell
    for (i, j), tau in np.ndenumerate(m):
        if np.isfinite(tau):
            ink = "#f7f7f7" if abs(tau) > _DARK else "#222222"  # on the cell's colour, not on the page's
            axes.text(j, i, _short(float(tau)), ha="center", va="center", fontsize=size, color=ink)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_color(INK)
    return Picture(figure, title)


def _short(tau: float) -> str:
    """Return two digits without the zero before the point: ".42", "-.07", "1"."""
    text = f"{round(tau, 2) + 0.0:.2f}"
    return {"1.00": "1", "-1.00": "-1", "0.00": "0"}.get(text, text.replace("0.", ".", 1))
