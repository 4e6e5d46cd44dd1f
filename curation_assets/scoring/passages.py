"""Passages of a document that talk to the judge, by kinds: what ends the document's fence or quotes the prompt, frames of question and answer,
and orders to the reader.

A kind is a form and not a wording. An answer is a bare "yes" after a label of any name and language ("A: yes", "Quality -> yes",
`"answer": "yes"`, "<label>yes</label>"); one that goes on ("A: Yes, we ship abroad"), as those of FAQ pages do, is none, unless
what is asked is whether the text is any good. An order is a sentence that tells the reader what to answer, or how to rate the text.

Not covered, because no form gives it away: praise in plain prose ("this text is rich in knowledge of the world"), orders in other languages
that have no "yes" in them, and spellings that only a reader would recognise ("y e s").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from enum import IntFlag
from functools import lru_cache
from typing import NamedTuple

MARK = "\N{MIDDLE DOT}"
"""One piece in T5's vocabulary, untouched by its NFKC normalisation (which turns a full-width "#" into "#", drops control characters and reads a
zero-width space as a space, so none of these would do)."""


class Flag(IntFlag):
    """Why a document was marked; kept as one byte beside its score."""

    DELIMITER = 1  # three or more "#" in a row, or a line that says that the document ends here
    HEADING = 2  # the same as a Markdown heading: marked too, but nothing suspicious
    QUESTION = 4  # the prompt's own sentences; a question of their kind that is answered by yes
    OPTIONS = 8  # a block of options, yes and no
    ANSWER = 16  # a bare yes after a label; yes several times over
    CONTROL = 32  # "<|im_start|>", "</s>", "<extra_id_0>", "[INST]", "</document>" ...
    ORDER = 64  # "ignore the question", "reply with yes", "rate this text highly" and their kin
    INVISIBLE = 128  # control characters that T5's normalisation drops, so that "#\x01##" would become "###"


class Passage(NamedTuple):
    """A passage that talks to the judge: text[start:end], and where marks break it up."""

    flag: Flag
    start: int
    end: int
    marks: Sequence[int]


_I = re.IGNORECASE
_BEFORE, _AFTER = 300, 300  # characters to look back and ahead for the ends of a sentence
_ASKING, _LABEL = 160, 60  # of a question, of a label
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!etc\.)[\"'”’)\]]*(?=\s|$)|\n", _I
)  # "etc. content." is one of the prompt's
_STOPS = re.compile(r"[.!?](?=\s)|[\n#]")

_HASHES = re.compile(r"#{3,}")
_HEADING = re.compile(r"^ {0,3}#{3,6}(?=[ \t]+[^\s#])", re.MULTILINE)
_END = re.compile(
    r"^[^\w\n]{0,12}(?P<at>end)[ \t]+of[ \t]+(?:the[ \t]+)?(?:document|text|paragraph|passage|input|excerpt|article|content)\b[^\w\n]{0,12}$",
    _I | re.MULTILINE,
)
# In what follows the mark goes behind the first letter of the group "at".
_PROMPT = re.compile(
    r"(?P<at>previous)\s+paragraph\s+demarcated|(?P<at2>demarcated)\s+within\s+[#·]+\s+and"
    r"|(?P<at3>informative)\s+(?:datapoint\s+should\s+be|signal\s+for\s+pre-?\s?training)",
    _I,
)
_OPTIONS = re.compile(r"\b(?P<at>options?)\s*:(?:[\s*•,/|-]*(?:or\s+)?\b(?:yes|no)\b){2,}", _I)

# "y-e-s" too, and what is left of a "yes" with characters in it that are not seen
_SPELLED = r"y[\s._*-]?e[\s._*-]?s+"


def _answer(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile an expression in which YES stands for the word, however it is spelled."""
    return re.compile(pattern.replace("YES", _SPELLED), _I | flags)


