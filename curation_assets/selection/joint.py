"""The last pass of a selection: what one or several samplers keep of each shard, and how much that is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from curation_assets.common.files import rows_of
from curation_assets.common.progress import Progress
from curation_assets.engine.stored import open_parquet
from curation_assets.engine.workspace import Workspace
from curation_assets.selection.candidates import SUBSET_SCHEMA, Candidates, Draw, token_ends, tokens_at
from curation_assets.selection.threshold import Threshold

_ROW_GROUP = 1 << 20  # rows of a subset that Parquet keeps together, as `pq.write_table` does


@dataclass(frozen=True)
class Drawn:
    """What one sampler keeps; `threshold` is the lowest key of it, None where it keeps nothing."""

    sampler: str
    technique: str
    documents: int
    tokens: int
    threshold: float | None


@dataclass(frozen=True)
class Overlap:
    """Documents that all of some samplers keep, and how many that would be if they chose independently of each other."""

    samplers: tuple[str, ...]
    documents: int
    expected: float


@dataclass
class JointSelection:
    """The last pass: what stays, and how much that is; `check` may refuse the candidates of a shard."""

    draws: list[Draw]
    cuts: list[Threshold]
    combine: str
    progress: Progress
    check: Callable[[list[Draw], list[Candidates]], object] = lambda draws, candidates: None
    by_shard: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start all counts at nothing."""
        count = len(self.draws)
        self.schema = SUBSET_SCHEMA if count == 1 else joint_schema([d.sampler for d in self.draws])
        self._documents, self._tokens = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._lowest = np.full(count, np.inf)
        several = [*itertools.combinations(range(count), 2), *([tuple(range(count))] if count > 2 else [])]
        self._shared: dict[tuple[int, ...], int] = dict.fromkeys(several, 0)

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Yield what is kept of each shard, in order, at most `_ROW_GROUP` documents at a time, and count it."""
        workspace, shards = self.draws[0].workspace, self.draws[0].shards
        for number, shard in enumerate(shards, 1):
            self.by_shard[shard] = {"documents": 0, "tokens": 0}
            ends = token_ends(workspace, shard)
            yield from _row_groups(
                (self._choose(blocks, ends) for blocks in self._blocks(shard)), self.schema
            )
            self.progress(number, len(shards), "shards", "choosing")

    def _blocks(self, shard: str) -> Iterator[list[Candidates]]:
        """Yield the same documents of a shard of every draw, some at a time."""
        for blocks in zip(*(draw.shard(shard, named=True) for draw in self.draws), strict=True):
            self.check(self.draws, list(blocks))
            yield list(blocks)

    def _choose(self, candidates: list[Candidates], ends: np.ndarray) -> pa.RecordBatch:
        """Return what is kept of some documents of a shard, and count it."""
        keeps = np.stack([one.keep(cut) for cut, one in zip(self.cuts, candidates, strict=True)])
        join = np.logical_and if self.combine == "intersection" else np.logical_or
        keep, tokens = join.reduce(keeps), tokens_at(ends, candidates[0].rows)
        self._count(candidates, keeps, tokens)
        counted = self.by_shard[candidates[0].shard]
        counted["documents"] += int(keep.sum())
        counted["tokens"] += int(tokens[keep].sum())
        return _batch(self.draws, candidates, tokens, keep, self.schema)

    def _count(self, candidates: list[Candidates], keeps: np.ndarray, tokens: np.ndarray) -> None:
        self._documents += keeps.sum(axis=1)
        self._tokens += keeps @ tokens
        for i, (one, keep) in enumerate(zip(candidates, keeps, strict=True)):
            self._lowest[i] = min(self._lowest[i], one.keys[keep].min(initial=np.inf))
        for members in self._shared:
            self._shared[members] += int(keeps[list(members)].all(axis=0).sum())

    def summary(self, n: int) -> tuple[tuple[Drawn, ...], tuple[Overlap, ...], int, int]:
        """Return what each sampler keeps of `n` documents, their overlaps, and documents and tokens kept in the end."""
        names = [draw.sampler for draw in self.draws]
        drawn = tuple(
            Drawn(draw.sampler, draw.technique, int(d), int(t), float(low) if d else None)
            for draw, d, t, low in zip(self.draws, self._documents, self._tokens, self._lowest, strict=True)
        )
        overlaps = tuple(
            Overlap(
                tuple(names[i] for i in members),
                shared,
                float(np.prod([self._documents[i] / n for i in members]) * n) if n else 0.0,
            )
            for members, shared in self._shared.items()
        )
        kept = [sum(counts[unit] for counts in self.by_shard.values()) for unit in ("documents", "tokens")]
        return drawn, overlaps, kept[0], kept[1]


def joint_schema(samplers: Sequence[str]) -> pa.Schema:
    """Return the columns of what several samplers choose together: the score and key of each, kept by it or not."""
    columns = [("doc_id", pa.string()), ("shard", pa.string()), ("row", pa.int64()), ("n_tokens", pa.int64())]
    of_each = [(f"{name}_{what}", pa.float64()) for name in samplers for what in ("score", "key")]
    return pa.schema([*columns, *of_each, ("doc_hash", pa.uint64()), ("source_row", pa.int64())])


def _batch(
    draws: list[Draw], candidates: list[Candidates], tokens: np.ndarray, keep: np.ndarray, schema: pa.Schema
) -> pa.RecordBatch:
    """Return the kept documents of a shard, with the columns of the schema."""
    first = candidates[0]
    assert first.doc_ids is not None
    assert first.source_rows is not None
    columns = {
        "doc_id": first.doc_ids.filter(pa.array(keep)),
        "shard": pa.repeat(first.shard, int(keep.sum())),
        "row": first.rows[keep],
        "n_tokens": tokens[keep],
        "doc_hash": first.doc_hash[keep],
        "source_row": first.source_rows[keep],
    }
    for draw, one in zip(draws, candidates, strict=True):
        prefix = f"{draw.sampler}_" if len(draws) > 1 else ""
        columns |= {f"{prefix}score": one.scores[keep], f"{prefix}key": one.keys[keep]}
    return pa.RecordBatch.from_arrays([pa.array(columns[c.name], c.type) for c in schema], schema=schema)


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield a shard's rows as row groups: `_ROW_GROUP` rows each, and one of those that are left, even if they are none."""
    waiting: list[list[pa.Array]] = [[pa.array([], column.type)] for column in schema]
    rows = groups = 0
    for batch in batches:
        while rows + len(batch) >= _ROW_GROUP:
            _append(waiting, batch.slice(0, _ROW_GROUP - rows))
            batch, rows, groups = batch.slice(_ROW_GROUP - rows), 0, groups + 1
            yield _joined(waiting, schema)
        _append(waiting, batch)
        rows += len(batch)
    if rows or not groups:
        yield _joined(waiting, schema)


