"""The selection rule on a corpus in shards: one global cut, found in a few passes with constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

_DIGIT = 16  # bits decided per pass: a histogram of 65,536 counts
_LAST = 2**64 - 1

KeyBlocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
WeightedBlocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Threshold:
    """The cut: what ranks at or before (`image`, `doc_hash`) stays.

    Attributes
    ----------
    image : int
        `sortable` image of the key at the cut.
    doc_hash : int
        Of the documents whose key equals the cut's, those with a hash up to this one stay.
    count : int
        Documents that stay; where it is 0, none does.
    """

    image: int
    doc_hash: int
    count: int

    def keep(self, keys: np.ndarray, doc_hash: np.ndarray) -> np.ndarray:
        """Return which of a block's documents stay: bool [n]."""
        image, doc_hash = _checked(keys, doc_hash)
        if not self.count:
            return np.zeros(len(image), dtype=bool)
        cut = np.uint64(self.image)
        return (image > cut) | ((image == cut) & (doc_hash <= np.uint64(self.doc_hash)))


def sortable(keys: np.ndarray) -> np.ndarray:
    """Map float64 keys to uint64 of the same order; -0.0 and 0.0 map to one value."""
    bits = (np.asarray(keys, dtype=np.float64) + 0.0).view(np.uint64)
    negative = (bits >> np.uint64(63)).astype(bool)
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def global_threshold(key_blocks: KeyBlocks, n: int, count: int) -> Threshold:
    """Find the cut above which exactly `count` of `n` documents lie.

    A radix selection: each pass over the blocks decides 16 more bits of the cut, first of the keys, then, where
    equal keys straddle the cut, of the hashes. It stops as soon as the bits so far separate `count` documents,
    mostly after three passes, at most after eight.

    Parameters
    ----------
    key_blocks
        Called once per pass; gives the blocks of (finite keys float64, `doc_hash` uint64), in any order.
    n
        Documents in all blocks together.
    count
        Documents to keep, 0 to n: `kept_count(rate, n)`.

    Raises
    ------
    ValueError
        The blocks do not hold `n` documents, a key is not finite, or documents with equal key and equal hash lie
        on both sides of the cut. The last means that an id occurs twice: of different ids, the hash would have
        to collide at the very cut.

    Notes
    -----
    The choice is that of `select`: largest keys, ties by smaller hash.
    """
    if not 0 <= count <= n:
        raise ValueError(f"cannot keep {count} of {n} documents")
    if count in (0, n):
        _histogram(key_blocks, n, 0, 0)  # one pass all the same, for its checks
        return Threshold(0, _LAST, count)
    prefix, remaining = 0, count
    for digit in range(2 * 64 // _DIGIT):
        histogram = _histogram(key_blocks, n, digit, prefix)
        from_top = np.cumsum(histogram[::-1])
        place = int(np.searchsorted(from_top, remaining))
        remaining -= int(from_top[place - 1]) if place else 0
        prefix = (prefix << _DIGIT) | (len(histogram) - 1 - place)
        if remaining == histogram[len(histogram) - 1 - place]:
            return _cut(prefix << (2 * 64 - (digit + 1) * _DIGIT), count)
    raise _tied(prefix)


def token_threshold(weighted_blocks: WeightedBlocks, n: int, budget: int) -> Threshold:
    """Find the cut above which as many documents lie, largest keys first, as have at most `budget` tokens together.

    Documents are taken in the order of `global_threshold` up to the first that no longer fits; a shorter one after it is
    not taken. The passes are those of `global_threshold`, with the sum of tokens beside each count.

    Parameters
    ----------
    weighted_blocks
        Called once per pass; gives the blocks of (finite keys float64, `doc_hash` uint64, tokens int64 >= 0), in any
        order. All tokens together are below 2**53.
    n
        Documents in all blocks together.
    budget
        Tokens, 0 or more.

    Raises
    ------
    ValueError
        As `global_threshold`.
    """
    if budget < 0:
        raise ValueError(f"a budget of {budget} tokens is negative")
    prefix, left, kept = 0, budget, 0
    for digit in range(2 * 64 // _DIGIT):
        counts, tokens = _weighted_histogram(weighted_blocks, n, digit, prefix)
        from_top = np.cumsum(tokens[::-1])
        above = int(np.searchsorted(from_top, left, side="right"))  # digits of which all documents fit
        kept += int(counts[::-1][:above].sum())
        if above == len(counts):  # possible for the first digit alone: there is no other whole that fits
            return Threshold(0, _LAST, kept)
        left -= int(from_top[above - 1]) if above else 0
        prefix = (prefix << _DIGIT) | (len(counts) - 1 - above)
        if counts[len(counts) - 1 - above] == 1:  # the one that no longer fits
            return _cut((prefix + 1) << (2 * 64 - (digit + 1) * _DIGIT), kept) if kept else Threshold(0, 0, 0)
    raise _tied(prefix)


def _cut(rank: int, count: int) -> Threshold:
    """Make a threshold of the smallest rank that stays; a rank is the image followed by the inverted hash."""
    return Threshold(rank >> 64, _LAST - (rank & _LAST), count)


def _tied(rank: int) -> ValueError:
    return ValueError(
        f"some of several documents with doc_hash {_cut(rank, 0).doc_hash} and equal keys would have to be kept: "
        "does a document id occur twice?"
    )


def _histogram(key_blocks: KeyBlocks, n: int, digit: int, prefix: int) -> np.ndarray:
    """Count the values of one 16-bit digit among the documents whose rank begins with `prefix`."""
    counts, seen = np.zeros(1 << _DIGIT, dtype=np.int64), 0
    for keys, doc_hash in key_blocks():
        _, value = _digits(keys, doc_hash, digit, prefix)
        counts += np.bincount(value, minlength=1 << _DIGIT)
        seen += len(keys)
    _check_count(seen, n)
    return counts


def _weighted_histogram(
    weighted_blocks: WeightedBlocks, n: int, digit: int, prefix: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count documents as `_histogram` does, and sum their tokens."""
    counts, tokens, seen = np.zeros(1 << _DIGIT, dtype=np.int64), np.zeros(1 << _DIGIT, dtype=np.int64), 0
    for keys, doc_hash, weights in weighted_blocks():
        if weights.shape != keys.shape or not np.issubdtype(weights.dtype, np.integer) or (weights < 0).any():
            raise ValueError(f"a block must have as many tokens, not negative, as its {len(keys)} keys")
        inside, value = _digits(keys, doc_hash, digit, prefix)
        counts += np.bincount(value, minlength=1 << _DIGIT)
        tokens += np.bincount(value, weights[inside], minlength=1 << _DIGIT).astype(np.int64)
        seen += len(keys)
    _check_count(seen, n)
    return counts, tokens


def _digits(keys: np.ndarray, doc_hash: np.ndarray, digit: int, prefix: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (which of a block's documents have a rank that begins with `prefix`, the next 16-bit digit of those)."""
    image, doc_hash = _checked(keys, doc_hash)
    depth = digit * _DIGIT
    part, above, expected = image, depth, prefix
    inside = np.ones(len(image), dtype=bool)
    if depth >= 64:
        inside = image == np.uint64(prefix >> (depth - 64))
        part, above, expected = ~doc_hash, depth - 64, prefix & ((1 << (depth - 64)) - 1)
    if above:
        inside &= part >> np.uint64(64 - above) == np.uint64(expected)
    value = part[inside] >> np.uint64(64 - above - _DIGIT) & np.uint64((1 << _DIGIT) - 1)
    return inside, value.astype(np.int64)


def _check_count(seen: int, n: int) -> None:
    if seen != n:
        raise ValueError(f"the blocks hold {seen} documents, not {n}")


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
