"""Charts of documents: histograms with their cuts, and joint histograms against what two unrelated orders would give."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from curation_assets.common.drawing.looks import look
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.histograms import densities, joint
from curation_assets.report.html import inline_svg
from curation_assets_tests.common.drawing.test_canvas import HOSTILE
from curation_assets_tests.report.test_charts import axes_of

EDGES = np.linspace(0, 10, 11)
COUNTS = np.arange(10)


def test_histograms_of_all_samplers_are_drawn_in_their_colours_with_nothing_cut_off() -> None:
    names = list(SAMPLERS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = densities(dict.fromkeys(names, (EDGES, COUNTS)), "Scores", cuts={"density": {"10": 9.0}})
        x = np.asarray(Image.open(io.BytesIO(picture.png())).convert("RGB")).astype(int)
    assert (np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]]) > 250).all() and x.shape[1] == 868
    panels = axes_of(picture)
    assert [axes.get_title(loc="left") for axes in panels] == names
    for axes, name in zip(panels, names, strict=True):
        counts, edges, _ = axes.patches[0].get_data()
        assert counts.tolist() == COUNTS.tolist() and edges.tolist() == EDGES.tolist()
        wanted = tuple(int(look(name).colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        assert axes.patches[0].get_facecolor()[:3] == pytest.approx(wanted)
    inline_svg(picture.svg())


def test_cuts_are_marked_and_labelled_where_there_is_room() -> None:
    cuts = {"density": {"10": 9.0, "80": 1.0, "20": 8.9, "40": 5.0, "60": 50.0}}
    (axes,) = axes_of(densities({"density": (EDGES, COUNTS)}, "t", cuts=cuts, notes={"density": "a note"}))
    assert [line.get_xdata()[0] for line in axes.lines] == [9.0, 1.0, 8.9, 5.0], (
        "what is outside is not drawn"
    )
    texts = {text.get_text(): text.xy[0] for text in axes.texts}
    assert texts == {"10": 0.9, "80": 0.1, "40": 0.5, "a note": 0.02}, "the first of neighbours has the label"


def test_hostile_names_are_text() -> None:
    panels = dict.fromkeys(HOSTILE.values(), (EDGES, COUNTS))
    notes = {text: text for text in HOSTILE.values()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        shown = inline_svg(densities(panels, HOSTILE["script"], HOSTILE["formula"], notes=notes).svg())
        square = {text[:9]: np.eye(4) for text in HOSTILE.values()}
        other = inline_svg(joint(square, HOSTILE["script"], HOSTILE["formula"], HOSTILE["hidden"]).svg())
    assert "<script" not in shown + other


def test_histograms_check_their_arrays() -> None:
    with pytest.raises(ValueError, match="there is no histogram"):
        densities({}, "t")
    with pytest.raises(ValueError, match="'density' has 10 edges for 10 counts"):
        densities({"density": (EDGES[1:], COUNTS)}, "t")


def test_joint_histograms_share_a_scale_on_which_one_is_no_relation() -> None:
    flat, diagonal = np.full((20, 20), 7), np.eye(20) * 5
    picture = joint({"none": flat, "equal": diagonal}, "Ranks", "smaller", "larger")
    one, other, bar = axes_of(picture)
    assert np.allclose(one.images[0].get_array(), 1)
    assert np.allclose(np.diag(other.images[0].get_array()), 20) and other.images[0].get_array().sum() == 400
    assert one.images[0].get_clim() == other.images[0].get_clim() == (0, 20)
    assert bar.get_xlabel().startswith("documents, 1 is")
    assert joint({"none": flat, "equal": diagonal}, "Ranks", "smaller", "larger").png() == picture.png()


def test_the_first_score_goes_to_the_right_and_the_second_up() -> None:
    counts = np.zeros((4, 4))
    counts[3, 0] = 1  # high under the first, low under the second
    image = axes_of(joint({"a": counts}, "t", "first", "second"))[0].images[0]
    assert image.get_array()[0, 3] == 16 and image.origin == "lower"


def test_joint_histograms_check_their_counts() -> None:
    with pytest.raises(ValueError, match="there is no pair"):
        joint({}, "t", "x", "y")
    with pytest.raises(ValueError, match=r"'a' has counts of shape \(2, 3\)"):
        joint({"a": np.ones((2, 3))}, "t", "x", "y")
    with pytest.raises(ValueError, match="with the sum 0"):
        joint({"a": np.zeros((2, 2))}, "t", "x", "y")
