"""How the report on what samplers keep is made of the subsets that there are, in two passes over the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.files import parquet_file, read_batches, read_json, rows_of
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import NO_ROWS, left_out, open_documents, source_field
from curation_assets.engine.context import Context, DeclaredVersions
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput, title
from curation_assets.report import composition as compute
from curation_assets.report import composition_view, overlap_view
from curation_assets.report.overlap import Overlaps
from curation_assets.report.section import publish
from curation_assets.report.strata import changes
from curation_assets.report.texts import Drawn
from curation_assets.selection.candidates import token_ends
from curation_assets.selection.subset_rows import SubsetRows

_ROOM = (
    2000  # sources held while the frequent ones are looked for: all with more than 0.05 % of the documents
)
_BATCH = 16_384
_BLOCK = 1 << 18  # documents counted together: those of every subset are held
_COLUMNS = ("row", "doc_hash", "score")
_CLUSTERS, _TOKENS, _INDEX = "clusters/assignments", "corpus/tokens", "corpus/index"
Ints = NDArray[np.int64]


def composition(context: Context) -> BuildOne:
    """Count what every current subset is made of: `source.parquet`, `length.parquet`, `clusters.parquet`, figures, the section."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards, versions = context.shards(), context.versions()
        if not shards or versions.stale(_TOKENS, shards) or not versions.current(_INDEX):
            raise MissingInput(
                "tokens or index of the corpus are missing or out of date: run the graph first"
            )
        made, state = subsets(versions, shards, context.partitions("rate"), context.profile.scorers)
        if not made:
            raise MissingInput("no sampler has a current subset: there is nothing to show")
        reader = _Reader(context, shards, clustered=not versions.stale(_CLUSTERS, shards), progress=progress)
        sources = reader.sources()
        corpus, choices, overlaps, drawn = reader.count(made, sources)
        tables = {}
        if sources:
            parts = compute.source_parts(corpus, sources)
            tables["source"] = compute.shares(corpus, choices, "source", parts)
        lengths = compute.joined_lengths(corpus.counts["length"])
        tables["length"] = compute.shares(corpus, choices, "length", lengths)
        if reader.clustered:
            tables["clusters"] = compute.spread(corpus, choices)
        within, strata = _strata(context, made)
        overlap = overlaps.table(corpus.documents)
        versions_of = {key: context.receipt(f"{key[0]}/subset", key[1]) for key in made}
        texts = drawn.table(context, shards, {key: one.version for key, one in versions_of.items() if one})
        for name, table in {
            **tables,
            "overlap": overlap,
            "texts": texts,
            **({"strata": strata} if within else {}),
        }.items():
            table.write_parquet(folder / f"{name}.parquet")
        rate = compute.main_rate([key[1] for key in made])
        section = composition_view.section(corpus.documents, tables, state, rate, within, strata, overlap)
        return {
            "documents": corpus.documents,
            "subsets": len(made),
            "not_current": f"{sum(value != 'current' for value in state.values())} of {len(state)}",
            **publish(
                folder,
                section,
                chain(composition_view.figures(tables, rate), overlap_view.figures(overlap, rate)),
            ),
        }

    return build


def subsets(
    versions: DeclaredVersions, shards: list[str], amounts: list[str], scorers: Callable[[str], list[str]]
) -> tuple[list[compute.Key], dict[compute.Key, str]]:
    """Return the subsets that are up to date with the documents as they are, and what each of all is: current, out of date, not made.

    `scorers` names the samplers whose scores a sampler's choice goes by.
    """
    state = {}
    for name in SAMPLERS:
        scored = not any(versions.stale(f"{one}/scores", shards) for one in scorers(name))
        for rate in amounts:
            there = versions.receipt(f"{name}/subset", rate) is not None
            current = there and scored and versions.current(f"{name}/subset", rate)
            state[name, rate] = "current" if current else "out of date" if there else "not made"
    return [key for key, value in state.items() if value == "current"], state


def _strata(context: Context, made: list[compute.Key]) -> tuple[str, pl.DataFrame]:
    """Return the field or clusters within which subsets keep their rate ("" for none), and what that changes of them."""
    within, tables = "", {}
    for key in made:
        folder = context.open(f"{key[0]}/subset", key[1])
        if (folder / "strata.parquet").exists():
            within = read_json(folder / "manifest.json")["within"]
            tables[key] = pl.read_parquet(folder / "strata.parquet")
    return within, changes(tables)


