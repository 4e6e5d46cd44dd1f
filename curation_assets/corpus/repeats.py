"""Documents that stand in several files, of which the first file's counts, and ids that stand for several texts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.files import read_batches
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

Hashes = NDArray[np.uint64]


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
    path: Callable[[str], Path],
    scratch: Path,
    progress: Progress = silent,
    in_memory: int = DOCUMENTS_IN_MEMORY,
) -> Repeats:
    """Find what stands more than once: the same id with the same text, and one id with several texts.

    `path` gives a shard's `documents.parquet`, which has its `validation.parquet` beside it. Documents meet by their 64-bit
    `doc_hash`, a hash of id and text; what meets is compared by its id, so that two ids of equal hash are no repeat. Ids meet by
    `hash_ids`. Every id is read once, and once more where something was found. Memory: about 50 bytes for each of at most
    `in_memory` documents; disk below `scratch`: 16 bytes a document.
    """
    shards = sorted(shards)
    total = sum(pq.read_metadata(file).num_rows for shard in shards for file in _files(path(shard)))
    repeated, named, ids, documents = [np.zeros(0, np.uint64)], np.zeros(0, np.uint64), 0, 0
    with tempfile.TemporaryDirectory(dir=scratch, prefix="repeats-") as folder:
        buckets = _spread(shards, path, Path(folder), max(1, -(-total // in_memory)), progress)
        for bucket in buckets:
            again, shared, counts = _compare(np.fromfile(bucket, _PAIR))
            repeated.append(again)
            named = np.concatenate([named, shared[: _EXAMPLES - len(named)]])
            ids, documents = ids + len(shared), documents + int(counts.sum())
    repeats = _repeats(shards, path, np.sort(np.concatenate(repeated)))
    return Repeats(repeats, ids, documents, _examples(shards, path, named))


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


def _files(documents: Path) -> list[Path]:
    return [documents, documents.with_name("validation.parquet")]


def _spread(
    shards: list[str], path: Callable[[str], Path], folder: Path, count: int, progress: Progress
) -> list[Path]:
    """Write (hash of the id, hash of the document) of every document to one of `count` files, by ranges of the former."""
    buckets = [folder / str(number) for number in range(count)]
    bounds = np.array([(1 << 64) * number // count for number in range(1, count)], np.uint64)
    with ExitStack() as stack:
        files = [stack.enter_context(bucket.open("wb")) for bucket in buckets]
        for number, shard in enumerate(shards, 1):
            for file in _files(path(shard)):
                for batch in read_batches(file, ["doc_id", "doc_hash"], _ROWS):
                    pairs = np.empty(batch.num_rows, _PAIR)
                    pairs["id"], pairs["document"] = hash_ids(batch["doc_id"]), batch["doc_hash"].to_numpy()
                    place = np.searchsorted(bounds, pairs["id"], side="right")
                    order = np.argsort(place, kind="stable")
                    ends = np.searchsorted(place[order], np.arange(1, count))
                    for part, out in zip(np.split(pairs[order], ends), files, strict=True):
                        part.tofile(out)
            progress(number, len(shards), "shards")
    return buckets


def _compare(pairs: np.ndarray) -> tuple[Hashes, Hashes, NDArray[np.int64]]:
    """Return the hashes of documents that stand several times, and of ids with several texts, with how many each has."""
    pairs = pairs[np.lexsort((pairs["document"], pairs["id"]))]
    same = np.zeros(len(pairs), bool)
    same[1:] = pairs[1:] == pairs[:-1]
    again = np.unique(pairs["document"][same])
    ids = pairs["id"][~same]
    firsts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else ids.astype(int)
    counts = np.diff(firsts, append=len(ids))
    return again, ids[firsts[counts > 1]], counts[counts > 1]


def _repeats(shards: list[str], path: Callable[[str], Path], hashes: Hashes) -> pa.Table:
    first: dict[int, dict[str, str]] = {}
    rows = []
    if len(hashes):
        for shard, row, doc_id, doc_hash in _those(shards, path, hashes, by_id=False):
            keeper = first.setdefault(doc_hash, {}).setdefault(doc_id, shard)
            if keeper != shard:
                rows.append((shard, row, doc_id, keeper))
    columns = zip(*rows, strict=True) if rows else [()] * len(REPEATS_SCHEMA)
    return pa.table(
        [pa.array(c, t) for c, t in zip(columns, REPEATS_SCHEMA.types, strict=True)], schema=REPEATS_SCHEMA
    )


def _examples(shards: list[str], path: Callable[[str], Path], hashes: Hashes) -> pa.Table:
    texts: dict[str, set[int]] = {}
    places: dict[str, dict[str, None]] = {}
    if len(hashes):
        for shard, _, doc_id, doc_hash in _those(shards, path, hashes, by_id=True):
            texts.setdefault(doc_id, set()).add(doc_hash)
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


def _those(
    shards: list[str], path: Callable[[str], Path], wanted: Hashes, by_id: bool
) -> Iterator[tuple[str, int, str, int]]:
    """Yield (shard, row of its table, doc_id, doc_hash) of the documents whose hash is one of `wanted`, which rise.

    By ids, held-out documents are among them.
    """
    for shard in shards:
        for file in _files(path(shard)) if by_id else [path(shard)]:
            start = 0
            for batch in read_batches(file, ["doc_id", "doc_hash"], _ROWS):
                hashes = hash_ids(batch["doc_id"]) if by_id else batch["doc_hash"].to_numpy()
                at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
                rows = np.flatnonzero(wanted[at] == hashes)
                hits = batch.take(pa.array(rows))
                for row, doc_id, doc_hash in zip(
                    rows.tolist(), hits["doc_id"].to_pylist(), hits["doc_hash"].to_pylist(), strict=True
                ):
                    yield shard, start + row, doc_id, doc_hash
                start += batch.num_rows
