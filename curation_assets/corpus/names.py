"""File names as partition keys, as URLs and for people: a name may hold any byte, what it becomes stays readable.

Percent-encoding of what cannot stand as it is, so that every name comes back by `decoded` and an ordinary one is its
own key. A name that is not UTF-8 is a string with surrogates, as Python's file functions take it (PEP 383).
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

_AS_IF_ENCODED = r"%(?=[0-9A-Fa-f]{2})"
_NOT_ASCII_TEXT = r"[^\x20-\x7e]"
# Dagster forbids "..." in partition keys, "," and "|" separate them, and space at their ends is lost in what people copy.
_IN_KEYS = re.compile(rf"\A\s+|\s+\Z|{_AS_IF_ENCODED}|{_NOT_ASCII_TEXT}|[,|]|\.(?=\.\.)")
_IN_URLS = re.compile(rf"{_AS_IF_ENCODED}|{_NOT_ASCII_TEXT}|:(?=:)")  # "::" chains URLs
_UNSEEN = {
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
}  # controls, what steers writing (bidi), surrogates, separators of lines
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are written with them


def key_of(name: str) -> str:
    """Return the partition key of a file: its path in the corpus, percent-encoded where a key cannot have it."""
    return _IN_KEYS.sub(_encoded, name)


def url_of(address: str) -> str:
    """Return a file's address with what URLs cannot have percent-encoded; `decoded` gives the address back."""
    return _IN_URLS.sub(_encoded, address)


def decoded(key: str) -> str:
    """Return the name that a key or URL was made of."""
    return unquote_to_bytes(key).decode("utf-8", "surrogateescape")


def visible(name: str) -> str:
    r"""Return a name for people: as it is, but with escapes for what cannot be seen or would steer a terminal (`\n`, `\xff`)."""
    return "".join(c if _seen(c) else _escaped(c) for c in name)


def _seen(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _UNSEEN


def _encoded(match: re.Match[str]) -> str:
    text, at_an_end = match[0], match.start() == 0 or match.end() == len(match.string)
    if not text.isascii() and not (at_an_end and text.isspace()) and all(map(_seen, text)):
        return text  # of another script
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"  # a byte of a name that is not UTF-8
    return character.encode("unicode_escape").decode()
