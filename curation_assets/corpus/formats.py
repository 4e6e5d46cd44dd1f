"""Streamed readers: a corpus file becomes numbered raw rows, each with its fields or the reason why it has none."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curation_assets.corpus.discover import open_file, split_suffixes
from curation_assets.corpus.settings import DocumentSettings

_READ = 1 << 20
_FEED = 1 << 10  # compressed bytes a step: even at zstd's highest ratio this unpacks to no more than 32 MiB
_ZSTD_WINDOW = 1 << 31  # the largest there is (`zstd --long=31`), as large web dumps use it
_HEAD = 1000  # bytes of a row that are kept for the quarantine
_BOM = b"\xef\xbb\xbf"
_PARQUET_ROWS = 256


class CorruptShardError(ValueError):
    """A file that cannot be read to its end: damaged or cut off. The shard fails as a whole."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in the file.

    `row` is the 1-based line number (jsonl, text; of its first line where it has several) or the 0-based row index
    (Parquet). `fields` holds what was read, or is None: then `reason` is a key of `settings.REASONS`. `head` is the
    start of the raw row.
    """

    row: int
    fields: dict[str, Any] | None
    head: bytes
    reason: str = ""
    detail: str = ""


class _Damaged(Exception):
    """The compressed stream is broken; becomes a CorruptShardError once the row is known."""


def read_rows(
    url: str, settings: DocumentSettings, storage_options: Mapping[str, Any] | None = None
) -> Iterator[RawRow]:
    """Yield the rows of one corpus file in order.

    A bad row is yielded with its reason and never stops the file. Blank lines of jsonl and text files are no rows.
    A byte order mark at the start of the file is dropped. Memory: one row of at most `settings.max_row_bytes` and one
    piece of at most 32 MiB (1 MiB where the file is not compressed), plus zstd's window; for Parquet the needed
    columns of one row group.

    Raises
    ------
    CorruptShardError : the file is damaged or cut off; rows before the damage have been yielded.
    ValueError : a Parquet file without a needed column, or with one that does not hold text.
    """
    _, kind, compression = split_suffixes(url)
    with open_file(url, storage_options) as file:
        if kind == "parquet":
            yield from _parquet(file, url, settings)
            return
        row = 0
        chunks = _without_bom(_chunks(file.read, compression))
        lines = _bounded_lines(chunks, settings.max_row_bytes)
        read = _jsonl if kind == "jsonl" else _TEXT_READERS[settings.sample_by]
        try:
            for raw in read(lines, settings):
                row = raw.row
                yield raw
        except _Damaged as error:
            where = f"after row {row}" if row else "before the first row"
            raise CorruptShardError(f"{url} is damaged {where}: {error}") from error


# ---- bytes -> lines


def _chunks(read: Callable[[int], bytes], compression: str) -> Iterator[bytes]:
    """Yield the unpacked bytes in pieces; a broken stream yields all that it still holds, then raises _Damaged."""
    if not compression:
        while piece := read(_READ):
            yield piece
        return
    unpacker: Any = _unpacker(compression)  # also for no bytes at all: an empty file is a cut-off one
    while piece := read(_READ):
        for start in range(0, len(piece), _FEED):
            feed = piece[start : start + _FEED]
            while feed:
                if unpacker is None:
                    unpacker = _unpacker(compression)
                try:
                    unpacked = unpacker.decompress(feed)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise _Damaged(f"{compression} stream: {error}") from error
                feed = b""
                if (
                    unpacker.eof
                ):  # several members in one file are one stream; gzip allows zero padding after them
                    feed, unpacker = unpacker.unused_data, None
                    feed = feed.lstrip(b"\0") if compression == ".gz" else feed
                if unpacked:
                    yield unpacked
    if unpacker is not None:
        raise _Damaged(f"the {compression} stream ends too early")


def _unpacker(compression: str) -> Any:
    if compression == ".gz":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


def _without_bom(chunks: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_BOM):
            yield start.removeprefix(_BOM)
            yield from chunks
            return
    if start:
        yield start


def _bounded_lines(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (1-based line number, line without its end, whole) of every line.

    Of a line longer than `limit` bytes only the start is kept and `whole` is False.
    """
    number, tail, skipping = 1, b"", False
    for chunk in chunks:
        if skipping:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            yield number, tail, False
            number, tail, skipping, chunk = number + 1, b"", False, chunk[end + 1 :]
        *lines, tail = (tail + chunk).split(b"\n")
        for line in lines:
            whole = len(line) <= limit
            yield number, (line.removesuffix(b"\r") if whole else line[:_HEAD]), whole
            number += 1
        if len(tail) > limit:
            tail, skipping = tail[:_HEAD], True
    if tail:
        yield number, tail.removesuffix(b"\r"), not skipping


