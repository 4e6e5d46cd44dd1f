"""From raw rows to documents: ids, normalised text, the held-out split, and a quarantine that says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.hashing import hash_documents, splitmix64, text_digest
from curation_assets.common.progress import Progress, silent
from curation_assets.config.settings import SOURCE_NAME, DocumentSettings
from curation_assets.corpus.fields import document_text, kept_fields
from curation_assets.corpus.formats import RawRow, read_rows
from curation_assets.corpus.normalize import defect

BATCH_ROWS = 1000
BATCH_CHARS = 1 << 24  # a batch ends early where its texts are long
MAX_ID_CHARS = 512
_START_CHARS = 200
_SEEN = 20
_VALIDATION_SALT = np.uint64(0xD6E8_FEB8_6659_FD93)  # fixed for good: another value is another split

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
    """About 1,000 raw rows, each in exactly one of three tables: `rows` is the sum of their lengths.

    `lacks` counts the rows without the text or id field, by field; `seen` has the names of their fields. `kept_lost`
    counts values of kept fields that are null because they cannot be strings, by field.
    """

    documents: pa.RecordBatch
    validation: pa.RecordBatch
    quarantine: pa.RecordBatch
    lacks: Counter[str] = field(default_factory=Counter)
    seen: dict[str, None] = field(default_factory=dict)
    kept_lost: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Number of raw rows."""
        return sum(getattr(self, table).num_rows for table in TABLES)


@dataclass
class Counts:
    """What became of a shard's rows: `rows == documents + validation + quarantined`; chars are of the documents.

    The others are as in `Batch`, `seen` with the first 20 names.
    """

    rows: int = 0
    documents: int = 0
    validation: int = 0
    quarantined: int = 0
    chars: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    lacks: Counter[str] = field(default_factory=Counter)
    seen: dict[str, None] = field(default_factory=dict)
    kept_lost: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        """Count one batch in."""
        self.rows += batch.rows
        self.documents += batch.documents.num_rows
        self.validation += batch.validation.num_rows
        self.quarantined += batch.quarantine.num_rows
        self.chars += int(np.sum(batch.documents.column("n_chars").to_numpy(), dtype=np.int64))
        self.reasons.update(batch.quarantine.column("reason").to_pylist())
        self.lacks.update(batch.lacks)
        self.kept_lost.update(batch.kept_lost)
        self.seen = dict.fromkeys(islice(self.seen | batch.seen, _SEEN))


def read_as(counts: Counts, settings: DocumentSettings) -> dict[str, Any]:
    """Return what became of a file's rows as metadata, which `rejected_rows.why_no_documents` reads."""
    fields = {"text_field": settings.text_field, "id_field": settings.id_field}
    return {
        "rows": counts.rows,
        "documents": counts.documents,
        "validation": counts.validation,
        "quarantined": counts.quarantined,
        "characters": counts.chars,
        "reasons": dict(counts.reasons),
        "fields": {setting: name for setting, name in fields.items() if name},
        "lacks": dict(counts.lacks),
        "fields_seen": list(counts.seen),
        "kept_fields_lost": dict(counts.kept_lost),
    }


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
    of_folders: Mapping[str, str | None] | None = None,
) -> Iterator[Batch]:
    """Yield the shard's rows in batches, in file order; at least one batch, empty for a file without rows.

    A row's fate depends on the row alone, but for repeats: of rows with one id and one text the first stays. Memory: one
    batch, and a 16-byte digest of every document (about 130 bytes a document of this shard).

    Parameters
    ----------
    url : corpus file, as `discover.find_files` gives it.
    file : what the quarantine calls the file; the URL by default.
    of_folders : kept fields of rows that lack them, as `formats.folder_fields` gives them.

    Raises
    ------
    CorruptShardError : see `formats.read_rows`.
    """
    rows = read_rows(url, settings, storage_options, of_folders)
    return _batches(rows, settings, file or url)


def _batches(rows: Iterable[RawRow], settings: DocumentSettings, file: str) -> Iterator[Batch]:
    seen: set[bytes] = set()
    part, empty = _Part(settings, file), True
    for raw in rows:
        part.add(raw, seen)
        if part.full:
            yield part.batch()
            part, empty = _Part(settings, file), False
    if part.rows or empty:
        yield part.batch()