class _Reader:
    """The corpus shard by shard: sources, lengths and clusters of its documents, and which of them subsets have."""

    def __init__(self, context: Context, shards: list[str], *, clustered: bool, progress: Progress) -> None:
        self._workspace, self._shards, self.clustered, self._progress = context, shards, clustered, progress
        self._left_out = left_out(context)
        self._done = 0

    def sources(self) -> list[str | None]:
        """Return the frequent values of the field `source`, [] where documents have no such field or none has a value."""
        result = compute.Frequent(_ROOM)
        for shard in self._shards:
            path = open_documents(self._workspace, shard)
            if (field := source_field(pq.read_schema(path))) is None:
                self._done = len(self._shards)
                return []
            for batch in read_batches(path, [field], _BATCH):
                result.add(pl.Series(field, batch[field]))
            self._tell()
        values = result.values()
        return values if any(value is not None for value in values) else []

    def count(
        self, made: list[compute.Key], sources: list[str | None]
    ) -> tuple[compute.Tally, dict[compute.Key, compute.Tally], Overlaps, Drawn]:
        """Return the tallies of the corpus without what subsets may not have, and of each subset, and what subsets have in common; and some documents of each."""
        overlaps, drawn = Overlaps(made), Drawn(made)
        corpus, choices = compute.Tally(), {key: compute.Tally() for key in made}
        with ExitStack() as stack:
            rows = {key: stack.enter_context(_rows(self._workspace, key, self._shards)) for key in made}
            for at, shard in enumerate(self._shards):
                left_out = self._left_out.get(shard, NO_ROWS)
                left = {key: counts[shard] for key, (_, counts) in rows.items()}
                for start, tokens, numbers in self._blocks(shard, sources):
                    first, last = np.searchsorted(left_out, [start, start + len(tokens)])
                    free = np.delete(np.arange(len(tokens)), left_out[first:last] - start)
                    corpus.add(tokens[free], {name: x[free] for name, x in numbers.items()})
                    chosen = {}
                    for key, (subset, _) in rows.items():
                        table = subset.before(start + len(tokens), left[key])
                        left[key] -= len(table)
                        row, *about = (table[name].to_numpy() for name in _COLUMNS)
                        drawn.add(at, key, row, *about)
                        own = chosen[key] = row - start
                        choices[key].add(tokens[own], {name: x[own] for name, x in numbers.items()})
                    overlaps.add(len(tokens), chosen)
                self._tell()
        return corpus, choices, overlaps, drawn

    def _blocks(self, shard: str, sources: list[str | None]) -> Iterator[tuple[int, Ints, dict[str, Ints]]]:
        """Yield of some documents of a shard at a time the first row, their tokens, and for each division the part that each is in [n]."""
        ends, path = token_ends(self._workspace, shard), open_documents(self._workspace, shard)
        n = len(ends) - 1
        sizes, clusters = {"source": pq.read_metadata(path).num_rows if sources else n}, None
        if self.clustered:
            clusters = np.load(self._workspace.open(_CLUSTERS, shard) / "clusters.npy", mmap_mode="r")
            sizes["cluster"] = len(clusters)
        for name, size in sizes.items():
            if size != n:
                raise ValueError(f"{shard} has {n:,} documents, but {name} of {size:,}: run the graph first")
        with parquet_file(path) as documents:
            for start in range(0, max(n, 1), _BLOCK):
                rows = slice(start, min(start + _BLOCK, n))
                tokens = np.diff(ends[rows.start : rows.stop + 1])
                numbers = {"length": compute.length_bins(tokens)}
                if sources:
                    numbers["source"] = _places(documents, rows, sources)
                if clusters is not None:
                    numbers["cluster"] = clusters[rows].astype(np.int64)
                yield start, tokens, numbers

    def _tell(self) -> None:
        self._done += 1
        self._progress(self._done, 2 * len(self._shards), "shards")


def _places(documents: pq.ParquetFile, rows: slice, sources: list[str | None]) -> Ints:
    """Return the number of the source of each of some documents [n]: one more than the last for all others."""
    field = source_field(documents.schema_arrow)
    assert field is not None, "sources were found in every shard"
    column = rows_of(documents, [field], rows)[field]
    place = pc.index_in(column, pa.array(sources, pa.string())).fill_null(len(sources))
    return place.to_numpy().astype(np.int64)


@contextmanager
def _rows(
    context: Context, key: compute.Key, shards: list[str]
) -> Iterator[tuple[SubsetRows, dict[str, int]]]:
    """Open a subset; give its rows in the documents tables, hashes and scores, and how many it has of each shard.

    Raises
    ------
    ValueError
        The subset is not of these shards.
    """
    folder = context.open(f"{key[0]}/subset", key[1])
    counts = {s: one["documents"] for s, one in read_json(folder / "manifest.json")["by_shard"].items()}
    if list(counts) != shards:
        raise ValueError(
            f"{title(f'{key[0]}/subset', key[1])} is not of the shards as they are: run the graph first"
        )
    with parquet_file(folder / "subset.parquet") as source:
        yield SubsetRows(source, _COLUMNS), counts
