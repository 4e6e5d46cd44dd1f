"""How each sampler is drawn, the same in every figure: hue by family, lightness, marker and dash by member.

Whoever sees no difference between red and green sees two hues less, so hue alone never has to tell two samplers apart: within a
family marker and dash do, and families whose hues may look alike have markers of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

from curation_assets.config.registry import MILESTONES, SAMPLERS, SIZES, SamplerSpec

FULL = "full_data"
CHANCE = "chance"
"""The score of somebody who knows nothing: a reference where a metric has one."""
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
_OTHER = ("#949536", "#898b2c", "#7e8121", "#747616", "#6c6f0b")
"""No family's: sizes of a model on all data, and names that are no samplers."""
_HOME = {"coverage": "Coverage", "perplexity": "Perplexity by size of scorer", "ask_llm": "Ask-LLM"}
"""Family of a sampler -> the row of `_FAMILIES` whose hue it has."""
_MORE_MARKERS = "dp8<>Hh*P^Dv"
_MEAN = ", mean of "

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


def looks(members: Mapping[str, list[str]], samplers: Mapping[str, SamplerSpec]) -> dict[str, Look]:
    """Return how each of the samplers in `panels` is drawn, the references, and the sizes of a model on all data."""
    found = {
        FULL: Look(INK, "", (0, (6, 3)), "full data"),
        "random": Look("#868c94", "X", (0, (1, 1)), "random"),
        CHANCE: Look(INK, "", (0, (1, 2)), "chance"),
    }
    for size, colour, marker, dash in zip(SIZES, _OTHER, _MARKERS, _DASHES, strict=True):
        found[size] = Look(colour, marker, dash, size)
    for title, (colours, markers) in _FAMILIES.items():
        for colour, marker, dash, name in zip(colours, markers, _DASHES, members[title], strict=False):
            found[name] = Look(colour, marker, dash, name)
    others: dict[str, int] = {}
    for name in (name for names in members.values() for name in names if name not in found):
        family = samplers[name].family
        others[family] = number = others.get(family, -1) + 1
        found[name] = _another(name, family, number)
    return found


def _another(name: str, family: str, number: int) -> Look:
    """Return the look of a sampler beyond the paper's: between two colours of its family, with a marker of its own."""
    if family not in _HOME:
        return _stranger(name)
    colours, markers = _FAMILIES[_HOME[family]]
    at = number % (len(colours) - 1)
    free = [marker for marker in _MORE_MARKERS if marker not in markers]
    return Look(_between(*colours[at : at + 2]), free[number % len(free)], _DASHES[number % 5], name)


def _between(one: str, other: str) -> str:
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{(a + b) // 2:02x}" for a, b in pairs)


def _stranger(name: str) -> Look:
    number = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    return Look(_OTHER[number % 5], _MARKERS[number // 5 % 5], _DASHES[number // 25 % 5], name)


PANELS = panels(SAMPLERS)
"""Title of a panel -> the samplers in it; random and full data are the references in all of them."""
_LOOKS = looks(PANELS, SAMPLERS)


def mean_of(family: str, count: int) -> str:
    """Return the name under which the mean of so many samplers of a family is drawn; it has the family's colour."""
    return f"{_MEANS[family]}{_MEAN}{count}"


_MEANS = {"ask_llm": "Ask-LLM", "perplexity": "perplexity", "coverage": "coverage"}
_LOOKS |= {
    f"{label}{_MEAN}": Look(colours[len(colours) // 2], markers[0], "-", label)
    for family, label in _MEANS.items()
    for colours, markers in [_FAMILIES[_HOME[family]]]
}


def look(name: str) -> Look:
    """Return how `name` is drawn: it follows from the name alone, never from what else is in a figure.

    A name that is none of ours (a sampler that the registry no longer has) gets a colour that no family has.
    """
    family, mean, _ = name.rpartition(_MEAN)
    found = _LOOKS.get(family + mean if mean else name)
    return found._replace(label=name) if found and mean else found or _stranger(name)
