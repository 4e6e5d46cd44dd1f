"""Columns of artifacts read where they lie: nothing else of a file is fetched or hashed, and nothing is changed.

For questions, and for steps that read little of every shard: to compare a file with its digest is to read all of it. What is
made of one shard is read with `Workspace.open`, which compares; here each page of a Parquet file that is read is compared with
its checksum, and the file with its digest when it cannot be read, to tell damage from other causes. `read_files` and `read_ranges` are for builders that need a small part of many artifacts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import parquet_file
from curation_assets.engine.receipt import Receipt, title
from curation_assets.engine.store import DamagedArtifact

if TYPE_CHECKING:
    from curation_assets.engine.workspace import Workspace

_THREADS = 8  # most of a look into a shard is waiting for its file
_TOGETHER = 256  # ranges, and
_BYTES = 64 * 2**20  # bytes of them that are asked for at a time
Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def open_file(workspace: Workspace, receipt: Receipt, name: str) -> Iterator[IO[bytes]]:
    """Open a file of an artifact for reading; what is not asked for is not fetched from a remote store."""
    path = workspace.store.path(receipt, name)
    with _damage_checked(workspace, receipt), workspace.store.fs.open(path, "rb") as file:
        yield file


@contextmanager
def open_parquet(workspace: Workspace, receipt: Receipt, name: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of an artifact."""
    if workspace.store.local:  # read by Arrow itself, without the interpreter's lock
        path = workspace.store.path(receipt, name)
        with _damage_checked(workspace, receipt), _parquet(path) as table:
            yield table
        return
    with open_file(workspace, receipt, name) as file, _parquet(file) as table:
        yield table


def _parquet(source: str | IO[bytes]) -> pq.ParquetFile:
    return parquet_file(source, page_checksum_verification=True)


def read_filtered(
    workspace: Workspace,
    receipt: Receipt,
    name: str,
    columns: list[str] | None,
    filters: list[tuple[str, str, Any]],
) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file that pass; row groups whose statistics rule them out are not read."""
    path = workspace.store.path(receipt, name)
    with _damage_checked(workspace, receipt):
        rows: list[dict[str, Any]] = pq.read_table(
            path,
            columns=columns,
            filters=filters,
            page_checksum_verification=True,
            filesystem=None if workspace.store.local else workspace.store.fs,
        ).to_pylist()
    return rows


def read_files(workspace: Workspace, name: str, receipts: Sequence[Receipt]) -> Iterator[bytes]:
    """Yield a small file of each artifact, in order, each checked against its digest."""
    contents = read_ranges(workspace, name, ((receipt, 0, receipt.files[name][0]) for receipt in receipts))
    for receipt, content in zip(receipts, contents, strict=True):
        with _damage_checked(workspace, receipt):
            if hashlib.sha256(content).hexdigest() != receipt.files[name][1]:
                raise ValueError(f"{title(receipt.key, receipt.partition)}: {name} is not as it was written")
        yield content


def read_ranges(
    workspace: Workspace, name: str, ranges: Iterable[tuple[Receipt, int, int]]
) -> Iterator[bytes]:
    """Yield the bytes from one place to another of a file of each artifact, in order; a store is asked for many at a time.

    Who reads them checks them: a digest is of a whole file.
    """
    batch: list[tuple[Receipt, int, int]] = []
    size = 0
    for receipt, start, stop in ranges:
        if batch and (len(batch) == _TOGETHER or size + stop - start > _BYTES):
            yield from _read_together(workspace, name, batch)
            batch, size = [], 0
        batch.append((receipt, start, stop))
        size += stop - start
    yield from _read_together(workspace, name, batch)


def _read_together(
    workspace: Workspace, name: str, ranges: Sequence[tuple[Receipt, int, int]]
) -> Iterator[bytes]:
    some = [(receipt, start, stop) for receipt, start, stop in ranges if stop > start]
    paths = [workspace.store.path(receipt, name) for receipt, _, _ in some]
    starts, stops = [start for _, start, _ in some], [stop for _, _, stop in some]
    contents = iter(workspace.store.fs.cat_ranges(paths, starts, stops, on_error="return"))
    for receipt, start, stop in ranges:
        content = next(contents) if stop > start else b""
        with _damage_checked(workspace, receipt):
            if isinstance(content, Exception):
                raise content
            if len(content) != stop - start:
                raise ValueError(f"{title(receipt.key, receipt.partition)}: {name} is cut off")
        yield content


@contextmanager
def _damage_checked(workspace: Workspace, receipt: Receipt) -> Iterator[None]:
    """Raise DamagedArtifact for an error that comes of a file that is not as it was written."""
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException):  # a name of a column is in the file, too
        if problem := workspace.store.changed(receipt):  # there, whatever copy is here
            workspace.withdraw(receipt, problem)
            raise DamagedArtifact(problem, receipt) from None
        raise


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yield `function` of each item, in order; close the generator to drop what has not begun."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
