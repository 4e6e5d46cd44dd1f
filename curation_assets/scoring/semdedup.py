"""SemDeDup (Abbas et al. 2023): of near-duplicates inside a k-means cluster, one representative keeps a high score.

The documents of a cluster are ordered by how much one would rather keep them. A document's score is minus its
largest cosine similarity to a document before it in that order, so the first of a group of near-duplicates
scores high and the others score near -1. Only rows before a row matter: half of the similarity matrix. A threshold t
removes whoever scores -t or less, and keeps the first of each group, as the authors do (`threshold_counts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import numpy as np
import torch

from curation_assets.scoring.exact import (
    EXACT_CELLS,
    Array,
    blocks_of,
    check_matrix,
    dot64,
    float_block,
    full_precision,
    map_blocks,
    unit,
)

_TIE = 1e-6  # similarities and priorities closer than this count as equal: ten times fp32's error
_BLOCK_CELLS = {"cpu": 1 << 20, "cuda": 1 << 24}  # similarities per block: 4 MiB on the CPU
_BLOCK = {
    "cpu": 256,
    "cuda": 2048,
}  # rows compared at a time inside a larger cluster: on a GPU a product must be worth its launch
_RUN = 16  # columns compared at a time, in blocks of rows
_FIRST = 1.0  # score of a cluster's first document: minus the smallest possible cosine

THRESHOLDS = np.arange(1001) / 1000
"""The cosine similarities at which `threshold_counts` is wanted."""

Take = Callable[[np.ndarray], torch.Tensor]  # rows int64 [m] -> float32 [m, dim] on the device


def semdedup_scores(
    x: Array,
    cluster: np.ndarray,
    *,
    priority: np.ndarray | None = None,
    block: int | None = None,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Score documents by their similarity to the documents of their cluster that are kept before them: library API.

    The graph does the same on files (`cluster_groups`).

    Parameters
    ----------
    x
        Floating [n, dim], non-zero rows: array, memmap (rows are gathered block by block) or tensor. Sort the
        rows by document id, so that ties do not depend on the order of the corpus.
    cluster
        Integers [n]; equal numbers are one cluster.
    priority
        Finite [n]; the largest is first in its cluster, ties by row. Default: minus the cosine similarity to the
        cluster's mean direction, to 6 decimals ("hard" examples first, as the authors do).
    block
        Rows compared at a time inside a cluster larger than that; None takes 256 on a CPU and 2,048 on a GPU. Memory does not grow with clusters.
    device
        "cpu" or "cuda": where the similarities are computed.

    Returns
    -------
    score : float64 [n]
        Minus the largest cosine similarity to an earlier document, in [-1, 1]; 1.0 for a cluster's first
        document, so singletons always stay.
    duplicate_of : int64 [n]
        The row of that document, the earliest where several are equally similar; -1 for a cluster's first.

    Notes
    -----
    The search is a float32 matrix product; the score is recomputed in float64 from the pair that it found. Where
    the best candidates lie within about 1e-6 of one another without being copies, which one is named can depend
    on `block` and on the kind of processor, and the score then by as much; never on the other clusters or on the
    number of cores, since each product has one of a few shapes, which follows from the size of the cluster. Memory:
    about 100 bytes a document, float64 [clusters, dim] for the default priority, and a few blocks.
    """
    check_matrix(x)
    if x.shape[0] != len(cluster):
        raise ValueError(f"there are {x.shape[0]} vectors but {len(cluster)} cluster numbers")
    return score_rows(
        lambda rows: float_block(x, rows, device), x.shape[1], cluster, priority, block=block, device=device
    )


