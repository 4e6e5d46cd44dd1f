"""The documents that a sampler may choose, some of a shard at a time, and what is written of those that it chose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.files import read_batches
from curation_assets.corpus.reading import NO_ROWS, Repeats
from curation_assets.corpus.tokens import read_tokens
from curation_assets.selection.amount import Amount
from curation_assets.selection.keys import selection_keys
from curation_assets.selection.select import kept_count
from curation_assets.selection.threshold import Threshold, global_threshold, token_threshold

if TYPE_CHECKING:
    from curation_assets.engine.artifacts import Artifacts

SUBSET_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("score", pa.float64()),
        ("key", pa.float64()),
        ("n_tokens", pa.int64()),
        ("doc_hash", pa.uint64()),
        ("source_row", pa.int64()),
    ]
)
"""`row` counts the shard's documents from 0; `source_row` is the row in the corpus file (`formats.RawRow`)."""

BLOCK = 1 << 17
"""Documents read together."""


def _ignored(number: int) -> None:
    """Ignore how far a pass has come."""


@dataclass(frozen=True)
class Candidates:
    """Documents of a shard that may be chosen: all but those that `corpus.reading.left_out` names. Arrays of equal length.

    `rows` are rows of the shard's documents table; `doc_ids` and `source_rows` are None where they were not asked for.
    """

    shard: str
    rows: np.ndarray
    doc_hash: np.ndarray
    scores: np.ndarray
    keys: np.ndarray
    doc_ids: pa.Array | None = None
    source_rows: np.ndarray | None = None


@dataclass(frozen=True)
class Draw:
    """What turns a sampler's scores into selection keys, over which shards, without the rows of `left_out`."""

    workspace: Artifacts
    sampler: str
    technique: str
    seed: int
    shards: Sequence[str]
    left_out: Repeats

    def __iter__(self) -> Iterator[Candidates]:
        """Read the scores, `BLOCK` documents at a time."""
        return itertools.chain.from_iterable(map(self.shard, self.shards))

    def shard(self, shard: str, *, named: bool = False) -> Iterator[Candidates]:
        """Yield the candidates of one shard, of `BLOCK` documents at a time; of none where the shard has none.

        Where `named`, with their ids and rows of the corpus file.

        Raises
        ------
        ValueError
            The technique has no keys for such scores: names the sampler, shard and document.
        """
        path = self.workspace.open(f"{self.sampler}/scores", shard) / "scores.parquet"
        if "doc_hash" not in pq.read_schema(path).names:
            raise ValueError(
                f"{self.sampler}/scores[{shard}] were made by an earlier release, which knew documents by their ids: score it again"
            )
        columns, left_out, start = ["doc_hash", "score"], self.left_out.get(shard, NO_ROWS), 0
        if named:
            columns += ["doc_id", "source_row"]
        for batch in read_batches(path, columns, BLOCK):
            first, last = np.searchsorted(left_out, [start, start + len(batch)])
            yield self._candidates(shard, batch, start, left_out[first:last] - start)
            start += len(batch)

    def _candidates(self, shard: str, batch: pa.RecordBatch, start: int, left_out: np.ndarray) -> Candidates:
        free = np.ones(len(batch), bool)
        free[left_out] = False
        kept = batch.filter(pa.array(free)) if len(left_out) else batch
        doc_hash, scores = kept["doc_hash"].to_numpy(), kept["score"].to_numpy()
        try:
            keys = selection_keys(doc_hash, scores, self.technique, self.seed)
        except ValueError as error:
            counted = f" (counted from row {start:,})" if start else ""
            raise ValueError(f"{self.sampler}/scores[{shard}]: {error}{counted}") from None
        candidates = Candidates(shard, start + np.flatnonzero(free), doc_hash, scores, keys)
        if "doc_id" not in kept.schema.names:
            return candidates
        return replace(candidates, doc_ids=kept["doc_id"], source_rows=kept["source_row"].to_numpy())

    def blocks(self, each: Callable[[int], object] = _ignored) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (keys, hashes) as `global_threshold` takes them; call `each` with the number of shards read."""
        for number, shard in enumerate(self.shards, 1):
            for candidates in self.shard(shard):
                yield candidates.keys, candidates.doc_hash
            each(number)

    def weighted_blocks(
        self, each: Callable[[int], object] = _ignored
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (keys, hashes, tokens) as `token_threshold` takes them."""
        for number, shard in enumerate(self.shards, 1):
            ends = token_ends(self.workspace, shard)
            for candidates in self.shard(shard):
                yield candidates.keys, candidates.doc_hash, tokens_at(ends, candidates.rows)
            each(number)

    def threshold(self, amount: Amount, n: int, each: Callable[[int], object] = _ignored) -> Threshold:
        """Return the threshold that keeps `amount` of the `n` candidates.

        A rate is a share of what the profile's `selection.rate_of` says, documents or tokens. Of a budget of tokens the largest
        keys stay, up to the first document that no longer fits.

        Raises
        ------
        ValueError
            There are fewer documents than the amount, or as `global_threshold`.
        """
        if amount.kind == "tokens":
            return token_threshold(lambda: self.weighted_blocks(each), n, int(amount.value))
        if amount.kind == "rate" and self.workspace.profile.selection.rate_of == "tokens":
            budget = kept_count(amount.value, count_tokens(self))
            return token_threshold(lambda: self.weighted_blocks(each), n, budget)
        count = kept_count(amount.value, n) if amount.kind == "rate" else int(amount.value)
        if count > n:
            raise ValueError(f"cannot keep {amount}: there are {n:,}")
        return global_threshold(lambda: self.blocks(each), n, count)


def count_candidates(draw: Draw) -> int:
    """Return how many documents there are to choose from; reads no column."""
    total = 0
    for shard in draw.shards:
        path = draw.workspace.open(f"{draw.sampler}/scores", shard) / "scores.parquet"
        total += pq.read_metadata(path).num_rows - len(draw.left_out.get(shard, NO_ROWS))
    return total


def count_tokens(draw: Draw) -> int:
    """Return how many tokens the documents have together that there are to choose from."""
    total = 0
    for shard in draw.shards:
        ends = token_ends(draw.workspace, shard)
        total += int(ends[-1]) - int(tokens_at(ends, draw.left_out.get(shard, NO_ROWS)).sum())
    return total


def token_ends(workspace: Artifacts, shard: str) -> NDArray[np.int64]:
    """Return where the tokens of each document of a shard begin, and where the last one's end, int64 [n + 1], a memory map."""
    return read_tokens(workspace.open("corpus/tokens", shard), "documents")[1]


def tokens_at(ends: NDArray[np.int64], rows: np.ndarray) -> NDArray[np.int64]:
    """Return the tokens of some documents of a shard, int64, by their rows in the documents table."""
    counts: NDArray[np.int64] = ends[rows + 1] - ends[rows]
    return counts


def token_counts(workspace: Artifacts, shard: str) -> NDArray[np.int64]:
    """Return the tokens of each document of a shard, int64 [n], by its row in the documents table."""
    return np.diff(token_ends(workspace, shard))
