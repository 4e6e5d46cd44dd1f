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
from curation_assets.config.amount import Amount
from curation_assets.config.first_stage import FirstStage
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import NO_ROWS, Repeats
from curation_assets.corpus.tokens import read_tokens
from curation_assets.selection.keys import selection_keys
from curation_assets.selection.select import apportion, kept_count, quota
from curation_assets.selection.strata import Strata, strata_of
from curation_assets.selection.threshold import Block, Threshold, count_thresholds, token_thresholds

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

    `rows` are rows of the shard's documents table; `doc_ids` and `source_rows` are None where they were not asked for, `stratum` where
    the selection has none, `admitted` (which documents a hybrid's first stage leaves) where that leaves all.
    """

    shard: str
    rows: np.ndarray
    doc_hash: np.ndarray
    scores: np.ndarray
    keys: np.ndarray
    doc_ids: pa.Array | None = None
    source_rows: np.ndarray | None = None
    stratum: np.ndarray | None = None
    admitted: np.ndarray | None = None

    def keep(self, cut: Threshold) -> np.ndarray:
        """Return which of the documents stay, bool [n]."""
        kept = cut.keep(self.keys, self.doc_hash, self.stratum)
        return kept if self.admitted is None else kept & self.admitted

    def admissible(self) -> Candidates:
        """Return those that the first stage leaves."""
        if self.admitted is None:
            return self
        some = {
            n: x[self.admitted]
            for n, x in vars(self).items()
            if isinstance(x, np.ndarray) and n != "admitted"
        }
        ids = None if self.doc_ids is None else self.doc_ids.filter(pa.array(self.admitted))
        return replace(self, **some, doc_ids=ids, admitted=None)


@dataclass(frozen=True)
class Counts:
    """How many documents there are to choose from, of each stratum (of all, where there are none).

    Attributes
    ----------
    documents, tokens : of the corpus without what is left out: what a rate is a share of.
    admitted : documents of these that a hybrid's first stage leaves; all, where there is none.
    """

    documents: NDArray[np.int64]
    tokens: NDArray[np.int64]
    admitted: NDArray[np.int64]


@dataclass(frozen=True)
class First:
    """What a hybrid's first stage leaves: what `side` of `value` lies, or what the cut of a share keeps."""

    draw: Draw
    stage: FirstStage
    cut: Threshold | None

    def admits(self, candidates: Candidates) -> np.ndarray:
        """Return which documents it leaves, bool [n]."""
        if self.cut is not None:
            return self.cut.keep(candidates.keys, candidates.doc_hash)
        value = -candidates.scores if SAMPLERS[self.stage.sampler].minus else candidates.scores
        return value < self.stage.value if self.stage.side == "<" else value >= self.stage.value


@dataclass(frozen=True)
class Draw:
    """What turns scores into a sampler's selection keys, over which shards, without the rows of `left_out`.

    Attributes
    ----------
    scored_by : the sampler whose scores these are: `sampler` itself, but for a hybrid.
    first : what a hybrid chooses from.
    strata : the parts of the corpus within which a rate is kept.
    """

    workspace: Artifacts
    sampler: str
    technique: str
    seed: int
    shards: Sequence[str]
    left_out: Repeats
    scored_by: str
    first: First | None = None
    strata: Strata | None = None

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
        if self.first is None:
            yield from self._all(shard, named)
            return
        for candidates, judged in zip(self._all(shard, named), self.first.draw.shard(shard), strict=True):
            if not np.array_equal(candidates.doc_hash, judged.doc_hash):
                raise ValueError(
                    f"{self.first.draw.sampler}/scores[{shard}] and {self.scored_by}/scores[{shard}] are of different documents: "
                    "score them again"
                )
            yield replace(candidates, admitted=self.first.admits(judged))

    def _all(self, shard: str, named: bool) -> Iterator[Candidates]:
        path = self.workspace.open(f"{self.scored_by}/scores", shard) / "scores.parquet"
        if "doc_hash" not in pq.read_schema(path).names:
            raise ValueError(
                f"{self.scored_by}/scores[{shard}] were made by an earlier release, which knew documents by their ids: score it again"
            )
        columns, left_out, start = ["doc_hash", "score"], self.left_out.get(shard, NO_ROWS), 0
        strata = self.strata.of(shard) if self.strata else None
        if named:
            columns += ["doc_id", "source_row"]
        for batch in read_batches(path, columns, BLOCK):
            first, last = np.searchsorted(left_out, [start, start + len(batch)])
            candidates = self._candidates(shard, batch, start, left_out[first:last] - start)
            yield candidates if strata is None else replace(candidates, stratum=strata[candidates.rows])
            start += len(batch)
        if strata is not None and len(strata) != start:
            raise ValueError(f"{shard} has {len(strata):,} documents, but {start:,} scores: score it again")

    def _candidates(self, shard: str, batch: pa.RecordBatch, start: int, left_out: np.ndarray) -> Candidates:
        free = np.ones(len(batch), bool)
        free[left_out] = False
        kept = batch.filter(pa.array(free)) if len(left_out) else batch
        doc_hash, scores = kept["doc_hash"].to_numpy(), kept["score"].to_numpy()
        try:
            keys = selection_keys(doc_hash, scores, self.technique, self.seed)
        except ValueError as error:
            counted = f" (counted from row {start:,})" if start else ""
            raise ValueError(f"{self.scored_by}/scores[{shard}]: {error}{counted}") from None
        candidates = Candidates(shard, start + np.flatnonzero(free), doc_hash, scores, keys)
        if "doc_id" not in kept.schema.names:
            return candidates
        return replace(candidates, doc_ids=kept["doc_id"], source_rows=kept["source_row"].to_numpy())

    def blocks(self, each: Callable[[int], object] = _ignored, *, tokens: bool = False) -> Iterator[Block]:
        """Yield blocks as thresholds are found of, with `tokens` where asked; call `each` with the number of shards read."""
        for number, shard in enumerate(self.shards, 1):
            ends = token_ends(self.workspace, shard) if tokens else None
            for one in map(Candidates.admissible, self.shard(shard)):
                weights = None if ends is None else tokens_at(ends, one.rows)
                yield Block(one.keys, one.doc_hash, weights, one.stratum)
            each(number)

    def counts(self) -> Counts:
        """Count what there is to choose from; without strata and a first stage that reads no column of scores."""
        if self.first is None and self.strata is None:
            documents, tokens = np.array([_count_documents(self)]), np.array([_count_tokens(self)])
            return Counts(documents, tokens, documents)
        size = len(self.strata.names) if self.strata else 1
        documents, tokens, admitted = np.zeros((3, size), np.int64)
        for shard in self.shards:
            ends = token_ends(self.workspace, shard)
            for candidates in self.shard(shard):
                left, stratum = candidates.admitted, candidates.stratum
                stratum = np.zeros(len(candidates.rows), np.int64) if stratum is None else stratum
                documents += np.bincount(stratum, minlength=size)
                tokens += np.bincount(stratum, tokens_at(ends, candidates.rows), size).astype(np.int64)
                admitted += np.bincount(stratum if left is None else stratum[left], minlength=size)
        return Counts(documents, tokens, admitted)

    def threshold(
        self, amount: Amount, counts: Counts, each: Callable[[int], object] = _ignored
    ) -> Threshold:
        """Return the threshold that keeps `amount` of what `counts` says there is, or all that the first stage leaves of it.

        A rate is a share of what the profile's `selection.rate_of` says, documents or tokens; with strata, of each stratum's
        (`select.quota`), or as their weights share out the whole of it (`select.apportion`). Of a budget of tokens the largest keys stay, up
        to the first document that no longer fits.

        Raises
        ------
        ValueError
            There are fewer documents or tokens than the amount, it is no rate though there are strata, or as `count_thresholds`.
        """
        wanted = self.wanted(amount, counts)
        if self.unit(amount) == "tokens":
            return token_thresholds(lambda: self.blocks(each, tokens=True), counts.admitted, wanted)
        return count_thresholds(
            lambda: self.blocks(each), counts.admitted, np.minimum(wanted, counts.admitted)
        )

    def unit(self, amount: Amount) -> str:
        """Return what an amount is of: "documents" or "tokens"."""
        return self.workspace.profile.selection.rate_of if amount.kind == "rate" else amount.kind

    def wanted(self, amount: Amount, counts: Counts) -> NDArray[np.int64]:
        """Return how many documents or tokens an amount is of each stratum (of all, where there are none), int64."""
        by_tokens = self.unit(amount) == "tokens"
        sizes = counts.tokens if by_tokens else counts.documents
        strata, n = self.strata, int(sizes.sum())
        if strata is not None and not strata.weights:
            if amount.kind != "rate":
                raise ValueError(f"within {strata.within} a selection keeps a rate, not {amount}")
            if by_tokens:
                return np.array([kept_count(amount.value, int(size)) for size in sizes])
            return quota(amount.value, sizes, strata.names, self.seed)
        total = kept_count(amount.value, n) if amount.kind == "rate" else int(amount.value)
        usable = n if strata is None else int(sizes[np.array(strata.weights) > 0].sum())
        if amount.kind != "rate" and total > usable:
            raise ValueError(f"cannot keep {amount}: there are {usable:,} to choose from")
        return np.array([total]) if strata is None else apportion(total, strata.weights, sizes.tolist())


def draw_of(
    workspace: Artifacts,
    sampler: str,
    shards: Sequence[str],
    left_out: Repeats,
    *,
    technique: str | None = None,
    seed: int | None = None,
    first: FirstStage | None = None,
    within: str | None = None,
    each: Callable[[int], object] = _ignored,
) -> Draw:
    """Return how a sampler draws; the technique, seed, first stage and strata are its own and the profile's unless given.

    The first stage of a share is the choice of that sampler at that rate, of the whole corpus.
    """
    spec, selection = SAMPLERS[sampler], workspace.profile.selection
    plain = Draw(
        workspace,
        sampler,
        technique or spec.technique,
        selection.seed if seed is None else seed,
        shards,
        left_out,
        spec.then,
    )
    stage = first or workspace.profile.first_stage(sampler)
    within = workspace.profile.within if within is None else within
    before = None
    if stage is not None:
        other = replace(
            plain, sampler=stage.sampler, scored_by=stage.sampler, technique=SAMPLERS[stage.sampler].technique
        )
        share = None if stage.side else other.threshold(Amount("rate", stage.value), other.counts(), each)
        before = First(other, stage, share)
    return replace(plain, first=before, strata=strata_of(workspace, within, shards) if within else None)


def _count_documents(draw: Draw) -> int:
    """Return how many documents there are to choose from; reads no column."""
    total = 0
    for shard in draw.shards:
        path = draw.workspace.open(f"{draw.scored_by}/scores", shard) / "scores.parquet"
        total += pq.read_metadata(path).num_rows - len(draw.left_out.get(shard, NO_ROWS))
    return total


def _count_tokens(draw: Draw) -> int:
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
