"""Where a document id stands in a corpus. Only ids are read, and only of row groups that may hold the id."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.progress import Progress
from curation_assets.config.settings import DOCUMENT_COLUMNS
from curation_assets.corpus.quarantine import REASONS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.stored import in_threads, open_file, open_parquet

TEXT_START = 200  # characters of the text that are shown
MOST_PLACES = 20  # rows of an id that are shown
_ALIKE = 0.5  # share of characters, from both ends, that a near id has in common
_OFFSET_BYTES = 8


@dataclass(frozen=True)
class Place:
    """A row that holds the document.

    Attributes
    ----------
    table : "documents", or "validation" where it is held out.
    position : row in that table, from 0; `row` is the one in the file (`formats.RawRow`), `url` the file.
    n_tokens : None where the tokens are not there or out of date.
    fields : the kept fields.
    doc_hash : of id and text: other rows of the id with the same are the same document.
    kept_by : the earlier shard whose row of this document counts instead; "" where this one does.
    """

    doc_id: str
    shard: str
    table: str
    position: int
    row: int
    url: str
    text: str
    n_chars: int
    n_tokens: int | None
    fields: dict[str, str | None]
    doc_hash: int
    kept_by: str = ""


@dataclass(frozen=True)
class SetAside:
    """A quarantined row that names the id; `meaning` says what the reason means."""

    shard: str
    file: str
    row: int
    reason: str
    meaning: str
    detail: str
    start: str


@dataclass
class Search:
    """The rows with an id; `shards` are those with documents, `more` counts rows with the id beyond `places`."""

    shards: list[str]
    places: list[Place] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    more: int = 0


def locate(versions: Versions, doc_id: str, progress: Progress, shard: str = "") -> Search:
    """Find an id among documents, held-out documents and quarantined rows.

    An id may stand for several texts, so every shard is looked at; with `shard`, the answer is of the documents and the
    quarantined rows that this one has. A quarantined row is found where its detail names the id, or where the id field
    stands within the start that is kept of the row.
    """
    receipts = _receipts(versions)
    search = Search(list(receipts))
    hits = [
        hit
        for table in ("documents", "validation")
        for hit in _hits(versions, table, doc_id, list(receipts.values()), progress)
    ]
    if shard:
        wanted = {hit.doc_hash for hit in hits if hit.receipt.partition == shard}
        hits = [hit for hit in hits if hit.doc_hash in wanted]
    keepers: dict[int, str] = {}
    for hit in hits[:MOST_PLACES]:
        keeper = keepers.setdefault(hit.doc_hash, hit.receipt.partition)
        again = hit.table == "documents" and keeper != hit.receipt.partition
        search.places.append(_place(versions, hit, keeper if again else ""))
    search.more = len(hits[MOST_PLACES:])
    where = {shard} if shard else {place.shard for place in search.places} or set(receipts)
    asides = [r for s, r in receipts.items() if s in where and r.metadata.get("quarantined")]
    field_name = versions.workspace.profile.corpus.id_field
    parts = in_threads(lambda receipt: _set_aside(versions, receipt, doc_id, field_name), asides)
    search.set_aside = [row for part in parts for row in part]
    return search


def _receipts(versions: Versions) -> dict[str, Receipt]:
    shards = versions.partitions("shard")
    read = in_threads(lambda shard: versions.receipt("corpus/documents", shard), shards)
    return {shard: receipt for shard, receipt in zip(shards, read, strict=True) if receipt is not None}


@dataclass(frozen=True)
class _Hit:
    receipt: Receipt
    table: str
    position: int
    doc_hash: int


def _hits(
    versions: Versions, table: str, doc_id: str, receipts: list[Receipt], progress: Progress
) -> Iterator[_Hit]:
    """Yield the rows of a table that hold the id, by shard and row."""
    workspace = versions.workspace
    receipts = [receipt for receipt in receipts if receipt.metadata.get(table, 1)]

    def look(receipt: Receipt) -> dict[int, int]:
        with open_parquet(workspace, receipt, f"{table}.parquet") as file:
            return positions_of(file, doc_id)

    for count, (receipt, rows) in enumerate(zip(receipts, in_threads(look, receipts), strict=True), 1):
        progress(count, len(receipts), "shards", f"looking for the id among {table}")
        yield from (_Hit(receipt, table, position, doc_hash) for position, doc_hash in rows.items())


def positions_of(file: pq.ParquetFile, doc_id: str) -> dict[int, int]:
    """Return {row: doc_hash} of the rows that hold an id; row groups whose statistics rule it out are not read."""
    about, column = file.metadata, file.schema_arrow.get_field_index("doc_id")
    positions: dict[int, int] = {}
    start = 0
    for group in range(about.num_row_groups):
        part = about.row_group(group)
        bounds = part.column(column).statistics
        if bounds is None or not bounds.has_min_max or bounds.min <= doc_id <= bounds.max:
            ids = file.read_row_group(group, columns=["doc_id"])["doc_id"]
            rows = np.flatnonzero(pc.equal(ids, doc_id).to_numpy())
            if len(rows):
                hashes = file.read_row_group(group, columns=["doc_hash"])["doc_hash"].to_numpy()[rows]
                positions |= zip((start + rows).tolist(), hashes.tolist(), strict=True)
        start += part.num_rows
    return positions


def _place(versions: Versions, hit: _Hit, keeper: str) -> Place:
    receipt, table, position = hit.receipt, hit.table, hit.position
    shard = receipt.partition
    with open_parquet(versions.workspace, receipt, f"{table}.parquet") as file:
        start = 0
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if position < start + rows:
                break
            start += rows
        row: dict[str, Any] = file.read_row_group(group).slice(position - start, 1).to_pylist()[0]
    source = versions.receipt("corpus/shards", shard)
    return Place(
        row["doc_id"],
        shard,
        table,
        position,
        row["row"],
        source.metadata["url"] if source is not None else "",
        row["text"][:TEXT_START],
        row["n_chars"],
        _tokens(versions, shard, table, position),
        {name: value for name, value in row.items() if name not in DOCUMENT_COLUMNS},
        hit.doc_hash,
        keeper,
    )


def _tokens(versions: Versions, shard: str, table: str, position: int) -> int | None:
    """Return how many tokens a row has, from two numbers of the offsets' file."""
    receipt = versions.receipt("corpus/tokens", shard)
    if receipt is None or not versions.current(STEPS["corpus/tokens"], shard):
        return None
    with open_file(versions.workspace, receipt, f"{table}.offsets.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(file.tell() + _OFFSET_BYTES * position)
        low, high = np.frombuffer(file.read(2 * _OFFSET_BYTES), "<i8").tolist()
    return int(high - low)


def _set_aside(versions: Versions, receipt: Receipt, doc_id: str, field_name: str) -> list[SetAside]:
    with open_parquet(versions.workspace, receipt, "quarantine.parquet") as file:
        table = file.read()
    named = pc.and_(pc.starts_with(table["reason"], "repeated_"), pc.equal(table["detail"], f"id {doc_id}"))
    if field_name:
        values = {json.dumps(doc_id), json.dumps(doc_id, ensure_ascii=False)}
        if re.fullmatch(r"-?[0-9]+", doc_id):
            values.add(doc_id)  # an integer, without quotation marks
        either = "|".join(re.escape(value) for value in sorted(values))
        pattern = rf'"{re.escape(field_name)}"\s*:\s*(?:{either})\s*(?:[,}}]|$)'
        named = pc.or_(named, pc.match_substring_regex(table["start"], pattern))
    return [
        SetAside(receipt.partition, meaning=REASONS.get(row["reason"], ""), **row)
        for row in table.filter(named).to_pylist()
    ]


def near_ids(versions: Versions, doc_id: str, count: int = 3) -> list[str]:
    """Return the ids most like one that is not there, most alike first: those with most characters in common at both ends."""
    workspace = versions.workspace

    def nearest(at: tuple[Receipt, str]) -> list[tuple[float, str]]:
        closest: list[tuple[float, str]] = []
        with open_parquet(workspace, at[0], f"{at[1]}.parquet") as file:
            for batch in file.iter_batches(65_536, columns=["doc_id"]):
                like = alike(batch.column("doc_id"), doc_id)
                top = np.argsort(-like, kind="stable")[:count]
                ids = batch.column("doc_id").take(pa.array(top)).to_pylist()
                closest += [
                    (-share, i) for share, i in zip(like[top].tolist(), ids, strict=True) if share >= _ALIKE
                ]
                closest = heapq.nsmallest(count, closest)
        return closest

    def tables() -> Iterator[tuple[Receipt, str]]:
        for receipt in _receipts(versions).values():
            for table in ("documents", "validation"):
                if receipt.metadata.get(table, 1):
                    yield receipt, table

    best: list[tuple[float, str]] = []
    for part in in_threads(nearest, tables()):
        best = heapq.nsmallest(count, {*best, *part})
    return [doc_id for _, doc_id in best]


def alike(ids: pa.Array, wanted: str) -> NDArray[np.float64]:
    """Return how alike each id is to `wanted`, in [0, 1]: bytes in common at the start and the end, of the longer's.

    Case does not count. An id that holds `wanted` as a whole is at least 0.6.
    """
    plain = pc.utf8_lower(ids)
    parts = plain.cast(pa.large_binary())
    _, ends, data = parts.buffers()
    offsets = np.frombuffer(ends, np.int64)[parts.offset : parts.offset + len(parts) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    query = wanted.lower().encode(errors="replace")
    length = np.diff(offsets)
    shared = _shared(text, offsets[:-1], length, query, 1) + _shared(
        text, offsets[1:] - 1, length, query[::-1], -1
    )
    share = np.minimum(shared, np.minimum(length, len(query))) / np.maximum(np.maximum(length, len(query)), 1)
    holds = pc.match_substring(plain, wanted.lower()).to_numpy(zero_copy_only=False)
    return np.asarray(np.where(holds, np.maximum(share, 0.6), share), np.float64)


def _shared(
    text: NDArray[np.uint8], first: NDArray[np.int64], length: NDArray[np.int64], query: bytes, step: int
) -> NDArray[np.int64]:
    """Return how many bytes in a row, from `first` on by `step`, are those of the query."""
    shared = np.zeros(len(first), np.int64)
    left = np.arange(len(first))
    for k, byte in enumerate(query):
        left = left[length[left] > k]
        left = left[text[first[left] + step * k] == byte]
        if not len(left):
            break
        shared[left] = k + 1
    return shared