def _append(waiting: list[list[pa.Array]], batch: pa.RecordBatch) -> None:
    for arrays, column in zip(waiting, batch.columns, strict=True):
        arrays.append(column)


def _joined(waiting: list[list[pa.Array]], schema: pa.Schema) -> pa.RecordBatch:
    """Return what waits as one batch, and let go of it a column at a time: no more than one of them is held twice."""
    columns = []
    for arrays in waiting:
        columns.append(pa.concat_arrays(arrays))
        del arrays[1:]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def check_documents(workspace: Workspace, draws: list[Draw], candidates: list[Candidates]) -> None:
    """Refuse scores of a shard whose documents are not those of the shard as it is now."""
    shard, rows = candidates[0].shard, candidates[0].rows
    receipt = workspace.artifact("corpus/documents", shard)
    if not len(rows):
        return
    with open_parquet(workspace, receipt, "documents.parquet") as table:
        first = int(rows[0])
        hashes = rows_of(table, ["doc_hash"], slice(first, int(rows[-1]) + 1))["doc_hash"].to_numpy()
    for draw, one in zip(draws, candidates, strict=True):
        if len(hashes) <= rows[-1] - first or not np.array_equal(hashes[rows - first], one.doc_hash):
            raise other_documents(draw.sampler, shard)


def other_documents(sampler: str, shard: str) -> ValueError:
    """Return the error of scores that are not of a shard's documents."""
    return ValueError(
        f"{sampler}/scores[{shard}] is of other documents than corpus/documents[{shard}] holds: score it again"
    )
