"""Rows of JSON: an object a line, or one array, or objects one after the other over as many lines as they like."""

from __future__ import annotations

import codecs
import itertools
import json
import re
from collections.abc import Iterator, Mapping

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.rows import HEAD, Damaged, RawRow, from_record, not_utf8, too_long
from curation_assets.corpus.streams import Lines, bounded_lines

_SPACE = re.compile(r"[\s,]*")
_BRACKET = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'(?:[^"\\\n]++|\\[^\n])*+')
_SCALAR = re.compile(r'[^\s,\[\]{}"]+')
_NEXT_OBJECT = re.compile(r"\n[ \t]*(?={)")
_NEXT_ELEMENT = re.compile(r"[\n,]\s*(?={)")  # in an array, where all may stand on one line
_CLOSES = {"}": "{", "]": "["}


def json_lines(
    lines: Lines, settings: DocumentSettings, folder_fields: Mapping[str, str | None]
) -> Iterator[RawRow]:
    """Yield a row for each line that is not blank."""
    for number, line, whole in lines:
        if not whole:
            yield too_long(number, line, settings)
        elif line.strip():
            yield _row(number, line, settings, folder_fields)


def json_values(
    chunks: Iterator[bytes], settings: DocumentSettings, folder_fields: Mapping[str, str | None]
) -> Iterator[RawRow]:
    """Yield the rows of a `.json` file, which may be JSON lines, one array, or objects that go over many lines.

    They are lines where the first line is a value by itself and no array; then `row` is the line, and otherwise the
    number of the value, from 1. Memory: one value, at most `settings.max_row_bytes`, and one piece.

    Raises
    ------
    Damaged : the file ends inside an array.
    """
    first, chunks = _first_line(chunks, settings.max_row_bytes)
    if _alone(first):
        yield from json_lines(bounded_lines(chunks, settings.max_row_bytes), settings, folder_fields)
        return
    for number, (value, problem) in enumerate(_split(chunks, settings.max_row_bytes), 1):
        head = value.encode(errors="surrogateescape")
        if problem == "row_too_long":
            yield too_long(number, head, settings)
        elif problem:
            yield RawRow(number, None, head[:HEAD], "invalid_json", problem)
        else:
            yield _row(number, head, settings, folder_fields)


def _row(
    number: int, data: bytes, settings: DocumentSettings, folder_fields: Mapping[str, str | None]
) -> RawRow:
    head = data[:HEAD]
    try:
        value = json.loads(data.decode())
    except UnicodeDecodeError as error:
        return not_utf8(number, head, error)
    except (ValueError, RecursionError) as error:  # also too deep, and integers of too many digits
        return RawRow(number, None, head, "invalid_json", str(error))
    if not isinstance(value, dict):
        return RawRow(number, None, head, "not_an_object", f"a JSON {type(value).__name__}")
    return from_record(number, value, head, settings, folder_fields)


