"""From raw rows to documents: ids, normalised text, the held-out split, and a quarantine that says why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.corpus.formats import CorruptShardError, RawRow, read_rows
from curation_assets.corpus.normalize import defect, normalize
from curation_assets.corpus.settings import REASONS, DocumentSettings
from curation_assets.progress import Progress, silent
from curation_assets.sampling.keys import hash_documents, text_digest

__all__ = [
    "REASONS",
    "Batch",
    "CorruptShardError",
    "Counts",
    "DocumentSettings",
    "parse_shard",
    "write_documents",
]

BATCH_ROWS = 1000
BATCH_CHARS = 1 << 24  # a batch ends early where its texts are long
MAX_ID_CHARS = 512
_START_CHARS = 200
_VALIDATION_SALT = np.uint64(0x9E6C_63D0_676A_9A99)  # fixed for good: another value is another split

QUARANTINE_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("start", pa.string()),
    ]
)
TABLES = ("documents", "validation", "quarantine")


@dataclass(frozen=True)
class Batch:
    """About 1,000 raw rows, each in exactly one of three tables: `rows` is the sum of their lengths."""

    documents: pa.RecordBatch
    validation: pa.RecordBatch
    quarantine: pa.RecordBatch

    @property
    def rows(self) -> int:
        """Number of raw rows."""
        return sum(getattr(self, table).num_rows for table in TABLES)


@dataclass
class Counts:
    """What became of a shard's rows: `rows == documents + validation + quarantined`; chars are of the documents."""

    rows: int = 0
    documents: int = 0
    validation: int = 0
    quarantined: int = 0
    chars: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        """Count one batch in."""
        self.rows += batch.rows
        self.documents += batch.documents.num_rows
        self.validation += batch.validation.num_rows
        self.quarantined += batch.quarantine.num_rows
        self.chars += int(np.sum(batch.documents.column("n_chars").to_numpy(), dtype=np.int64))
        self.reasons.update(batch.quarantine.column("reason").to_pylist())


def document_schema(settings: DocumentSettings) -> pa.Schema:
    """Columns of the documents and validation tables: `row` is as in `RawRow`; kept fields are strings."""
    return pa.schema(
        [
            ("doc_id", pa.string()),
            ("doc_hash", pa.uint64()),
            ("text", pa.large_string()),
            ("n_chars", pa.int32()),
            ("row", pa.int64()),
            *((name, pa.string()) for name in settings.keep_fields),
        ]
    )


def parse_shard(
    url: str,
    settings: DocumentSettings,
    storage_options: Mapping[str, Any] | None = None,
    file: str | None = None,
) -> Iterator[Batch]:
    """Yield the shard's rows in batches, in file order; at least one batch, empty for a file without rows.

    A row's fate depends on the row alone, but for repeats: of rows with one id and one text the first stays. Memory: one
    batch, and a 16-byte digest of every document (about 130 bytes a document of this shard).

    Parameters
    ----------
    url : corpus file, as `discover.list_shards` gives it.
    file : what the quarantine calls the file; the URL by default.

    Raises
    ------
    CorruptShardError, ValueError : see `formats.read_rows`.
    """
    rows = read_rows(url, settings, storage_options)
    return _batches(rows, settings, file or url)


def _batches(rows: Iterable[RawRow], settings: DocumentSettings, file: str) -> Iterator[Batch]:
    seen: set[bytes] = set()
    good: list[tuple] = []
    bad: list[tuple] = []
    chars, empty = 0, True
    for raw in rows:
        document = _document(raw, settings, seen)
        if document[0] is None:
            bad.append((file, raw.row, document[1], document[2], _safe(raw.head)))
        else:
            good.append(document)
            chars += len(document[1])
        if len(good) + len(bad) >= BATCH_ROWS or chars >= BATCH_CHARS:
            yield _batch(good, bad, settings)
            good, bad, chars, empty = [], [], 0, False
    if good or bad or empty:
        yield _batch(good, bad, settings)


