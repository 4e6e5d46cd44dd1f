"""Rows of Parquet files and of Arrow files and streams: the needed columns, a few hundred rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.common.files import parquet_file
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.rows import HEAD, CorruptShardError, RawRow, shown_names, splits

_ROWS = 256
_SEEN = "fields seen"  # where a batch of some columns says the names of all
_FILE_MAGIC, _FEATHER_V1 = b"ARROW1", b"FEA1"
_NOT_TEXT = (pa.ArrowException, ValueError, OverflowError, TypeError)  # UnicodeDecodeError is a ValueError


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A value that cannot be given to Python, and why."""

    why: str
    raw: bytes = b""


def columnar_rows(
    file: Any,
    kind: str,
    url: str,
    settings: DocumentSettings,
    folder_fields: Mapping[str, str | None],
    only: NDArray[np.int64] | None = None,
) -> Iterator[RawRow]:
    """Yield the rows of a "parquet" or "arrow" file; `row` counts from 0. Of two columns of one name the last counts.

    Of `only`, rising, no other rows are yielded, and batches without one are passed over.

    Memory: the needed columns of one row group (Parquet), or one record batch (Arrow).

    Raises
    ------
    CorruptShardError : the file is damaged or cut off.
    """
    row = 0
    try:
        for batch in _parquet(file, settings) if kind == "parquet" else _arrow(file, url):
            end = row + batch.num_rows
            for raw in _rows(batch, row, settings, folder_fields, only):
                yield raw
                row = raw.row + 1
            row = end
            if only is not None and (not len(only) or end > only[-1]):
                return
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:  # a schema may name a column in bytes
        if isinstance(error, OSError) and error.errno is not None:  # the store failed, not the file's content
            raise
        reason = " ".join(str(error).split())  # Thrift's have several lines
        raise CorruptShardError(f"{url} is damaged at or after row {row}: {reason}") from error


def _parquet(file: Any, settings: DocumentSettings) -> Iterator[pa.RecordBatch]:
    with closing(parquet_file(file, page_checksum_verification=True)) as parquet:
        schema = parquet.schema_arrow
        empty = pa.StructArray.from_arrays([pa.nulls(0, f.type) for f in schema], fields=list(schema))
        columns = [name for name in settings.fields if _column(empty, name) is not None]
        for batch in parquet.iter_batches(_ROWS, columns=columns):
            yield batch.replace_schema_metadata({_SEEN: "\n".join(shown_names(iter(_names(schema))))})


def _arrow(file: Any, url: str) -> Iterator[pa.RecordBatch]:
    magic = file.read(len(_FILE_MAGIC))
    file.seek(0)
    if magic.startswith(_FEATHER_V1):
        raise CorruptShardError(f"{url} is a Feather file of version 1, which is not read: write it anew")
    if magic == _FILE_MAGIC:
        with pa.ipc.open_file(file) as reader:
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        with pa.ipc.open_stream(file) as reader:
            yield from reader


def _names(schema: pa.Schema) -> Iterator[str]:
    for field in schema:
        inner = field.type if pa.types.is_struct(field.type) else ()
        yield from (f"{field.name}.{one.name}" for one in inner) if len(inner) else (field.name,)


def _column(struct: pa.StructArray, name: str) -> pa.Array | None:
    """Return the values of a field, null where the struct around it is; "a.b" is that field, or else b inside a."""
    if at := struct.type.get_all_field_indices(name):
        return struct.flatten()[at[-1]]
    for outer, inner in splits(name):
        at = struct.type.get_all_field_indices(outer)
        values = None
        if at and pa.types.is_struct(struct.type.field(at[-1]).type):
            values = _column(struct.flatten()[at[-1]], inner)
        if values is not None:
            return values
    return None


