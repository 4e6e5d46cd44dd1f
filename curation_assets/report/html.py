"""Markup that can be trusted: every text is escaped in one place, every attribute and address is checked.

`Html` is a string that is markup already; whatever else goes into `tag` is text, and is escaped by `text`. Nothing made here can
run a script or load anything: there is no attribute that would, and addresses are anchors or relative paths.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import TypeAlias

from curation_assets.common.files import fingerprint


class Html(str):
    """Markup, safe as it stands."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"
EMPTY = Html("")

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_ATTRIBUTES_TEXT = """
id class href lang dir title alt role scope charset name content http_equiv colspan rowspan open
tabindex download d fill viewBox width height preserveAspectRatio start
"""
_ATTRIBUTES = frozenset(_ATTRIBUTES_TEXT.split())
_VOID = frozenset({"meta", "br", "hr"})
_ELEMENTS_TEXT = """
html head meta title style body header nav main footer section article h1 h2 h3 h4 h5 p ul ol li dl dt
dd a strong em code pre span div small br hr details summary figure figcaption table caption thead tbody
tr th td svg path g
"""
_ELEMENTS = frozenset(_ELEMENTS_TEXT.split())
_RELATIVE = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_ANCHOR = re.compile(r"#[A-Za-z][A-Za-z0-9_-]*")


def visible(value: str) -> str:
    """Replace characters that hide, reorder or steer text by symbols for them: ␛ for escape, ⟨U+202E⟩ for a bidi override.

    Tabs and line feeds stay.
    """
    return _CONTROL.sub(_symbol, value)


def _symbol(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def text(value: str | int | float) -> Html:
    """Return a text as markup that shows it and does nothing else."""
    return Html(html.escape(visible(str(value)), quote=True))


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """Return an element; children that are no `Html` are texts, an attribute that is None or False is left out.

    A trailing underscore is dropped from attribute names (`class_`), others become hyphens (`aria_label`).

    Raises
    ------
    ValueError
        An element or attribute that no report needs, or an address that is neither an anchor nor a relative path.
    """
    if name not in _ELEMENTS:
        raise ValueError(f"<{name}> is no element of a report")
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(start if name in _VOID else f"{start}{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Return children one after another, as `tag` takes them."""
    return Html("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int | float):
        return text(child)
    return join(*child)


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    known = key.rstrip("_")
    if known not in _ATTRIBUTES and not known.startswith("aria_"):
        raise ValueError(f"{known} is no attribute of a report")
    name = known.replace("_", "-")
    if known == "href":
        check_address(str(value))
    return f" {name}" if value is True else f' {name}="{text(value)}"'


def check_address(address: str) -> None:
    """Raise ValueError unless an address is an anchor of the page (`#x`) or a plain relative path (`figures/x.png`)."""
    if not _ANCHOR.fullmatch(address) and not _RELATIVE.fullmatch(address):
        raise ValueError(f"{address!r} is neither an anchor nor a relative path")


def anchor(*parts: str) -> str:
    """Return an id that is safe in an address: readable, and another one for other parts."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(parts)).strip("-").lower()[:60]
    return (
        f"x-{slug}-{fingerprint(*parts)[:10]}"
        if not slug[:1].isalpha()
        else f"{slug}-{fingerprint(*parts)[:10]}"
    )


_SVG = "{http://www.w3.org/2000/svg}"
_SVG_ELEMENTS_TEXT = """
svg g path rect circle ellipse line polyline polygon text tspan title desc defs clipPath use
linearGradient radialGradient stop marker pattern image
"""
_SVG_ELEMENTS = frozenset(_SVG_ELEMENTS_TEXT.split())
_XLINK = "{http://www.w3.org/1999/xlink}href"
_SVG_ATTRIBUTE = re.compile(r"(?!on)[A-Za-z][A-Za-z0-9-]*", re.IGNORECASE)
_URL = re.compile(r"url\(\s*(?!#[A-Za-z0-9_-]+\s*\))|[@\\]|expression|javascript:|data:", re.IGNORECASE)
_PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")


def inline_svg(source: str, label: str = "") -> Html:
    """Return a picture as an `<svg>` element for the page, written anew from what was read; `label` is its text alternative.

    Raises
    ------
    ValueError
        It is no SVG, or has an element, attribute or address that could run or load something: script, style sheet,
        foreignObject, event handler, link, another file.
    """
    if "<!DOCTYPE" in source or "<!ENTITY" in source:
        raise ValueError("the picture declares a document type or entities")
    if "xmlns:xlink" not in source:  # HTML knows the prefix without being told, XML does not
        source = source.replace(" xlink:href=", " href=")
    try:
        root = ET.fromstring(source)
    except ET.ParseError as error:
        raise ValueError(f"the picture is no XML: {error}") from None
    if root.tag not in (f"{_SVG}svg", "svg"):
        raise ValueError(f"the picture is {root.tag!r}, no svg")
    if label:
        root.set("role", "img")
        root.set("aria-label", label)
    return Html(_written(root))


def _written(node: ET.Element) -> str:
    name = node.tag.removeprefix(_SVG) if isinstance(node.tag, str) else "?"
    if name not in _SVG_ELEMENTS:
        raise ValueError(f"the picture has an element {name!r}, which may not stand in a page")
    attributes = "".join(_svg_attribute(name, key, value) for key, value in node.attrib.items())
    inside = _plain(node.text) + "".join(_written(child) + _plain(child.tail) for child in node)
    return f"<{name}{attributes}>{inside}</{name}>"


def _plain(found: str | None) -> Html:
    return text(
        (found or "").removeprefix("\N{ZERO WIDTH SPACE}")
    )  # which matplotlib needs before an underscore


def _svg_attribute(element: str, key: str, value: str) -> str:
    name = "href" if key == _XLINK else key
    if not _SVG_ATTRIBUTE.fullmatch(name):
        raise ValueError(f"the picture has an attribute {key!r}, which may not stand in a page")
    if name == "href" or name == "src":
        own = _ANCHOR.fullmatch(value) if element != "image" else _PIXELS.fullmatch(value)
        if not own or name == "src":
            raise ValueError(f"the picture refers to {value[:60]!r}, which is not in it")
    elif _URL.search(value) and not name.startswith("aria-"):
        raise ValueError(f"the picture's {name} refers to {value[:60]!r}, which is not in it")
    return f' {name}="{text(value)}"'
