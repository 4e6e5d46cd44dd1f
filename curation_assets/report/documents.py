"""Documents to read: what each sampler likes most and least, and where samplers disagree most (paper, appendix E).

`Scored` has the documents of one shard with the scores of all samplers. `Best` keeps the few with the largest values of any kind
while shards go by, `Ranks` turns scores into percentiles over a sample, and `Counts` makes those of the documents shown exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.config.registry import SAMPLERS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAIRS: tuple[tuple[str, str], ...] = (
    ("ask_llm_small", "ask_llm_xxl"),
    ("ask_llm_xl", "perplexity_xl"),
    ("ask_llm_xxl", "perplexity_xxl"),
    ("ask_llm_xxl", "density"),
)
"""Samplers set against each other: a small judge and a large one, judge and perplexity of one size, quality and coverage."""

MOST, LEAST = "likes most", "likes least"
LOW_FIRST = ("ips", "bottom_k")
"""Techniques that keep low scores first."""


class Scored(NamedTuple):
    """Documents of one shard: its number, rows of its documents table [n], `doc_hash` [n], and scores [samplers, n]."""

    shard: int
    rows: Ints
    doc_hash: NDArray[np.uint64]
    scores: Floats


@dataclass(frozen=True)
class Picked:
    """Documents picked from all shards, best first: shard numbers, rows, hashes, all [m], and scores [samplers, m]."""

    shard: Ints
    row: Ints
    doc_hash: NDArray[np.uint64]
    scores: Floats


class Best:
    """The k documents with the largest values, of any number of shards; equal values go by the smaller hash.

    Which they are depends on values and hashes alone, not on the order or the sizes of the shards. Memory: k documents and
    what ties with the last of them in one shard.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise ValueError(f"a list needs room for at least one document, not {k}")
        self._k = k
        self._parts: list[tuple[NDArray, ...]] = []
        self._least = -np.inf

    def add(self, values: Floats, documents: Scored) -> None:
        """Take in a shard's documents with their values [n]."""
        near = np.flatnonzero(values >= self._least)
        if len(near) > self._k:
            near = near[values[near] >= np.partition(values[near], -self._k)[-self._k]]
        shard = np.full(len(near), documents.shard)
        held = (
            values[near],
            documents.doc_hash[near],
            shard,
            documents.rows[near],
            documents.scores[:, near],
        )
        self._parts.append(held)
        self._cut()

    def picked(self) -> Picked:
        """Return the documents, best first: k of them, or all where there are fewer."""
        if not self._parts:
            none = np.zeros(0, np.int64)
            return Picked(none, none, none.astype(np.uint64), np.zeros((0, 0)))
        _, doc_hash, shard, row, scores = self._parts[0]
        return Picked(shard, row, doc_hash, scores)

    def _cut(self) -> None:
        whole = [np.concatenate(part, axis=-1) for part in zip(*self._parts, strict=True)]
        order = np.lexsort((whole[1], -whole[0]))[: self._k]
        self._parts = [tuple(part[..., order] for part in whole)]
        if len(order) == self._k:
            self._least = self._parts[0][0][-1]


class Ranks:
    """Percentiles among a sample of documents, scores [samplers, n]: 100 is what a sampler keeps first."""

    def __init__(self, names: Sequence[str], scores: Floats) -> None:
        self._signs = signs(names)
        self._sorted = np.sort(self._signs[:, None] * scores, axis=1)

    def of(self, sampler: int, scores: Floats) -> Floats:
        """Return the percentiles [n] of scores [n] under the sampler of this number; half of what ties counts as below."""
        held, wanted = self._sorted[sampler], self._signs[sampler] * scores
        below, upto = np.searchsorted(held, wanted, side="left"), np.searchsorted(held, wanted, side="right")
        return 50.0 * (below + upto) / held.size


