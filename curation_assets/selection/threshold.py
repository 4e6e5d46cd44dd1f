"""The selection rule on a corpus in shards: the cut of each stratum (or one of the whole), found in a few passes with constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WORD = 64  # bits of a sortable key, and of a hash
_LAST = 2**64 - 1
_CELLS = 1 << 20  # of a histogram of all strata, at most; one stratum has 65,536

Ints = NDArray[np.int64]
KeyBlocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]


class Block(NamedTuple):
    """Some documents: keys float64, `doc_hash` uint64, tokens int64 where a budget counts them, stratum where there are several."""

    keys: np.ndarray
    doc_hash: np.ndarray
    tokens: np.ndarray | None = None
    stratum: np.ndarray | None = None


Blocks = Callable[[], Iterable[Block]]


@dataclass(frozen=True)
class Threshold:
    """The cuts: of a stratum s, what ranks at or before (`image[s]`, `doc_hash[s]`) stays. Arrays [strata], one without strata.

    Attributes
    ----------
    image : uint64
        `sortable` image of the key at the cut.
    doc_hash : uint64
        Of the documents whose key equals the cut's, those with a hash up to this one stay.
    count : int64
        Documents that stay; where it is 0, none does.
    """

    image: NDArray[np.uint64]
    doc_hash: NDArray[np.uint64]
    count: Ints

    def keep(self, keys: np.ndarray, doc_hash: np.ndarray, stratum: np.ndarray | None = None) -> np.ndarray:
        """Return which of a block's documents stay: bool [n]."""
        image, doc_hash = _checked(keys, doc_hash)
        at = _strata(stratum, len(image), len(self.count))
        cut = self.image[at]
        return (self.count[at] > 0) & ((image > cut) | ((image == cut) & (doc_hash <= self.doc_hash[at])))


def sortable(keys: np.ndarray) -> np.ndarray:
    """Map float64 keys to uint64 of the same order; -0.0 and 0.0 map to one value."""
    bits = (np.asarray(keys, dtype=np.float64) + 0.0).view(np.uint64)
    negative = (bits >> np.uint64(63)).astype(bool)
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def global_threshold(key_blocks: KeyBlocks, n: int, count: int) -> Threshold:
    """Find the cut above which exactly `count` of `n` documents lie, as `count_thresholds` does of strata.

    Parameters
    ----------
    key_blocks
        Called once per pass; gives the blocks of (finite keys float64, `doc_hash` uint64), in any order.
    n
        Documents in all blocks together.
    count
        Documents to keep, 0 to n: `kept_count(rate, n)`.
    """
    return count_thresholds(
        lambda: (Block(*block) for block in key_blocks()), np.array([n]), np.array([count])
    )


def count_thresholds(blocks: Blocks, sizes: Ints, counts: Ints) -> Threshold:
    """Find the cut of each stratum above which exactly so many of its documents lie.

    A radix selection: each pass over the blocks decides more bits of the cuts (16 of one cut, fewer of thousands), first of the
    keys, then, where equal keys straddle a cut, of the hashes. A stratum is done as soon as the bits so far separate its documents:
    mostly after three passes of 16 bits.

    Parameters
    ----------
    blocks
        Called once per pass.
    sizes, counts
        Documents of each stratum in all blocks together, and how many of them to keep.

    Raises
    ------
    ValueError
        The blocks do not hold so many documents, a key is not finite, or documents with equal key and equal hash lie
        on both sides of a cut. The last means that an id occurs twice: of different ids, the hash would have
        to collide at the very cut.

    Notes
    -----
    The choice is that of `select`: largest keys, ties by smaller hash.
    """
    if bad := np.flatnonzero((counts < 0) | (counts > sizes)).tolist():
        raise ValueError(f"cannot keep {counts[bad[0]]} of {sizes[bad[0]]} documents")
    search = _Search(blocks, sizes, (counts > 0) & (counts < sizes))
    left = counts.copy()
    while search.unsettled:
        documents, _ = search.digits(weighted=False)
        at = search.active
        place = (documents.cumsum(axis=1) < left[at][:, None]).sum(axis=1)
        left[at] -= _before(documents, place)
        search.descend(place)
        search.settle(left[at] == _at(documents, place))
    return search.threshold(counts)


