"""Streamed readers: a corpus file becomes numbered raw rows, each with its fields or the reason why it has none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from operator import attrgetter, itemgetter
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.columnar import columnar_rows
from curation_assets.corpus.csv_rows import csv_rows
from curation_assets.corpus.discover import open_file, split_suffixes
from curation_assets.corpus.json_rows import json_lines, json_values
from curation_assets.corpus.names import decoded
from curation_assets.corpus.rows import CorruptShardError, Damaged, RawRow, numbered
from curation_assets.corpus.streams import bounded_lines, unpacked, without_bom
from curation_assets.corpus.text_rows import READERS

__all__ = ["CorruptShardError", "RawRow", "folder_fields", "read_rows"]

_HIVE = re.compile(r"([^=/]+)=([^/]*)")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_DELIMITERS = {"csv": ",", "tsv": "\t"}

FolderFields = Mapping[str, str | None]


def folder_fields(key: str) -> dict[str, str | None]:
    """Return the fields that a file's folders give it, as Hive names them: `lang=en/date=2024-01/part.parquet`.

    `key` is the file's partition key, its path within the corpus: folders above the corpus give nothing.
    """
    pairs = (match for folder in decoded(key).split("/")[:-1] if (match := _HIVE.fullmatch(folder)))
    return {m[1]: None if m[2] == _HIVE_NULL else unquote(m[2]) for m in pairs}


def read_rows(
    url: str,
    settings: DocumentSettings,
    storage_options: Mapping[str, Any] | None = None,
    of_folders: FolderFields | None = None,
    only: NDArray[np.int64] | None = None,
) -> Iterator[RawRow]:
    """Yield the rows of one corpus file in order; of those whose numbers are in `only`, rising, no others.

    A bad row is yielded with its reason and never stops the file. Blank lines are no rows. A byte order mark at the
    start of the file is dropped. Kept fields that a row lacks are those of `of_folders`. Memory: one row of at most
    `settings.max_row_bytes` and one piece of at most 32 MiB (1 MiB where the file is not compressed), plus zstd's
    window; of columnar files see `columnar_rows`.

    Raises
    ------
    CorruptShardError : the file is damaged or cut off; rows before the damage have been yielded.
    """
    _, kind, compression = split_suffixes(url)
    of_folders = of_folders or {}
    with open_file(url, storage_options) as file:
        if kind in ("parquet", "arrow"):
            yield from columnar_rows(file, kind, url, settings, of_folders, only)
            return
        row = 0
        chunks = without_bom(unpacked(file.read, compression))
        try:
            rows = _rows_of(kind, chunks, settings, of_folders, only)
            for raw in rows if only is None else numbered(rows, only, attrgetter("row")):
                row = raw.row
                yield raw
        except Damaged as error:
            where = f"after row {row}" if row else "before the first row"
            raise CorruptShardError(f"{url} is damaged {where}: {error}") from error


def _rows_of(
    kind: str,
    chunks: Iterator[bytes],
    settings: DocumentSettings,
    of_folders: FolderFields,
    only: NDArray[np.int64] | None,
) -> Iterator[RawRow]:
    if kind == "json":
        return json_values(chunks, settings, of_folders)
    lines = bounded_lines(chunks, settings.max_row_bytes)
    if only is not None and (kind == "jsonl" or (kind == "text" and settings.sample_by == "line")):
        lines = numbered(lines, only, itemgetter(0))  # a row is a line: the others are not parsed
    if kind == "jsonl":
        return json_lines(lines, settings, of_folders)
    if kind in _DELIMITERS:
        return csv_rows(lines, settings, of_folders, _DELIMITERS[kind])
    return _of_text(READERS[settings.sample_by](lines, settings), settings, of_folders)


def _of_text(
    rows: Iterator[RawRow], settings: DocumentSettings, of_folders: FolderFields
) -> Iterator[RawRow]:
    kept = {name: of_folders[name] for name in settings.keep_fields if name in of_folders}
    kept.pop(settings.id_field, None)  # a text file has no ids
    for raw in rows:
        if raw.fields is not None:
            raw.fields.update({**kept, **raw.fields})
        yield raw
