"""The endless token stream of a subset: documents in a seeded order, epoch after epoch, cut into equal sequences.

The order of an epoch is that of a hash of (seed, epoch, document id), so it is the same however the documents are spread
over shards. EOS follows every document; sequences run on across the ends of documents and of epochs, and nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from curation_assets.models.span_corruption import mix

_ORDER, _DIGEST = 0x6F726465, 0x64696765
_BLOCK = 64  # documents per entry of the table of positions


class Stream(Protocol):
    """Where batches come from; `TokenStream` is one."""

    def batch(self, step: int, batch_size: int, raw_length: int) -> NDArray[np.integer]:
        """Return the sequences of a step, int[batch_size, raw_length]."""

    def epochs(self, tokens: int) -> float:
        """Return how often the documents are read in so many tokens."""

    def digest(self) -> str:
        """Return a name for the stream's contents."""


@dataclass(frozen=True)
class Shard:
    """The chosen documents of one shard: row r's tokens are `ids[offsets[r] : offsets[r + 1]]`."""

    ids: NDArray[np.integer]
    """Token ids of all documents, flat (uint16 or int32); may be a memory map."""
    offsets: NDArray[np.int64]
    """int64[n + 1]."""
    rows: NDArray[np.integer] | None
    """The chosen rows; None for all."""
    doc_hash: NDArray[np.uint64]
    """One hash per chosen row, of the document. Documents of equal hash follow each other in shard order."""


@dataclass(frozen=True)
class _Epoch:
    number: int
    order: NDArray[np.integer]
    block_ends: NDArray[np.int64]


