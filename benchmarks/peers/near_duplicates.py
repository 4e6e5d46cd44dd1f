"""Near-duplicates at a cosine: SemDeDup as the graph does it, against an approximate index, an exact one, and NeMo Curator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import FAISS, READY, Comparison

THRESHOLD = 0.9


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Cluster, compare inside clusters; yield which vectors stay."""
    from curation_assets.api import semdedup

    x = material.vectors(folder)
    semdedup(x[:2000])
    yield READY
    yield semdedup(x, threshold=THRESHOLD).keep


def semhash(folder: Path) -> Iterator[np.ndarray]:
    """Its own way from vectors: an index of usearch, and the neighbours of each vector."""
    from semhash import SemHash

    x = material.vectors(folder)
    names = [str(row) for row in range(len(x))]

    def keep(rows: int) -> np.ndarray:
        index = SemHash.from_embeddings(x[:rows], names[:rows], model=_NoModel())
        kept = np.zeros(rows, bool)
        kept[np.array(index.self_deduplicate(threshold=THRESHOLD).selected, int)] = True
        return kept

    keep(500)
    yield READY
    yield keep(len(x))


class _NoModel:
    """What semhash asks for, although the vectors are there."""

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        raise NotImplementedError(f"{len(inputs)} texts are to be embedded, but their vectors are given")


def faiss_range(folder: Path) -> Iterator[np.ndarray]:
    """Exact search for all neighbours; of each group the first stays, as a loop over the rows would have it."""
    import faiss

    x = material.vectors(folder)

    def keep(rows: int) -> np.ndarray:
        index = faiss.IndexFlatIP(x.shape[1])
        index.add(x[:rows])
        limits, _, near = index.range_search(x[:rows], THRESHOLD)
        kept = np.ones(rows, bool)
        for row in range(rows):
            if kept[row]:
                others = near[int(limits[row]) : int(limits[row + 1])]
                kept[others[others > row]] = False
        return kept

    keep(500)
    yield READY
    yield keep(len(x))


def nemo_curator(folder: Path) -> Iterator[np.ndarray]:
    """NeMo Curator's removal of near-duplicates by vectors, its pairwise stage: it fails where there is no cuDF."""
    from nemo_curator.stages.deduplication.semantic import pairwise

    x = material.vectors(folder)
    yield READY
    yield pairwise.pairwise_cosine_similarity_batched(x)[1] < THRESHOLD


def pairs_apart(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Count all pairs at the threshold exactly, and say of how many at least one vector has gone."""
    x = material.vectors(folder)
    parted = {"ours": 0, "theirs": 0}
    total = 0
    for start in range(0, len(x), 1000):
        row, column = np.nonzero(x[start : start + 1000] @ x.T >= THRESHOLD)
        row, column = (row + start)[row + start < column], column[row + start < column]
        total += len(row)
        for name, keep in (("ours", one), ("theirs", other)):
            parted[name] += int((~(keep[row] & keep[column])).sum())
    both = (~one & ~other).sum() / max((~one | ~other).sum(), 1)
    shares = ", ".join(f"{name} {count / total:.1%}" for name, count in parted.items())
    return f"of {total:,} pairs at {THRESHOLD} one is removed: {shares}; {(~one).sum():,} and {(~other).sum():,} removed, {both:.0%} the same"


_WORK = f"near-duplicates of {material.VECTORS:,} vectors at cosine {THRESHOLD}"
COMPARISONS = (
    Comparison("semhash", "semhash", _WORK, ours, semhash, pairs_apart),
    Comparison("faiss", FAISS, f"range search, {_WORK}", ours, faiss_range, pairs_apart),
    Comparison("NeMo Curator", "nemo-curator", _WORK, ours, nemo_curator, pairs_apart),
)