class Counts:
    """Exact percentiles of some documents, scores [samplers, m], among all documents of all shards, which are fed to `add`."""

    def __init__(self, names: Sequence[str], scores: Floats) -> None:
        self._signs = signs(names)
        self._wanted = self._signs[:, None] * scores
        self._order = np.argsort(self._wanted, axis=1, kind="stable")
        self._rising = np.take_along_axis(self._wanted, self._order, axis=1)
        self._below = np.zeros(self._wanted.shape, np.int64)
        self._upto = np.zeros(self._wanted.shape, np.int64)
        self.seen = 0

    def add(self, documents: Scored) -> None:
        """Take in a shard."""
        m = self._wanted.shape[1]
        for i, scores in enumerate(self._signs[:, None] * documents.scores):
            # A score is below every wanted value to the right of its place.
            for places, count in (
                (np.searchsorted(self._rising[i], scores, side="right"), self._below),
                (np.searchsorted(self._rising[i], scores, side="left"), self._upto),
            ):
                count[i] += np.cumsum(np.bincount(places, minlength=m + 1))[:m]
        self.seen += documents.rows.size

    def percentiles(self) -> Floats:
        """Return the percentiles [samplers, m]; half of what ties counts as below."""
        if not self.seen:
            raise ValueError("no documents have been counted")
        picked = np.empty(self._wanted.shape)
        np.put_along_axis(picked, self._order, 50.0 * (self._below + self._upto) / self.seen, axis=1)
        return picked


def signs(names: Sequence[str]) -> Floats:
    """Return for each sampler 1 where it keeps high scores, -1 where low ones (density keeps what is rare)."""
    return np.array([-1.0 if n in SAMPLERS and SAMPLERS[n].technique in LOW_FIRST else 1.0 for n in names])


class Entry(NamedTuple):
    """A line of a list: samplers (of two, first who likes it more), the list's name, rank from 1, number of the document."""

    samplers: tuple[str, ...]
    side: str
    rank: int
    document: int


def lists(names: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """Return the lists that can be made with these samplers: disagreements first, then most and least liked.

    Uniform sampling likes nothing: its score is noise.
    """
    pairs = [pair for pair in PAIRS if set(pair) <= set(names)]
    alone = [n for n in names if n not in SAMPLERS or SAMPLERS[n].technique != "uniform"]
    return [
        *((pair, f"{pair[0]} above {pair[1]}") for a, b in pairs for pair in ((a, b), (b, a))),
        *(((name,), side) for name in alone for side in (MOST, LEAST)),
    ]


def alone(
    names: Sequence[str], shards: Iterator[Scored], k: int
) -> dict[tuple[tuple[str, ...], str], Picked]:
    """Return the k documents that each sampler likes most and least, {((sampler,), side): documents}, of all shards."""
    held = {at: Best(k) for at in lists(names) if len(at[0]) == 1}
    sign = signs(names)
    for documents in shards:
        for ((name,), side), best in held.items():
            i = names.index(name)
            best.add((sign[i] if side == MOST else -sign[i]) * documents.scores[i], documents)
    return {at: best.picked() for at, best in held.items()}


def apart(
    names: Sequence[str], shards: Iterator[Scored], ranks: Ranks, k: int
) -> dict[tuple[tuple[str, ...], str], Picked]:
    """Return the k documents with the largest differences of percentiles, each way, for every pair of `PAIRS` that there is."""
    held = {at: Best(k) for at in lists(names) if len(at[0]) == 2}
    used = {name: names.index(name) for pair, _ in held for name in pair}
    for documents in shards:
        percentile = {name: ranks.of(i, documents.scores[i]) for name, i in used.items()}
        for ((above, below), _), best in held.items():
            best.add(percentile[above] - percentile[below], documents)
    return {at: best.picked() for at, best in held.items()}


def merge(picked: Mapping[tuple[tuple[str, ...], str], Picked]) -> tuple[list[Entry], Picked]:
    """Return the entries of all lists, and the documents that they name, each once."""
    columns = ([f.shard for f in picked.values()], [f.row for f in picked.values()])
    places = np.stack([np.concatenate(column) for column in columns])
    _, first, number = np.unique(places, axis=1, return_index=True, return_inverse=True)
    scores = np.concatenate([f.scores for f in picked.values()], axis=1)
    hashes = np.concatenate([f.doc_hash for f in picked.values()])
    flat = iter(number.ravel().tolist())
    entries = [
        Entry(samplers, side, rank, next(flat))
        for (samplers, side), part in picked.items()
        for rank in range(1, part.row.size + 1)
    ]
    return entries, Picked(places[0][first], places[1][first], hashes[first], scores[:, first])
