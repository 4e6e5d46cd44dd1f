"""The one normalisation of document text, and the check that says which texts cannot be documents."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import islice

import regex

# Tab, line feed and form feed (the page breaks of licences and RFCs) are the only control characters allowed.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_MAX_MARKS = 100  # Unicode's Stream-Safe Text Format (UAX 15, D4) holds 30 enough for every script

# The same questions asked of UTF-8 bytes, at a tenth of the time; a regular expression only says where.
_ASCII_CONTROLS = bytes(b for b in (*range(0x20), 0x7F) if b not in b"\t\n\f\r")
_C1_CONTROL = re.compile(rb"\xc2[\x80-\x9f]")
_NOT_ASCII = bytes(0x20 if b < 0x80 else 0x78 for b in range(256))
_LONG_RUN = b"x" * (2 * (_MAX_MARKS + 1))  # a mark takes at least two bytes


# What a reader sees: no white space, control or format character, nothing that Unicode lets fonts ignore (zero-width
# characters, variation selectors, Hangul fillers, tags), no mark by itself, no blank that counts as a letter or symbol.
_VISIBLE = regex.compile(
    r"[^\p{White_Space}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800\U0001D159]"
)
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Javanese}"
_WORD = regex.compile(
    rf"[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]]|[[\p{{L}}\p{{N}}]--[{_UNSPACED}]][[\p{{L}}\p{{N}}\p{{M}}'’]--[{_UNSPACED}]]*",
    regex.V1,
)


def visible_characters(text: str, most: int) -> int:
    """Return how many visible characters a text has, counted up to `most`; letters count without their marks."""
    return sum(1 for _ in islice(_VISIBLE.finditer(text), most))


def words(text: str, most: int) -> int:
    """Return how many words a text has, counted up to `most`: runs of letters and digits, each letter of an unspaced script."""
    return sum(1 for _ in islice(_WORD.finditer(text), most))


def normalize(text: str) -> str:
    r"""Return `text` with `\r\n` and `\r` as `\n`, in Unicode NFC; nothing else changes and nothing is lost.

    Idempotent. White space, case, compatibility forms and a byte order mark inside the text stay as they are
    (a byte order mark at the start of a file is dropped by the readers).
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def defect(text: str) -> tuple[str, str] | None:
    """Return (reason, detail) where `text` cannot be a document, else None.

    Run this before `normalize`: NFC sorts combining marks in quadratic time, so a long run of them has to be refused
    first. A carriage return is no defect, because `normalize` has yet to turn it into a line feed.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        return "invalid_unicode", f"lone surrogate U+{ord(text[error.start]):04X} at character {error.start}"
    suspect = len(data.translate(None, _ASCII_CONTROLS)) < len(data) or _C1_CONTROL.search(data)
    if suspect and (match := _CONTROL.search(text)):
        return "control_characters", f"U+{ord(match[0]):04X} at character {match.start()}"
    if _LONG_RUN in data.translate(_NOT_ASCII) and (match := _mark_run().search(text)):
        return "invalid_unicode", f"over {_MAX_MARKS} combining marks in a row at character {match.start()}"
    return None


@cache
def _mark_run() -> re.Pattern[str]:
    """Match a run of more than `_MAX_MARKS` combining marks (canonical combining class not 0)."""
    marks = "".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.combining(c))
    return re.compile(f"[{marks}]{{{_MAX_MARKS + 1}}}")
