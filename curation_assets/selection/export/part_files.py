"""One file of an export: Parquet, or JSON lines compressed by Zstandard."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

_LEVEL = 3  # what zstd takes by default: higher ones cost more than they save where a file is read often
_PLAIN = ("text", "id")  # columns without a dictionary: no two documents have the same


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
def part_file(path: Path, format: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Give what writes a row group, while the next one is read; the file is whole when this ends without an error."""
    part, waiting = _WRITERS[format](path, schema), deque[Future[None]]()
    with closing(part), ThreadPoolExecutor(1) as behind:

        def write(table: pa.Table) -> None:
            while waiting:
                waiting.popleft().result()
            waiting.append(behind.submit(part.write, table))

        yield write
        while waiting:
            waiting.popleft().result()