class TokenStream:
    """Random access to the packed sequences of a subset; every answer is a pure function of (seed, step).

    Holds 24 bytes a document (place 8, length 4, hash 8, order 4) and as much again for a moment when it is made and when
    an epoch begins. Token ids stay where they are (a memory map stays on disk).

    Parameters
    ----------
    shards
        The chosen documents; those without a token are left out, having nothing to predict.
    eos
        Written after each document.
    seed
        Of the order of documents.
    """

    def __init__(self, shards: Iterable[Shard], *, eos: int = 1, seed: int = 0) -> None:
        self.shards = list(shards)
        self.eos, self.seed = eos, seed
        sizes = [len(shard.ids) for shard in self.shards]
        self._bases = np.concatenate(
            [[0], np.cumsum(sizes, dtype=np.int64)]
        )  # of one address space over all shards
        parts = [_documents(i, shard) for i, shard in enumerate(self.shards)]
        if not any(len(lengths) for _, lengths, _ in parts):
            raise ValueError("the subset has no document with a token in it: there is nothing to train on")
        self._starts = np.concatenate(
            [start + base for (start, _, _), base in zip(parts, self._bases, strict=False)]
        )
        self._lengths = np.concatenate([lengths for _, lengths, _ in parts])
        self._hashes = np.concatenate([hashes for _, _, hashes in parts])
        self.tokens_per_epoch = int(self._lengths.sum(dtype=np.int64)) + len(self._lengths)
        self._epoch: _Epoch | None = None

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._lengths)

    def epochs(self, tokens: int) -> float:
        """Return how often each document is read, on average, in the first `tokens` tokens of the stream."""
        return tokens / self.tokens_per_epoch

    def digest(self) -> str:
        """Return a hash of which documents these are and how long, independent of shards and of order."""
        each = mix(_DIGEST, self._lengths, self._hashes)
        return f"{int(each.sum(dtype=np.uint64)):016x}-{len(self)}-{self.tokens_per_epoch}"

    def batch(self, step: int, batch_size: int, raw_length: int) -> NDArray[np.int32]:
        """Return the sequences of training step `step`, int32[batch_size, raw_length]."""
        if step < 0 or batch_size < 1 or raw_length < 1:
            raise ValueError(f"no batch {step} of {batch_size} x {raw_length} tokens")
        count = batch_size * raw_length
        return self.read(step * count, count).reshape(batch_size, raw_length)

    def read(self, start: int, count: int) -> NDArray[np.int32]:
        """Return tokens `start` to `start + count` of the endless stream, int32[count]."""
        out = np.empty(count, np.int32)
        done = 0
        while done < count:
            epoch, low = divmod(start + done, self.tokens_per_epoch)
            high = min(low + count - done, self.tokens_per_epoch)
            self._read_epoch(epoch, low, high, out[done : done + high - low])
            done += high - low
        return out

    def _read_epoch(self, number: int, low: int, high: int, out: NDArray[np.int32]) -> None:
        """Fill `out` with tokens [low, high) of one epoch."""
        epoch = self._epoch
        if epoch is None or epoch.number != number:
            self._epoch = epoch = self._arrange(number)
        block = int(np.searchsorted(epoch.block_ends, low, side="right"))
        last = int(np.searchsorted(epoch.block_ends, high, side="left"))
        documents = epoch.order[block * _BLOCK : (last + 1) * _BLOCK]
        spaces = self._lengths[documents].astype(np.int64) + 1  # a document and its EOS
        ends = spaces.cumsum() + (epoch.block_ends[block - 1] if block else 0)
        touched = (ends > low) & (ends - spaces < high)
        documents, spaces, ends = documents[touched], spaces[touched], ends[touched]

        # Which part of each document falls into [low, high), and where it goes. EOS is there before the tokens are.
        out.fill(self.eos)
        begins = ends - spaces
        skip = np.maximum(low - begins, 0)
        take = np.minimum(ends - 1, high) - begins - skip
        to = np.maximum(begins - low, 0)
        source = self._starts[documents] + skip
        by_place = np.argsort(source, kind="stable")  # shard by shard, and forward on disk
        by_place = by_place[take[by_place] > 0]
        source, to, take = source[by_place], to[by_place], take[by_place]
        bounds = np.searchsorted(source, self._bases)
        for shard in np.flatnonzero(np.diff(bounds)):
            part = slice(bounds[shard], bounds[shard + 1])
            run = take[part]
            within = np.arange(run.sum()) - np.repeat(run.cumsum() - run, run)
            ids = self.shards[shard].ids
            out[np.repeat(to[part], run) + within] = ids[
                np.repeat(source[part] - self._bases[shard], run) + within
            ]

    def _arrange(self, number: int) -> _Epoch:
        """Sort the documents for one epoch."""
        order = np.argsort(mix(_ORDER, self.seed, number, self._hashes), kind="stable")
        order = order.astype(np.uint32 if len(order) < 2**32 else np.int64)
        ends = self._lengths[order].cumsum(dtype=np.int64)
        ends += np.arange(1, len(ends) + 1)
        return _Epoch(number, order, ends[_BLOCK - 1 :: _BLOCK].copy())


def _documents(index: int, shard: Shard) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]]:
    """Return start, length and hash of a shard's chosen documents that have tokens, having checked them."""
    where = f"shard {index} of the subset"
    offsets = np.asarray(shard.offsets, np.int64)
    n = len(offsets) - 1
    if n < 0 or offsets[0] < 0 or offsets[-1] > len(shard.ids) or (np.diff(offsets) < 0).any():
        raise ValueError(f"{where}: offsets must rise from 0 to at most the {len(shard.ids)} token ids")
    rows = np.arange(n) if shard.rows is None else np.asarray(shard.rows)
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        raise ValueError(f"{where}: rows must lie in 0..{n - 1}, found {rows.min()}..{rows.max()}")
    hashes = np.asarray(shard.doc_hash)
    if hashes.dtype != np.uint64 or hashes.shape != rows.shape:
        raise ValueError(
            f"{where}: doc_hash must be uint64[{len(rows)}], not {hashes.dtype}{list(hashes.shape)}"
        )
    starts = offsets[:-1][rows]
    lengths = offsets[1:][rows] - starts
    if len(lengths) and lengths.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{where}: row {rows[lengths.argmax()]} has more than 2^31 tokens")
    full = lengths > 0
    return starts[full], lengths[full].astype(np.int32), hashes[full]
