"""Rows of plain text files: lines, paragraphs, or the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.rows import HEAD, RawRow, not_utf8, too_long
from curation_assets.corpus.streams import Lines


def _row(number: int, data: bytes, settings: DocumentSettings) -> RawRow:
    if len(data) > settings.max_row_bytes:
        return too_long(number, data, settings)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return not_utf8(number, data, error)
    return RawRow(number, {settings.text_field: text}, data[:HEAD])


def _lines(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    for number, line, whole in lines:
        if not whole:
            yield too_long(number, line, settings)
        elif line.strip():
            yield _row(number, line, settings)


def _paragraphs(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    yield from _joined(lines, settings, at_blank=True)


def _document(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    yield from _joined(lines, settings, at_blank=False)


def _joined(lines: Lines, settings: DocumentSettings, at_blank: bool) -> Iterator[RawRow]:
    """Join lines up to a blank one, or all; what grows beyond the row limit is dropped but for its start."""
    first, size = 0, 0
    kept: list[bytes] = []

    def flush() -> Iterator[RawRow]:
        if size > settings.max_row_bytes:
            yield too_long(first, b"\n".join(kept), settings)
        elif data := b"\n".join(kept).strip(b"\n"):
            yield _row(first, data, settings)

    for number, line, whole in lines:
        blank = whole and not line.strip()
        if blank and (at_blank or not kept):
            yield from flush()
            first, kept, size = 0, [], 0
            continue
        first = first or number
        size += len(line) + 1 if whole else settings.max_row_bytes + 1
        if size <= settings.max_row_bytes or not kept:
            kept.append(line)
    yield from flush()


READERS: dict[str, Callable[[Lines, DocumentSettings], Iterator[RawRow]]] = {
    "line": _lines,
    "paragraph": _paragraphs,
    "document": _document,
}
"""By `DocumentSettings.sample_by`. Text files have no fields: their rows have a text and nothing else."""