Lines = Iterable[tuple[int, bytes, bool]]


def _too_long(row: int, head: bytes, settings: DocumentSettings) -> RawRow:
    return RawRow(row, None, head[:_HEAD], "row_too_long", f"more than {settings.max_row_bytes} bytes")


# ---- JSON lines


def _jsonl(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    for number, line, whole in lines:
        if not whole:
            yield _too_long(number, line, settings)
        elif line.strip():
            yield _json_row(number, line, settings.fields)


def _json_row(number: int, line: bytes, fields: tuple[str, ...]) -> RawRow:
    head = line[:_HEAD]
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return RawRow(number, None, head, "invalid_utf8", f"byte {error.start}: {error.reason}")
    except (ValueError, RecursionError) as error:  # also too deep, and integers of too many digits
        return RawRow(number, None, head, "invalid_json", str(error))
    if not isinstance(value, dict):
        return RawRow(number, None, head, "not_an_object", f"a JSON {type(value).__name__}")
    return RawRow(number, {name: value.get(name) for name in fields}, head)


# ---- plain text


def _text_row(number: int, data: bytes, settings: DocumentSettings) -> RawRow:
    if len(data) > settings.max_row_bytes:
        return _too_long(number, data, settings)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return RawRow(number, None, data[:_HEAD], "invalid_utf8", f"byte {error.start}: {error.reason}")
    return RawRow(number, {settings.text_field: text}, data[:_HEAD])


def _text_lines(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    for number, line, whole in lines:
        if not whole:
            yield _too_long(number, line, settings)
        elif line.strip():
            yield _text_row(number, line, settings)


def _text_paragraphs(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    yield from _joined_lines(lines, settings, at_blank=True)


def _text_document(lines: Lines, settings: DocumentSettings) -> Iterator[RawRow]:
    yield from _joined_lines(lines, settings, at_blank=False)


def _joined_lines(lines: Lines, settings: DocumentSettings, at_blank: bool) -> Iterator[RawRow]:
    """Join lines up to a blank one, or all; what grows beyond the row limit is dropped but for its start."""
    first, size = 0, 0
    kept: list[bytes] = []

    def flush() -> Iterator[RawRow]:
        if size > settings.max_row_bytes:
            yield _too_long(first, b"\n".join(kept), settings)
        elif data := b"\n".join(kept).strip(b"\n"):
            yield _text_row(first, data, settings)

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


_TEXT_READERS = {"line": _text_lines, "paragraph": _text_paragraphs, "document": _text_document}


# ---- Parquet


def _parquet(file: Any, url: str, settings: DocumentSettings) -> Iterator[RawRow]:
    row = 0
    try:
        with closing(pq.ParquetFile(file, page_checksum_verification=True)) as parquet:
            _check_columns(parquet.schema_arrow, url, settings)
            for batch in parquet.iter_batches(_PARQUET_ROWS, columns=list(settings.fields)):
                columns = {name: _cells(batch.column(name)) for name in settings.fields}
                for values in zip(*columns.values(), strict=True):
                    yield _parquet_row(row, dict(zip(columns, values, strict=True)), settings.text_field)
                    row += 1
    except (
        pa.ArrowException,
        UnicodeDecodeError,
        OSError,
    ) as error:  # a damaged schema may name a column in bytes
        if isinstance(error, OSError) and error.errno is not None:  # the store failed, not the file's content
            raise
        raise CorruptShardError(f"{url} is damaged at or after row {row}: {error}") from error


def _check_columns(schema: pa.Schema, url: str, settings: DocumentSettings) -> None:
    if missing := [name for name in settings.fields if name not in schema.names]:
        raise ValueError(
            f"{url} has no column {', '.join(missing)}; its columns are {', '.join(schema.names)}"
        )
    kind = _value_type(schema.field(settings.text_field).type)
    if not (_is_text(kind) or pa.types.is_null(kind)):
        raise ValueError(f"{url}: column {settings.text_field} holds {kind}, not text")


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(check(kind) for check in checks) or kind in (pa.string_view(), pa.binary_view())


def _cells(column: pa.Array) -> list:
    """Return the column's values; text stays bytes, because Parquet does not promise that it is UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_binary()).to_pylist() if _is_text(column.type) else column.to_pylist()


def _parquet_row(row: int, fields: dict[str, Any], text_field: str) -> RawRow:
    text = fields[text_field]
    head = text[:_HEAD] if text is not None else b""
    for name, value in fields.items():
        if isinstance(value, bytes):
            try:
                fields[name] = value.decode()
            except UnicodeDecodeError as error:
                detail = f"field {name}, byte {error.start}: {error.reason}"
                return RawRow(row, None, head, "invalid_utf8", detail)
    return RawRow(row, fields, head)