def token_thresholds(blocks: Blocks, sizes: Ints, budgets: Ints) -> Threshold:
    """Find the cut of each stratum above which as many documents lie, largest keys first, as have at most `budgets` tokens together.

    Documents are taken in the order of `count_thresholds` up to the first that no longer fits; a shorter one after it is
    not taken. The passes are those of `count_thresholds`, with the sum of tokens beside each count; all tokens together are below 2**53.

    Raises
    ------
    ValueError
        As `count_thresholds`.
    """
    if (budgets < 0).any():
        raise ValueError(f"a budget of {budgets.min()} tokens is negative")
    search = _Search(blocks, sizes, sizes > 0)
    left, kept, whole = budgets.copy(), np.zeros_like(sizes), np.zeros(len(sizes), bool)
    while search.unsettled:
        documents, tokens = search.digits(weighted=True)
        at = search.active
        fitting = (tokens.cumsum(axis=1) <= left[at][:, None]).sum(
            axis=1
        )  # digits of which all documents fit
        kept[at] += _before(documents, fitting)
        left[at] -= _before(tokens, fitting)
        every = (
            fitting == documents.shape[1]
        )  # possible for the first digit alone: there is no other whole that fits
        whole[at[every]] = True
        place = np.where(every, 0, fitting)
        search.descend(place)
        search.settle(every | (_at(documents, place) == 1))  # the one that no longer fits
    return search.threshold(kept, after=~whole & (kept > 0), whole=whole)


def _before(cells: Ints, place: Ints) -> Ints:
    """Return the sum of each row's cells before a place."""
    sums = np.pad(cells.cumsum(axis=1), ((0, 0), (1, 0)))
    return np.take_along_axis(sums, place[:, None], axis=1)[:, 0]


def _at(cells: Ints, place: Ints) -> Ints:
    return np.take_along_axis(cells, place[:, None], axis=1)[:, 0]


