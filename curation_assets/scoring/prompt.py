"""The Ask-LLM prompt (v1, figure 3), and documents that talk to the judge.

A document stands between two delimiter lines and before the question. One that quotes the delimiter, the question, the
options, an answer or a chat model's control strings could end its own paragraph and answer for the judge. `neutralise`
breaks such strings up by a visible mark and says what it found; it only ever inserts the mark, so that whoever deletes the
marks has the document again (unless it held some itself), and nothing is hidden from the judge. A mark keeps a document
in its place but does not keep a weak judge from being impressed, so there is also `without`: the document less what was
marked. A scorer takes the lower of the two scores, and then there is nothing to gain by such strings.

Not covered, because no string gives it away: persuasion in plain prose ("this text is rich in knowledge of the world"),
other languages, and spellings that only a reader would recognise (homoglyphs, "y e s").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import IntFlag
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PREFIX = "###\n"
SUFFIX = """
###

Does the previous paragraph demarcated within ### and ### contain informative signal for pre-training a large-language model? An informative datapoint should be well-formatted, contain some usable knowledge of the world, and strictly NOT have any harmful, racist, sexist, etc. content.

OPTIONS:
- yes
- no"""

PLACE = "{document}"
TEMPLATE = PREFIX + PLACE + SUFFIX

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
    ORDER = 64  # "ignore the question" and its kin
    INVISIBLE = 128  # control characters that T5's normalisation drops, so that "#\x01##" would become "###"


SUSPICIOUS = Flag(255) & ~Flag.HEADING  # the reasons to judge a document a second time, `without`

_I = re.IGNORECASE
_HASHES = re.compile(r"#{3,}")
_HEADING = re.compile(r"^ {0,3}#{3,6}(?=[ \t]+[^\s#])", re.MULTILINE)
# In what follows the group "at" ends where the mark goes, and the whole match is what `without` leaves out.
_QUESTION = re.compile(
    r"(?P<at>previous)\s+paragraph\s+demarcated|(?P<at2>demarcated)\s+within\s+[#·]+\s+and"
    r"|(?P<at3>informative)\s+(?:datapoint\s+should\s+be|signal\s+for\s+pre-?\s?training)",
    _I,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!etc\.)|\n", _I)  # "etc. content." is one of the prompt's
_SENTENCE = 300  # characters to look back and ahead for its ends
_OPTIONS = re.compile(r"\b(?P<at>options?)\s*:(?:[\s*•,/|-]*(?:or\s+)?\b(?:yes|no)\b){2,}", _I)
_ANSWER = re.compile(
    r"\b(?:answers?|respon[sd]e?|reply|output|assistant|label|verdict|judge?ment|rating|decision|classification|return|print)\b"
    r"[\W_]{0,6}(?:(?:is|was|be|should|must|will|with|only|always|just|simply|the|a|single|one|word|token|option|to|this)\b"
    r"[\W_]{1,6}){0,8}(?P<at>y)es(?![a-z])[^\w\n]?",
    _I,
)
_ORDER = re.compile(
    r"\b(?P<at>ignore|disregard|forget)\s+(?:[a-z]+\s+){0,4}(?:questions?|instructions?|prompts?)\b[^\w\n]{0,2}",
    _I,
)
_YES = re.compile(r"\by(?=es\b)", _I)
_YES_RUN = re.compile(r"\byes\b(?:[\W_]{0,4}\byes\b){2,}", _I)
_CONTROL = re.compile(
    r"(?P<at><)(?:\|[^|<>\n]{1,40}\|>|/?s>|extra_id_\d+>"
    r"|(?:pad|unk|bos|eos|cls|sep|mask|end_of_text)>"
    r"|(?:start|end)_of_(?:turn|image)>|</?SYS>>|/?think>|0x[0-9a-f]{2}>)(?:\s*(?:system|user|assistant)\b)?(?:\s*yes\b)?"
    r"|(?P<at2>\[)/?(?:INST|SYSTEM_PROMPT|CLS|SEP|MASK|PAD|UNK)\](?:\s*yes\b)?",
    _I,
)
_DROPPED = r"\x00-\x08\x0b\x0e-\x1f\x7f\x8f\x9f"
_INVISIBLE = re.compile(f"(?<![{MARK}{_DROPPED}])[{_DROPPED}]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# What T5's normalisation reads as a space, beyond white space itself.
_READ_AS_SPACE = "\u200b\u200c\u200d\u200e\u200f\u2581\ufeff\ufffd"


class _Found(NamedTuple):
    """A passage that talks to the judge: text[start:end], and where marks break it up."""

    flag: Flag
    start: int
    end: int
    marks: Sequence[int]


def frame_of(template: str) -> tuple[str, str]:
    """Return what stands before and after the document; ValueError where a template has not exactly one place for it."""
    parts = template.split(PLACE)
    if len(parts) != 2:
        raise ValueError(f"the template has {len(parts) - 1} places {PLACE}, expected one")
    return parts[0], parts[1]


def neutralise(text: str) -> tuple[str, Flag]:
    """Return `text` with a mark in every string that could speak for the judge, and what was found.

    A fixed point: the result has nothing left to mark. Matching ignores case and runs on the text as T5's NFKC
    normalisation will see it, so full-width "＃＃＃" counts. About 15 MB of English web text a second.
    """
    flags = Flag(0)
    while strings := list(_find(text)):
        for one in strings:
            flags |= one.flag
        cuts = sorted({mark for one in strings for mark in one.marks})
        text = MARK.join(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    return text, flags


def neutralise_all(texts: Iterable[str]) -> tuple[list[str], NDArray[np.uint8]]:
    """Return `neutralise` of each text: the texts, and their flags as uint8[n]."""
    pairs = [neutralise(text) for text in texts]
    return [text for text, _ in pairs], np.array([flag for _, flag in pairs], np.uint8)


def readings(texts: Sequence[str]) -> tuple[list[str], NDArray[np.uint8], NDArray[np.int64]]:
    """Return what a judge reads of n texts, their flags, and which rows it reads again.

    First come all texts, neutralised [n], then the suspicious ones of these rows once more, `without`: the lower score counts.
    """
    clean, flags = neutralise_all(texts)
    again = np.flatnonzero(flags & SUSPICIOUS)
    return clean + [neutralise(without(texts[row]))[0] for row in again.tolist()], flags, again


def without(text: str) -> str:
    """Return `text` less the passages that `neutralise` would mark, each replaced by a space; headings stay.

    Of the prompt's question the whole sentence goes, of everything else what was matched.
    """
    text = re.sub(f"[{_DROPPED}]+", "", text)
    kept, at = [], 0
    for one in sorted((one for one in _find(text) if one.flag in SUSPICIOUS), key=lambda one: one.start):
        kept.append(text[at : one.start])  # empty where two passages overlap
        at = max(at, one.end)
    return " ".join([*kept, text[at:]])


def _find(text: str) -> Iterator[_Found]:
    """Yield what there is to mark. Plain substring tests first: few documents need an expression at all."""
    seen = text
    if not text.isascii() and not _folding().keys().isdisjoint(
        map(ord, set("".join(_NOT_ASCII.findall(text))))
    ):
        seen = text.translate(_folding())
    low = seen.lower()
    if "###" in seen:
        headings = {match.end() for match in _HEADING.finditer(seen)}
        for match in _HASHES.finditer(seen):
            why = Flag.HEADING if match.end() in headings else Flag.DELIMITER
            yield _Found(why, *match.span(), range(match.start() + 2, match.end(), 2))
    if "demarcated" in low or "informative" in low:
        for match in _QUESTION.finditer(seen):
            before = seen[max(0, match.start() - _SENTENCE) : match.start()]
            after = seen[match.end() : match.end() + _SENTENCE]
            start = match.start() - len(re.split(r"[.!?\n#]", before)[-1])
            end = match.end() + len(_SENTENCE_END.split(after, maxsplit=1)[0])
            yield _Found(Flag.QUESTION, start, end, [match.end(match.lastgroup or 0)])
    if "ignore" in low or "disregard" in low or "forget" in low:
        yield from _matches(_ORDER, Flag.ORDER, seen)
    if "yes" in low:
        yield from _matches(_ANSWER, Flag.ANSWER, seen)
        for run in _YES_RUN.finditer(seen):
            yield _Found(Flag.ANSWER, *run.span(), [one.end() for one in _YES.finditer(seen, *run.span())])
        if "option" in low:
            yield from _matches(_OPTIONS, Flag.OPTIONS, seen)
    if "<" in seen or "[" in seen:
        yield from _matches(_CONTROL, Flag.CONTROL, seen)
    for match in _INVISIBLE.finditer(seen):
        yield _Found(Flag.INVISIBLE, *match.span(), [match.start()])


def _matches(pattern: re.Pattern[str], flag: Flag, seen: str) -> Iterator[_Found]:
    for match in pattern.finditer(seen):
        yield _Found(flag, *match.span(), [match.end(match.lastgroup or 0)])


@lru_cache(maxsize=1)
def _folding() -> dict[int, str]:
    """Return the characters that NFKC makes one ASCII character, and what is read as a space: one for one."""
    blocks = (range(0xA0, 0x3400), range(0xA700, 0xA800), range(0xFB00, 0x10000), range(0x1D400, 0x1D800))
    table = {code: unicodedata.normalize("NFKC", chr(code)) for block in blocks for code in block}
    table = {code: one for code, one in table.items() if len(one) == 1 and one.isascii()}
    return table | {ord(one): " " for one in _READ_AS_SPACE}
