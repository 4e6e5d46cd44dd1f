"""Texts to token ids, and documents of like length to batches; what a scorer needs before its model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Flat = tuple[NDArray[np.integer], NDArray[np.int64]]
"""Token ids of n documents one after another, and int64[n + 1] offsets: document i's are ids[offsets[i]:offsets[i + 1]]."""
Encode = Callable[[Sequence[str]], list[Ids]]

_PREFIX = 8  # characters read per wanted token before more is tried; English has about 4.5


def length_batches(
    lengths: NDArray[np.integer], batch_tokens: int, longest: int, bucket: int = 8
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield (rows, padded length) over all rows, the longest first so that memory peaks at once.

    A document's padded length is its own bucket's and not its batch's, so that it is computed in one shape in any
    company. A bucket is 1/16 to 1/32 as wide as it is long, at least `bucket`, and none ends above `longest`: 2 to 5 % of
    the tokens are padding. With `bucket` 1 there is none, since only documents of equal length meet, in smaller batches.
    A batch has at most `batch_tokens` padded tokens, or one document.
    """
    if not len(lengths):
        return
    whole = np.maximum(lengths.astype(np.int64), 1)
    width = np.ones_like(whole)
    if bucket > 1:
        width = np.maximum(bucket, 2 ** np.floor(np.log2(whole)).astype(np.int64) // 16)
    padded = np.minimum(-(-whole // width) * width, longest)
    order = np.argsort(-padded, kind="stable")
    sizes, starts = np.unique(-padded[order], return_index=True)
    for size, rows in zip(-sizes, np.split(order, starts[1:]), strict=True):
        step = max(1, batch_tokens // int(size))
        for begin in range(0, len(rows), step):
            yield rows[begin : begin + step], int(size)


def ended(ids: Ids, limit: int, end: int) -> Ids:
    """Return token ids with their end, cut so that both are at most `limit` tokens."""
    return np.append(ids[: limit - 1], np.int32(end))


def padded(rows: Sequence[Ids], length: int, filler: int) -> NDArray[np.int64]:
    """Return rows of token ids, none longer than `length`, as one array, int64[n, length], filled up at the end."""
    out = np.full((len(rows), length), filler, np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out


def encode_beginnings(encode: Encode, texts: Sequence[str], tokens: int) -> list[Ids]:
    """Return at least the first `tokens` ids of each text (all of a shorter one), reading little more of it than needed.

    A long text is cut at white space, which no token reaches across, or inside a word where there is none for long; then
    the ids are those of the text up to the cut. Twice as much is read while the ids are too few.
    """
    limit = tokens * _PREFIX
    done = encode([_beginning(text, limit) for text in texts])
    rest = [row for row, ids in enumerate(done) if len(ids) < tokens and len(texts[row]) > limit]
    while rest:
        limit *= 2
        for row, ids in zip(rest, encode([_beginning(texts[row], limit) for row in rest]), strict=True):
            done[row] = ids
        rest = [row for row in rest if len(done[row]) < tokens and len(texts[row]) > limit]
    return done


def _beginning(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = max(text.rfind(" ", limit // 2, limit), text.rfind("\n", limit // 2, limit))
    return text[: cut if cut > 0 else limit].rstrip()