class _Search:
    """The cuts as far as they are known: ranks of 128 bits (image, then inverted hash), of which `depth` bits of each stratum are decided.

    `active` numbers the strata that are not settled yet.
    """

    def __init__(self, blocks: Blocks, sizes: Ints, unsettled: NDArray[np.bool_]) -> None:
        self._blocks, self._sizes = blocks, sizes
        self._image, self._hash = np.zeros(len(sizes), np.uint64), np.zeros(len(sizes), np.uint64)
        self._depth, self._bits, self._settled_at = 0, 0, np.zeros(len(sizes), np.int64)
        self.active = np.flatnonzero(unsettled)
        if not len(self.active):
            self.digits(weighted=False)  # one pass all the same, for its checks

    @property
    def unsettled(self) -> bool:
        """Whether a stratum is not settled yet; ValueError where no bits are left to tell its documents apart."""
        if len(self.active) and self._depth == 2 * _WORD:
            raise ValueError(
                f"some of several documents with doc_hash {_LAST - int(self._hash[self.active[0]])} and equal keys would have to be "
                "kept: does a document id occur twice?"
            )
        return len(self.active) > 0

    def digits(self, *, weighted: bool) -> tuple[Ints, Ints]:
        """Count documents by the next digit of their rank, and sum their tokens: [active, digits], the largest digit first."""
        rows = len(self.active)
        self._bits = next(
            b for b in (16, 8, 4) if (max(rows, 1) << b <= _CELLS and self._depth % b == 0) or b == 4
        )
        shape = (rows, 1 << self._bits)
        documents, tokens, seen = np.zeros(rows << self._bits, np.int64), np.zeros(0, np.int64), 0
        if weighted:
            tokens = np.zeros_like(documents)
        row_of = np.full(len(self._sizes), -1)
        row_of[self.active] = np.arange(rows)
        for block in self._blocks():
            weights = _weights(block) if weighted else None
            inside, cell = self._cells(block, row_of)
            documents += np.bincount(cell, minlength=len(documents))
            if weights is not None:
                tokens += np.bincount(cell, weights[inside], minlength=len(tokens)).astype(np.int64)
            seen += len(block.keys)
        if seen != self._sizes.sum():
            raise ValueError(f"the blocks hold {seen} documents, not {self._sizes.sum()}")
        return documents.reshape(shape)[:, ::-1], tokens.reshape(shape if weighted else (0, 0))[:, ::-1]

    def _cells(self, block: Block, row_of: Ints) -> tuple[np.ndarray, np.ndarray]:
        """Return (which documents are of active strata and ranks that begin as the cut does, row and digit of those as one number)."""
        image, doc_hash = _checked(block.keys, block.doc_hash)
        at = _strata(block.stratum, len(image), len(self._sizes))
        inside, part, depth = np.broadcast_to(row_of[at] >= 0, len(image)), image, self._depth
        prefix = self._image[at]
        if depth >= _WORD:
            inside = inside & (image == prefix)
            part, prefix, depth = ~doc_hash, self._hash[at], depth - _WORD
        if depth:
            inside = inside & ((part ^ prefix) >> np.uint64(_WORD - depth) == 0)
        digit = part[inside] >> np.uint64(_WORD - depth - self._bits) & np.uint64((1 << self._bits) - 1)
        rows = np.broadcast_to(row_of[at], len(image))[inside]
        return inside, (rows << self._bits) + digit.astype(np.int64)

    def descend(self, place: Ints) -> None:
        """Decide the digit of each active stratum: `place` counts from the largest digit."""
        digit = ((1 << self._bits) - 1 - place).astype(np.uint64)
        word, depth = (self._image, self._depth) if self._depth < _WORD else (self._hash, self._depth - _WORD)
        word[self.active] |= digit << np.uint64(_WORD - depth - self._bits)
        self._depth += self._bits

    def settle(self, done: NDArray[np.bool_]) -> None:
        """Take out active strata of which the cut is decided."""
        self._settled_at[self.active[done]] = self._depth
        self.active = self.active[~done]

    def threshold(
        self, counts: Ints, after: NDArray[np.bool_] | None = None, whole: NDArray[np.bool_] | None = None
    ) -> Threshold:
        """Return the cuts: at the smallest rank that begins as decided, or (`after`) the one after the largest; or below all (`whole`)."""
        image, low = self._image, self._hash
        if after is not None:
            step = np.where(
                after, np.uint64(1) << (-self._settled_at % _WORD).astype(np.uint64), np.uint64(0)
            )
            deep = self._settled_at > _WORD
            low = low + np.where(deep, step, np.uint64(0))
            image = image + np.where(deep, (after & (low == 0)).astype(np.uint64), step)
        if whole is not None:
            image, low = np.where(whole, np.uint64(0), image), np.where(whole, np.uint64(0), low)
        return Threshold(image, ~low, counts)


def _strata(stratum: np.ndarray | None, n: int, strata: int) -> np.ndarray:
    """Return the stratum of each document of a block, or one for all where there is one."""
    if stratum is None:
        if strata != 1:
            raise ValueError(f"a block must say which of {strata} strata each document is in")
        return np.zeros(1, np.intp)
    if stratum.shape != (n,) or (n and not 0 <= stratum.min() <= stratum.max() < strata):
        raise ValueError(f"a block must have a stratum below {strata} for each of its {n} documents")
    return stratum


def _weights(block: Block) -> np.ndarray:
    weights = block.tokens
    if (
        weights is None
        or weights.shape != block.keys.shape
        or not np.issubdtype(weights.dtype, np.integer)
        or (weights < 0).any()
    ):
        raise ValueError(f"a block must have as many tokens, not negative, as its {len(block.keys)} keys")
    return weights


def _checked(keys: np.ndarray, doc_hash: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a block's sortable keys and hashes; raise where they do not fit."""
    keys, doc_hash = np.asarray(keys, dtype=np.float64), np.asarray(doc_hash)
    if keys.ndim != 1 or keys.shape != doc_hash.shape or doc_hash.dtype != np.uint64:
        raise ValueError(
            f"a block must be float64 keys and as many uint64 hashes, not {list(keys.shape)} and "
            f"{doc_hash.dtype} {list(doc_hash.shape)}"
        )
    if not np.isfinite(keys).all():
        row = int(np.flatnonzero(~np.isfinite(keys))[0])
        raise ValueError(f"keys must be finite: row {row} of a block has {keys[row]}")
    return sortable(keys), doc_hash
