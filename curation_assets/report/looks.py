"""How each sampler is drawn, the same in every figure: hue by family, lightness, marker and dash by member.

Hues are those of Okabe and Ito, which people with any colour vision can tell apart; within a family the marker and the dash tell
the members apart where the lightness alone would not.
"""

from __future__ import annotations

from typing import NamedTuple

from curation_assets.registry import MILESTONES, SAMPLERS, SIZES

FULL = "full_data"
INK, GREY, FAINT, PAPER = "#1f2328", "#6a7078", "#e4e6e9", "#ffffff"
"""The theme's colours on paper; a page may replace them where it is dark (`canvas.Picture.svg`)."""


class Look(NamedTuple):
    """Colour (hexadecimal), matplotlib's marker and dash, and the label in legends."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]
    label: str


_MARKERS = "os^Dv"
_DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1)),
    (0, (7, 2, 1, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
)
# Light enough for dark paper and dark enough for white: at least 2.4 to 1 on both.
_BLUES = ("#6db3e2", "#4b9ad4", "#2f84c3", "#1f74b5", "#2a68c0")
_GREENS = ("#5fb89a", "#3aa783", "#13936d", "#0b8562", "#2c7d54")
_REDS = ("#ef8a4e", "#e4713a", "#d55e00", "#c8521c", "#bd4a3a")
_COVERAGE = {"density": "#b0559b", "semdedup": "#cc79a7", "prototypes": "#8c6bc8"}
_SPARE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c98a00", "#4b9ad4", "#7a7a7a")

PANELS: dict[str, list[str]] = {
    "Coverage": [name for name, spec in SAMPLERS.items() if spec.family == "coverage"],
    "Perplexity by size of scorer": [f"perplexity_{size}" for size in SIZES],
    "Perplexity by training of scorer": [f"perplexity_large_{steps}" for steps in MILESTONES],
    "Ask-LLM": [f"ask_llm_{size}" for size in SIZES],
}
"""Title of a panel -> the samplers in it; random and full data are the references in all of them (paper, figures 10 to 16)."""

REFERENCES = ("random", FULL)

_LOOKS: dict[str, Look] = {
    FULL: Look("#7d8590", "", (0, (6, 3)), "full data"),
    "random": Look("#8a8f96", "X", (0, (1, 1)), "random"),
}
for _panel, _colours in zip(PANELS.values(), (tuple(_COVERAGE.values()), _BLUES, _GREENS, _REDS), strict=True):
    for _i, _name in enumerate(_panel):
        _LOOKS[_name] = Look(_colours[_i], _MARKERS[_i], _DASHES[_i], _name)


def look(name: str, spare: int = 0) -> Look:
    """Return how `name` is drawn; a name that is no sampler gets the look numbered `spare`."""
    if name in _LOOKS:
        return _LOOKS[name]
    return Look(_SPARE[spare % 7], _MARKERS[(spare + spare // 7) % 5], _DASHES[spare // 7 % 5], name)


def by_panel(names: list[str]) -> dict[str, list[str]]:
    """Return PANELS with those of `names` that are in them; names in no panel but the references come as "Others"."""
    found = {title: [n for n in members if n in names] for title, members in PANELS.items()}
    others = [n for n in names if n not in _LOOKS]
    return {title: members for title, members in {**found, "Others": others}.items() if members}
