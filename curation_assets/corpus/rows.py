"""A row of a corpus file as a reader gives it to `corpus.documents`, and which of its fields are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.names import visible

HEAD = 1000  # bytes of a row that are kept for the quarantine
_SEEN = 20  # names of fields that are told of a row
_SEEN_CHARS = 40
_AT_ONCE = 1 << 16  # numbers as Python's integers
Item = TypeVar("Item")


class CorruptShardError(ValueError):
    """A file that cannot be read to its end: damaged or cut off. The shard fails as a whole."""


class Damaged(Exception):
    """The stream of bytes is broken; becomes a CorruptShardError once the row is known."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in the file.

    `row` counts as people find it: the 1-based line (jsonl, text, csv; of its first line where it has several), the
    1-based number of the value (a JSON array), or the 0-based row index (Parquet, Arrow). `fields` holds what was read,
    or is None: then `reason` is a key of `quarantine.REASONS`. `head` is the start of the raw row. `lacks` names the text
    or id field where the row has none, `seen` then its fields; `lost` the kept fields whose value cannot be text.
    """

    row: int
    fields: dict[str, Any] | None
    head: bytes
    reason: str = ""
    detail: str = ""
    lacks: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def numbered(
    items: Iterable[Item], numbers: NDArray[np.int64], number: Callable[[Item], int]
) -> Iterator[Item]:
    """Yield those of some items, in the order of their numbers, that have one of `numbers`, rising; stop after the last."""
    wanted = (
        n for start in range(0, len(numbers), _AT_ONCE) for n in numbers[start : start + _AT_ONCE].tolist()
    )
    at = next(wanted, None)
    if at is None:
        return
    for item in items:
        if number(item) < at:
            continue
        if number(item) > at:  # there is no such item any more
            return
        yield item
        at = next(wanted, None)
        if at is None:
            return


def too_long(row: int, head: bytes, settings: DocumentSettings) -> RawRow:
    """Return the row that is longer than a document could need."""
    return RawRow(row, None, head[:HEAD], "row_too_long", f"more than {settings.max_row_bytes} bytes")


def not_utf8(row: int, head: bytes, error: UnicodeDecodeError) -> RawRow:
    """Return the row whose bytes are not UTF-8."""
    return RawRow(row, None, head[:HEAD], "invalid_utf8", f"byte {error.start}: {error.reason}")


def from_record(
    row: int,
    record: Mapping[str, Any],
    head: bytes,
    settings: DocumentSettings,
    folder_fields: Mapping[str, str | None],
) -> RawRow:
    """Return the row of a record {field: value}; of a kept field that it lacks, the folder's."""
    fields: dict[str, Any] = {}
    lacks = []
    for name in settings.fields:
        present, value = _lookup(record, name)
        if not present:
            value = folder_fields.get(name) if name in settings.keep_fields else None
            if name in (settings.text_field, settings.id_field):
                lacks.append(name)
        fields[name] = value
    seen = shown_names(_names(record)) if lacks else ()
    return RawRow(row, fields, head[:HEAD], lacks=tuple(lacks), seen=seen)


def _lookup(record: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """Return (whether the field is there, its value); "a.b" is the field of that name, or else b inside a."""
    if name in record:
        return True, record[name]
    for outer, rest in splits(name):
        if isinstance(inner := record.get(outer), dict):
            present, value = _lookup(inner, rest)
            if present:
                return True, value
    return False, None


def splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield what may stand outside and inside: of "a.b.c", ("a", "b.c") and ("a.b", "c")."""
    at = name.find(".")
    while at >= 0:
        yield name[:at], name[at + 1 :]
        at = name.find(".", at + 1)


def _names(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a record's fields, of those inside an object as `field.inner`."""
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


def shown_names(names: Iterator[str]) -> tuple[str, ...]:
    """Return the first names, each cut to what can be shown."""
    return tuple(visible(name[:_SEEN_CHARS]) for name, _ in zip(names, range(_SEEN), strict=False))