def _rows(
    batch: pa.RecordBatch,
    first: int,
    settings: DocumentSettings,
    folder_fields: Mapping[str, str | None],
    only: NDArray[np.int64] | None,
) -> Iterator[RawRow]:
    for start in range(0, batch.num_rows, _ROWS):
        part = batch.slice(start, _ROWS)
        wanted: Any = range(part.num_rows)
        if only is not None:
            begin = first + start
            low, high = np.searchsorted(only, [begin, begin + part.num_rows])
            wanted = (only[low:high] - begin).tolist()
            if not wanted:
                continue
        columns: dict[str, list[Any]] = {}
        lacks = []
        struct = part.to_struct_array() if part.num_columns else None
        for name in settings.fields:
            column = _column(struct, name) if struct is not None else None
            if column is not None:
                columns[name] = _values(_checked(column))
                continue
            columns[name] = [
                folder_fields.get(name) if name in settings.keep_fields else None
            ] * part.num_rows
            if name in (settings.text_field, settings.id_field):
                lacks.append(name)
        seen: tuple[str, ...] = ()
        if lacks:
            names = (part.schema.metadata or {}).get(_SEEN.encode())
            seen = tuple(names.decode().split("\n")) if names else shown_names(_names(part.schema))
        for i in wanted:
            fields = {name: values[i] for name, values in columns.items()}
            yield _row(first + start + i, fields, settings, tuple(lacks), seen)


def _row(
    row: int,
    fields: dict[str, Any],
    settings: DocumentSettings,
    lacks: tuple[str, ...],
    seen: tuple[str, ...],
) -> RawRow:
    text = fields[settings.text_field]
    head = text.raw if isinstance(text, _Unreadable) else str(text or "")[:HEAD].encode(errors="replace")
    lost = tuple(name for name, value in fields.items() if isinstance(value, _Unreadable))
    for name in lost:
        if name in (settings.text_field, settings.id_field):
            return RawRow(row, None, head[:HEAD], "invalid_utf8", f"field {name}, {fields[name].why}")
        fields[name] = None
    return RawRow(row, fields, head[:HEAD], lacks=lacks, seen=seen, lost=lost)


# ---- Arrow values -> Python


def _checked(column: pa.Array) -> pa.Array:
    """Raise ArrowInvalid where a column's buffers do not fit together; that its text is UTF-8 is seen value by value."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        large = pa.types.is_large_string(column.type)
        column.view(pa.large_binary() if large else pa.binary()).validate(full=True)
    else:
        column.validate(full=False)
    return column


def _values(column: pa.Array) -> list[Any]:
    """Return a column's values; one that Python or UTF-8 has no form for is `_Unreadable` and takes no other along."""
    try:
        return _plain(column)
    except _NOT_TEXT:
        return [_value(column.slice(i, 1)) for i in range(len(column))]


def _value(one: pa.Array) -> Any:
    try:
        return _plain(one)[0]
    except UnicodeDecodeError as error:
        return _Unreadable(f"byte {error.start}: {error.reason}", error.object[:HEAD])
    except _NOT_TEXT as error:
        return _Unreadable(str(error))


def _plain(column: pa.Array) -> list[Any]:
    """Return values as JSON has them: dates and times as text (of a zone, in UTC with a Z), lists and structs of such.

    Raises one of `_NOT_TEXT` where a value has no such form.
    """
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return _plain(column.storage)
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(column))
    if _is_text(kind):
        return [
            value if value is None else value.decode() for value in column.cast(pa.large_binary()).to_pylist()
        ]
    if pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        return _times(column)
    if pa.types.is_map(kind):
        return [value if value is None else dict(value) for value in column.to_pylist()]
    if pa.types.is_struct(kind):
        parts = [_plain(part) for part in column.flatten()]
        rows = zip(*parts, strict=True) if parts else ((),) * len(column)
        names = [field.name for field in kind]
        valid = column.is_valid().to_pylist()
        return [
            dict(zip(names, row, strict=True)) if ok else None for row, ok in zip(rows, valid, strict=True)
        ]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner, sizes = iter(_plain(column.flatten())), pc.list_value_length(column).to_pylist()
        return [None if n is None else [next(inner) for _ in range(n)] for n in sizes]
    return column.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
    )
    return any(check(kind) for check in checks) or kind in (pa.string_view(), pa.binary_view())


def _times(column: pa.Array) -> list[str | None]:
    zoned = pa.types.is_timestamp(column.type) and column.type.tz
    if zoned:  # Arrow keeps the instant in UTC, and a zone may be one that this machine does not know
        column = column.cast(pa.timestamp(column.type.unit))
    times = column.cast(pa.string()).to_pylist()
    if beyond := next((value for value in times if value and value.startswith("<")), None):
        raise ValueError(beyond)  # Arrow's "<value out of range: ...>"
    return [value and f"{value}Z" if zoned else value for value in times]