class _Part:
    """A batch that grows."""

    def __init__(self, settings: DocumentSettings, file: str) -> None:
        self._settings, self._file = settings, file
        self._good: list[tuple] = []
        self._bad: list[tuple] = []
        self._chars = 0
        self._lacks: Counter[str] = Counter()
        self._seen: dict[str, None] = {}
        self._kept_lost: Counter[str] = Counter()

    @property
    def rows(self) -> int:
        """Number of raw rows."""
        return len(self._good) + len(self._bad)

    @property
    def full(self) -> bool:
        """Whether this is a batch."""
        return self.rows >= BATCH_ROWS or self._chars >= BATCH_CHARS

    def add(self, raw: RawRow, seen: set[bytes]) -> None:
        """Take one row in: as a document, whose id is added to `seen`, or with the reason why it is none."""
        self._lacks.update(raw.lacks)
        self._seen.update(dict.fromkeys(raw.seen))
        document = _document(raw, self._settings, seen)
        if document[0] is None:
            self._bad.append((self._file, raw.row, document[1], document[2], _safe(raw.head)))
            return
        kept, lost = kept_fields(raw, self._settings)
        self._kept_lost.update(lost)
        self._good.append((*document, *kept))
        self._chars += len(document[1]) + sum(len(value) for value in kept if value)

    def batch(self) -> Batch:
        """Return the tables."""
        counted = (self._lacks, self._seen, self._kept_lost)
        return Batch(*_tables(self._good, self._bad, self._settings), *counted)


def _document(raw: RawRow, settings: DocumentSettings, seen: set[bytes]) -> tuple:
    """Return (id, text, row, digest of the text) or (None, reason, detail); a document is added to `seen`."""
    if raw.fields is None:
        return None, raw.reason, raw.detail
    text = document_text(raw, raw.fields[settings.text_field], settings)
    if not isinstance(text, str):
        return None, *text
    digest = text_digest(text)
    named, doc_id = document_id(raw.fields, digest, settings)
    if problem := _id_problem(doc_id):
        return None, "bad_id", problem
    key = blake2b(digest + doc_id.encode(), digest_size=16).digest()
    if key in seen:
        return None, ("repeated_id" if named else "repeated_text"), f"id {doc_id}"
    seen.add(key)
    return doc_id, text, raw.row, digest


def document_id(fields: Mapping[str, Any], digest: bytes, settings: DocumentSettings) -> tuple[bool, Any]:
    """Return whether a row names its id, and the id: what its field holds, integers as text, or else the hash of the text."""
    if not settings.id_field or settings.id_field not in fields:
        return False, digest.hex()
    value = fields[settings.id_field]
    return True, str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _id_problem(value: object) -> str | None:
    if value is None:
        return "no id"
    if not isinstance(value, str):
        return f"a {type(value).__name__}; ids are strings or integers"
    if not value.strip():
        return "empty"
    if len(value) > MAX_ID_CHARS:
        return f"{len(value)} characters, limit {MAX_ID_CHARS}"
    problem = defect(value) or (("", "a line break") if "\r" in value or "\n" in value else None)
    return problem[1] if problem else None


def _safe(head: bytes) -> str:
    """Return the row's start for people: valid Unicode, one line, no control characters."""
    start = head.decode(errors="replace")[:_START_CHARS]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in start.replace("\n", " "))


def validation_mask(doc_hash: np.ndarray, share: float) -> np.ndarray:
    """Say which documents are held out: bool[n], a pure function of each uint64 hash.

    A document is held out where its hash, mixed with a fixed salt and read as a number in [0, 1), is below `share`;
    so a larger share holds out a superset. The salt keeps the split independent of every sampler's noise.
    """
    x = splitmix64(np.asarray(doc_hash, np.uint64) + _VALIDATION_SALT)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share


def _tables(
    good: list[tuple], bad: list[tuple], settings: DocumentSettings
) -> tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]:
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
    return table.filter(pa.array(~held_out)), table.filter(pa.array(held_out)), quarantine


def write_documents(
    url: str,
    settings: DocumentSettings,
    folder: str | Path,
    storage_options: Mapping[str, Any] | None = None,
    file: str | None = None,
    progress: Progress = silent,
    of_folders: Mapping[str, str | None] | None = None,
    source: str = "",
) -> Counts:
    """Write `documents.parquet`, `validation.parquet` and `quarantine.parquet` to an existing local folder.

    Documents of a `source` of several have its name in the column `source_name`. The same file and settings give the same bytes. On an error, half-written files stay behind for the caller to
    remove. See `parse_shard` for memory and errors.
    """
    schema = document_schema(settings)
    schema = schema.append(pa.field(SOURCE_NAME, pa.string())) if source else schema
    schemas = dict.fromkeys(TABLES, schema) | {"quarantine": QUARANTINE_SCHEMA}
    counts = Counts()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                pq.ParquetWriter(
                    Path(folder) / f"{name}.parquet", schema, compression="zstd", write_page_checksum=True
                )
            )
            for name, schema in schemas.items()
        }
        for batch in parse_shard(url, settings, storage_options, file, of_folders):
            for name, writer in writers.items():
                if not (part := getattr(batch, name)).num_rows:
                    continue
                if source and name != "quarantine":
                    part = part.append_column(SOURCE_NAME, pa.repeat(pa.scalar(source), len(part)))
                writer.write_batch(part)
            counts.add(batch)
            progress(counts.rows, counts.rows + 1, "rows")
    progress(counts.rows, counts.rows, "rows")
    return counts
