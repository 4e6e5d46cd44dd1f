"""Documents that stand in several files, of which the first file's counts, and ids that stand for several texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.hashing import hash_ids
from curation_assets.common.progress import Progress, silent
from curation_assets.corpus.names import decoded

REPEATS_SCHEMA = pa.schema(
    [("shard", pa.string()), ("row", pa.int64()), ("doc_id", pa.string()), ("first_shard", pa.string())]
)
SHARED_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("texts", pa.int64()),
        ("shards", pa.int64()),
        ("first_shards", pa.list_(pa.string())),
    ]
)
DOCUMENTS_IN_MEMORY = 20_000_000
_EXAMPLES = 10  # ids in the table of examples
_SHOWN = 2  # of them in a sentence
_NAMED = 3  # files of each
_ROWS = 65_536
_PAIR = np.dtype([("id", "<u8"), ("document", "<u8")])
_BY_DOCUMENT = ["document", "id"]

Hashes = NDArray[np.uint64]
Tables = Callable[[str, str], AbstractContextManager[pq.ParquetFile]]
"""Opens a table of a shard: (shard, "documents" or "validation") -> the Parquet file."""


@dataclass(frozen=True)
class Repeats:
    """What stands more than once in a corpus.

    Attributes
    ----------
    repeats : (shard, row in its documents table from 0, doc_id, shard that keeps it), by shard and row.
    ids, documents : ids that stand for several texts, and the different documents that have such an id, held-out ones
        included.
    examples : some of these ids: doc_id, how many texts and shards have it, and the first of these shards.
    """

    repeats: pa.Table
    ids: int
    documents: int
    examples: pa.Table

    def about(self) -> dict[str, int | str]:
        """Return the metadata of `corpus/index` that `describe_repeats` reads."""
        return {
            "repeated_in_later_shards": len(self.repeats),
            "ids_with_several_texts": self.ids,
            "documents_of_such_ids": self.documents,
            "such_ids": "; ".join(_named(row) for row in self.examples.slice(0, _SHOWN).to_pylist()),
        }


def _named(row: Mapping[str, Any]) -> str:
    """Name an id and its files; `repr`, because both come from the corpus."""
    files, more = (
        ", ".join(repr(decoded(s)) for s in row["first_shards"]),
        row["shards"] - len(row["first_shards"]),
    )
    return f"{row['doc_id']!r} in {files}" + (f" and {more:,} more" if more else "")


def find_repeats(
    shards: list[str],
    tables: Tables,
    total: int,
    scratch: Path,
    progress: Progress = silent,
    in_memory: int = DOCUMENTS_IN_MEMORY,
) -> Repeats:
    """Find what stands more than once: the same id with the same text, and one id with several texts.

    `tables` opens a shard's "documents" or "validation" table, and `total` is how many documents they have together. Documents
    meet by their 64-bit `doc_hash`, a hash of id and text, and by `hash_ids` of their ids, so that two ids of equal hash are no
    repeat; ids meet by the latter. Every id is read once, and once more where something was found; of the texts nothing is.
    Memory: about 50 bytes for each of at most `in_memory` documents, and 20 bytes and its row of the result for each that stands
    several times; disk in `scratch`, which is this call's alone: 16 bytes a document.
    """
    shards = sorted(shards)
    repeated, named, ids, documents = [np.zeros(0, _PAIR)], np.zeros(0, np.uint64), 0, 0
    for bucket in _spread(shards, tables, scratch, max(1, -(-total // in_memory)), progress):
        again, shared, counts = _compare(np.fromfile(bucket, _PAIR))
        repeated.append(again)
        named = np.concatenate([named, shared[: _EXAMPLES - len(named)]])
        ids, documents = ids + len(shared), documents + int(counts.sum())
    repeats = _repeats(shards, tables, np.sort(np.concatenate(repeated), order=_BY_DOCUMENT))
    return Repeats(repeats, ids, documents, _examples(shards, tables, named))


def describe_repeats(about: Mapping[str, Any]) -> list[str]:
    """Return what people should know of ids and repeats, a sentence each, from the metadata of `corpus/index`."""
    sentences = []
    if n := about.get("repeated_in_later_shards"):
        who = f"{n:,} documents stand" if n > 1 else "1 document stands"
        sentences.append(
            f"{who} in an earlier file as well, with the same id and the same text: counted once"
        )
    if n := about.get("ids_with_several_texts"):
        who = f"{n:,} ids stand" if n > 1 else "1 id stands"
        sentences.append(
            f"{who} for several texts: {about['such_ids']}. All {about['documents_of_such_ids']:,} documents stay; "
            "join by shard and source_row, not by doc_id alone"
        )
    return sentences


def _spread(shards: list[str], tables: Tables, folder: Path, count: int, progress: Progress) -> list[Path]:
    """Write (hash of the id, hash of the document) of every document to one of `count` files, by ranges of the former."""
    buckets = [folder / str(number) for number in range(count)]
    bounds = np.array([(1 << 64) * number // count for number in range(1, count)], np.uint64)
    with ExitStack() as stack:
        files = [stack.enter_context(bucket.open("wb")) for bucket in buckets]
        for number, shard in enumerate(shards, 1):
            for _, _, pairs in _read(tables, shard, ("documents", "validation")):
                place = np.searchsorted(bounds, pairs["id"], side="right")
                order = np.argsort(place, kind="stable")
                ends = np.searchsorted(place[order], np.arange(1, count))
                for part, out in zip(np.split(pairs[order], ends), files, strict=True):
                    part.tofile(out)
            progress(number, len(shards), "shards")
    return buckets


def _compare(pairs: np.ndarray) -> tuple[np.ndarray, Hashes, NDArray[np.int64]]:
    """Return the pairs of documents that stand several times, and hashes of ids with several texts, with how many each has."""
    pairs = pairs[np.lexsort((pairs["document"], pairs["id"]))]
    same = np.zeros(len(pairs), bool)
    same[1:] = pairs[1:] == pairs[:-1]
    again = pairs[same & ~np.append(same[1:], False)]  # the last of each
    ids = pairs["id"][~same]
    firsts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else ids.astype(int)
    counts = np.diff(firsts, append=len(ids))
    return again, ids[firsts[counts > 1]], counts[counts > 1]


def _repeats(shards: list[str], tables: Tables, wanted: np.ndarray) -> pa.Table:
    """Return which rows have a document of an earlier shard; `wanted` are the pairs that stand several times."""
    keeper = np.full(len(wanted), -1, np.int32)  # the first shard that has it
    columns: list[list[Any]] = [[], [], [], []]
    for number, shard in enumerate(shards if len(wanted) else ()):
        for start, ids, pairs in _read(tables, shard, ("documents",)):
            place = _find(wanted, pairs)
            rows = np.flatnonzero(place >= 0)
            place = place[rows]
            new = keeper[place] < 0
            keeper[place[new]] = number
            again = keeper[place] != number
            rows, place = rows[again], place[again]
            one = (
                np.full(len(rows), number, np.int32),
                start + rows,
                ids.take(pa.array(rows)),
                keeper[place],
            )
            for column, values in zip(columns, one, strict=True):
                column.append(values)
    names = pa.array(shards, pa.string())
    shard_, row, doc_id, first = columns
    return pa.table(
        [
            names.take(pa.array(np.concatenate([np.zeros(0, np.int32), *shard_]))),
            pa.array(np.concatenate([np.zeros(0, np.int64), *row])),
            pa.chunked_array(doc_id, pa.string()).combine_chunks(),
            names.take(pa.array(np.concatenate([np.zeros(0, np.int32), *first]))),
        ],
        schema=REPEATS_SCHEMA,
    )


def _find(wanted: np.ndarray, pairs: np.ndarray) -> NDArray[np.int64]:
    """Return the place of each pair among those that are wanted, -1 where it is none of them; these rise by `_BY_DOCUMENT`."""
    at = np.searchsorted(wanted["document"], pairs["document"])
    place, left = np.full(len(pairs), -1), np.flatnonzero(at < len(wanted))
    while len(left):  # twice only where documents of several ids have one hash
        there, own = wanted[at[left]], pairs[left]
        same = there["id"] == own["id"]
        hit = same & (there["document"] == own["document"])
        place[left[hit]] = at[left[hit]]
        left = left[~same & (there["document"] == own["document"])]
        at[left] += 1
        left = left[at[left] < len(wanted)]
    return place


def _examples(shards: list[str], tables: Tables, hashes: Hashes) -> pa.Table:
    """Return of ids of several texts, by their hashes, how many texts and shards each has."""
    texts: dict[str, set[int]] = {}
    places: dict[str, dict[str, None]] = {}
    for shard in shards if len(hashes) else ():
        for _, ids, pairs in _read(tables, shard, ("documents", "validation")):
            at = np.flatnonzero(np.isin(pairs["id"], hashes))
            documents = pairs["document"][at].tolist()
            for doc_id, document in zip(ids.take(pa.array(at)).to_pylist(), documents, strict=True):
                texts.setdefault(doc_id, set()).add(document)
                places.setdefault(doc_id, {})[shard] = None
    rows = [
        {
            "doc_id": doc_id,
            "texts": len(texts[doc_id]),
            "shards": len(places[doc_id]),
            "first_shards": list(places[doc_id])[:_NAMED],
        }
        for doc_id in sorted(texts, key=lambda i: (len(i), i))
        if len(texts[doc_id]) > 1
    ]
    return pa.Table.from_pylist(rows, SHARED_SCHEMA)


def _read(tables: Tables, shard: str, names: tuple[str, ...]) -> Iterator[tuple[int, pa.Array, np.ndarray]]:
    """Yield (first row, ids, pairs) of a shard's documents, some at a time; rows of each table are counted from 0."""
    for name in names:
        start = 0
        with tables(shard, name) as table:
            for batch in table.iter_batches(_ROWS, columns=["doc_id", "doc_hash"]):
                pairs = np.empty(batch.num_rows, _PAIR)
                pairs["id"], pairs["document"] = hash_ids(batch["doc_id"]), batch["doc_hash"].to_numpy()
                yield start, batch["doc_id"], pairs
                start += batch.num_rows
