"""Charts, read back from their axes: every value is where it belongs, what is missing is written, styles are those of the samplers."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from PIL import Image

from curation_assets.common.drawing.charts import (
    Dot,
    Series,
    curves,
    densities,
    forest,
    heat_map,
    histogram,
    joint,
    lines,
    points,
    stacked,
)
from curation_assets.common.drawing.picture import Picture
from curation_assets.common.drawing.styles import FULL, PANELS, PARTS, REST, style_of
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets_tests.common.drawing.test_picture import HOSTILE

X = np.array([float(rate) for rate in RATES])
RNG = np.random.default_rng(0)
NAMES = list(SAMPLERS)
EDGES, COUNTS = np.linspace(0, 10, 11), np.arange(10)


def _line(low: bool = True) -> Series:
    y = RNG.normal(5, 1, 5)
    return Series(X, y, y - 0.4, y + 0.4) if low else Series(X, y)


def _dots(value: float) -> dict[str, Dot]:
    return {name: Dot(value + i, value + i - 1, value + i + 1) for i, name in enumerate(NAMES[:-1])}


PANELLED = {panel: {name: _line() for name in (*members, "random")} for panel, members in PANELS.items()}
POINTS = {name: Series([i + 1.0], [i % 5], [0], [6]) for i, name in enumerate(NAMES)}
HOSTILE_PANELS = {text: {text: _line(), "random": _line()} for text in HOSTILE.values() if text}
DRAWN: dict[str, Callable[[], Picture]] = {
    "curves": lambda: curves(PANELLED, "Quality", "rate", "perplexity", references={"Coverage": {FULL: 5.0}}),
    "points": lambda: points({"p": POINTS}, "t", "x", "y", {"p": ["random", "density"]}, {"p": {FULL: 3.0}}),
    "stacked": lambda: stacked(
        [FULL, *NAMES], list("abc"), np.full((len(NAMES) + 1, 3), 1 / 3), "Kept", "%", rest=True
    ),
    "forest": lambda: forest({f"score {i}": _dots(10.0 * i) for i in range(5)}, NAMES, "Quality", {}, {}),
    "densities": lambda: densities(
        dict.fromkeys(NAMES, (EDGES, COUNTS)), "Scores", {"density": {"10": 9.0}}, {}
    ),
    "joint": lambda: joint({"a": np.eye(4), "b": np.ones((4, 4))}, "Ranks", "smaller", "larger"),
    "heat map": lambda: heat_map(NAMES, np.corrcoef(RNG.normal(size=(len(NAMES), 30))), "Tau"),
    "histogram": lambda: histogram(RNG.normal(size=1000), "Scores", "score"),
    "constant": lambda: histogram([2.0], "One value", "score"),
    "lines": lambda: lines({name: (X, X * i) for i, name in enumerate(NAMES)}, "Lines", "x", "y"),
    "hostile curves": lambda: curves(HOSTILE_PANELS, *["$x$ <b>"] * 3),
}


def axes_of(picture: Picture) -> list[Axes]:
    return [axes for axes in picture.figure.axes if axes.get_visible()]


def entries(picture: Picture) -> list[str]:
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", DRAWN)
def test_every_chart_is_a_small_png_with_nothing_cut_off(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        picture = DRAWN[name]()
        png = picture.png
    x = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    assert len(png) < 130_000 and x.shape[1] == 868 and (x < 200).any()
    assert (np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]]) > 250).all()


def test_curves_have_every_value_in_the_style_of_the_samplers() -> None:
    picture = DRAWN["curves"]()
    panels = axes_of(picture)
    assert [axes.get_title(loc="left") for axes in panels] == list(PANELS)
    for axes, (panel, series) in zip(panels, PANELLED.items(), strict=True):
        drawn = {line.get_label(): line for line in axes.lines}
        assert set(drawn) == {*series, *(["full data"] if panel == "Coverage" else [])}
        for name, one in series.items():
            style = style_of(name)
            assert drawn[name].get_ydata().tolist() == np.asarray(one.y).tolist()
            assert (drawn[name].get_color(), drawn[name].get_marker()) == (style.colour, style.marker)
    assert panels[0].lines[-1].get_ydata() == [5.0, 5.0]
    assert entries(picture).count("random") == 1 and len(entries(picture)) == len(NAMES) + 1


def test_intervals_are_bars_for_few_points_and_bands_for_many() -> None:
    few = axes_of(curves({"a": {"density": _line()}}, "t", "x", "y"))[0]
    (bars,) = few.collections
    assert len(bars.get_segments()) == 5
    x = np.linspace(1, 9, 50)
    many = axes_of(curves({"a": {"density": Series(x, x, x - 1, x + 1)}}, "t", "x", "y", log=True))[0]
    assert len(many.collections) == 1 and many.lines[0].get_marker() in ("", "None")
    assert many.get_xscale() == many.get_yscale() == "log"
    assert not axes_of(curves({"a": {"density": _line(False)}}, "t", "x", "y"))[0].collections


def test_intervals_over_one_x_stand_side_by_side_around_it() -> None:
    y = np.ones(5)
    barred = {name: Series(X, y, y - 1, y + 1) for name in ("density", "semdedup", "prototypes")}
    (axes,) = axes_of(curves({"a": barred}, "t", "x", "y"))
    left, middle, right = (line.get_xdata() for line in axes.lines)
    assert np.array_equal(middle, X) and np.allclose(X - left, right - X) and (right - X > 0).all()
    alone = {"density": barred["density"], "semdedup": Series(X, y)}
    for line in axes_of(curves({"a": alone}, "t", "x", "y"))[0].lines:
        assert np.array_equal(line.get_xdata(), X), "no interval hides another"


def test_what_was_not_measured_is_a_gap_or_is_written() -> None:
    gap, none = Series(X, [1, np.nan, 3, 4, 5]), Series(X, np.full(5, np.nan))
    panels = {"a": {"density": gap, "semdedup": none}, "b": dict.fromkeys("xyz", none)}
    picture = curves(panels, "t", "x", "y")
    one, other = axes_of(picture)
    assert np.isnan(one.lines[0].get_ydata()[1]) and len(one.lines) == 1 and not other.lines
    assert [t.get_text() for t in one.texts] == ["not measured: semdedup"]
    assert [t.get_text() for t in other.texts] == ["not measured: 3 of them"]
    assert entries(picture) == ["density"]


def test_what_is_cut_off_above_is_cut_off_on_the_left_as_well() -> None:
    steep = Series([1e3, 1e4, 1e5], [900.0, 300.0, 200.0], [1e-3, 200, 100], [2e3, 400, 300])
    (axes,) = axes_of(curves({"a": {"density": steep}}, "t", "x", "y", log=True, top=400.0))
    assert 5e3 < axes.get_xlim()[0] < 1e4 < 1e5 < axes.get_xlim()[1]
    assert axes.get_ylim()[1] == 400 and axes.get_ylim()[0] > 100, "wide intervals press nothing together"
    low = {"a": {"density": Series(X, [5, 5, 5, 5, 100])}, "b": {"density": Series(X, [-7, 1, 1, 1, 1])}}
    for axes in axes_of(curves(low, "t", "x", "y", top=10)):
        assert axes.get_ylim()[1] == 10 and axes.get_ylim()[0] < -7


def test_ticks_of_logarithmic_axes_are_short_and_no_millis() -> None:
    series = {name: Series([x], [1.0]) for name, x in zip("abc", (0.01, 50, 2e6), strict=True)}
    (axes,) = axes_of(points({"p": series}, "t", "x", "y", {}, {}))
    assert [axes.xaxis.get_major_formatter()(x) for x in (0.01, 50, 2e4, 1.5e6)] == [
        "0.01",
        "50",
        "20k",
        "1.5M",
    ]


def test_points_have_intervals_and_the_front_is_joined_from_left_to_right() -> None:
    rows = zip("abc", (9, 1, 3), (3, 1, 2), strict=True)
    series = {name: Series([x], [y], [y - 1], [y + 1]) for name, x, y in rows}
    picture = points({"p": series}, "t", "x", "y", {"p": ["a", "b", "c"]}, {})
    (axes,) = axes_of(picture)
    assert axes.lines[0].get_xdata().tolist() == [1, 3, 9] and axes.lines[0].get_ydata().tolist() == [1, 2, 3]
    assert len(axes.collections) == 3 and entries(picture) == ["a", "b", "c", "Pareto front"]


def test_bars_add_up_in_order_and_missing_rows_say_so() -> None:
    shares = np.array([[0.2, 0.3, 0.5], [np.nan] * 3, [0.0, 1.0, 0.0]])
    (axes,) = axes_of(
        stacked(["full_data", "density", "odd"], ["a", "b", "rest"], shares, "t", "%", rest=True)
    )
    boxes = [[(bar.get_x(), bar.get_width()) for bar in part] for part in axes.containers]
    assert np.allclose([part[0] for part in boxes], [(0, 20), (20, 30), (50, 50)])
    assert np.allclose([part[2] for part in boxes], [(0, 0), (0, 100), (100, 0)])
    assert all(part[1][1] == 0 for part in boxes) and [t.get_text() for t in axes.texts] == ["not made"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["full data", "density", "odd"]
    assert [to_hex(part[0].get_facecolor()) for part in axes.containers] == [*PARTS[:2], REST]
    (axes,) = axes_of(stacked(["a"], list("abcdefgh"), np.full((1, 8), 1 / 8), "t", "%", ordered=True))
    light = [np.dot(part[0].get_facecolor()[:3], [0.2126, 0.7152, 0.0722]) for part in axes.containers]
    assert light == sorted(light) and len(set(light)) == 8, "from dark to light"
    with pytest.raises(ValueError, match="9 parts, but only 8 colours"):
        stacked(["a"], list("abcdefghi"), np.full((1, 9), 1 / 9), "t", "%")


def test_a_forest_has_a_line_a_sampler_and_what_was_not_measured_is_written() -> None:
    panels = {f"score {i}": _dots(10.0 * i) for i in range(5)}
    references = {name: {"random": 12.0, "full_data": 9.0} for name in panels}
    svg = forest(panels, NAMES, "Quality", dict.fromkeys(panels, "lower"), references).svg()
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert all(name in texts for name in NAMES), "the lines are named"
    assert texts.count("not measured") == len(panels), "the last sampler, in each panel"
    assert texts.count("full data") == 1, "one legend"
    rounding = {name: Dot(k * 1e-17) for k, name in enumerate(NAMES[:3])}
    (axes,) = axes_of(forest({"a": rounding}, NAMES[:3], "t", {}, {"a": {"random": 0.0}}))
    assert axes.get_xlim() == (-1.0, 1.0), "differences that are rounding get no axis of their own"


def test_histograms_have_their_colours_and_cuts_a_label_where_there_is_room() -> None:
    for axes, name in zip(axes_of(DRAWN["densities"]()), NAMES, strict=True):
        counts, edges, _ = axes.patches[0].get_data()
        assert counts.tolist() == COUNTS.tolist() and edges.tolist() == EDGES.tolist()
        assert to_hex(axes.patches[0].get_facecolor()) == style_of(name).colour
    cuts = {"density": {"10": 9.0, "80": 1.0, "20": 8.9, "40": 5.0, "60": 50.0}}
    (axes,) = axes_of(densities({"density": (EDGES, COUNTS)}, "t", cuts, {"density": "a note"}))
    assert [line.get_xdata()[0] for line in axes.lines] == [9.0, 1.0, 8.9, 5.0], (
        "what is outside is not drawn"
    )
    texts = {text.get_text(): text.xy[0] for text in axes.texts}
    assert texts == {"10": 0.9, "80": 0.1, "40": 0.5, "a note": 0.02}, "the first of neighbours has the label"


def test_joint_histograms_share_a_scale_on_which_one_is_no_relation() -> None:
    flat, diagonal = np.full((20, 20), 7), np.eye(20) * 5
    one, other, bar = axes_of(joint({"none": flat, "equal": diagonal}, "Ranks", "smaller", "larger"))
    assert np.allclose(one.images[0].get_array(), 1)
    assert np.allclose(np.diag(other.images[0].get_array()), 20) and other.images[0].get_array().sum() == 400
    assert one.images[0].get_clim() == other.images[0].get_clim() == (0, 20)
    assert bar.get_xlabel().startswith("documents, 1 is")
    corner = np.zeros((4, 4))
    corner[3, 0] = 1  # high under the first, low under the second
    image = axes_of(joint({"a": corner}, "t", "first", "second"))[0].images[0]
    assert image.get_array()[0, 3] == 16 and image.origin == "lower", "the first goes right, the second up"


def test_a_heat_map_writes_every_tau_and_leaves_out_what_has_none() -> None:
    matrix = np.array([[1.0, -0.072, np.nan], [-0.072, 1.0, 0.0], [np.nan, 0.0, np.nan]])
    (axes,) = axes_of(heat_map(["random", "density", "a"], matrix, "t"))
    assert [text.get_text() for text in axes.texts] == ["1", "-.07", "-.07", "1", "0", "0"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["random", "density", "a"]


def test_a_histogram_counts_every_finite_value_and_tells_of_the_rest() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(5, 1, 5000), [np.nan, -np.inf]])
    (axes,) = axes_of(histogram(values.reshape(2, -1), "Scores", "score"))
    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 5000
    assert (edges[0], edges[-1]) == pytest.approx((values[:-2].min(), values[:-2].max()))
    assert axes.lines[0].get_xdata()[0] == pytest.approx(np.median(values[:-2]))
    assert "5,002 values" in axes.get_title(loc="left") and "2 not finite" in axes.get_title(loc="left")
    for far in ([*np.linspace(0, 1, 1000), 1e12], [1.0] * 99 + [2.0]):
        assert len(axes_of(histogram(far, "Far", "score"))[0].patches[0].get_data()[0]) == 120
    with pytest.raises(ValueError, match="none of 2 values is finite"):
        histogram([np.nan, np.inf], "t", "x")


def test_every_line_looks_different() -> None:
    (axes,) = axes_of(lines(dict.fromkeys(NAMES, (X, X)), "t", "x", "y"))
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}) == len(
        NAMES
    )