def _document(raw: RawRow, settings: DocumentSettings, seen: set[bytes]) -> tuple:
    """Return (id, text, row, digest of the text, kept...) or (None, reason, detail); a document is added to `seen`."""
    if raw.fields is None:
        return None, raw.reason, raw.detail
    text = raw.fields[settings.text_field]
    if text is None:
        return None, "missing_text", f"no field {settings.text_field}"
    if not isinstance(text, str):
        return None, "text_not_a_string", f"a {type(text).__name__}"
    if found := defect(text):
        return None, *found
    text = normalize(text)
    if not text or text.isspace():
        return None, "empty_text", f"{len(text)} characters"
    if len(text) > settings.max_chars:
        return None, "text_too_long", f"{len(text)} characters, limit {settings.max_chars}"
    named = settings.id_field is not None and settings.id_field in raw.fields
    digest = text_digest(text)
    doc_id: Any = raw.fields[settings.id_field or ""] if named else digest.hex()
    if isinstance(doc_id, int) and not isinstance(doc_id, bool):
        doc_id = str(doc_id)
    if problem := _id_problem(doc_id):
        return None, "bad_id", problem
    kept = [_metadata(raw.fields.get(name)) for name in settings.keep_fields]
    for name, value in zip(settings.keep_fields, kept, strict=True):
        if value is not None and (problem := _not_utf8(value)):
            return None, "invalid_unicode", f"field {name}: {problem}"
    key = blake2b(digest + doc_id.encode(), digest_size=16).digest()
    if key in seen:
        return None, ("repeated_id" if named else "repeated_text"), f"id {doc_id}"
    seen.add(key)
    return doc_id, text, raw.row, digest, *kept


def _id_problem(value: object) -> str | None:
    if value is None:
        return "no id"
    if not isinstance(value, str):
        return f"a {type(value).__name__}; ids are strings or integers"
    if not value.strip():
        return "empty"
    if len(value) > MAX_ID_CHARS:
        return f"{len(value)} characters, limit {MAX_ID_CHARS}"
    found = defect(value) or (("", "a line break") if "\r" in value or "\n" in value else None)
    return found[1] if found else None


def _metadata(value: object) -> str | None:
    """Return a metadata value as a string: JSON where it is a number, a list or an object."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)  # what only Parquet has: dates, decimals


def _not_utf8(value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"{error.reason} at character {error.start}"
    return None


def _safe(head: bytes) -> str:
    """Return the row's start for people: valid Unicode, one line, no control characters."""
    start = head.decode(errors="replace")[:_START_CHARS]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in start.replace("\n", " "))


def validation_mask(doc_hash: np.ndarray, share: float) -> np.ndarray:
    """Say which documents are held out: bool[n], a pure function of each uint64 hash.

    A document is held out where its hash, mixed with a fixed salt and read as a number in [0, 1), is below `share`;
    so a larger share holds out a superset. The salt keeps the split independent of every sampler's noise.
    """
    x = np.asarray(doc_hash, np.uint64) + _VALIDATION_SALT  # splitmix64's finaliser (Steele et al., 2014)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share


def _batch(good: list[tuple], bad: list[tuple], settings: DocumentSettings) -> Batch:
    schema = document_schema(settings)
    n_fields = 4 + len(settings.keep_fields)
    ids, texts, rows, digests, *kept = zip(*good, strict=True) if good else [()] * n_fields
    doc_hash = hash_documents(pa.array(ids, pa.string()), digests)
    n_chars = np.fromiter(map(len, texts), np.int32, len(texts))
    arrays = [
        pa.array(values, kind)
        for values, kind in zip((ids, doc_hash, texts, n_chars, rows, *kept), schema.types, strict=True)
    ]
    table = pa.RecordBatch.from_arrays(arrays, schema=schema)
    held_out = validation_mask(doc_hash, settings.validation_share)
    columns = zip(*bad, strict=True) if bad else [()] * len(QUARANTINE_SCHEMA)
    quarantine = pa.RecordBatch.from_arrays(
        [pa.array(values, kind) for values, kind in zip(columns, QUARANTINE_SCHEMA.types, strict=True)],
        schema=QUARANTINE_SCHEMA,
    )
    return Batch(table.filter(pa.array(~held_out)), table.filter(pa.array(held_out)), quarantine)


def write_documents(
    url: str,
    settings: DocumentSettings,
    folder: str | Path,
    storage_options: Mapping[str, Any] | None = None,
    file: str | None = None,
    progress: Progress = silent,
) -> Counts:
    """Write `documents.parquet`, `validation.parquet` and `quarantine.parquet` to an existing local folder.

    The same file and settings give the same bytes. On an error, half-written files stay behind for the caller to
    remove. See `parse_shard` for memory and errors.
    """
    schemas = dict.fromkeys(TABLES, document_schema(settings)) | {"quarantine": QUARANTINE_SCHEMA}
    counts = Counts()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                pq.ParquetWriter(Path(folder) / f"{name}.parquet", schema, compression="zstd")
            )
            for name, schema in schemas.items()
        }
        for batch in parse_shard(url, settings, storage_options, file):
            for name, writer in writers.items():
                if (part := getattr(batch, name)).num_rows:
                    writer.write_batch(part)
            counts.add(batch)
            progress(counts.rows, counts.rows + 1, "rows")
    progress(counts.rows, counts.rows, "rows")
    return counts
