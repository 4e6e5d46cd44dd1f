"""The documents that a sampler may choose, shard by shard, and what is written of those that it chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

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


def _ignored(number: int) -> None:
    """Ignore how far a pass has come."""


@dataclass(frozen=True)
class Candidates:
    """A shard's documents that may be chosen: all but those that `corpus.reading.left_out` names. Arrays of equal length."""

    shard: str
    rows: np.ndarray
    doc_ids: pa.Array
    doc_hash: np.ndarray
    source_rows: np.ndarray
    scores: np.ndarray
    keys: np.ndarray


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
        """Read the scores, a shard at a time."""
        return map(self.shard, self.shards)

    def shard(self, shard: str) -> Candidates:
        """Return the candidates of one shard.

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
        table = pq.read_table(path, columns=["doc_id", "doc_hash", "source_row", "score"])
        free = np.ones(table.num_rows, bool)
        free[self.left_out.get(shard, NO_ROWS)] = False
        rows = np.flatnonzero(free)
        doc_ids = table["doc_id"].combine_chunks().filter(pa.array(free))
        doc_hash, source_rows, scores = (
            table[name].to_numpy()[rows] for name in ("doc_hash", "source_row", "score")
        )
        try:
            keys = selection_keys(doc_hash, scores, self.technique, self.seed)
        except ValueError as error:
            raise ValueError(f"{self.sampler}/scores[{shard}]: {error}") from None
        return Candidates(shard, rows, doc_ids, doc_hash, source_rows, scores, keys)

    def blocks(self, each: Callable[[int], object] = _ignored) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (keys, hashes) as `global_threshold` takes them; call `each` with the number of shards read."""
        for number, candidates in enumerate(self, 1):
            each(number)
            yield candidates.keys, candidates.doc_hash

    def weighted_blocks(
        self, each: Callable[[int], object] = _ignored
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (keys, hashes, tokens) as `token_threshold` takes them."""
        for number, candidates in enumerate(self, 1):
            each(number)
            yield (
                candidates.keys,
                candidates.doc_hash,
                token_counts(self.workspace, candidates.shard)[candidates.rows],
            )

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
        total += int(np.delete(token_counts(draw.workspace, shard), draw.left_out.get(shard, NO_ROWS)).sum())
    return total


def token_counts(workspace: Artifacts, shard: str) -> NDArray[np.int64]:
    """Return the tokens of each document of a shard, int64 [n], by its row in the documents table."""
    _, offsets = read_tokens(workspace.open("corpus/tokens", shard), "documents")
    return np.diff(offsets)
