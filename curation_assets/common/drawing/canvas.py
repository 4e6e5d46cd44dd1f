"""A drawn picture and its forms: PNG for the UI, SVG for the page, PDF for a paper. The same figure gives the same bytes.

Drawn without pyplot, so nothing is shared between threads.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.common.drawing.looks import FAINT, GREY, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WIDTH = 6.2  # inches, with DPI 868 pixels: sharp at 600 on a dense screen too
DPI = 140
_THEME = {INK: "--ink", GREY: "--grey", FAINT: "--faint", PAPER: "--paper"}
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_TITLE, _PANEL, _LABEL = 72, 40, 36  # characters of a title, over a panel, and in a legend or beside an axis
_CHARACTER, _HANDLE = 0.061, 0.52  # inches of a legend's entry: a character, and what stands before and after


class Picture:
    """A figure, finished: it is laid out once, and not changed any more."""

    def __init__(self, figure: Figure, title: str) -> None:
        self._figure = figure
        self._title = title

    @cached_property
    def _laid_out(self) -> Figure:
        """The figure with all places fixed, so that each form need not find them again."""
        self._figure.draw_without_rendering()
        self._figure.set_layout_engine("none")
        return self._figure

    def png(self) -> bytes:
        """Return it as PNG on white."""
        return self._png

    @cached_property
    def _png(self) -> bytes:
        return to_png(self._laid_out)

    def svg(self) -> str:
        """Return an `<svg>` element, to put into HTML or to keep as a file.

        Its ids are its own, so that many pictures can share a page; text is text; the theme's colours are the variables
        --ink, --grey, --faint and --paper, so that it follows a page that is light or dark.
        """
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": plain(self._title)}):
            about = {"Date": None, "Creator": None}
            self._laid_out.savefig(buffer, format="svg", transparent=True, metadata=about)
        return _to_inline(buffer.getvalue())

    def pdf(self) -> bytes:
        """Return it as PDF."""
        buffer = io.BytesIO()
        about = {"CreationDate": None, "Creator": None, "Producer": None}
        self._laid_out.savefig(buffer, format="pdf", metadata=about)
        return buffer.getvalue()

    def save(self, folder: Path, name: str) -> None:
        """Write `name`.png, .svg and .pdf to `folder`."""
        (folder / f"{name}.png").write_bytes(self.png())
        (folder / f"{name}.svg").write_text(self.svg(), "utf-8")
        (folder / f"{name}.pdf").write_bytes(self.pdf())


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes.

    256 colours are plenty for a chart and make it a third of the size: it is stored in the run's event log.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    buffer = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG")
    return buffer.getvalue()


def _to_inline(svg: str) -> str:
    """Turn matplotlib's SVG file into an element without style sheet or metadata, with ids of its own and the theme's variables."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    # What matplotlib's style sheet says, which is gone.
    root = (
        r'<svg xmlns="http://www.w3.org/2000/svg" viewBox="\1" stroke-linejoin="round" stroke-linecap="butt">'
    )
    text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', root, text, count=1)
    text = text.replace(" xlink:href=", " href=")
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="p{own}-', text)
    text = re.sub(r'href="#', f'href="#p{own}-', text)
    text = re.sub(r"url\(#", f"url(#p{own}-", text)
    for colour, variable in _THEME.items():
        text = re.sub(rf"\b(fill|stroke): {colour}\b", rf"\1: var({variable}, {colour})", text)
    # Black is what matplotlib draws without being asked, and what it leaves out where it is SVG's own default.
    text = re.sub(r"\b(fill|stroke): #000000\b", rf"\1: var(--ink, {INK})", text)
    return text.strip() + "\n"


def plain(text: str, most: int = 0) -> str:
    """Make a text mean itself: no formula in `$...$`, no leading underscore for "not in the legend", nothing invisible.

    `most` is how many characters are shown, 0 for all.
    """
    text = _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
    if 0 < most < len(text):
        text = f"{text[: most - 1].rstrip()}…"
    text = text.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def label(text: str) -> str:
    """Return a name as it stands in a legend or beside an axis: plain and not too long."""
    return plain(text, _LABEL)


def sheet(
    title: str, rows: int, columns: int, height: float, *, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, NDArray]:
    """Return a titled figure with axes [rows, columns] in the house's style."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.suptitle(plain(title, _TITLE), x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for axes in grid.ravel():
        style(axes)
    return figure, grid


def multiples(
    title: str, count: int, most: int, top: float, row: float, *, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, NDArray]:
    """Return a sheet for `count` panels, `most` beside each other, and its axes [rows, columns]; those left over are hidden.

    It is `top` inches high and `row` more for each row.
    """
    columns = min(most, count)
    rows = -(-count // columns)
    figure, grid = sheet(title, rows, columns, top + row * rows, sharex=sharex, sharey=sharey)
    for axes in grid.ravel()[count:]:
        axes.set_visible(False)
    return figure, grid


def style(axes: Axes) -> None:
    """Give axes the house's style: grey for everything that is not data."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=8, length=3, which="both")


def name_axes(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set a panel's title and the names of its axes."""
    axes.set_title(plain(title, _PANEL), loc="left", fontsize=9, color=INK)
    axes.set_xlabel(plain(xlabel, _TITLE), fontsize=8.5, color=GREY)
    axes.set_ylabel(plain(ylabel, _TITLE), fontsize=8.5, color=GREY)


def write(axes: Axes, text: str, x: float, y: float, *, most: int = 60, **style: Any) -> None:
    """Write a note into a panel, at a share of its width and height; however long it is, the panels stay where they are."""
    note = axes.annotate(plain(text, most), (x, y), xycoords="axes fraction", **{"color": GREY, **style})
    note.set_in_layout(False)


def legend_rows(names: Sequence[str]) -> int:
    """Return how many rows a legend of these entries has."""
    return -(-len(names) // _columns(names))


def legend(figure: Figure, handles: Sequence[Any]) -> None:
    """Put one legend under all panels, as many entries beside each other as there is room for."""
    names = [str(handle.get_label()) for handle in handles]
    if names:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=_columns(names),
            frameon=False,
            fontsize=8,
            labelcolor=INK,
        )


def _columns(names: Sequence[str], most: int = 4) -> int:
    """Return how many columns fit: each is as wide as its longest entry, and entries run down the columns."""
    widths = np.array([_HANDLE + _CHARACTER * min(len(name), _LABEL) for name in names])
    for columns in range(min(most, len(names)), 1, -1):
        if sum(column.max() for column in np.array_split(widths, columns)) <= WIDTH:
            return columns
    return 1
