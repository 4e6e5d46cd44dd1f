"""The selection rule on arrays: exactly round(rate * n) documents, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curation_assets.common.hashing import hash_ids
from curation_assets.selection.keys import selection_keys


def kept_count(rate: float, n: int) -> int:
    """Return how many of `n` documents a rate keeps: Python's `round(rate * n)`, which may be 0 for small n."""
    if not 0 < rate <= 1:
        raise ValueError(f"rate must be above 0 and at most 1, not {rate}")
    return round(rate * n)


def select(
    doc_ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray,
    scores: np.ndarray | Sequence[float],
    rate: float,
    technique: str,
    seed: int,
) -> np.ndarray:
    """Choose the `round(rate * n)` documents with the largest `selection_keys`.

    Among equal keys the smaller `hash_ids(doc_ids)` stays, and among equal hashes the smaller id in the order of
    code points. `threshold.global_threshold` makes the same choice of a corpus in shards; the graph gives it hashes of id
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
        Of the noise of ips and uniform.

    Returns
    -------
    bool [n], True for what stays.
    """
    hashes = hash_ids(doc_ids)
    keys = selection_keys(hashes, np.asarray(scores, dtype=np.float64), technique, seed)
    _check_unique(doc_ids, hashes)
    n, count = len(keys), kept_count(rate, len(keys))
    mask = np.zeros(n, dtype=bool)
    if not count:
        return mask
    cut = np.partition(keys, n - count)[n - count]
    mask[keys > cut] = True
    tied = np.flatnonzero(keys == cut)
    tied = tied[np.argsort(hashes[tied], kind="stable")]
    remaining = count - int(mask.sum())
    if remaining < len(tied) and hashes[tied[remaining - 1]] == hashes[tied[remaining]]:
        tied = np.array(sorted(tied, key=lambda i: (hashes[i], _text(doc_ids, int(i)))), dtype=np.intp)
    mask[tied[:remaining]] = True
    return mask


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
