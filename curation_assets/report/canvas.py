"""A drawn picture and its forms: PNG for the UI, SVG for the page, PDF for a paper. The same figure gives the same bytes.

Drawn without pyplot, so nothing is shared between threads.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.report.looks import FAINT, GREY, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WIDTH = 6.2  # inches, with DPI 868 pixels: sharp at 600 on a dense screen too
DPI = 140
_THEME = {INK: "--ink", GREY: "--grey", FAINT: "--faint", PAPER: "--paper"}
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class Picture:
    """A figure, finished."""

    def __init__(self, figure: Figure, title: str) -> None:
        self._figure = figure
        self._title = title

    def png(self) -> bytes:
        """Return it as PNG on white. 256 colours are plenty for a chart and make it a third of the size."""
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        canvas = FigureCanvasAgg(self._figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        buffer = io.BytesIO()
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()

    def svg(self) -> str:
        """Return an `<svg>` element to put into HTML.

        Its ids are its own, so that many pictures can share a page; text is text; the theme's colours are the variables
        --ink, --grey, --faint and --paper, so that it follows a page that is light or dark.
        """
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": self._title, "text.parse_math": False}):
            self._figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
        text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
        text = text.replace("<path ", '<path stroke-linejoin="round" ', 0)
        text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg xmlns="http://www.w3.org/2000/svg" viewBox="\1">', text, count=1)
        text = re.sub(r'xlink:href="#', 'href="#', text)
        own = hashlib.sha256(text.encode()).hexdigest()[:8]
        text = re.sub(r'\bid="', f'id="p{own}-', text)
        text = re.sub(r'href="#', f'href="#p{own}-', text)
        text = re.sub(r"url\(#", f"url(#p{own}-", text)
        for colour, variable in _THEME.items():
            text = re.sub(rf"\b(fill|stroke): {colour}\b", rf"\1: var({variable})", text)
        # Black is what matplotlib draws without being asked, and what it leaves out where it is SVG's own default.
        text = re.sub(r"\b(fill|stroke): #000000\b", r"\1: var(--ink)", text)
        return text.strip() + "\n"

    def pdf(self) -> bytes:
        """Return it as PDF."""
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
        return buffer.getvalue()

    def save(self, folder: Path, name: str) -> None:
        """Write `name`.png, .svg and .pdf to `folder`."""
        (folder / f"{name}.png").write_bytes(self.png())
        (folder / f"{name}.svg").write_text(self.svg(), "utf-8")
        (folder / f"{name}.pdf").write_bytes(self.pdf())


def plain(text: str) -> str:
    """Keep matplotlib from reading `$...$` as a formula, or a leading underscore as "not in the legend"."""
    text = _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text).replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def sheet(title: str, rows: int, columns: int, height: float, **subplots: object) -> tuple[Figure, NDArray]:
    """Return a titled figure with axes [rows, columns] in the house's style."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.suptitle(plain(title), x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    grid = figure.subplots(rows, columns, squeeze=False, **subplots)  # type: ignore[arg-type]
    for axes in grid.ravel():
        style(axes)
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
    axes.set_title(plain(title), loc="left", fontsize=9, color=INK)
    axes.set_xlabel(plain(xlabel), fontsize=8.5, color=GREY)
    axes.set_ylabel(plain(ylabel), fontsize=8.5, color=GREY)


def legend(figure: Figure, handles: list[object], columns: int = 4) -> None:
    """Put one legend under all panels."""
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8, labelcolor=INK
        )