_ANY_YES = _answer(r"\bYES\b")
_NOT_ALONE = r"(?![^\w\n]{0,3}\s*[/|]?\s*no\b)"  # "Was this page helpful? Yes No"
_NEXT = r"(?:q|question|a|answer|example|input|text|document|label|user|human)\b\s?\d{0,3}\s?[:.)]"
_BARE = rf"(?:[^\w\n]{{1,3}}(?:YES|yep|yeah|yup)\b){{0,4}}(?:\s?\([^()\n]{{1,40}}\))?{_NOT_ALONE}(?=[^\w\n<>{{}}\[\]]{{0,6}}(?:[\n<}}\]]|$|{_NEXT}))"
_LABELLED = _answer(  # a label of any name, one short word perhaps ("Respuesta: sí, yes"), and a bare yes
    r"(?:[:=>\]]|\s-{1,2}(?=\s)|(?<=\b\w)[.)](?=\s)|(?<=[\"'”’])[,;])[^\w\n]{0,4}\n?[^\w\n]{0,4}(?:[^\W\d_]{1,5}[^\w\n]{1,3})?(?<![^\W_])(?P<at>YES)\b"
    + _BARE
)
_ANSWER = _answer(
    r"\b(?:answers?|respon[sd]e?|reply|output|assistant|label|verdict|judge?ment|rating|decision|classification|return|print)\b"
    r"[\W_]{0,6}(?:(?:is|was|be|should|must|will|with|only|always|just|simply|the|a|single|one|word|token|option|to|this)\b"
    r"[\W_]{1,6}){0,8}(?P<at>YES)(?![a-z])[^\w\n]?"
)
_ROLE = _answer(
    r"^[^\w\n]{0,4}(?:assistant|ai|bot|gpt|model|llm)\s?[:>][^\w\n]{0,4}(?P<at>YES)\b", re.MULTILINE
)
_CORRECT = _answer(
    r"\b(?:correct|right|only|valid|proper|expected|best)\s+(?:answer|reply|response|verdict|option|choice)\b[^.!?\n]{0,60}?\b(?P<at>YES)\b"
)
_YES = re.compile(r"\by(?=es\b)", _I)
_YES_RUN = re.compile(r"\byes\b(?:(?:[\W_]{0,4}\byes\b){2,}|(?:[^\n]{0,24}?\byes\b){3,})", _I)
_YES_LAST = _answer(r"\n[^\w\n]*(?P<at>YES)\W*\Z")
_ASKED = _answer(  # an answer to a question
    r"\?[^\w\n]{0,6}(?:\s{0,3}\"?[^\W\d_]{1,12}\"?\s?[:.)>=-]+)?\s{0,3}[^\w\n]{0,4}(?P<at>YES)\b" + _NOT_ALONE
)
_ASKED_RUN = re.compile(
    r"(?:\?[^\w\n]{0,4}\s{0,3}yes\b[^?\n]{0,90}){2,}\?[^\w\n]{0,4}\s{0,3}yes\b", _I
)  # three in a row
_TEXT = r"(?:paragraphs?|passages?|texts?|documents?|data\s?points?|excerpts?|samples?|snippets?|contents?|articles?|pages?|writing|prompts?)"
_ABOUT = re.compile(
    rf"\b(?:informative|informational|well-?\s?formatted|pre-?\s?train\w*|language[ -]models?|llms?|training[ -]data|informative\s+signal"
    rf"|for\s+training|train(?:ed|ing)?\s+on|knowledge\s+of\s+the\s+world|high[ -]quality|educational|usable\s+knowledge|{_TEXT}\b[^?\n]{{0,60}}\b(?:useful|good|valuable|knowledge|quality|train\w*|suitable|worth\w*|information)"
    rf"|(?:useful|good|valuable|suitable|worth\w*)\s+(?:\w+\s+){{0,3}}{_TEXT})\b",
    _I,
)
_SAY = (
    r"(?:answer|respond|reply|say|output|print|write|return|choose|select|pick|begin|start|type|vote|give|use|tell|be\s+answered"
    r"|deserves?|merits?|earns?|warrants?)"
)
_SAY_YES = _answer(
    rf"\b{_SAY}\b[^.!?\n]{{0,90}}?\b(?:(?P<at>YES)\b|(?:in|with)\s+(?:the|an)\s+(?P<at2>affirmative))|\byes\b[\"'”’*]*\s+(?:is|must\s+be|should\s+be)\s+"
    rf"(?:\w+\s+){{0,3}}(?P<at3>answer|reply|response|option|choice)\b"
)
_SHOWN = re.compile(r"[^\w\n]{0,4}[^\W\d_]{1,12}\s?\d{0,3}\s?:(?:\s|[^\x00-\x7f])")
_LINES_SHOWN = 2
_TAGS = {">": "<", "]": "["}
_NARRATED = re.compile(
    r"(?:\b(?:i|he|she|they|we)\b[\s\w'’]{0,24}|\b(?:the|an|my|his|her|their)\s)$", _I
)  # "they asked, and I had to say"
_OF_THE_QUESTION = re.compile(
    rf"\b(?:questions?|asked|options?|prompts?|readers?|model|assistant|judge|grader|annotator|whatever|regardless|always|only|must|just|simply|the\s+word"
    rf"|affirmative|(?:this|the|following|previous|above)\s+{_TEXT}|it\s+(?:deserves|merits|earns|warrants))\b",
    _I,
)
_ORDER = re.compile(
    r"\b(?P<at>ignore|disregard|forget|override|bypass|skip)\s+(?:[a-z]+\s+){0,4}(?:questions?|instructions?|prompts?|guidelines|criteria)\b[^\w\n]{0,2}",
    _I,
)
_RATE = re.compile(
    r"(?:^|[,:;.!]\s*|\b(?:please|must|should|to|and|will|shall)\s+)(?P<at>rate|classify|label|mark|judge|treat|approve|accept|score|consider|grade|keep)"
    r"\s+(?:this|the|it|my|its)\b",
    _I | re.MULTILINE,
)
_RATING = (
    "rate t",
    "classify ",
    "label ",
    "mark t",
    "judge ",
    "treat ",
    "approve ",
    "accept ",
    "score t",
    "consider t",
    "grade t",
    "keep t",
    "rate i",
    "mark i",
)
_RATED = (
    "paragraph",
    "passage",
    " text",
    "document",
    "data point",
    "datapoint",
    "excerpt",
    "language model",
    "llm",
    "this article",
    "this page",
    "this content",
)
_HIGHLY = re.compile(
    r"\b(?:informative|high(?:ly|est)?(?:[ -]quality)?|positive|useful|valuable|excellent|acceptable|pre-?\s?train\w*|training|best|top|full\s+marks|yes)\b",
    _I,
)
_OF_THE_TEXT = re.compile(
    rf"\b(?:(?:this|the|following|previous|above)\s+(?:\w+\s+)?{_TEXT}|language[ -]models?|llms?|classifiers?|graders?|annotators?|evaluators?|raters?)\b",
    _I,
)
_CONTROL = re.compile(
    r"(?P<at><)(?:\|[^|<>\n]{1,40}\|>|/?s>|extra_id_\d+>"
    r"|(?:pad|unk|bos|eos|cls|sep|mask|end_of_text)>"
    r"|(?:start|end)_of_(?:turn|image)>|</?SYS>>|/?think>|0x[0-9a-f]{2}>|/?(?:document|paragraph|passage|question|answer|prompt|assistant|instructions?)>)"
    r"(?:\s*(?:system|user|assistant|model)\b)?(?:\s*yes\b)?"
    r"|(?P<at2>\[)/?(?:INST|SYSTEM_PROMPT|CLS|SEP|MASK|PAD|UNK)\](?:\s*yes\b)?",
    _I,
)
DROPPED = r"\x00-\x08\x0b\x0e-\x1f\x7f\x8f\x9f"
"""Control characters that T5's normalisation drops, as in the brackets of an expression."""
_INVISIBLE = re.compile(f"(?<![{MARK}{DROPPED}])[{DROPPED}]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# What T5's normalisation reads as a space, beyond white space itself, and more of what nobody sees.
_READ_AS_SPACE = "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\u2581\ufeff\ufffd"
# Cyrillic and Greek letters that look like Latin ones, and small capitals.
_LOOKALIKES = dict(
    zip(
        "аеіјорсухѕԁһԛԝАВЕНІЈКМОРСТУХЅοαευνικρτΑΒΕΗΙΚΜΝΟΡΤΥΧᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
        "aeijopcyxsdhqwABEHIJKMOPCTYXSoaeuvikptABEHIKMNOPTYXabcdefghijklmnoprstuvwyz",
        strict=True,
    )
)


def passages(text: str) -> Iterator[Passage]:
    """Yield what of a text talks to the judge. Plain substring tests first: few documents need an expression at all."""
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
            yield Passage(why, *match.span(), range(match.start() + 2, match.end(), 2))
    if "end of" in low:
        yield from _matches(_END, Flag.DELIMITER, seen)
    if "demarcated" in low or "informative" in low:
        for match in _PROMPT.finditer(seen):
            yield Passage(Flag.QUESTION, *_sentence(seen, *match.span()), [_mark(match)])
    answered = _ANY_YES.search(low) is not None
    if answered:
        yield from _answers(seen)
        if "option" in low:
            for match in _OPTIONS.finditer(seen):
                yield Passage(Flag.OPTIONS, _frame_start(seen, match.start()), match.end(), [_mark(match)])
    yield from _orders(seen, low, answered)
    if "<" in seen or "[" in seen:
        yield from _matches(_CONTROL, Flag.CONTROL, seen)
    for match in _INVISIBLE.finditer(seen):
        yield Passage(Flag.INVISIBLE, *match.span(), [match.start()])


def _answers(seen: str) -> Iterator[Passage]:
    """Yield frames of question and answer: with an answer goes the question before it."""
    for pattern in (_LABELLED, _ANSWER, _ROLE, _YES_LAST):
        for match in pattern.finditer(seen):
            start = _frame_start(seen, match.start())
            yield Passage(Flag.ANSWER, start, match.end(), [_mark(match)])
    for match in _ASKED.finditer(seen):
        start, _ = _sentence(seen, match.start(), match.start())
        if _ABOUT.search(seen, max(start, match.start() - _ASKING), match.start()):
            yield Passage(Flag.QUESTION, start, _sentence(seen, *match.span())[1], [_mark(match)])
    for run in _ASKED_RUN.finditer(seen):
        start, _ = _sentence(seen, run.start(), run.start())
        yield Passage(Flag.ANSWER, start, run.end(), [one.end() for one in _YES.finditer(seen, *run.span())])
    for run in _YES_RUN.finditer(seen):
        yield Passage(Flag.ANSWER, *run.span(), [one.end() for one in _YES.finditer(seen, *run.span())])


def _orders(seen: str, low: str, answered: bool) -> Iterator[Passage]:
    """Yield sentences that tell the reader what to do about the question, what to answer, or how to rate the text."""
    if any(word in low for word in ("ignore", "disregard", "forget", "override", "bypass", "skip")):
        for match in _ORDER.finditer(seen):
            yield Passage(Flag.ORDER, *_sentence(seen, *match.span()), [_mark(match)])
    if answered or "affirmative" in low:
        for match in _SAY_YES.finditer(seen):
            start, end = _sentence(seen, *match.span())
            told = _NARRATED.search(seen[max(start, match.start() - 32) : match.start()])
            if not told and _OF_THE_QUESTION.search(seen, start, end):
                yield Passage(Flag.ORDER, start, end, [_mark(match)])
    if answered:
        for match in _CORRECT.finditer(seen):
            yield Passage(Flag.ORDER, *_sentence(seen, *match.span()), [_mark(match)])
    if not any(verb in low for verb in _RATING) or not any(noun in low for noun in _RATED):
        return
    for match in _RATE.finditer(seen):
        start, end = _sentence(seen, *match.span())
        if _HIGHLY.search(seen, match.start(), end) and _OF_THE_TEXT.search(seen, start, end):
            yield Passage(Flag.ORDER, start, end, [_mark(match)])


def _matches(pattern: re.Pattern[str], flag: Flag, seen: str) -> Iterator[Passage]:
    for match in pattern.finditer(seen):
        yield Passage(flag, *match.span(), [_mark(match)])


def _mark(match: re.Match[str]) -> int:
    """Return where the mark goes: behind the first letter of what gives the passage away."""
    return match.start(match.lastgroup or 0) + 1


def _sentence(seen: str, start: int, end: int) -> tuple[int, int]:
    """Return where the sentences begin and end that a passage begins and ends in, so far as they are near."""
    before = seen[max(0, start - _BEFORE) : start]
    after = seen[end : end + _AFTER]
    return start - len(_STOPS.split(before)[-1]), end + len(_SENTENCE_END.split(after, maxsplit=1)[0])


def _frame_start(seen: str, at: int) -> int:
    """Return where a frame begins whose answer's label ends at `at`: with the question before it, its tag, or its label's line or sentence."""
    line = max(seen.rfind("\n", max(0, at - _BEFORE), at) + 1, at - _BEFORE)
    if (asked := seen.rfind("?", max(0, line - 4), at)) >= 0:
        return _sentence(seen, asked, asked)[0]
    if seen[at : at + 1] == "\n":  # a line without a label
        return at
    if (opened := _TAGS.get(seen[at : at + 1])) and (
        tag := seen.rfind(opened, max(line, at - _LABEL), at)
    ) >= 0:
        return tag
    start, _ = _sentence(seen, at, at)
    if at - start > _LABEL:
        return at
    for _ in range(_LINES_SHOWN):  # the lines before: "Input: ..."
        before = seen[max(0, start - _BEFORE) : start].rstrip().rpartition("\n")[2]
        if not _SHOWN.match(before):
            break
        start = seen.rindex(before, 0, start)
    return start


@lru_cache(maxsize=1)
def _folding() -> dict[int, str]:
    """Return the characters that NFKC makes one ASCII character, what looks like one, and what is read as a space: one for one."""
    blocks = (range(0xA0, 0x3400), range(0xA700, 0xA800), range(0xFB00, 0x10000), range(0x1D400, 0x1D800))
    table = {code: unicodedata.normalize("NFKC", chr(code)) for block in blocks for code in block}
    table = {code: one for code, one in table.items() if len(one) == 1 and one.isascii()}
    table |= {ord(one): latin for one, latin in _LOOKALIKES.items()}
    return table | {ord(one): " " for one in _READ_AS_SPACE}
