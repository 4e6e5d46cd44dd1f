"""Figures, looked at through their pixels and their axes."""

import base64
import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from curation_assets.common.drawing import pictures
from curation_assets.common.drawing.pictures import histogram, lines, png_markdown

DRAW = np.random.default_rng(0)
NAMES = [f"sampler_{i}" for i in range(19)]
X = np.arange(1, 6)
PICTURES: dict[str, Callable[[], bytes]] = {
    "histogram": lambda: histogram(DRAW.normal(size=1000), "Scores", "score"),
    "constant": lambda: histogram([2.0], "One value", "score"),
    "lines": lambda: lines({n: (X, X * i) for i, n in enumerate(NAMES)}, "Lines", "x", "y", log_x=True),
    "one line": lambda: lines({"only": (X, [1, np.nan, 3, 4, 5])}, "Line", "x", "y", reference=("all", 2.5)),
    "odd names": lambda: lines({"_$a$": (X, X), "$\\frac{": (X, X)}, "$ in _names_", "$", "^"),
}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def amount(png: bytes, colour: str) -> int:
    """Count the pixels of a colour, but for the palette's rounding."""
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    return int((np.abs(pixels(png) - wanted).max(axis=2) <= 6).sum())


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are rendered, so that a test can read their axes."""
    seen: list[Figure] = []
    render = pictures._png
    monkeypatch.setattr(pictures, "_png", lambda figure: seen.append(figure) or render(figure))
    return seen


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_a_small_png_on_white_with_nothing_cut_off(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = PICTURES[name]()
    assert png.startswith(b"\x89PNG\r\n") and len(png) < 90_000
    x = pixels(png)
    assert x.shape[1] == 868 and 150 < x.shape[0] < 1000
    border = np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
    assert (border > 250).all()  # a white frame: no label runs over the edge
    assert (x < 200).any()


def test_the_same_values_give_the_same_bytes() -> None:
    values = np.random.default_rng(1).normal(size=500)
    assert histogram(values, "t", "x") == histogram(values, "t", "x")


def test_histogram_counts_every_finite_value_and_tells_of_the_rest(figures: list[Figure]) -> None:
    values = np.concatenate([np.random.default_rng(0).normal(5, 1, 5000), [np.nan, -np.inf]])
    png = histogram(values.reshape(2, -1), "Scores", "score")
    axes = figures[0].axes[0]
    counts, edges, _ = axes.patches[0].get_data()
    assert counts.sum() == 5000
    assert edges[0] == pytest.approx(values[:-2].min()) and edges[-1] == pytest.approx(values[:-2].max())
    assert axes.lines[0].get_xdata()[0] == pytest.approx(np.median(values[:-2]))
    assert any("2 not finite" in text.get_text() for text in axes.texts)
    assert amount(png, "#0072B2") > 5000 and amount(png, "#D55E00") > 200


def test_histogram_of_far_outliers_has_a_bounded_number_of_bins(figures: list[Figure]) -> None:
    histogram([*np.linspace(0, 1, 1000), 1e12], "Outlier", "score")
    histogram([1.0] * 99 + [2.0], "Spike", "score")
    assert [len(f.axes[0].patches[0].get_data()[0]) for f in figures] == [120, 120]


def test_histogram_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of 2 values is finite"):
        histogram([np.nan, np.inf], "t", "x")
    with pytest.raises(ValueError, match="none of 0 values"):
        histogram([], "t", "x")


def test_every_line_is_in_the_legend_and_looks_different(figures: list[Figure]) -> None:
    lines(dict.fromkeys(NAMES, (X, X)), "t", "x", "y", reference=("full data", 3.0))
    drawn = figures[0].axes[0].lines
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn}
    assert len(looks) == len(drawn) == 20
    assert [t.get_text() for t in figures[0].legends[0].get_texts()] == [*NAMES, "full data"]


def test_lines_check_their_series() -> None:
    with pytest.raises(ValueError, match="no series"):
        lines({}, "t", "x", "y")
    with pytest.raises(ValueError, match=r"'a' has x of shape \(2,\) and y of shape \(3,\)"):
        lines({"a": ([1, 2], [1, 2, 3])}, "t", "x", "y")
    with pytest.raises(ValueError, match="not positive"):
        lines({"a": ([0, 1], [1, 2])}, "t", "x", "y", log_x=True)


def test_markdown_carries_the_picture() -> None:
    png = PICTURES["constant"]()
    text = png_markdown(png, "scores](http://example.org) of\n`x`")
    alt, data = text.removeprefix("![").removesuffix(")").split("](data:image/png;base64,")
    assert base64.b64decode(data) == png
    assert not set(alt) & set("[]`\n")