def score_rows(
    take: Take,
    dim: int,
    cluster: np.ndarray,
    priority: np.ndarray | None = None,
    *,
    block: int | None = None,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Do what `semdedup_scores` does on rows that `take` gathers, wherever they are."""
    cluster = np.asarray(cluster)
    n = len(cluster)
    if block is None:
        block = _BLOCK.get(torch.device(device).type, 256)
    if cluster.ndim != 1 or not np.issubdtype(cluster.dtype, np.integer):
        raise ValueError(f"cluster must be integers [n], not {cluster.dtype} {list(cluster.shape)}")
    if block < 1:
        raise ValueError(f"block must be positive, not {block}")
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=cluster[order[:1]] - 1))
    sizes = np.diff(starts, append=n)
    best = np.full(n, -1, dtype=np.int64)
    with full_precision(device):
        squares = _squares(take, n, dim, device)
        if priority is None:
            closeness = _closeness(take, squares, dim, order, starts, sizes, device)
            order = order[np.lexsort((closeness[order], cluster[order]))]
        else:
            order = order[np.lexsort((-_checked(priority, n)[order], cluster[order]))]
        units = partial(_units, take, squares)
        small = list(_small_clusters(order, starts, sizes, block, dim, device))
        for rows, nearest in map_blocks(lambda rows: _compare_small(units, rows), small, device):
            best[rows] = nearest
        large = [order[starts[c] : starts[c] + sizes[c]] for c in np.flatnonzero(sizes > block)]
        # One core per cluster, but all cores on one cluster where it is so large that memory asks for it.
        several, giant = (
            [r for r in large if (len(r) > _RUN * block) == is_giant] for is_giant in (False, True)
        )
        compare = partial(_compare_large, units, block=block, device=device)
        for rows, nearest in chain(
            zip(several, map_blocks(compare, several, device), strict=True),
            zip(giant, map(compare, giant), strict=True),
        ):
            best[rows] = nearest
        return _scores(take, squares, dim, best, device), best


def threshold_counts(
    score: np.ndarray, duplicate_of: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """Count what each threshold t removes, the documents of a score of -t or less, and in how many groups.

    A removed document leads, from one `duplicate_of` to the next, to one that is kept: those that lead to the same one are its
    group, and it is their representative.

    Parameters
    ----------
    score, duplicate_of
        What `semdedup_scores` returns, of whole clusters.
    thresholds
        Cosine similarities, float64 [t].

    Returns
    -------
    removed, groups : int64 [t]
        Documents removed, and documents kept of which at least one near-duplicate is removed.
    """
    similarity, has = -score, duplicate_of >= 0
    nearest = np.full(len(score), -np.inf)  # to each document, of those that have it as `duplicate_of`
    np.maximum.at(nearest, duplicate_of[has], similarity[has])

    def reach(x: np.ndarray) -> np.ndarray:
        return len(x) - np.searchsorted(np.sort(x), thresholds)

    return reach(similarity), reach(nearest) - reach(np.minimum(nearest, similarity))


def _exact_rows(dim: int, device: str) -> int:
    """Return of how many rows float64 products are taken at a time."""
    return max(1, EXACT_CELLS.get(torch.device(device).type, 1 << 17) // dim)


def _checked(priority: np.ndarray, n: int) -> np.ndarray:
    priority = np.asarray(priority, dtype=np.float64)
    if priority.shape != (n,):
        raise ValueError(f"there are {list(priority.shape)} priorities for {n} documents")
    if not np.isfinite(priority).all():
        row = int(np.flatnonzero(~np.isfinite(priority))[0])
        raise ValueError(f"priorities must be finite: row {row} has {priority[row]}")
    return priority


def _squares(take: Take, n: int, dim: int, device: str) -> np.ndarray:
    """Return each row's squared length, float64 [n]; raise naming the first row that is zero or not finite."""

    def squares(rows: range) -> np.ndarray:
        here = np.arange(rows.start, rows.stop)
        x = take(here)
        unit(x, here)
        return dot64(x, x).cpu().numpy()

    blocks = blocks_of(n, _exact_rows(dim, device))
    return np.concatenate([np.empty(0), *map_blocks(squares, blocks, device)])


def _units(take: Take, squares: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    """Return rows scaled to length 1, whose bits do not depend on which rows are asked for together."""
    x = take(rows)
    return x / torch.from_numpy(np.sqrt(squares[rows]).astype(np.float32)).to(x.device)[:, None]


def _closeness(
    take: Take,
    squares: np.ndarray,
    dim: int,
    order: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    device: str,
) -> np.ndarray:
    """Cosine similarity of each row to its cluster's mean direction, in float64, rounded so that copies tie.

    A cluster's sum does not depend on which others there are: a block has whole clusters, or a part of one that is cut from its
    own first row on.
    """
    step = _exact_rows(dim, device)
    number = np.repeat(np.arange(len(sizes)), sizes)
    mean = torch.zeros(len(sizes), dim, dtype=torch.float64, device=device)
    closeness = np.empty(len(order))

    def vectors(rows: slice) -> torch.Tensor:
        x = take(order[rows]).double()
        return x / torch.from_numpy(np.sqrt(squares[order[rows]])).to(device)[:, None]

    def sums(rows: slice) -> torch.Tensor:
        lengths = np.bincount(number[rows] - number[rows.start])
        return torch.segment_reduce(
            vectors(rows), "sum", lengths=torch.from_numpy(lengths).to(device), axis=0
        )

    def cosine(rows: slice) -> np.ndarray:
        return dot64(vectors(rows), mean[torch.from_numpy(number[rows]).to(device)]).cpu().numpy()

    blocks = list(_whole_clusters(starts, sizes, step))
    for rows, part in zip(blocks, map_blocks(sums, blocks, device), strict=True):
        mean[number[rows.start] : number[rows.start] + len(part)] += part
    mean /= dot64(mean, mean).sqrt().clamp_min_(1e-12)[:, None]
    for rows, cosines in zip(blocks, map_blocks(cosine, blocks, device), strict=True):
        closeness[order[rows]] = np.round(cosines / _TIE)
    return closeness


def _whole_clusters(starts: np.ndarray, sizes: np.ndarray, step: int) -> Iterator[slice]:
    """Cut rows that are sorted by cluster into blocks of about `step` rows: whole clusters, or parts of a larger one."""
    ends, at = starts + sizes, 0
    while at < len(starts):
        begin = int(starts[at])
        last = int(np.searchsorted(ends, begin + step, side="right"))
        if last > at:
            yield slice(begin, int(ends[last - 1]))
        else:
            last = at + 1
            yield from (slice(a, min(a + step, int(ends[at]))) for a in range(begin, int(ends[at]), step))
        at = last


def _small_clusters(
    order: np.ndarray, starts: np.ndarray, sizes: np.ndarray, block: int, dim: int, device: str
) -> Iterator[np.ndarray]:
    """Batch the clusters of 2 to `block` rows, like sizes together: rows [clusters, width], padded with -1.

    Width and number of clusters are one of a few pairs, so that a cluster is compared by one and the same product whatever the
    others are: a batch that is not full has its first cluster several times.
    """
    cells = _BLOCK_CELLS.get(torch.device(device).type, 1 << 20)
    at = 2
    while at <= block:
        width = min(max(at, at * 4 // 3), block)
        chosen = np.flatnonzero((sizes >= at) & (sizes <= width))
        room, place = max(1, cells // (width * max(width, dim))), np.arange(width)
        for begin in range(0, len(chosen), room):
            batch = chosen[begin : begin + room]
            batch = np.append(batch, np.full(room - len(batch), batch[0]))[:, None]
            inside = place < sizes[batch]
            yield np.where(inside, order[np.where(inside, starts[batch] + place, 0)], -1)
        at = width + 1


def _compare_small(units: Take, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the most similar earlier row in several whole clusters, rows [clusters, width]: (rows, best) [m]."""
    filled = np.where(rows < 0, rows[:, :1], rows)
    x = units(filled.ravel()).view(*rows.shape, -1)
    similarity = x @ x.mT
    _hide_later(similarity)
    _, first = _earliest_best(similarity[:, 1:])
    nearest = np.take_along_axis(filled, first.cpu().numpy(), axis=1)
    real = rows[:, 1:] >= 0
    return rows[:, 1:][real], nearest[real]


def _compare_large(units: Take, rows: np.ndarray, block: int, device: str) -> np.ndarray:
    """Find the most similar earlier row in one cluster: panels of `block` rows against wider runs of columns."""
    wide = _RUN * block
    top, nearest = np.full(len(rows), -np.inf, dtype=np.float32), np.full(len(rows), -1, dtype=np.int64)
    for left in range(0, len(rows), wide):
        run = rows[left : left + wide]
        columns = units(run)

        def compare(panel: slice, left: int = left, columns: torch.Tensor = columns) -> list[np.ndarray]:
            x = columns[panel.start - left : panel.stop - left]
            if panel.start >= left + wide:
                x = units(rows[panel])
            similarity = x @ columns[: panel.stop - left].T
            if panel.start < left + wide:
                _hide_later(similarity[:, panel.start - left :])
            return [t.cpu().numpy() for t in _earliest_best(similarity)]

        panels = [slice(at, min(at + block, len(rows))) for at in range(left, len(rows), block)]
        for panel, (here, first) in zip(panels, map_blocks(compare, panels, device), strict=True):
            better = here > top[panel] + _TIE  # else an earlier run of columns holds as good a one
            top[panel] = np.where(better, here, top[panel])
            nearest[panel] = np.where(better, left + first, nearest[panel])
    return np.where(nearest < 0, -1, rows[nearest])


def _hide_later(square: torch.Tensor) -> None:
    """Set the diagonal and what is above it to -inf, in place: a row sees only the rows before it."""
    size = square.shape[-1]
    later = torch.ones(size, size, dtype=torch.bool, device=square.device).triu_()
    square.masked_fill_(later, float("-inf"))


def _earliest_best(similarity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's maximum and the first column that reaches it within rounding."""
    top = similarity.amax(-1, keepdim=True)
    columns = torch.arange(similarity.shape[-1], dtype=torch.int32, device=similarity.device)
    beyond = columns.new_tensor(similarity.shape[-1] - 1)
    first = torch.where(similarity >= top - _TIE, columns, beyond).amin(-1)
    return top[..., 0], first.long()


def _scores(take: Take, squares: np.ndarray, dim: int, best: np.ndarray, device: str) -> np.ndarray:
    """Minus the exact cosine similarity of each row to the row `best`; 1.0 where there is none."""
    score = np.full(len(best), _FIRST)
    later = np.flatnonzero(best >= 0)

    def cosine(place: range) -> np.ndarray:
        rows = later[place.start : place.stop]
        exact = dot64(take(rows), take(best[rows]))
        lengths = torch.from_numpy(squares[rows] * squares[best[rows]]).to(device).sqrt()
        return (exact / lengths).clamp_(-1, 1).cpu().numpy()

    blocks = blocks_of(len(later), _exact_rows(dim, device))
    for place, similarity in zip(blocks, map_blocks(cosine, blocks, device), strict=True):
        score[later[place.start : place.stop]] = -similarity
    return score
