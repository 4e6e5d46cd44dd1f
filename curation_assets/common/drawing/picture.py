"""A drawn picture and its forms, and the sheet that it is drawn on. The same figure gives the same bytes.

PNG on white for the UI, SVG for the page (a file of its own that follows the reader's light or dark), PDF for a paper.
Drawn without pyplot, so nothing is shared between threads.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.common.drawing.styles import DARK, FAINT, GREY, INK, PAPER
from curation_assets.common.markdown import HIDDEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.2  # inches, with DPI 868 pixels: sharp at 600 on a dense screen too
DPI = 140
_TITLE, _PANEL, _LABEL = 72, 40, 36  # characters of a title, over a panel, and in a legend or beside an axis
_CHARACTER, _HANDLE, _LINE = 0.061, 0.52, 0.19  # inches of a legend: a character, around an entry, a line
_DARK = " ".join(
    f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}'
    for light, dark in DARK.items()
    for what in ("fill", "stroke")
)
_THEME = (
    "<style>:root { color-scheme: light dark } "
    f"@media (prefers-color-scheme: dark) {{ text {{ fill: {DARK[INK]} }} {_DARK} }}</style>"
)


class Picture:
    """A figure, finished: it is laid out once, and not changed any more."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    @cached_property
    def _laid_out(self) -> Figure:
        """The figure with all places fixed, so that each form need not find them again."""
        if (engine := self.figure.get_layout_engine()) is not None:
            engine.execute(self.figure)
            self.figure.set_layout_engine("none")
        return self.figure

    @cached_property
    def png(self) -> bytes:
        """It as PNG on white: 256 colours are plenty for a chart and a third of the size, which the run's event log holds."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        canvas = FigureCanvasAgg(self._laid_out)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        buffer = io.BytesIO()
        image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, format="PNG")
        return buffer.getvalue()

    def svg(self) -> str:
        """Return it as an SVG file: text is text, and paper and ink follow the reader's colour scheme."""
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "curation_assets"}):
            about = {"Date": None, "Creator": None}
            self._laid_out.savefig(buffer, format="svg", transparent=True, metadata=about)
        return buffer.getvalue().replace("<defs>", f"<defs>{_THEME}", 1)

    def pdf(self) -> bytes:
        """Return it as PDF."""
        buffer = io.BytesIO()
        about = {"CreationDate": None, "Creator": None, "Producer": None}
        self._laid_out.savefig(buffer, format="pdf", metadata=about)
        return buffer.getvalue()

    def markdown(self, alt: str) -> str:
        """Return it as Markdown that carries it within, as Dagster's metadata needs."""
        text = "".join(c if c.isalnum() or c in " .,:;%-()/+" else " " for c in alt).strip()
        return f"![{text}](data:image/png;base64,{base64.b64encode(self.png).decode('ascii')})"

    def save(self, folder: Path, name: str) -> None:
        """Write `name`.png, .svg and .pdf to `folder`."""
        (folder / f"{name}.png").write_bytes(self.png)
        (folder / f"{name}.svg").write_text(self.svg(), "utf-8")
        (folder / f"{name}.pdf").write_bytes(self.pdf())


def plain(text: str, most: int = 0) -> str:
    """Make a text mean itself: no formula in `$...$`, no leading underscore for "not in the legend", nothing invisible.

    `most` is how many characters are shown, 0 for all.
    """
    text = HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " ").replace("\t", " "))
    if 0 < most < len(text):
        text = f"{text[: most - 1].rstrip()}…"
    text = text.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def label(text: str) -> str:
    """Return a name as it stands in a legend or beside an axis: plain and not too long."""
    return plain(text, _LABEL)


def sheet(
    title: str, count: int, most: int, top: float, row: float, **sharing: Any
) -> tuple[Figure, list[Axes], int]:
    """Return a titled figure, the axes of its `count` panels, and how many stand beside each other, `most` at the most.

    It is `top` inches high and `row` more for each row.
    """
    from matplotlib.figure import Figure

    columns = min(most, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, top + row * rows), dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.suptitle(plain(title, _TITLE), x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    grid = figure.subplots(rows, columns, squeeze=False, **sharing).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid:
        axes.set_facecolor("none")
        axes.set_axisbelow(True)
        axes.grid(color=FAINT, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        axes.tick_params(colors=GREY, labelcolor=INK, labelsize=8, length=3, which="both")
    return figure, list(grid[:count]), columns


def name_axes(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set a panel's title and the names of its axes."""
    axes.set_title(plain(title, _PANEL), loc="left", fontsize=9, color=INK)
    axes.set_xlabel(plain(xlabel, _TITLE), fontsize=8.5, color=GREY)
    axes.set_ylabel(plain(ylabel, _TITLE), fontsize=8.5, color=GREY)


def write(axes: Axes, text: str, x: float, y: float, *, most: int = 60, **style: Any) -> None:
    """Write a note into a panel, at a share of its width and height; however long it is, the panels stay where they are."""
    note = axes.annotate(plain(text, most), (x, y), xycoords="axes fraction", **{"color": GREY, **style})
    note.set_in_layout(False)


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Put one legend under all panels, as many entries beside each other as there is room for."""
    names = [str(handle.get_label()) for handle in handles]
    if names:
        style: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": INK}
        figure.legend(handles=handles, loc="outside lower center", ncols=_columns(names), **style)


def legend_height(names: Sequence[str]) -> float:
    """Return the height in inches of a legend of these entries."""
    return _LINE * -(-len(names) // _columns(names))


def _columns(names: Sequence[str], most: int = 4) -> int:
    """Return how many columns fit: each is as wide as its longest entry, and entries run down the columns."""
    widths = np.array([_HANDLE + _CHARACTER * min(len(name), _LABEL) for name in names])
    for columns in range(min(most, len(names)), 1, -1):
        if sum(column.max() for column in np.array_split(widths, columns)) <= WIDTH:
            return columns
    return 1
