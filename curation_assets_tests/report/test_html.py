"""Markup: text stays text, and nothing that runs or loads can be built or taken in."""

import html as stdlib_html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.report.html import Html, anchor, check_address, inline_svg, join, tag, text, visible

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2">{}</svg>'


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.text())
def test_any_text_is_one_text_in_one_element(value: str) -> None:
    parser = _Texts()
    parser.feed(tag("p", value, title=value))
    parser.close()
    assert parser.tags == ["p"]
    assert "".join(parser.texts) == visible(value)


@given(st.text())
def test_visible_leaves_no_control_and_is_stable(value: str) -> None:
    shown = visible(value)
    assert visible(shown) == shown
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    shown.encode()  # no lone surrogate is left


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\x00\x7f\x9b", "␀␡⟨U+009B⟩"),
        ("\u2066x\u2069\u200e\u061c", "⟨U+2066⟩x⟨U+2069⟩⟨U+200E⟩⟨U+061C⟩"),
        ("\ud800\U000e0041", "⟨U+D800⟩⟨U+E0041⟩"),
        ("tab\tline\nعربي 漢 👩‍👩", "tab\tline\nعربي 漢 👩‍👩"),
    ],
)
def test_visible_word_for_word(raw: str, shown: str) -> None:
    assert visible(raw) == shown


def test_tag_word_for_word() -> None:
    made = tag(
        "p", "a<b", [Html("<br>"), 3, None], class_="x y", aria_label='"q"', open=True, id=None, lang=False
    )
    assert made == '<p class="x y" aria-label="&quot;q&quot;" open>a&lt;b<br>3</p>'
    assert tag("br") == "<br>" and join("&", Html("&amp;")) == "&amp;&amp;"
    assert stdlib_html.unescape(text("<'\">&")) == "<'\">&"


@pytest.mark.parametrize("name", ["script", "iframe", "img", "base", "form", "object", "p onclick"])
def test_no_element_that_runs_or_loads(name: str) -> None:
    with pytest.raises(ValueError, match="no element of a report"):
        tag(name)


@pytest.mark.parametrize("name", ["onclick", "src", "style", "srcdoc", "x y", "formaction"])
def test_no_attribute_that_runs_or_loads(name: str) -> None:
    with pytest.raises(ValueError, match="no attribute of a report"):
        tag("p", **{name: "1"})


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "//evil/x",
        "http://evil",
        "/etc/passwd",
        "../x",
        "a/../b",
        "data:text/html,x",
        "x:y",
        "",
        "#",
        "# x",
        ".x",
    ],
)
def test_addresses_are_anchors_or_relative_paths(address: str) -> None:
    with pytest.raises(ValueError, match="neither an anchor nor a relative path"):
        tag("a", "x", href=address)
    for good in ("#part-a_1", "figures/a-b.c.png", "x"):
        check_address(good)


def test_anchors_are_safe_and_differ() -> None:
    names = [
        ("a", "b"),
        ("a-b",),
        ("a/b",),
        ("A-b",),
        ("漢",),
        ("",),
        ('"><script>',),
        ("x" * 500,),
        ("20|small",),
    ]
    made = [anchor(*name) for name in names]
    assert made[0].startswith("a-b-") and made[-1].startswith("x-20-small-")
    assert len(set(made)) == len(names)
    assert made == [anchor(*name) for name in names]
    for one in made:
        check_address(f"#{one}")


def test_a_picture_is_written_anew() -> None:
    source = (
        '<?xml version="1.0"?>'
        + SVG.format('<!-- x --><g style="fill: var(--ink)"><text>a &lt; b</text><use href="#m"/></g>')
    ).replace("?>", "?>\n", 1)
    made = inline_svg(source, 'say "it"')
    assert made == (
        '<svg viewBox="0 0 2 2" role="img" aria-label="say &quot;it&quot;"><g style="fill: var(--ink)"><text>a &lt; b</text>'
        '<use href="#m"></use></g></svg>'
    )


def test_pixels_and_undeclared_xlink_are_taken() -> None:
    made = inline_svg(SVG.format('<image xlink:href="data:image/png;base64,AAAA\n+/="/>'))
    assert '<image href="data:image/png;base64,AAAA' in made


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        "<g><SCRIPT>alert(1)</SCRIPT></g>",
        "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>x</p></foreignObject>",
        '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>',
        '<g onload="alert(1)"/>',
        '<g OnClick="alert(1)"/>',
        '<a href="javascript:alert(1)"><text>x</text></a>',
        '<use href="http://evil/x.svg#a"/>',
        '<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="//evil/x"/>',
        '<image href="http://evil/x.png"/>',
        '<image href="data:image/svg+xml;base64,AAAA"/>',
        '<image src="x.png"/>',
        "<style>*{background:url(//evil)}</style>",
        '<rect style="fill: url(http://evil/x)"/>',
        '<rect style="fill: \\75rl(//evil)"/>',
        '<rect fill="url( //evil )"/>',
        '<set attributeName="href" to="javascript:alert(1)"/>',
        '<animate attributeName="href" values="javascript:alert(1)"/>',
        '<g xml:base="http://evil/"/>',
        "<iframe/>",
        "<?xml-stylesheet href='http://evil'?><g",
    ],
)
def test_a_picture_that_could_run_or_load_is_refused(evil: str) -> None:
    with pytest.raises(ValueError, match="the picture"):
        inline_svg(SVG.format(evil))


@pytest.mark.parametrize(
    "source",
    [
        '<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.format("&a;"),
        "<p>no picture</p>",
        '<html xmlns="http://www.w3.org/1999/xhtml"/>',
        "",
        SVG.format("")[:-3],
    ],
)
def test_what_is_no_picture_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="the picture"):
        inline_svg(source)


def test_markup_inside_a_text_of_a_picture_stays_text() -> None:
    made = inline_svg(
        SVG.format(
            "<text>&lt;/svg&gt;&lt;script&gt;alert(1)&lt;/script&gt;</text><title>&lt;img src=x&gt;</title>"
        )
    )
    parser = _Texts()
    parser.feed(made)
    assert parser.tags == ["svg", "text", "title"]
