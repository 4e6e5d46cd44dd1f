"""The selection rule on arrays: exactly round(rate * n) documents, whatever their order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.common.hashing import hash_ids, noise
from curation_assets.selection.keys import selection_keys

_EXACT = 1e-9  # shares of documents that differ by less from a whole number are one


def kept_count(rate: float, n: int) -> int:
    """Return how many of `n` documents a rate keeps: Python's `round(rate * n)`, which may be 0 for small n."""
    if not 0 < rate <= 1:
        raise ValueError(f"rate must be above 0 and at most 1, not {rate}")
    return round(rate * n)


def quota(rate: float, sizes: NDArray[np.int64], names: Sequence[str | None], seed: int) -> NDArray[np.int64]:
    """Return how many documents of each stratum a rate keeps: its share, rounded up or down, int64 [strata].

    A share that is no whole number is rounded up with the probability of its fraction, by a draw that depends on the stratum's value
    and the seed alone. So each stratum has what it would have beside any others, a larger rate keeps at least as many of it, and very many
    small strata together keep their rate as well: rounding to the nearest would leave out all with one document at 40 %. All
    together are as many as the rate asks for up to about half the square root of the number of strata.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate must be above 0 and at most 1, not {rate}")
    share = rate * sizes
    whole = np.floor(share + _EXACT).astype(np.int64)
    draws = noise(hash_ids(["" if name is None else f"={name}" for name in names]), seed)
    return whole + (draws < share - whole - _EXACT)


def apportion(total: int, weights: Sequence[float], sizes: Sequence[int]) -> NDArray[np.int64]:
    """Return how much of `total` falls to each source by its weight, int64 [sources]: the whole of it, if there is that much.

    A source has no more than its size: what it lacks falls to the others by their weights. Sources of weight 0 have nothing. Shares are
    rounded by the method of Webster and Sainte-Lague, so that of a larger total no source has less.
    """
    counts = np.zeros(len(weights), np.int64)
    free = {i for i, weight in enumerate(weights) if weight > 0}
    left = min(total, sum(sizes[i] for i in free))
    while free:
        shares = _webster(left, {i: Fraction(weights[i]) for i in sorted(free)})
        full = {i for i in free if shares[i] >= sizes[i]}
        for i in full or free:
            counts[i] = sizes[i] if full else shares[i]
        left -= sum(sizes[i] for i in full)
        free = free - full if full else set()
    return counts


def _webster(total: int, weights: Mapping[int, Fraction]) -> dict[int, int]:
    """Share out a whole number: seats go one by one to the largest weight / (seats so far + 1/2), the first of equal ones."""
    whole = sum(weights.values())
    half = Fraction(1, 2)
    seats = {i: math.ceil(total * weight / whole - half) for i, weight in weights.items()}
    while (given := sum(seats.values())) != total:
        if given < total:
            seats[max(weights, key=lambda i: (weights[i] / (seats[i] + half), -i))] += 1
        else:
            seated = (i for i in weights if seats[i])
            seats[min(seated, key=lambda i: (weights[i] / (seats[i] - half), -i))] -= 1
    return seats


def select(
    doc_ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray,
    scores: np.ndarray | Sequence[float],
    rate: float,
    technique: str,
    seed: int,
    *,
    first: np.ndarray | None = None,
    within: Sequence[str | None] | np.ndarray | pa.Array | pa.ChunkedArray | None = None,
    weights: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Choose the `round(rate * n)` documents with the largest `selection_keys`.

    Among equal keys the smaller `hash_ids(doc_ids)` stays, and among equal hashes the smaller id in the order of
    code points. `threshold.count_thresholds` makes the same choice of a corpus in shards; the graph gives it hashes of id
    and text (`keys.hash_documents`), so its draws and ties are other ones than those that ids alone give here.

    Parameters
    ----------
    doc_ids
        Unique strings, [n].
    scores
        Finite, [n]; higher is better.
    rate
        Share of the documents to keep, in (0, 1].
    technique
        "top_k", "bottom_k", "ips" or "uniform".
    seed
        Of the noise of ips and uniform, and of how shares of strata are rounded.
    first
        Documents to choose from, bool [n]. The rate is a share of all n; where fewer are left, all of those stay.
    within
        A string of each document, or None [n]: the rate is kept within each value (`quota`).
    weights
        Of the values of `within`: the choice is made of them in these shares (`apportion`), and not in those that they have of all.

    Returns
    -------
    bool [n], True for what stays.
    """
    hashes = hash_ids(doc_ids)
    keys = selection_keys(hashes, np.asarray(scores, dtype=np.float64), technique, seed)
    _check_unique(doc_ids, hashes)
    n = len(keys)
    if first is not None and (np.asarray(first).dtype != bool or np.shape(first) != (n,)):
        raise ValueError(f"first must say of each of {n} documents whether it may be chosen: bool [{n}]")
    if within is None:
        stratum, counts = np.zeros(n, np.int64), np.array([kept_count(rate, n)])
    else:
        stratum, counts = _strata(within, n, rate, seed, weights)
    rows = np.arange(n) if first is None else np.flatnonzero(first)
    order = rows[np.lexsort((hashes[rows], -keys[rows], stratum[rows]))]
    _by_id(order, doc_ids, stratum, keys, hashes)
    sizes = np.bincount(stratum[order], minlength=len(counts))
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # in its own stratum
    mask = np.zeros(n, dtype=bool)
    mask[order[place < counts[stratum[order]]]] = True
    return mask


def _strata(
    within: Any, n: int, rate: float, seed: int, weights: Mapping[str, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the stratum of each document, and how many documents of each stratum stay."""
    values = within if isinstance(within, pa.Array | pa.ChunkedArray) else pa.array(within, pa.string())
    if len(values) != n:
        raise ValueError(f"within has {len(values)} values for {n} documents")
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    coded = values.cast(pa.string()).dictionary_encode("encode")
    stratum = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    names = coded.dictionary.to_pylist()
    sizes = np.bincount(stratum, minlength=len(names))
    if weights is None:
        return stratum, quota(rate, sizes, names, seed)
    by_name = np.argsort([name or "" for name in names], kind="stable")
    of_each = [weights.get(names[i], 0.0) for i in by_name]
    counts = np.zeros(len(names), np.int64)
    counts[by_name] = apportion(kept_count(rate, n), of_each, sizes[by_name].tolist())
    return stratum, counts


def _by_id(
    order: np.ndarray, doc_ids: Any, stratum: np.ndarray, keys: np.ndarray, hashes: np.ndarray
) -> None:
    """Put documents of one stratum, key and hash into the order of their ids, in place."""
    same = np.ones(max(len(order) - 1, 0), bool)
    for values in (stratum, keys, hashes):
        same &= values[order[1:]] == values[order[:-1]]
    ends = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for start, end in ends.reshape(-1, 2):
        order[start : end + 1] = sorted(order[start : end + 1], key=lambda i: _text(doc_ids, int(i)))


def _check_unique(
    doc_ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray, hashes: np.ndarray
) -> None:
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    seen: dict[str, int] = {}
    for i in np.unique(np.concatenate([order[again], order[again + 1]])).tolist():
        first = seen.setdefault(_text(doc_ids, i), i)
        if first != i:
            raise ValueError(f"document ids must be unique: {_text(doc_ids, i)!r} is number {first} and {i}")


def _text(doc_ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray, i: int) -> str:
    return str(doc_ids[i])
