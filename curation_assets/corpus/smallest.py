"""Documents chosen by their hashes, of the whole corpus: the smallest are found in one column, then read where they lie.

Nothing but that column is read of the documents that are not chosen, and memory is of those that are: whatever the number
of documents, and the same for any layout of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.common.files import rows_of
from curation_assets.common.progress import Progress, silent
from curation_assets.corpus.reading import open_hashes, open_table
from curation_assets.engine.artifacts import Artifacts

Order = Callable[[NDArray[np.uint64]], NDArray[Any]]
"""Gives of hashes what documents are ordered by; equal ones by hash."""

_SPARE = 1 << 16  # documents looked at before those beyond the limit are dropped


@dataclass
class Smallest:
    """The `limit` documents that come first, of those added so far; all of them, where `limit` is 0.

    Attributes
    ----------
    once : of equal hashes take the first alone.
    order : what they are ordered by, instead of the hash.
    """

    limit: int
    once: bool = False
    order: Order = field(default=lambda hashes: hashes)

    def __post_init__(self) -> None:
        """Begin with none."""
        self.hashes, self.shards, self.rows = (
            np.zeros(0, np.uint64),
            np.zeros(0, np.int32),
            np.zeros(0, np.int64),
        )
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count, self._last = 0, None

    def add(self, shard: int, hashes: NDArray[np.uint64]) -> None:
        """Look at the documents of a shard, given by its number."""
        rows = np.arange(len(hashes))
        if self._last is not None:
            rows = np.flatnonzero(self.order(hashes) <= self._last)
        self._waiting.append((hashes[rows], np.full(len(rows), shard, np.int32), rows))
        self._count += len(rows)
        if self.limit and self._count > self.limit + _SPARE:
            self.settle()

    def settle(self) -> Smallest:
        """Drop what is not among them, and put them in order: afterwards `hashes`, `shards` and `rows` are theirs."""
        parts = [(self.hashes, self.shards, self.rows), *self._waiting]
        hashes, shards, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        value = self.order(hashes)
        chosen = np.lexsort((rows, shards, hashes, value))
        if self.once:
            ordered = hashes[chosen]
            chosen = chosen[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(chosen) else chosen
        if self.limit and len(chosen) >= self.limit:
            chosen = chosen[: self.limit]
            self._last = value[chosen[-1]]
        self.hashes, self.shards, self.rows = hashes[chosen], shards[chosen], rows[chosen]
        self._waiting, self._count = [], 0
        return self


def find_smallest(
    workspace: Artifacts,
    limit: int,
    *,
    once: bool = False,
    order: Order | None = None,
    name: str = "documents",
    progress: Progress = silent,
) -> Smallest:
    """Return which documents of the corpus come first, or of its held-out ones (`name` "validation")."""
    found = Smallest(limit, once, **({"order": order} if order else {}))
    shards = workspace.shards()
    for number, shard in enumerate(shards):
        found.add(number, open_hashes(workspace, shard, name))
        progress(number + 1, len(shards), "shards", "choosing documents")
    return found.settle()


def read_chosen(
    workspace: Artifacts, chosen: Smallest, columns: list[str] | None, name: str = "documents"
) -> pa.Table:
    """Return these documents, in their order; of the rest no more is read than the row groups that they lie in."""
    shards, by_place = workspace.shards(), np.lexsort((chosen.rows, chosen.shards))
    numbers = chosen.shards[by_place]
    ends = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), len(numbers)]
    tables = [
        _rows(workspace, shards[numbers[first]], name, columns, chosen.rows[by_place[first:last]])
        for first, last in pairwise(ends)
    ]
    if not tables:
        return _rows(workspace, shards[0], name, columns, by_place) if shards else pa.table({})
    place = np.empty_like(by_place)
    place[by_place] = np.arange(len(by_place))
    return pa.concat_tables(tables, promote_options="permissive").take(pa.array(place))


def _rows(
    workspace: Artifacts, shard: str, name: str, columns: list[str] | None, rows: np.ndarray
) -> pa.Table:
    """Return some rows of a shard's table; `rows` rise."""
    with open_table(workspace, shard, name) as source:
        tables = [source.schema_arrow.empty_table().select(columns or source.schema_arrow.names)]
        for start, stop in _row_groups(source.metadata):
            inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            if len(inside):
                tables.append(rows_of(source, columns, slice(start, stop)).take(pa.array(inside - start)))
        return pa.concat_tables(tables)


def _row_groups(about: Any) -> Iterator[tuple[int, int]]:
    """Yield (first row, row after the last) of each row group."""
    yield from pairwise(
        np.cumsum([0, *(about.row_group(i).num_rows for i in range(about.num_row_groups))]).tolist()
    )
