"""Strata: parts of the corpus within each of which a selection keeps its rate (`select.quota`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.config.settings import CLUSTER, SOURCE_NAME

if TYPE_CHECKING:
    from curation_assets.engine.artifacts import Artifacts

MOST = 1 << 16
"""Strata that there may be: their cuts are looked for together, in memory that grows with their number."""

_BATCH = 1 << 16


@dataclass(frozen=True)
class Strata:
    """The parts of the corpus by the value of a field, or by cluster; documents without a value are a part of their own.

    Attributes
    ----------
    within : the field, or "cluster".
    names : the value of each part, sorted; None, at the end, where documents have none.
    weights : of each part, where a selection has given shares of them: of the sources that have weights.
    """

    workspace: Artifacts
    within: str
    names: Sequence[str | None]
    weights: Sequence[float] = ()

    def of(self, shard: str) -> NDArray[np.int32]:
        """Return the number of the part that each document of a shard is in, int32 [n]."""
        if self.within == CLUSTER:
            return np.load(self.workspace.open("clusters/assignments", shard) / "clusters.npy")
        known = pa.array(self.names, pa.string())
        batches = _values(self.workspace, shard, self.within)
        codes = [pc.index_in(values, value_set=known) for values in batches]
        if any(some.null_count for some in codes):
            raise ValueError(
                f"{shard} has documents of a source that corpus.sources does not name: run the graph first"
            )
        return np.concatenate([np.zeros(0, np.int32), *(some.to_numpy() for some in codes)])


def strata_of(workspace: Artifacts, within: str, shards: Sequence[str]) -> Strata:
    """Look which parts there are.

    Raises
    ------
    ValueError
        Documents of a shard have no such field, or it has more than `MOST` values.
    """
    if within == CLUSTER:
        arrays = (
            np.load(workspace.open("clusters/assignments", s) / "clusters.npy", mmap_mode="r") for s in shards
        )
        count = 1 + max((int(clusters.max(initial=-1)) for clusters in arrays), default=-1)
        _check_count(count, "there are", "clusters")
        return Strata(workspace, within, [str(number) for number in range(count)])
    weights = workspace.profile.corpus.weights if within == SOURCE_NAME else {}
    if weights:
        names = sorted(weights)
        return Strata(workspace, within, names, [weights[name] for name in names])
    values: set[str | None] = set()
    for shard in shards:
        for batch in _values(workspace, shard, within):
            values.update(pc.unique(batch).to_pylist())
            _check_count(len(values), f"the field {within!r} has", "values")
    named: list[str | None] = [*sorted(value for value in values if value is not None)]
    return Strata(workspace, within, named + [None] * (None in values))


def _check_count(count: int, there: str, what: str) -> None:
    if count > MOST:
        raise ValueError(f"selection.within: {there} more than {MOST:,} {what}: choose a field with fewer")


def _values(workspace: Artifacts, shard: str, name: str) -> Iterator[pa.Array]:
    """Yield a field of a shard's documents, some at a time."""
    with workspace.open_parquet("corpus/documents", shard, "documents.parquet") as table:
        if name not in table.schema_arrow.names:
            raise ValueError(f"{shard}: documents have no field {name!r}; run corpus/documents again")
        yield from (batch[name] for batch in table.iter_batches(_BATCH, columns=[name]))
