"""A forest plot: one line a sampler, one panel a score, a dot with its interval, and references as vertical lines.

It is what a comparison at one sampling rate looks like: lines over rates would be single points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curation_assets.common.drawing.canvas import Picture, legend, multiples, plain
from curation_assets.common.drawing.looks import GREY, INK, PAPER, look
from curation_assets.config.registry import SAMPLERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 0.185  # inches
_MOST = 4  # panels beside each other
_WIDE = 18  # characters of a panel's title in one line


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
    references: Mapping[str, Mapping[str, float]],
) -> Picture:
    """Draw `names` from top to bottom, with a gap between families.

    Parameters
    ----------
    panels
        Score -> name -> dot. A name that a panel lacks, or that has no value there, is written as not measured.
    xlabels, references
        By score: what its axis says, and the named values that get a vertical line.

    Raises
    ------
    ValueError
        There is no panel, or nothing was measured.
    """
    if not any(dot.value is not None for dots in panels.values() for dot in dots.values()):
        raise ValueError(f"nothing to draw for {title!r}: nothing was measured")
    places = _places(names)
    row = _LINE * (max(places) + 1) + 0.55
    figure, grid = multiples(title, len(panels), _MOST, 0.85, row, sharey=True)
    handles: dict[str, object] = {}
    for axes, (panel, dots) in zip(grid.ravel(), panels.items(), strict=False):
        lines = [plain(line) for line in textwrap.wrap(panel, _WIDE)]
        axes.set_title("\n".join(lines), loc="left", fontsize=8.5, color=INK)
        axes.set_xlabel(plain(xlabels.get(panel, "")), fontsize=8, color=GREY)
        axes.spines[["left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
        for label, value in references.get(panel, {}).items():
            drawn = look(label)
            line = axes.axvline(value, color=drawn.colour, linestyle=drawn.dash, label=plain(drawn.label))
            line.set_linewidth(1.2)
            handles.setdefault(label, line)
        for name, place in zip(names, places, strict=True):
            _dot(axes, place, name, dots.get(name, Dot(None)))
        _not_rounding(axes)
    grid[0, 0].set_yticks(places, [plain(look(name).label) for name in names])
    grid[0, 0].set_ylim(max(places) + 0.7, -0.7)
    legend(figure, list(handles.values()))
    return Picture(figure, title)


def _places(names: Sequence[str]) -> list[float]:
    """Return the height of each line, half a line more wherever a family ends."""
    found, at, before = [], -1.0, None
    for name in names:
        family = SAMPLERS[name].family if name in SAMPLERS else ""
        at += 1.0 if before in (None, family) else 1.5
        before = family
        found.append(at)
    return found


def _not_rounding(axes: Axes) -> None:
    """Where all values are equal but for rounding, show a range around them instead of that."""
    low, high = axes.get_xlim()
    if high - low < 1e-9 * max(abs(low), abs(high), 1.0):
        axes.set_xlim(round(low, 6) - 1.0, round(low, 6) + 1.0)


def _dot(axes: Axes, place: float, name: str, dot: Dot) -> None:
    drawn = look(name)
    if dot.value is None or not np.isfinite(dot.value):
        axes.annotate(
            "not measured",
            (0.5, place),
            xycoords=("axes fraction", "data"),
            ha="center",
            va="center",
            fontsize=6.5,
            color=GREY,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
        )
        return
    if dot.low is not None and dot.high is not None:
        axes.hlines(place, dot.low, dot.high, color=drawn.colour, alpha=0.55, linewidth=2.4)
    axes.plot([dot.value], [place], marker=drawn.marker or "P", color=drawn.colour, markersize=5)
