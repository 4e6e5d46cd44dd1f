"""One file of an export: Parquet, or JSON lines compressed by Zstandard."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

_LEVEL = 3  # what zstd takes by default: higher ones cost more than they save where a file is read often
_PLAIN = ("text", "id")  # columns without a dictionary: no two documents have the same


class PartFile(Protocol):
    """What takes the row groups of a file."""

    def write(self, table: pa.Table) -> None:
        """Write one."""

    def close(self) -> None:
        """Write what is left."""


class _Parquet:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=[name for name in schema.names if name not in _PLAIN],
            write_page_index=True,
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=max(len(table), 1))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    """A line an object, a row group a block of lines; numbers are written so that they are read as the same numbers."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("wb")
        self._stream = zstandard.ZstdCompressor(level=_LEVEL, threads=1).stream_writer(self._file)

    def write(self, table: pa.Table) -> None:
        import polars as pl

        lines = io.BytesIO()
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        frame.write_ndjson(lines)
        self._stream.write(lines.getbuffer())

    def close(self) -> None:
        self._stream.close()  # and the file with it


_WRITERS: dict[str, type[_Parquet] | type[_JsonLines]] = {"parquet": _Parquet, "jsonl.zst": _JsonLines}


@contextmanager
def part_file(path: Path, format: str, schema: pa.Schema) -> Iterator[PartFile]:
    """Write a file; it is whole when this ends without an error."""
    part: PartFile = _WRITERS[format](path, schema)
    try:
        yield part
    finally:
        part.close()
