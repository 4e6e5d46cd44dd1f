"""What k-means is fitted to: of each corpus file the documents of small hashes, so that fitting reads no other embedding.

The `max_training_points` documents with the smallest hashes of the corpus are those of any layout. Which share of the hashes they
are among follows from the number of documents; a file's part of that share is its sample. The share is a power of the square root
of one half, so that samples stay while the corpus grows by less than 41 %.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.files import fingerprint
from curation_assets.common.progress import Progress
from curation_assets.corpus.smallest import Smallest
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers.documents import Documents

SHARE, SAMPLE = "clusters/sample_share", "clusters/sample"
_FILE = "sample.npz"
_LEAST = 64


def halvings(documents: int, points: int) -> int:
    """Return how often the hashes are divided by the square root of two, so that what is left holds `points` of the documents.

    It holds 1.5 to 2.1 times as many and 64 on average: hashes are uniform and of different documents independent, so that they
    are too few in less than one of 10**12 corpora; repeats only add to them.
    """
    wanted, number = points + points // 2 + _LEAST, 0
    while documents**2 >= wanted**2 << number + 1:
        number += 1
    return number


def share(context: Context) -> BuildOne:
    """Say which share of the documents is in the samples: nothing but its metadata."""
    points = context.profile.samplers.clusters.max_training_points

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        number = halvings(context.metadata("corpus/index")["documents"], points)
        return {"version": fingerprint(SHARE, number), "halvings": number, "share": 0.5 ** (number / 2)}

    return build


def sample(context: Context) -> BuildOne:
    """Copy a file's embeddings of small hashes: `sample.npz` with `doc_hash`, `readable` and `embeddings`."""
    largest = _largest(context.metadata(SHARE)["halvings"])

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        documents = Documents(context, shard)
        hashes = documents.hashes
        rows = np.flatnonzero(hashes <= largest)
        np.savez(
            folder / _FILE,
            doc_hash=hashes[rows],
            readable=documents.readable[rows],
            embeddings=documents.embeddings[rows],
        )
        return {"documents": len(hashes), "points": len(rows)}

    return build


def _largest(number: int) -> np.uint64:
    """Return the largest hash of a share: of 2**64, divided by the square root of two `number` times."""
    return np.uint64((1 << 64 - number // 2) - 1 if number % 2 == 0 else _ROOT >> (number - 1) // 2)


_ROOT = 13043817825332782212  # 2**64 / sqrt(2), rounded down


class Points(NamedTuple):
    """What k-means is fitted to.

    Attributes
    ----------
    vectors : float32 [m, dim], in the order of their hashes.
    readable : whether they are of documents that the encoder could read; False where there are no such.
    documents : all that there are.
    """

    vectors: NDArray[np.float32]
    readable: bool
    documents: int


def training_points(context: Context, limit: int, progress: Progress) -> Points:
    """Return the embeddings of the documents with the smallest hashes, without those that the encoder could not read.

    Memory: the points, and some 40 bytes for each in a sample.
    """
    shards, chosen = context.shards(), Smallest(limit)
    documents, readable = 0, []
    for number, shard in enumerate(shards):
        with context.opened(SAMPLE, shard) as folder, np.load(folder / _FILE) as file:
            chosen.add(number, file["doc_hash"])
            readable.append(file["readable"])
        documents += context.metadata(SAMPLE, shard)["documents"]
    chosen.settle()
    if not len(chosen.rows):
        raise ValueError("the corpus has no documents to cluster")
    starts = np.cumsum([0, *map(len, readable)])
    good = np.concatenate(readable)[starts[chosen.shards] + chosen.rows]
    kept = good if good.any() else ~good
    shard_of, rows = chosen.shards[kept], chosen.rows[kept]
    by_shard = np.argsort(shard_of, kind="stable")
    ends, vectors = np.searchsorted(shard_of[by_shard], np.arange(len(shards) + 1)), None
    for number, shard in enumerate(shards):
        places = by_shard[ends[number] : ends[number + 1]]
        if len(places):
            with context.opened(SAMPLE, shard) as folder, np.load(folder / _FILE) as file:
                x = file["embeddings"]
            if vectors is None:
                vectors = np.empty((len(rows), x.shape[1]), np.float32)
            vectors[places] = x[rows[places]]
        progress(number + 1, len(shards), "shards")
    assert vectors is not None
    return Points(vectors, bool(good.any()), documents)
