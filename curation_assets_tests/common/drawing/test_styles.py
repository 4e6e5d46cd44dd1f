"""How samplers are drawn: told apart by people with any colour vision, on white paper and on dark."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest

from curation_assets.common.drawing.styles import (
    FULL,
    GREY,
    INK,
    PANELS,
    PAPER,
    PARTS,
    REST,
    mean_of,
    panels,
    style_of,
    styles,
)
from curation_assets.config.registry import SAMPLERS, SIZES, SamplerSpec

# What is seen of linear RGB without long-wave or middle-wave cones (Machado, Oliveira and Fernandes 2009, severity 1).
VISION = {
    "any": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
ALL = [FULL, *SAMPLERS]


def linear(colour: str) -> np.ndarray:
    """Return linear RGB of a hexadecimal colour."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _lab(rgb: np.ndarray) -> np.ndarray:
    x = XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one: str, other: str, vision: str) -> float:
    """Return the CIE 1976 difference of two colours as somebody sees them; about 2 is just noticed side by side."""
    m = VISION[vision]
    return float(np.linalg.norm(_lab(m @ linear(one)) - _lab(m @ linear(other))))


def _papers() -> list[str]:
    css = files("curation_assets.report").joinpath("templates/style.css").read_text("utf-8")
    return re.findall(r"--paper: (#[0-9a-f]{6})", css)


def test_the_measures_are_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.01)
    assert _lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    red, green = "#c04040", "#7a6a20"  # alike without middle-wave cones, but not with them
    assert apart(red, green, "any") > 2 * apart(red, green, "deuteranopia")


def test_no_two_samplers_have_one_colour_or_style_of() -> None:
    assert len({style_of(name).colour for name in ALL}) == len(ALL)
    assert len({(style_of(name).marker, style_of(name).dash, style_of(name).colour) for name in ALL}) == len(
        ALL
    )


def test_every_sampler_is_in_one_panel() -> None:
    assert sorted(itertools.chain(*PANELS.values())) == sorted(set(SAMPLERS) - {"random"})


@pytest.mark.parametrize("panel", PANELS)
def test_within_a_panel_marker_and_dash_tell_all_apart_without_colour(panel: str) -> None:
    drawn = [style_of(name) for name in (*PANELS[panel], "random", FULL)]
    assert len({one.marker for one in drawn}) == len({one.dash for one in drawn}) == len(drawn)


@pytest.mark.parametrize("vision", VISION)
def test_points_of_all_samplers_together_differ_by_marker_or_clearly_by_colour(vision: str) -> None:
    for one, other in itertools.combinations(ALL, 2):
        if style_of(one).marker == style_of(other).marker:
            assert apart(style_of(one).colour, style_of(other).colour, vision) > 40, (one, other)


@pytest.mark.parametrize("vision", VISION)
def test_the_references_differ_by_colour_from_every_curve(vision: str) -> None:
    for name in SAMPLERS:
        assert apart(INK, style_of(name).colour, vision) > 20, name


def test_colours_are_seen_on_white_and_on_dark_paper() -> None:
    white, dark = _papers()[:2]
    assert white == PAPER and contrast(dark, "#000000") < 1.5
    for name in SAMPLERS:
        for paper in (white, dark):
            assert contrast(style_of(name).colour, paper) >= 3, (name, paper)
    assert contrast(INK, white) > 7 and contrast(GREY, white) > 4.5


@pytest.mark.parametrize("vision", VISION)
def test_neighbouring_parts_of_a_whole_are_far_apart(vision: str) -> None:
    for one, other in itertools.pairwise([*PARTS, REST]):
        assert apart(one, other, vision) > 50, (one, other)


def test_names_that_are_no_samplers_look_different_from_each_other() -> None:
    sizes = [style_of(size) for size in SIZES]
    assert len({one.colour for one in sizes}) == len({one.marker for one in sizes}) == len(SIZES)
    unknown = style_of("a sampler that is gone")
    assert unknown.label == "a sampler that is gone" and unknown == style_of("a sampler that is gone")
    assert not {one.colour for one in (*sizes, unknown)} & {style_of(name).colour for name in ALL}


@pytest.mark.parametrize("family", ["ask_llm", "perplexity", "coverage", "quality"])
def test_the_mean_of_a_family_has_the_colour_of_the_family_however_many_it_is_of(family: str) -> None:
    own = {style_of(name).colour for name, spec in SAMPLERS.items() if spec.family == family}
    for count in (1, 2, 10):
        drawn = style_of(mean_of(family, count))
        assert drawn.colour in own and drawn.label.endswith(f"mean of {count}")


def test_a_new_sampler_has_a_panel_and_a_style_of_its_own() -> None:
    new = {
        name: SamplerSpec(name=name, family=family, technique="top_k", description="")
        for name, family in (("depth", "coverage"), ("ask_llm_own", "ask_llm"), ("quality", "perplexity"))
    }
    stranger = SamplerSpec(name="length", family="heuristic", technique="top_k", description="")
    members = panels({**SAMPLERS, **new, "length": stranger})
    assert members.pop("Others") == ["oracle", "length"]
    assert [members[title][-1] for title in ("Coverage", "Ask-LLM", "Perplexity by size of scorer")] == list(
        new
    )
    drawn = styles(members, {**SAMPLERS, **new})
    for name, spec in new.items():
        own = [style_of(n).colour for n, s in SAMPLERS.items() if s.family == spec.family]
        others = [style_of(n).colour for n, s in SAMPLERS.items() if s.family != spec.family]
        nearest = min(apart(drawn[name].colour, colour, "any") for colour in own)
        assert nearest < min(apart(drawn[name].colour, colour, "any") for colour in others), name
    assert {name: drawn[name] for name in ALL} == {name: style_of(name) for name in ALL}, "others keep theirs"
    assert len({drawn[name].colour for name in new}) == 3
