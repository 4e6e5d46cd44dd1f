"""Files: names, JSON and Parquet; whole or absent, streamed where they are large. What is not local is fsspec's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common import s3

_MTIME_FIELDS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
TEMPORARY = ".tmp-"
"""What the names of files and folders begin with that are being written."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint(*parts: Any) -> str:
    """Return 20 hex digits (80 bits of SHA-256) over the canonical JSON of `parts`."""
    return fingerprint_of(canonical(parts))


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value."""
    return _CANONICAL.encode(value)


def fingerprint_of(text: str) -> str:
    """Return the fingerprint of what has this canonical JSON."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def safe_name(partition: str) -> str:
    """Return a partition key as one path piece: percent-encoded, and hashed where it would be too long for a name."""
    name = quote(partition, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    return name if len(name) <= 160 else f"{name[:120]}-{fingerprint(partition)}"


def file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it; ValueError where its driver is not installed."""
    from fsspec.core import url_to_fs

    is_s3 = url.partition("://")[0] in s3.SCHEMES
    try:
        fs, path = url_to_fs(url, **(s3.with_defaults(options) if is_s3 else options))
    except ImportError as error:
        raise ValueError(f"{url} cannot be reached: {error}") from None
    if is_s3:
        s3.be_patient(fs)
    return fs, path


def mtime_of(info: Mapping[str, Any]) -> float | None:
    """Return when a file was written last, from what its file system says of it: seconds since the epoch, or None."""
    for field in _MTIME_FIELDS:
        value = info.get(field)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).timestamp()
            except ValueError:
                continue
    return None


def file_states(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Return {name: [bytes, mtime in ns]} of files, by which a change is noticed without reading them."""
    states = {name: (folder / name).stat() for name in names}
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a hidden name to write a file under; it takes its own in one step, and goes if there is an error.

    A reader sees the old content or the new; if `durable`, so does one after a power cut. What a kill leaves behind
    begins with TEMPORARY.
    """
    draft = _draft(path)
    try:
        yield draft
        publish(draft, path, durable=durable)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder to write into, as `atomic_file` does; it can take the place of an empty folder, and of nothing else."""
    draft = _draft(path)
    draft.mkdir()
    try:
        yield draft
        publish(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish(draft: Path, path: Path, *, durable: bool = True) -> None:
    """Give a finished file or folder its name in one step; if `durable`, once all of it is on the disk."""
    if durable:
        for part in (*draft.rglob("*"), draft) if draft.is_dir() else (draft,):
            _sync(part)
    draft.replace(path)
    if durable:
        _sync(path.parent)


def _draft(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{TEMPORARY}{path.name}.{uuid.uuid4().hex[:8]}")


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all, see `atomic_file`."""
    with atomic_file(path, durable=durable) as draft:
        draft.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, sorted and indented, in one step."""
    write_bytes(path, (json.dumps(value, sort_keys=True, indent=1) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def seal(fields: dict[str, Any]) -> bytes:
    """Return JSON of these fields that begins with the SHA-256 of everything else in it."""
    fields = json.loads(json.dumps(fields))  # as it will be read: the digest is of that
    return (json.dumps({"sha256": _digest_of(fields), **fields}, indent=1) + "\n").encode()


def unseal(content: bytes) -> dict[str, Any] | None:
    """Return the fields that were sealed; None where the content is not, in all of it, what `seal` gave."""
    try:
        fields = json.loads(content)
        if isinstance(fields, dict) and fields.pop("sha256", None) == _digest_of(fields):
            return fields
    except (ValueError, RecursionError):
        pass
    return None


def _digest_of(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex; memory does not grow with the file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file (zstd), each page with its checksum."""
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def write_batches(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Stream record batches into a Parquet file, each page with its checksum; return the number of rows."""
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
            del batch  # before the next one is made
    return rows


def parquet_file(source: Any, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file, of which a row group at a time is held when it is read in batches.

    By default Arrow fetches all row groups before the first batch, and keeps them to the end.
    """
    return pq.ParquetFile(source, pre_buffer=False, **options)


def read_batches(path: Path, columns: list[str] | None = None, size: int = 4096) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet file in record batches of at most `size` rows."""
    with parquet_file(path) as source:
        yield from source.iter_batches(batch_size=size, columns=columns)


def read_rows(path: Path, columns: list[str], rows: slice) -> pa.Table:
    """Read rows `start` to `stop` of a Parquet file, and of the rest no more than the row groups that they lie in."""
    with parquet_file(path) as source:
        return rows_of(source, columns, rows)


def rows_of(source: pq.ParquetFile, columns: list[str] | None, rows: slice) -> pa.Table:
    """Read rows of an open Parquet file as `read_rows` does."""
    about = source.metadata
    ends = list(accumulate(about.row_group(i).num_rows for i in range(about.num_row_groups)))
    first, last = bisect_right(ends, rows.start), bisect_left(ends, rows.stop)
    groups = range(first, min(last + 1, len(ends)))
    table = source.read_row_groups(list(groups), columns=columns)
    begin = ends[first - 1] if first else 0
    return table.slice(rows.start - begin, rows.stop - rows.start)
