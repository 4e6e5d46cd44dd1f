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

from curation_assets.common.files import parquet_file, read_batches, read_json
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
from curation_assets.selection.candidates import token_counts
from curation_assets.selection.subset_rows import rows_by_shard

_ROOM = (
    2000  # sources held while the frequent ones are looked for: all with more than 0.05 % of the documents
)
_BATCH = 16_384
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
                tokens = token_counts(self._workspace, shard)
                numbers = self._numbers(shard, tokens, sources)
                free = np.delete(np.arange(len(tokens)), self._left_out.get(shard, NO_ROWS))
                corpus.add(tokens[free], {name: x[free] for name, x in numbers.items()})
                tables = {key: next(rows[key]) for key in made}
                chosen = {key: table["row"].to_numpy() for key, table in tables.items()}
                overlaps.add(len(tokens), chosen)
                for key, table in tables.items():
                    drawn.add(
                        at, key, chosen[key], *(table[name].to_numpy() for name in ("doc_hash", "score"))
                    )
                for key, tally in choices.items():
                    own = chosen[key]
                    tally.add(tokens[own], {name: x[own] for name, x in numbers.items()})
                self._tell()
        return corpus, choices, overlaps, drawn

    def _numbers(self, shard: str, tokens: Ints, sources: list[str | None]) -> dict[str, Ints]:
        """Return for each division the part that each document of a shard is in [n]."""
        result = {"length": compute.length_bins(tokens)}
        if sources:
            path = open_documents(self._workspace, shard)
            field = source_field(pq.read_schema(path))
            column = pq.read_table(path, columns=[field])[field]
            place = pc.index_in(column, pa.array(sources, pa.string())).fill_null(len(sources))
            result["source"] = place.to_numpy().astype(np.int64)
        if self.clustered:
            result["cluster"] = np.load(self._workspace.open(_CLUSTERS, shard) / "clusters.npy").astype(
                np.int64
            )
        for name, x in result.items():
            if len(x) != len(tokens):
                raise ValueError(
                    f"{shard} has {len(tokens):,} documents, but {name} of {len(x):,}: run the graph first"
                )
        return result

    def _tell(self) -> None:
        self._done += 1
        self._progress(self._done, 2 * len(self._shards), "shards")


@contextmanager
def _rows(context: Context, key: compute.Key, shards: list[str]) -> Iterator[Iterator[pa.Table]]:
    """Open a subset; give for one shard after another what the subset has of it: rows of its documents table, hashes, scores.

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
        yield (rows for _, rows in rows_by_shard(source, counts, ["row", "doc_hash", "score"]))
