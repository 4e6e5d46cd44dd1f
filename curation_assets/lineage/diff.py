"""Which documents came and went between two subsets: versions of one, or two samplers' choices.

A document is its hash, of id and text: one that has moved to another file is kept, one whose text has changed went and came. The two
are compared shard by shard; held of both are the rows of one shard, and 8 bytes for each document that differs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.common.files import write_batches
from curation_assets.common.markdown import number, text_table
from curation_assets.common.progress import Progress, silent
from curation_assets.common.terminal import wrapped
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.reading import source_field
from curation_assets.engine.reasons import short
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.stored import open_file, open_parquet
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage.subset_behind import kept_versions, version_of
from curation_assets.lineage.texts import Document, documents_of, pick, to_lines
from curation_assets.lineage.trace import checked_step
from curation_assets.selection.candidates import SUBSET_SCHEMA
from curation_assets.selection.output import free_place, new_folder
from curation_assets.selection.subset_rows import rows_by_shard

Hashes = NDArray[np.uint64]
_NO_SOURCE = "no source"
_MOST_SOURCES = 100_000  # told apart; the rarest are summed up beyond that
_OTHERS = "all others"
_ROWS = 10  # of a table in a terminal


@dataclass(frozen=True)
class Side:
    """One of two subsets that are compared; `current` tells whether it is what its readers read now."""

    key: str
    partition: str
    version: str
    created: float
    current: bool
    technique: str
    threshold: float | None
    documents: int
    tokens: int


@dataclass(frozen=True)
class Difference:
    """What came into a subset and what went, against another.

    Attributes
    ----------
    kept : documents that both have; `moved` of these are in another file, or have another row's shard.
    came, went : documents that the second has alone, and the first; their tokens.
    by_shard : {shard: (came, went)} of those where something differs.
    by_source : {source: (came, went)}, of several sources their names, else the field `source`; {} where there is neither.
    examples_came, examples_went : some of each, drawn by the noise of their hashes.
    """

    before: Side
    after: Side
    kept: int
    moved: int
    came: int
    went: int
    came_tokens: int
    went_tokens: int
    by_shard: dict[str, tuple[int, int]]
    by_source: dict[str, tuple[int, int]]
    examples_came: tuple[Document, ...]
    examples_went: tuple[Document, ...]


def two_subsets(workspace: Workspace, key: str, partition: str, others: list[str]) -> tuple[Receipt, Receipt]:
    """Return the receipts that are to be compared, the earlier first.

    `others` are none (the current version against the one that it replaced), one version (against the current one), two versions,
    or the key of another sampler's subset (its choice at the same partition comes second).

    Raises
    ------
    ValueError
        A key that is no subset's; a version or a replaced one that is not there (any more).
    """
    versions = Versions(workspace)
    other = [name for name in others if "/" in name]
    for name in (key, *other):
        if not name.endswith("/subset"):
            raise ValueError(f"{name} is no subset: name SAMPLER/subset")
        checked_step(versions, name, partition)
    if len(others) > 2 or (other and len(others) > 1):
        raise ValueError(
            f"compare with one version, two versions or one other subset, not with {' '.join(others)}"
        )
    current = workspace.artifact(key, partition)
    if other:
        return current, workspace.artifact(other[0], partition)
    if others:
        found = [version_of(workspace, key, partition, version) for version in others]
        return (found[0], found[1] if len(found) > 1 else current)
    if (before := replaced(workspace, current)) is None:
        raise ValueError(
            f"{title(key, partition)} has replaced nothing that is still there: what is replaced stays until the next time and until "
            "`curation gc`; name another sampler's subset to compare it with"
        )
    return before, current


def replaced(workspace: Workspace, receipt: Receipt) -> Receipt | None:
    """Return the version that an artifact took the place of; None where there is none, or its files are gone."""
    there = kept_versions(workspace, receipt.key, receipt.partition)
    return next(
        (one for one in there if one.created < receipt.created and one.version != receipt.version), None
    )


def count_changes(workspace: Workspace, before: Receipt, after: Receipt) -> tuple[int, int]:
    """Return how many documents of a subset came and went against another."""
    came, went, _ = _hashes(workspace, before, after, silent)
    return len(came), len(went)


def diff(
    workspace: Workspace,
    before: Receipt,
    after: Receipt,
    texts: int = 5,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> Difference:
    """Compare two subsets, and show some of the documents that differ; with a `folder`, write all of them to tables in it.

    Raises
    ------
    ValueError
        The folder is not empty.
    """
    place = free_place(folder) if folder else None
    came, went, moved = _hashes(workspace, before, after, progress)
    first, second = _side(workspace, before), _side(workspace, after)
    sides = {"came": (after, came), "went": (before, went)}
    if place:
        with new_folder(place) as draft:
            for name, (receipt, own) in sides.items():
                write_batches(draft / f"{name}.parquet", _rows(workspace, receipt, own), SUBSET_SCHEMA)
    rows = (
        [pick(_rows(workspace, receipt, own), "random", texts) for receipt, own in sides.values()]
        if texts
        else []
    )
    examples = [tuple(documents_of(workspace, one)) for one in rows] or [(), ()]
    new, old = (_counted(workspace, receipt, own) for receipt, own in sides.values())
    by_source = _beside(new.sources, old.sources)
    return Difference(
        first,
        second,
        second.documents - len(came),
        moved,
        len(came),
        len(went),
        new.tokens,
        old.tokens,
        dict(sorted(_beside(new.shards, old.shards).items())),
        {} if set(by_source) <= {_NO_SOURCE} else by_source,
        *examples,
    )


def _hashes(
    workspace: Workspace, before: Receipt, after: Receipt, progress: Progress
) -> tuple[Hashes, Hashes, int]:
    """Return the hashes of what came and of what went, rising, and how many documents are in both, but of other shards."""
    came, went = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    with ExitStack() as stack:
        read = [stack.enter_context(_shards(workspace, receipt, ["doc_hash"])) for receipt in (before, after)]
        held = [next(rows, None) for rows in read]
        names = sorted({*_counts(workspace, before), *_counts(workspace, after)})
        for done, shard in enumerate(names, 1):
            own = []
            for i, rows in enumerate(read):
                piece = held[i]
                here = piece is not None and piece[0] == shard
                own.append(piece[1]["doc_hash"].to_numpy() if here and piece else np.zeros(0, np.uint64))
                held[i] = next(rows, None) if here else piece
            old, new = map(np.sort, own)
            went.append(old[~_among(old, new)])
            came.append(new[~_among(new, old)])
            progress(done, len(names), "shards", "comparing")
    new, old = np.sort(np.concatenate(came)), np.sort(np.concatenate(went))
    moved = _among(new, old)
    return new[~moved], old[~_among(old, new)], int(moved.sum())


@contextmanager
def _shards(
    workspace: Workspace, receipt: Receipt, columns: list[str]
) -> Iterator[Iterator[tuple[str, pa.Table]]]:
    with open_parquet(workspace, receipt, "subset.parquet") as file:
        yield rows_by_shard(file, _counts(workspace, receipt), columns)


def _counts(workspace: Workspace, receipt: Receipt) -> dict[str, int]:
    return {shard: one["documents"] for shard, one in _manifest(workspace, receipt)["by_shard"].items()}


def _manifest(workspace: Workspace, receipt: Receipt) -> dict[str, Any]:
    with open_file(workspace, receipt, "manifest.json") as file:
        manifest: dict[str, Any] = json.load(file)
    return manifest


def _side(workspace: Workspace, receipt: Receipt) -> Side:
    manifest, now = _manifest(workspace, receipt), workspace.receipt(receipt.key, receipt.partition)
    about = (manifest[name] for name in ("technique", "threshold", "documents", "tokens"))
    current = now is not None and now.version == receipt.version
    return Side(receipt.key, receipt.partition, receipt.version, receipt.created, current, *about)


def _rows(workspace: Workspace, receipt: Receipt, hashes: Hashes) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a subset that have some hashes (rising)."""
    with _shards(workspace, receipt, SUBSET_SCHEMA.names) as shards:
        for _, rows in shards:
            yield from rows.filter(pa.array(_among(rows["doc_hash"].to_numpy(), hashes))).to_batches()