def _first_line(chunks: Iterator[bytes], limit: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first line that is not blank, as far as it lies within the limit, and all chunks."""
    kept: list[bytes] = []
    size, text = 0, b""
    for chunk in chunks:
        kept.append(chunk)
        size += len(chunk)
        text = chunk if text else chunk.lstrip()
        if b"\n" in text or size > limit or b"".join(kept[:1]).lstrip()[:1] == b"[":
            break
    return b"".join(kept).lstrip().partition(b"\n")[0], itertools.chain(kept, chunks)


def _alone(line: bytes) -> bool:
    """Tell whether a line is a JSON value by itself, and none that can be the corpus as a whole."""
    try:
        return not isinstance(json.loads(line.decode()), list)
    except (ValueError, RecursionError):
        return False


def _split(chunks: Iterator[bytes], limit: int) -> Iterator[tuple[str, str]]:
    """Yield (text of a value, "" or what is wrong with it) of the elements of an array, or of values one after another."""
    scan = _Scan(limit)
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for chunk in chunks:
        yield from scan.feed(decoder.decode(chunk))
    yield from scan.feed(decoder.decode(b"", final=True), last=True)
    if scan.array and not (scan.broken and scan.last == "]"):
        raise Damaged("the JSON array is not closed: the file ends too early")


class _Scan:
    """Where values begin and end in text that comes piece by piece.

    A value ends where its brackets close. Where they cannot any more (another kind of bracket, a line that ends in a
    string, the end of the file), it is set aside, and the next object that begins a line (in an array, the next that
    follows a comma) is the next value. `last` is the last character that is no space.
    """

    def __init__(self, limit: int) -> None:
        self.array = self.broken = False
        self._limit = limit
        self._text, self._start, self._at = "", 0, 0  # where the value begins, how far it has been looked at
        self._open: list[str] = []  # brackets and quotation mark that have to close
        self._lost = self._skipping = False
        self.last = ""

    def feed(self, piece: str, last: bool = False) -> Iterator[tuple[str, str]]:
        """Look at another piece, yield the values that end in it."""
        self._text, self._at = self._text[self._start :] + piece, self._at - self._start
        self.last = (piece.rstrip() or self.last)[-1:]
        self._start = 0
        while True:
            if self._lost and not self._find_again():
                return
            if not self._open and not self._begin():
                return
            if self._open:
                state = self._advance()
            else:
                match = _SCALAR.match(self._text, self._start)  # a number, a word or a bracket too many
                self._at = match.end() if match else self._start + 1
                state = "more" if self._at == len(self._text) and not last else "ended"
            if state == "broken" or (state == "more" and last):
                self.broken = self._lost = True
                if not self._skipping:
                    line = self._text[self._start : self._start + HEAD].partition("\n")[0]
                    yield line, "brackets or quotation marks that do not close"
                self._open, self._skipping = [], False
            elif state == "more":
                if len(self._text) - self._start > self._limit:
                    yield from self._too_long()
                return
            else:
                value, self._start = self._text[self._start : self._at], self._at
                if not self._skipping:
                    yield (value, "") if len(value) <= self._limit else (value[:HEAD], "row_too_long")
                self._skipping = False

    def _begin(self) -> bool:
        """Go to the next value, through the brackets of the array around them; False where there is none yet."""
        while True:
            self._start = self._at = _end_of(_SPACE.match(self._text, self._start))
            if self._start == len(self._text):
                return False
            first = self._text[self._start]
            if first == "]" or (first == "[" and not self.array):
                self.array = first == "["
                self._start += 1
                continue
            if first in '{["':
                self._open, self._at = [first], self._start + 1
            return True

    def _advance(self) -> str:
        """Look at the text up to the value's end: "ended", "broken", or "more" where it has to come yet."""
        text = self._text
        while self._open:
            if self._open[-1] == '"':
                self._at = at = _end_of(_IN_STRING.match(text, self._at))
                if at == len(text) or (text[at] == "\\" and at + 1 == len(text)):
                    return "more"
                if text[at] != '"':
                    return "broken"
                self._open.pop()
                self._at = at + 1
                continue
            match = _BRACKET.search(text, self._at)
            self._at = match.end() if match else len(text)
            if match is None:
                return "more"
            if match[0] in '{["':
                self._open.append(match[0])
            elif _CLOSES[match[0]] != self._open.pop():
                return "broken"
        return "ended"

    def _too_long(self) -> Iterator[tuple[str, str]]:
        """Tell of a value beyond the limit, once; go on behind it, or where the next object begins a line."""
        if not self._skipping:
            yield self._text[self._start : self._start + HEAD], "row_too_long"
        if self._next().search(self._text, self._start + 1):
            self.broken = self._lost = True
            self._open, self._skipping = [], False
            return
        self._skipping, self._start = True, self._at

    def _find_again(self) -> bool:
        """Go to the next object that a value may begin with; False where there is none yet."""
        match = self._next().search(self._text, self._start)
        self._lost = match is None
        if match:
            self._start = match.end()
        else:  # the last line's end may be followed by one
            last = max(self._text.rfind(mark, self._start) for mark in ("\n,") if mark == "\n" or self.array)
            self._start = last if last >= 0 else len(self._text)
        self._at = self._start
        return match is not None

    def _next(self) -> re.Pattern[str]:
        return _NEXT_ELEMENT if self.array else _NEXT_OBJECT


def _end_of(match: re.Match[str] | None) -> int:
    assert match is not None  # the pattern matches nothing, too
    return match.end()
