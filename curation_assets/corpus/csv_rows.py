"""Rows of comma- and tab-separated files: the first row names the fields."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator, Mapping

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.rows import HEAD, RawRow, from_record, not_utf8, too_long
from curation_assets.corpus.streams import Lines

csv.field_size_limit(sys.maxsize)  # the limit is `settings.max_row_bytes`, kept by `_Source`


class _NeverClosed(Exception):
    """A record goes on beyond the limit of a row, or to the end of the file inside quotation marks."""


class _Source:
    """Lines for `csv.reader`, which pulls more than one for a record with line breaks in quotation marks.

    Keeps the lines of the record at hand, so that where quotation marks are never closed only its first line is lost.
    """

    def __init__(self, lines: Lines, limit: int) -> None:
        self._lines, self._limit = iter(lines), limit
        self._again: deque[tuple[int, bytes, bool]] = deque()
        self.record: list[tuple[int, bytes, bool]] = []
        self._size = 0

    def begin(self) -> None:
        """Forget the last record."""
        self.record, self._size = [], 0

    def give_back(self) -> None:
        """Have all lines of the record but the first read again."""
        self._again.extendleft(reversed(self.record[1:]))

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines, None)
        if line is None:
            if self.record:  # asked for more although the file has ended
                raise _NeverClosed
            raise StopIteration
        self.record.append(line)
        self._size += len(line[1]) + 1
        if self._size > self._limit or not line[2]:
            raise _NeverClosed
        return line[1].decode(errors="surrogateescape") + "\n"


def csv_rows(
    lines: Lines, settings: DocumentSettings, folder_fields: Mapping[str, str | None], delimiter: str
) -> Iterator[RawRow]:
    """Yield the rows after the header. Of two columns of one name the last counts, as in JSON; blank lines are no rows."""
    source = _Source(lines, settings.max_row_bytes)
    reader = csv.reader(source, delimiter=delimiter, strict=True)  # else a stray quotation mark joins rows
    names: list[str] | None = None
    while True:
        source.begin()
        try:
            cells = next(reader, None)
        except (_NeverClosed, csv.Error) as error:
            number, line, whole = source.record[0]
            source.give_back()
            problem = str(error) or "a quotation mark that is not closed"
            yield (
                RawRow(number, None, line[:HEAD], "invalid_csv", problem)
                if whole
                else too_long(number, line, settings)
            )
            continue
        if cells is None:
            return
        if not cells or cells == [" " * len(cells[0])]:
            continue
        if names is None:
            names = [name.strip() for name in cells]
            continue
        yield _row(source.record, names, cells, settings, folder_fields)


def _row(
    lines: list[tuple[int, bytes, bool]],
    names: list[str],
    cells: list[str],
    settings: DocumentSettings,
    folder_fields: Mapping[str, str | None],
) -> RawRow:
    number, head = lines[0][0], b"\n".join(line for _, line, _ in lines)
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return not_utf8(number, head, error)
    if len(cells) != len(names):
        detail = f"{len(cells)} cells, and the header has {len(names)}"
        return RawRow(number, None, head[:HEAD], "ragged_row", detail)
    return from_record(number, dict(zip(names, cells, strict=True)), head, settings, folder_fields)