@dataclass
class _Counted:
    """Documents that differ, counted."""

    tokens: int = 0
    shards: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)


def _counted(workspace: Workspace, receipt: Receipt, hashes: Hashes) -> _Counted:
    """Count the rows of a subset that have some hashes."""
    counted = _Counted()
    with _shards(workspace, receipt, ["doc_hash", "n_tokens"]) as shards:
        for shard, rows in shards:
            own = rows["doc_hash"].to_numpy()
            if not (among := _among(own, hashes)).any():
                continue
            counted.shards[shard] = int(among.sum())
            counted.tokens += int(rows["n_tokens"].to_numpy()[among].sum())
            counted.sources.update(_sources(workspace, shard, np.sort(own[among])))
            if len(counted.sources) > _MOST_SOURCES:
                frequent = Counter(dict(counted.sources.most_common(_MOST_SOURCES // 2)))
                frequent[_OTHERS] += counted.sources.total() - frequent.total()
                counted.sources = frequent
    return counted


def _sources(workspace: Workspace, shard: str, hashes: Hashes) -> Counter[str]:
    """Count the sources of some documents of a shard (hashes that rise), as its documents say now or said before."""
    sources: Counter[str] = Counter()
    for receipt in kept_versions(workspace, "corpus/documents", shard):
        with open_parquet(workspace, receipt, "documents.parquet") as file:
            if (source := source_field(file.schema_arrow)) is None:
                break
            rows = file.read(columns=["doc_hash", source])
        held, first = np.unique(rows["doc_hash"].to_numpy(), return_index=True)
        known = _among(held, hashes)
        values = rows[source].take(pa.array(first[known])).cast(pa.string()).fill_null(_NO_SOURCE)
        sources.update({one["values"]: one["counts"] for one in pc.value_counts(values).to_pylist()})
        hashes = np.setdiff1d(hashes, held[known], assume_unique=True)
        if not len(hashes):
            break
    sources[_NO_SOURCE] += len(hashes)
    return +sources


def _beside(one: Counter[str], other: Counter[str]) -> dict[str, tuple[int, int]]:
    """Return {name: (count of one, count of the other)}, the largest sums first."""
    return {name: (one[name], other[name]) for name, _ in (one + other).most_common()}


def _among(values: Hashes, hashes: Hashes) -> NDArray[np.bool_]:
    """Tell which values are among hashes that rise."""
    if not len(hashes):
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(hashes, values), len(hashes) - 1)
    return np.asarray(hashes[places] == values)


def to_text(difference: Difference) -> str:
    """Render a difference for a terminal."""
    return "\n".join(_lines(difference))


def _lines(d: Difference) -> Iterator[str]:
    for word, side in (("from", d.before), ("to", d.after)):
        cut = (
            "nothing is kept"
            if side.threshold is None
            else f"threshold {number(side.threshold)} ({side.technique})"
        )
        now = "" if side.current else ", replaced since"
        yield from wrapped(
            f"{word} {title(side.key, side.partition)}, version {short(side.version)}{now}: {side.documents:,} documents, "
            f"{side.tokens:,} tokens, {cut}"
        )
    moved = f", {d.moved:,} of them moved to another file" if d.moved else ""
    yield from wrapped(
        f"+{d.came:,} documents ({d.came_tokens:,} tokens), -{d.went:,} ({d.went_tokens:,} tokens); {d.kept:,} are in both{moved}"
    )
    shards = {visible(decoded(shard)): counts for shard, counts in d.by_shard.items()}
    for name, counts in (("source", d.by_source), ("file", shards)):
        if counts:
            largest = sorted(counts.items(), key=lambda one: -sum(one[1]))
            rows = [{name: part, "came": came, "went": went} for part, (came, went) in largest]
            yield from ("", text_table(rows, limit=_ROWS))
    for word, documents, of in (("came", d.examples_came, d.came), ("went", d.examples_went, d.went)):
        if documents:
            yield from ("", f"{len(documents):,} of the {of:,} that {word}:", *to_lines(documents))
