"""Pictures in all their forms: the same each time, safe to put into a page, and not broken by any text."""

from __future__ import annotations

import base64
import io
import re
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation_assets.common.drawing.picture import (
    Picture,
    label,
    legend,
    legend_height,
    name_axes,
    plain,
    sheet,
    write,
)
from curation_assets.common.drawing.styles import DARK, INK, PAPER

HOSTILE = {
    "formula": r"$\frac{1}{0$ and $x$ \$ \\",
    "script": "</text></svg><script>alert(1)</script>",
    "entity": "<!ENTITY x SYSTEM 'file:///etc/passwd'> &x; <![CDATA[",
    "hidden": "_a\x00\x1b[31m\x07\u202e\u2066\ufeff\ud800\uffff\U000e0041b",
    "lines": "a\nb\r\nc\u2028d",
    "long": "a long text " * 500,
    "address": "javascript:alert(1) url(http://example.org) xlink:href='http://example.org'",
    "empty": "",
}


def _picture(text: str = "a title", seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    figure, grid, _ = sheet(text, 2, 2, 0, 2.4, sharey=True)
    lines = []
    for axes in grid:
        name_axes(axes, text, text, text)
        lines += axes.plot(rng.normal(size=20), color="#0883c3", label=label(text))
        axes.fill_between([0, 5], 0, 1, color=INK)
        axes.fill_between([5, 9], 0, 1, color=PAPER)
        axes.imshow(rng.random((4, 4)), extent=(0, 5, -2, -1), aspect="auto", interpolation="none")
        write(axes, text, 0.5, 0.5, fontsize=7)
    legend(figure, lines)
    return Picture(figure)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_the_same_figure_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _picture().save(tmp_path, name)
    for end in ("png", "svg", "pdf"):
        one, two = ((tmp_path / f"{name}.{end}").read_bytes() for name in ("one", "two"))
        assert one == two and len(one) > 1000
    assert _picture(seed=1).png != _picture().png


def test_forms_do_not_depend_on_their_order() -> None:
    one, other = _picture(), _picture()
    first = one.svg(), one.pdf(), one.png
    assert (first[2], first[1], first[0]) == (other.png, other.pdf(), other.svg())


def test_the_png_is_sharp_on_white_with_nothing_cut_off() -> None:
    x = _pixels(_picture().png)
    assert x.shape[1] == 868
    border = np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
    assert (border > 250).all() and (x < 100).any()


def test_the_svg_is_a_file_of_its_own_that_follows_the_readers_colour_scheme() -> None:
    svg = _picture().svg()
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and re.fullmatch(
        r"0 0 [\d.]+ [\d.]+", root.attrib["viewBox"]
    )
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a title" in texts, "text is text, not outlines"
    assert "color-scheme: light dark" in svg and "@media (prefers-color-scheme: dark)" in svg
    for light, dark in DARK.items():
        assert f'[style*="fill: {light}"] {{ fill: {dark} !important }}' in svg
    assert f"fill: {INK}" in svg.split("</style>", 1)[1] and "#0883c3" in svg, (
        "colours as matplotlib writes them"
    )
    loaded = re.findall(r'(?:href|src)="([^"]+)"', svg)
    assert loaded and all(address.startswith(("#", "data:image/png;base64,")) for address in loaded)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_breaks_a_picture(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box stands for it
        picture = _picture(HOSTILE[name])
        svg, png = picture.svg(), picture.png
    names = {node.tag.rsplit("}", 1)[-1] for node in ET.fromstring(svg).iter()}
    assert not names & {"script", "foreignObject", "a"} and picture.pdf().startswith(b"%PDF")
    assert _pixels(png).shape[1] == 868
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028\u202e\u2066\ufeff\ufffe\uffff\ud800-\udfff]", svg)


def test_a_text_means_itself() -> None:
    assert plain("$x$ 5 %") == r"\$x\$ 5 %"
    assert plain("_hidden") == "\N{ZERO WIDTH SPACE}_hidden"
    assert plain("a\x1bb") == "a\N{REPLACEMENT CHARACTER}b"
    assert plain("abcdef", 4) == "abc…" and plain("abcd", 4) == "abcd"
    assert len(label("x" * 99)) == 36
    assert plain(r"\$") == r"\\$"


def test_a_dollar_is_drawn_as_one() -> None:
    texts = [node.text for node in ET.fromstring(_picture(r"$a$ \$").svg()).iter() if node.text]
    assert r"$a$ \$" in texts


def test_a_legend_has_as_many_columns_as_fit() -> None:
    line = legend_height(["only"])
    assert legend_height(["ab"] * 8) == pytest.approx(2 * line)
    assert legend_height(["w" * 30] * 8) == pytest.approx(4 * line)
    assert legend_height(["w" * 300] * 3) == pytest.approx(2 * line)


def test_markdown_carries_the_picture() -> None:
    picture = _picture()
    text = picture.markdown("scores](http://example.org) of\n`x`")
    alt, data = text.removeprefix("![").removesuffix(")").split("](data:image/png;base64,")
    assert base64.b64decode(data) == picture.png and not set(alt) & set("[]`\n")
