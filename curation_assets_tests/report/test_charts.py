"""Charts, read back from their axes: every value is where it belongs, what is missing is said, looks are those of the samplers."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from curation_assets.common.drawing.canvas import Picture
from curation_assets.common.drawing.looks import FULL, PANELS, PARTS, REST, look
from curation_assets.common.drawing.scales import _short, from_below, scales
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.report.charts import Series, _beside, curves, points, stacked
from curation_assets.report.html import inline_svg
from curation_assets_tests.common.drawing.test_canvas import HOSTILE

X = np.array([float(rate) for rate in RATES])
RNG = np.random.default_rng(0)


def _line(low: bool = True) -> Series:
    y = RNG.normal(5, 1, 5)
    return Series(X, y, y - 0.4, y + 0.4) if low else Series(X, y)


PANELLED = {panel: {name: _line() for name in (*members, "random")} for panel, members in PANELS.items()}
DRAWN: dict[str, Callable[[], Picture]] = {
    "curves": lambda: curves(PANELLED, "Quality", "rate", "perplexity", references={"Coverage": {FULL: 5.0}}),
    "points": lambda: points(
        {"small T5": {name: Series([i + 1.0], [i % 5], [0], [6]) for i, name in enumerate(SAMPLERS)}},
        *("Cost", "seconds", "quality"),
        front={"small T5": ["random", "density"]},
        references={"small T5": {FULL: 3.0}},
    ),
    "stacked": lambda: stacked(
        [FULL, *SAMPLERS], list("abc"), np.full((20, 3), 1 / 3), "Kept", "%", rest=True
    ),
    "hostile": lambda: curves(
        {text: {text: _line(), "random": _line()} for text in HOSTILE.values() if text}, *["$x$ <b>"] * 3
    ),
}


def axes_of(picture: Picture) -> list[Axes]:
    return [axes for axes in picture._figure.axes if axes.get_visible()]


def entries(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_cut_off_and_the_svg_stands_in_a_page(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        picture = DRAWN[name]()
        shown, png = inline_svg(picture.svg(), name), picture.png()
    assert "<script" not in shown and len(png) < 120_000
    x = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert x.shape[1] == 868 and (x < 200).any()
    assert (np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]]) > 250).all()


def test_curves_have_every_value_in_the_looks_of_the_samplers() -> None:
    picture = DRAWN["curves"]()
    panels = axes_of(picture)
    assert [axes.get_title(loc="left") for axes in panels] == list(PANELS)
    for axes, (panel, series) in zip(panels, PANELLED.items(), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        assert set(lines) == {*series, *(["full data"] if panel == "Coverage" else [])}
        for name, one in series.items():
            drawn = look(name)
            assert lines[name].get_ydata().tolist() == np.asarray(one.y).tolist()
            assert (lines[name].get_color(), lines[name].get_marker()) == (drawn.colour, drawn.marker)
    assert panels[0].lines[-1].get_ydata() == [5.0, 5.0]
    assert entries(picture._figure).count("random") == 1 and len(entries(picture._figure)) == 20


def test_intervals_are_bars_for_few_points_and_bands_for_many() -> None:
    few = axes_of(curves({"a": {"density": _line()}}, "t", "x", "y"))[0]
    (bars,) = few.collections
    assert len(bars.get_segments()) == 5
    x = np.linspace(1, 9, 50)
    many = axes_of(curves({"a": {"density": Series(x, x, x - 1, x + 1)}}, "t", "x", "y", log_x=True))[0]
    assert len(many.collections) == 1 and many.lines[0].get_marker() in ("", "None")
    assert many.get_xscale() == "log"
    assert not axes_of(curves({"a": {"density": _line(False)}}, "t", "x", "y"))[0].collections


def test_what_was_not_measured_is_a_gap_or_is_said() -> None:
    gap = Series(X, [1, np.nan, 3, 4, 5])
    none = Series(X, np.full(5, np.nan))
    picture = curves(
        {"a": {"density": gap, "semdedup": none}, "b": dict.fromkeys("xyz", none)}, "t", "x", "y"
    )
    one, other = axes_of(picture)
    assert np.isnan(one.lines[0].get_ydata()[1]) and len(one.lines) == 1 and not other.lines
    assert [t.get_text() for t in one.texts] == ["not measured: semdedup"]
    assert [t.get_text() for t in other.texts] == ["not measured: 3 of them"]
    assert entries(picture._figure) == ["density"]


def test_the_top_is_cut_off_for_all_panels_and_the_bottom_is_not() -> None:
    low = {"a": {"density": Series(X, [5, 5, 5, 5, 100])}, "b": {"density": Series(X, [-7, 1, 1, 1, 1])}}
    for axes in axes_of(curves(low, "t", "x", "y", top=10)):
        assert axes.get_ylim()[1] == 10 and axes.get_ylim()[0] < -7


def test_wide_intervals_do_not_press_curves_on_a_logarithmic_axis_together() -> None:
    wide = Series(X, np.full(5, 700.0), np.full(5, 1e-3), np.full(5, 2000.0))
    (axes,) = axes_of(curves({"a": {"density": wide}}, "t", "x", "y", log_x=True, log_y=True, top=1200.0))
    assert axes.get_ylim()[0] > 400


def test_points_have_intervals_and_the_front_is_joined_from_left_to_right() -> None:
    series = {
        name: Series([x], [y], [y - 1], [y + 1])
        for name, x, y in zip("abc", (9, 1, 3), (3, 1, 2), strict=True)
    }
    picture = points({"p": series}, "t", "x", "y", front={"p": ["a", "b", "c"]})
    (axes,) = axes_of(picture)
    assert axes.lines[0].get_xdata().tolist() == [1, 3, 9] and axes.lines[0].get_ydata().tolist() == [1, 2, 3]
    assert len(axes.collections) == 3
    assert entries(picture._figure) == ["a", "b", "c", "Pareto front"]


def test_charts_check_their_series() -> None:
    for chart in (curves, points):
        with pytest.raises(ValueError, match="nothing to draw for 't': there is no series"):
            chart({"a": {}}, "t", "x", "y")
        with pytest.raises(ValueError, match=r"series 'b' has x of shape \(2,\) and y of shape \(3,\)"):
            chart({"a": {"b": Series([1, 2], [1, 2, 3])}}, "t", "x", "y")


def test_bars_add_up_in_order_and_missing_rows_say_so() -> None:
    shares = np.array([[0.2, 0.3, 0.5], [np.nan] * 3, [0.0, 1.0, 0.0]])
    (axes,) = axes_of(
        stacked(["full_data", "density", "odd"], ["a", "b", "rest"], shares, "t", "%", rest=True)
    )
    boxes = [[(bar.get_x(), bar.get_width()) for bar in part] for part in axes.containers]
    assert np.allclose([part[0] for part in boxes], [(0, 20), (20, 30), (50, 50)])
    assert np.allclose([part[2] for part in boxes], [(0, 0), (0, 100), (100, 0)])
    assert all(part[1][1] == 0 for part in boxes)
    assert [t.get_text() for t in axes.texts] == ["not made"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["full data", "density", "odd"]
    assert [to_hex(part[0].get_facecolor()) for part in axes.containers] == [*PARTS[:2], REST]


def test_ordered_parts_go_from_dark_to_light() -> None:
    (axes,) = axes_of(stacked(["a"], list("abcdefgh"), np.full((1, 8), 1 / 8), "t", "%", ordered=True))
    light = [np.dot(part[0].get_facecolor()[:3], [0.2126, 0.7152, 0.0722]) for part in axes.containers]
    assert light == sorted(light) and len(set(light)) == 8


def test_bars_check_their_shares() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 2\) for 1 rows and 3 parts"):
        stacked(["a"], ["x", "y", "z"], [[0.5, 0.5]], "t", "%")
    with pytest.raises(ValueError, match=r"shares of 'b' sum to 0\.9, not to 1"):
        stacked(["a", "b"], ["x", "y"], [[0.5, 0.5], [0.5, 0.4]], "t", "%")
    with pytest.raises(ValueError, match="9 parts, but only 8 colours"):
        stacked(["a"], list("abcdefghi"), np.full((1, 9), 1 / 9), "t", "%")
    with pytest.raises(ValueError, match="0 rows"):
        stacked([], [], np.zeros((0, 0)), "t", "%")


def test_intervals_over_one_x_stand_side_by_side_and_in_the_middle_over_it() -> None:
    x, y = np.array([10.0, 80.0]), np.ones(2)
    barred = Series(x, y, y - 1, y + 1)
    moved = _beside([barred, barred, barred], False)
    assert moved[0] < moved[1] == 0.0 < moved[2] == -moved[0] < 2
    unknown = Series(x, y, np.full(2, np.nan), np.full(2, np.nan))
    assert _beside([unknown, barred], False) == [0.0, 0.0], "no interval hides another"
    dense = Series(np.arange(13.0), np.ones(13), np.zeros(13), np.ones(13))
    assert _beside([dense, dense], False) == [0.0, 0.0], "bands may lie over one another"
    by_factors = _beside([barred, barred], True)
    assert by_factors[0] == -by_factors[1] and np.exp(by_factors[1]) < 1.1


@pytest.mark.parametrize(("value", "said"), [(1e-3, "0.001"), (50, "50"), (2e4, "20k"), (1.5e6, "1.5M")])
def test_ticks_are_short(value: float, said: str) -> None:
    assert _short(value) == said


def test_what_is_cut_off_above_is_cut_off_on_the_left_as_well() -> None:
    figure = Figure()
    axes = figure.subplots()
    scales(axes, True, True, None)
    one = Series(np.array([1e3, 1e4, 1e5]), np.array([900.0, 300.0, 200.0]))
    axes.plot(np.asarray(one.x), np.asarray(one.y))
    from_below([axes], [one], 400.0)
    left, right = axes.get_xlim()
    assert 5e3 < left < 1e4 < 1e5 < right
    from_below([axes], [one], 100.0)
    assert axes.get_xlim() == (left, right), "where nothing comes below it all stays"
