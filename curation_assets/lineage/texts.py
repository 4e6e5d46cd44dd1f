"""Documents with their texts, of rows that name them by shard and hash: what was scored, chosen or trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.hashing import noise
from curation_assets.common.terminal import plain, wrapped
from curation_assets.config.settings import DOCUMENT_COLUMNS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.stored import open_parquet
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.explain import where_in_file
from curation_assets.lineage.subset_behind import kept_versions

Order = Literal["first", "random", "highest", "lowest"]
ORDERS: tuple[Order, ...] = get_args(Order)
COLUMNS = ["doc_id", "shard", "row", "score", "doc_hash", "source_row"]
"""Columns of a subset, or of scores with their shard, by which documents are named."""
_BATCH = 1 << 16
_CUT = 600  # characters of a text that a terminal is shown
_SALT = 0x510E527FADE682D1  # no sampler's noise: by that, those of a subset that only just stayed would come first


@dataclass(frozen=True)
class Document:
    """A document to read.

    Attributes
    ----------
    shard, row : where it is in `corpus/documents`; `file` and `source_row` say where in the corpus.
    percentile : share of candidates with a lower score, in [0, 1); None where that is not known.
    text : None where the documents have been read anew since, and do not have it any more; then there are no `fields` either.
    """

    doc_id: str
    shard: str
    row: int
    file: str
    source_row: int
    doc_hash: int
    score: float
    percentile: float | None = None
    text: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def pick(batches: Iterable[pa.RecordBatch], order: Order, count: int, seed: int = 0) -> pa.Table:
    """Return the `count` rows that come first in an order; held are these and a batch.

    Of random ones those with the smallest `shuffle_keys`, and of equal scores those with the smaller hashes: the choice
    depends on the documents alone.
    """
    held: pa.Table | None = None
    for batch in batches:
        both = pa.Table.from_batches([batch])
        both = both if held is None else pa.concat_tables([held, both])
        held = both if order == "first" else both.take(pa.array(_in_order(both, order, seed)[:count]))
        held = held.slice(0, count).combine_chunks()
        if order == "first" and len(held) == count:
            break
    return pa.schema([]).empty_table() if held is None else held


def shuffle_keys(hashes: NDArray[np.uint64], seed: int = 0) -> NDArray[np.float64]:
    """Return the keys whose rising order is a random one of documents, [n]; it has nothing to do with how subsets are drawn."""
    noise(hashes[:0], seed)  # raises where it is no seed
    return noise(hashes, seed ^ _SALT)


def _in_order(rows: pa.Table, order: Order, seed: int) -> NDArray[np.intp]:
    hashes, scores = rows["doc_hash"].to_numpy(), rows["score"].to_numpy()
    values = shuffle_keys(hashes, seed) if order == "random" else scores if order == "lowest" else -scores
    return np.lexsort((hashes, values))


def rows_of_subset(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an open `subset.parquet`."""
    yield from file.iter_batches(_BATCH, columns=COLUMNS)


def rows_of_scores(file: pq.ParquetFile, shard: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard's open `scores.parquet`."""
    start = 0
    for batch in file.iter_batches(_BATCH, columns=["doc_id", "score", "doc_hash", "source_row"]):
        count = len(batch)
        added = {"shard": pa.repeat(shard, count), "row": pa.array(np.arange(start, start + count))}
        yield pa.RecordBatch.from_pydict({**added, **{n: batch[n] for n in batch.schema.names}}).select(
            COLUMNS
        )
        start += count


def documents_of(workspace: Workspace, rows: pa.Table) -> list[Document]:
    """Return the documents of some rows (COLUMNS), in their order, with their texts.

    A text is found by its document's hash, in the shard's documents as they are now or as they were before: it is the text
    that was scored, or it is missing.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    files: dict[str, str] = {}
    for shard in dict.fromkeys(rows["shard"].to_pylist() if len(rows) else []):
        own = rows.filter(pc.equal(rows["shard"], shard))["doc_hash"].to_numpy()
        source = workspace.receipt("corpus/shards", shard)
        files[shard] = source.metadata["url"] if source is not None else shard
        for receipt in kept_versions(workspace, "corpus/documents", shard):
            left = np.array([h for h in own.tolist() if (shard, h) not in found], np.uint64)
            if not len(left):
                break
            found |= {(shard, row["doc_hash"]): row for row in _with_hashes(workspace, receipt, left)}
    documents = []
    for row in rows.select(COLUMNS).to_pylist() if len(rows) else []:
        document = Document(file=files[row["shard"]], **row)
        if (one := found.get((row["shard"], row["doc_hash"]))) is not None:
            fields = {name: value for name, value in one.items() if name not in DOCUMENT_COLUMNS}
            document = replace(document, text=one["text"], fields=fields)
        documents.append(document)
    return documents


def _with_hashes(
    workspace: Workspace, receipt: Receipt, hashes: NDArray[np.uint64]
) -> Iterator[dict[str, Any]]:
    """Yield the documents with some hashes; of texts, the row groups that have one are read, one at a time, up to the last."""
    left = hashes
    with open_parquet(workspace, receipt, "documents.parquet") as file:
        for group in range(file.metadata.num_row_groups if len(left) else 0):
            held = file.read_row_group(group, columns=["doc_hash"])["doc_hash"].to_numpy()
            rows = np.flatnonzero(np.isin(held, left))
            if len(rows):
                yield from file.read_row_group(group).take(pa.array(rows)).to_pylist()
                left = left[~np.isin(left, held)]
            if not len(left):
                break


def to_lines(documents: Iterable[Document]) -> Iterator[str]:
    """Yield the documents for a terminal, texts cut."""
    for number, one in enumerate(documents, 1):
        yield ""
        yield from wrapped(f"{number}. {plain(one.doc_id)}")
        percentile = "" if one.percentile is None else f", percentile {100 * one.percentile:.1f}"
        fields = "".join(f"; {name}: {value}" for name, value in one.fields.items() if value is not None)
        yield from wrapped(
            f"score {one.score:.6g}{percentile}; {where_in_file(one.file, one.source_row)}{fields}",
            "   ",
            "   ",
        )
        yield from _text(one.text)


def _text(text: str | None) -> Iterator[str]:
    if text is None:
        yield "   | (its text is gone: the documents of this file have been read anew since)"
        return
    for line in text[:_CUT].splitlines():
        yield from wrapped(line, "   | ", "   | ") or ["   |"]
    if len(text) > _CUT:
        yield f"   | … the first {_CUT:,} of {len(text):,} characters (--json has all)"
