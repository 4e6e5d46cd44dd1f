"""How each sampler is drawn, the same in every figure: hue by family, lightness, marker and dash by member.

Whoever sees no difference between red and green sees two hues less, so hue alone never has to tell two samplers apart: within a
family marker and dash do, and families whose hues may look alike have markers of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from curation_assets.registry import MILESTONES, SAMPLERS, SIZES, SamplerSpec

FULL = "full_data"
INK, GREY, FAINT, PAPER = "#1f2328", "#6a7078", "#e4e6e9", "#ffffff"
"""The theme's colours on paper; a page may replace them where it is dark (`canvas.Picture.svg`)."""


class Look(NamedTuple):
    """Colour (hexadecimal), matplotlib's marker and dash, and the label in legends."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]
    label: str


_DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1)),
    (0, (7, 2, 1, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
)
_MARKERS = "os^Dv"
# At least 3 to 1 against white paper and against dark paper, as WCAG 2.2 asks of graphics (1.4.11).
_FAMILIES = {
    "Coverage": (("#d173a7", "#ab60b0", "#7b58b3"), "Ph*"),
    "Perplexity by size of scorer": (("#13a0c3", "#0d92c2", "#0883c3", "#0d73c6", "#3560c8"), _MARKERS),
    "Perplexity by training of scorer": (("#12a49f", "#119888", "#0c8c70", "#05815a", "#187546"), "<>pd8"),
    "Ask-LLM": (("#c78510", "#c97204", "#cb5b03", "#c64614", "#b93927"), _MARKERS),
}
_SPARE = ("#0883c3", "#cb5b03", "#0c8c70", "#d173a7", "#c78510", "#3560c8", "#868c94")

PARTS = ("#0072b2", "#009e73", "#6652b8", "#ddcc33", "#56b4e9", "#e69f00", "#cc79a7", "#d55e00")
"""Colours of the parts of a whole, neighbours far apart for any colour vision; what is left over is `REST`."""
REST = "#9aa0a6"


def panels(samplers: Mapping[str, SamplerSpec]) -> dict[str, list[str]]:
    """Return {title: samplers} of small multiples (paper, figures 10 to 16); who is in no family of the paper's comes last."""
    found = {
        "Coverage": [name for name, spec in samplers.items() if spec.family == "coverage"],
        "Perplexity by size of scorer": [f"perplexity_{size}" for size in SIZES],
        "Perplexity by training of scorer": [f"perplexity_large_{steps}" for steps in MILESTONES],
        "Ask-LLM": [f"ask_llm_{size}" for size in SIZES],
    }
    placed = {"random", *(name for members in found.values() for name in members)}
    others = [name for name in samplers if name not in placed]
    return {**found, "Others": others} if others else found


def looks(members: Mapping[str, list[str]]) -> dict[str, Look]:
    """Return how each of the samplers in `panels` is drawn, and the references: random sampling and full data."""
    found = {
        FULL: Look(INK, "", (0, (6, 3)), "full data"),
        "random": Look("#868c94", "X", (0, (1, 1)), "random"),
    }
    for title, (colours, markers) in _FAMILIES.items():
        for colour, marker, dash, name in zip(colours, markers, _DASHES, members[title], strict=False):
            found[name] = Look(colour, marker, dash, name)
    others = [name for names in members.values() for name in names if name not in found]
    return found | {name: _spare(name, number) for number, name in enumerate(others)}


def _spare(name: str, number: int) -> Look:
    return Look(_SPARE[number % 7], _MARKERS[(number + number // 7) % 5], _DASHES[number // 7 % 5], name)


PANELS = panels(SAMPLERS)
"""Title of a panel -> the samplers in it; random and full data are the references in all of them."""
_LOOKS = looks(PANELS)


def look(name: str, spare: int = 0) -> Look:
    """Return how `name` is drawn; a name that is no sampler gets the look numbered `spare`."""
    return _LOOKS.get(name) or _spare(name, spare)
