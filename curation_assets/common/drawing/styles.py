"""How each sampler is drawn, the same in every figure: hue by family, lightness, marker and dash by member.

Whoever sees no difference between red and green sees two hues less, so hue alone never has to tell two samplers apart: within a
family marker and dash do, and families whose hues may look alike have markers of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

from curation_assets.config.lazy import LazyDict
from curation_assets.config.registry import MILESTONES, SAMPLERS, SIZES, SamplerSpec

FULL, RANDOM = "full_data", "random"
CHANCE = "chance"
"""The score of somebody who knows nothing: a reference where a metric has one."""
INK, GREY, FAINT, PAPER = "#1f2328", "#6a7078", "#e4e6e9", "#ffffff"
DARK = {INK: "#e8eaed", GREY: "#a3abb4", FAINT: "#343a42", PAPER: "#15181c", "#000000": "#e8eaed"}
"""What the colours of paper and ink become where the reader wants it dark; those of data stay."""

Dash = str | tuple[int, tuple[int, ...]]


class Style(NamedTuple):
    """Colour (hexadecimal), matplotlib's marker and dash, and the label in legends."""

    colour: str
    marker: str
    dash: Dash
    label: str


DASHES: tuple[Dash, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1)),
    (0, (7, 2, 1, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (3, 3)),
)
MARKERS = "os^Dv"
PARTS = ("#0072b2", "#009e73", "#6652b8", "#ddcc33", "#56b4e9", "#e69f00", "#cc79a7", "#d55e00")
"""Colours of the parts of a whole, neighbours far apart for any colour vision; what is left over is `REST`."""
REST = "#9aa0a6"
# At least 3 to 1 against white paper and against dark paper, as WCAG 2.2 asks of graphics (1.4.11).
_PANELS = {
    "Coverage": (("#d173a7", "#ab60b0", "#7b58b3"), "Ph*"),
    "Perplexity by size of scorer": (("#13a0c3", "#0d92c2", "#0883c3", "#0d73c6", "#3560c8"), MARKERS),
    "Perplexity by training of scorer": (("#12a49f", "#119888", "#0c8c70", "#05815a", "#187546"), "<>pd8"),
    "Ask-LLM": (("#c78510", "#c97204", "#cb5b03", "#c64614", "#b93927", "#c03a50"), f"{MARKERS}*"),
    "Quality filters": (("#7d9e18", "#5b9e18", "#399e18"), "HPp"),
}
_OTHER = ("#949536", "#898b2c", "#7e8121", "#747616", "#6c6f0b")
"""No family's: sizes of a model on all data, and names that are no samplers."""
_FAMILIES = {
    "coverage": ("coverage", "Coverage"),
    "perplexity": ("perplexity", "Perplexity by size of scorer"),
    "ask_llm": ("Ask-LLM", "Ask-LLM"),
    "quality": ("quality filters", "Quality filters"),
}
"""Family of a sampler -> what it is called, and the panel whose hue it has."""
_MORE_MARKERS = "H8dp<>h*P^Dv"


def panels(samplers: Mapping[str, SamplerSpec]) -> dict[str, list[str]]:
    """Return {title: samplers} of small multiples (paper, figures 10 to 16); who is in no family of the paper's comes last."""
    members: dict[str, list[str]] = {
        "Coverage": [],
        "Perplexity by size of scorer": [f"perplexity_{size}" for size in SIZES],
        "Perplexity by training of scorer": [f"perplexity_large_{steps}" for steps in MILESTONES],
        "Ask-LLM": [f"ask_llm_{judge}" for judge in (*SIZES, "gemma")],
        "Quality filters": [],
    }
    paper = {name for names in members.values() for name in names}
    for name, sampler in samplers.items():
        if name not in paper and sampler.family in _FAMILIES:
            members[_FAMILIES[sampler.family][1]].append(name)
    placed = {RANDOM, *(name for names in members.values() for name in names)}
    others = [name for name in samplers if name not in placed]
    return {**members, "Others": others} if others else members


def styles(members: Mapping[str, list[str]], samplers: Mapping[str, SamplerSpec]) -> dict[str, Style]:
    """Return how each of the samplers in `panels` is drawn, the references, the sizes of a model on all data, means of families."""
    known = {
        FULL: Style(INK, "", (0, (6, 3)), "full data"),
        RANDOM: Style("#868c94", "X", (0, (1, 1)), "random"),
        "oracle": Style("#d0407a", "+", (0, (3, 3)), "oracle"),
        CHANCE: Style(INK, "", (0, (1, 2)), "chance"),
    }
    for row in zip(_OTHER, MARKERS, DASHES, SIZES, strict=False):
        known[row[-1]] = Style(*row)
    for title, (colours, markers) in _PANELS.items():
        for row in zip(colours, markers, DASHES, members[title], strict=False):
            known[row[-1]] = Style(*row)
    for label, title in _FAMILIES.values():
        colours, markers = _PANELS[title]
        known[mean_of_label(label)] = Style(colours[len(colours) // 2], markers[0], "-", label)
    others: dict[str, int] = {}
    for name in (name for names in members.values() for name in names if name not in known):
        family = samplers[name].family
        others[family] = number = others.get(family, -1) + 1
        known[name] = _another(name, family, number)
    return known


def _another(name: str, family: str, number: int) -> Style:
    """Return the style of a sampler beyond the paper's: between two colours of its family, with a marker of its own."""
    if family not in _FAMILIES:
        return _stranger(name)
    colours, markers = _PANELS[_FAMILIES[family][1]]
    one, other = (int(colour[1:], 16).to_bytes(3) for colour in colours[number % (len(colours) - 1) :][:2])
    between = "#" + bytes((a + b) // 2 for a, b in zip(one, other, strict=True)).hex()
    free = [marker for marker in _MORE_MARKERS if marker not in markers]
    return Style(between, free[number % len(free)], DASHES[(len(colours) + number) % 5], name)


def _stranger(name: str) -> Style:
    number = zlib.crc32(name.encode("utf-8", "surrogatepass"))
    return Style(_OTHER[number % 5], MARKERS[number // 5 % 5], DASHES[number // 25 % 5], name)


def mean_of_label(label: str) -> str:
    """Return how the names of means over a family begin."""
    return f"{label}, mean of "


def mean_of(family: str, count: int) -> str:
    """Return the name under which the mean of so many samplers of a family is drawn; it has the family's colour."""
    return f"{mean_of_label(_FAMILIES[family][0])}{count}"


PANELS = LazyDict("panels", lambda: panels(SAMPLERS))
"""Title of a panel -> the samplers in it; random and full data are the references in all of them."""
_STYLES = LazyDict("styles", lambda: styles(PANELS, SAMPLERS))


def style_of(name: str) -> Style:
    """Return how `name` is drawn: it follows from the name alone, never from what else is in a figure.

    A name that is none of ours (a sampler that the registry no longer has) gets a colour that no family has.
    """
    if name in _STYLES:
        return _STYLES[name]
    mean = _STYLES.get(name.rstrip("0123456789"))
    return mean._replace(label=name) if mean else _stranger(name)
