"""Forest plots: every sampler has its line, what is missing is written, references are vertical lines."""

import re

import pytest

from curation_assets.config.registry import SAMPLERS
from curation_assets.report.forest import Dot, forest
from curation_assets.report.html import inline_svg

NAMES = list(SAMPLERS)


def _panel(value: float) -> dict[str, Dot]:
    return {name: Dot(value + i, value + i - 1, value + i + 1) for i, name in enumerate(NAMES[:-1])}


def test_a_line_a_sampler_and_what_was_not_measured_is_written() -> None:
    panels = {f"score {i}": _panel(10.0 * i) for i in range(5)}
    references = {name: {"random": 12.0, "full_data": 9.0} for name in panels}
    svg = inline_svg(forest(panels, NAMES, "Quality", dict.fromkeys(panels, "lower"), references).svg())
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert all(name in texts for name in NAMES), "the lines are named"
    assert texts.count("not measured") == len(panels), "the last sampler, in each panel"
    assert texts.count("full data") == 1, "one legend"
    assert texts.count("random") == 3, "in the legend, and as a line in both rows of panels"


def test_the_same_dots_give_the_same_picture_and_an_interval_shows() -> None:
    def drawn(low: float) -> str:
        return forest({"a": {"random": Dot(1.0, low, 2.0)}}, ["random"], "t", {}, {}).svg()

    assert drawn(0.5) == drawn(0.5) != drawn(0.0)


@pytest.mark.parametrize("panels", [{}, {"a": {}}, {"a": {"random": Dot(None)}}])
def test_nothing_measured_is_an_error(panels: dict[str, dict[str, Dot]]) -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        forest(panels, NAMES, "t", {}, {})


def test_differences_that_are_rounding_get_no_axis_of_their_own() -> None:
    dots = {name: Dot(k * 1e-17) for k, name in enumerate(NAMES[:3])}
    svg = forest({"a": dots}, NAMES[:3], "t", {}, {"a": {"random": 0.0}}).svg()
    assert "1e" not in "".join(re.findall(r"<text[^>]*>([^<]+)</text>", svg))
