"""The Ask-LLM prompt (v1, figure 3), and documents that talk to the judge.

A document stands between two delimiter lines and before the question. One that quotes the delimiter, the question, the
options, an answer or a chat model's control strings could end its own paragraph and answer for the judge. `neutralise`
breaks such strings up by a visible mark and says what it found. It only ever inserts the mark: whoever deletes the marks
has the document again (unless it held some itself), and nothing is hidden from the judge.

Not covered, because no string gives it away: persuasion in plain prose ("this text is rich in knowledge of the world"),
other languages, and spellings that only a reader would recognise (homoglyphs, "y e s").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import IntFlag
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PREFIX = "###\n"
SUFFIX = """
###

Does the previous paragraph demarcated within ### and ### contain informative signal for pre-training a large-language model? An informative datapoint should be well-formatted, contain some usable knowledge of the world, and strictly NOT have any harmful, racist, sexist, etc. content.

OPTIONS:
- yes
- no"""

# A middle dot: one piece in T5's vocabulary, untouched by its NFKC normalisation (which turns a full-width "#" into "#",
# drops control characters and reads a zero-width space as a space, so none of these would do).
MARK = "\N{MIDDLE DOT}"


class Flag(IntFlag):
    """Why a document was marked; kept as one byte beside its score."""

    DELIMITER = 1  # three or more "#" in a row, on a line of their own or within one
    HEADING = 2  # the same as a Markdown heading: marked too, but nothing suspicious
    QUESTION = 4  # the prompt's own sentences
    OPTIONS = 8  # a block of options, yes and no
    ANSWER = 16  # "ANSWER: yes" and its kin; yes three times over
    CONTROL = 32  # "<|im_start|>", "</s>", "<extra_id_0>", "[INST]" ...
    INVISIBLE = 64  # control characters that T5's normalisation drops, so that "#\x01##" would become "###"


_I = re.IGNORECASE
_HASHES = re.compile(r"#{3,}")
_HEADING = re.compile(r"^ {0,3}#{3,6}(?=[ \t]+[^\s#])", re.MULTILINE)
_QUESTION = re.compile(
    r"previous(?=\s+paragraph\s+demarcated)|demarcated(?=\s+within\s+[#·]+\s+and)|informative(?=\s+datapoint\s+should\s+be)"
    r"|informative(?=\s+signal\s+for\s+pre-?\s?training)",
    _I,
)
_OPTIONS = re.compile(
    r"\boptions?(?=\s*:[\s*•-]*(?:yes[\s*•,/|-]*(?:or\s+)?no|no[\s*•,/|-]*(?:or\s+)?yes)\b)", _I
)
_ANSWER = re.compile(
    r"\b(?:answers?|respon[sd]e?|reply|output|assistant|label|verdict|judge?ment|rating|decision|classification|return|print)\b"
    r"[\W_]{0,6}(?:(?:is|was|be|should|must|will|with|only|always|just|simply|the|a|single|one|word|token|option|to|this)\b"
    r"[\W_]{1,6}){0,8}(y)es(?![a-z])",
    _I,
)
_YES = re.compile(r"\by(?=es\b)", _I)
_YES_RUN = re.compile(r"\byes\b(?:[\W_]{0,4}\byes\b){2,}", _I)
_CONTROL = re.compile(
    r"<(?=\|[^|<>\n]{1,40}\|>|/?s>|extra_id_\d+>|(?:pad|unk|bos|eos|cls|sep|mask|end_of_text)>"
    r"|(?:start|end)_of_(?:turn|image)>|</?SYS>>|/?think>|0x[0-9a-f]{2}>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|CLS|SEP|MASK|PAD|UNK)\])",
    _I,
)
_INVISIBLE = re.compile(rf"(?<!{MARK})[\x00-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# What T5's normalisation reads as a space, beyond white space itself.
_READ_AS_SPACE = "\u200b\u200c\u200d\u200e\u200f\u2581\ufeff\ufffd"


def neutralise(text: str) -> tuple[str, Flag]:
    """Return `text` with a mark in every string that could speak for the judge, and what was found.

    A fixed point: the result has nothing left to mark. Matching ignores case and runs on the text as T5's NFKC
    normalisation will see it, so full-width "＃＃＃" counts. About 20 MB of ordinary English a second.
    """
    flags = Flag(0)
    while found := dict(_places(text)):
        for flag in found.values():
            flags |= flag
        cuts = sorted(found)
        text = MARK.join(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    return text, flags


def neutralise_all(texts: Iterable[str]) -> tuple[list[str], NDArray[np.uint8]]:
    """Return `neutralise` of each text: the texts, and their flags as uint8[n]."""
    pairs = [neutralise(text) for text in texts]
    return [text for text, _ in pairs], np.array([flag for _, flag in pairs], np.uint8)


def _places(text: str) -> Iterator[tuple[int, Flag]]:
    """Yield (where a mark goes, why). Plain substring tests first: few documents need an expression at all."""
    seen = text
    if not text.isascii() and not _folding().keys().isdisjoint(
        map(ord, set("".join(_NOT_ASCII.findall(text))))
    ):
        seen = text.translate(_folding())
    low = seen.lower()
    if "###" in seen:
        headings = {match.start() + match[0].index("#") for match in _HEADING.finditer(seen)}
        for match in _HASHES.finditer(seen):
            why = Flag.HEADING if match.start() in headings else Flag.DELIMITER
            yield from ((place, why) for place in range(match.start() + 2, match.end(), 2))
    if "demarcated" in low or "informative" in low:
        yield from ((match.end(), Flag.QUESTION) for match in _QUESTION.finditer(seen))
    if "yes" in low:
        yield from ((match.end(1), Flag.ANSWER) for match in _ANSWER.finditer(seen))
        for run in _YES_RUN.finditer(seen):
            yield from ((match.end(), Flag.ANSWER) for match in _YES.finditer(seen, run.start(), run.end()))
        if "option" in low:
            yield from ((match.end(), Flag.OPTIONS) for match in _OPTIONS.finditer(seen))
    if "<" in seen or "[" in seen:
        yield from ((match.end(), Flag.CONTROL) for match in _CONTROL.finditer(seen))
    yield from ((match.start(), Flag.INVISIBLE) for match in _INVISIBLE.finditer(seen))


@lru_cache(maxsize=1)
def _folding() -> dict[int, str]:
    """Return the characters that NFKC makes one ASCII character, and what is read as a space: one for one."""
    blocks = (range(0xA0, 0x3400), range(0xA700, 0xA800), range(0xFB00, 0x10000), range(0x1D400, 0x1D800))
    table = {code: unicodedata.normalize("NFKC", chr(code)) for block in blocks for code in block}
    table = {code: one for code, one in table.items() if len(one) == 1 and one.isascii()}
    return table | {ord(one): " " for one in _READ_AS_SPACE}
