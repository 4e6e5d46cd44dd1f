"""How the documents to read are found in the scores that there are, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.report.correlation import HashSample
from curation_assets.report.documents import Counts, Found, Ranks, alone, apart, lists, merge
from curation_assets.report.documents_view import CUT, LISTED, section
from curation_assets.report.scored import Corpus, scored
from curation_assets.report.section import publish

_PASSES = 4  # over all scores
_OWN = (
    "doc_id",
    "doc_hash",
    "text",
    "n_chars",
    "row",
)  # columns of the documents table that are no kept fields
_FILE = "documents.parquet"
_COLUMNS: dict[str, Any] = {
    "samplers": pl.List(pl.String),
    "list": pl.String,
    "rank": pl.Int64,
    "doc_id": pl.String,
    "doc_hash": pl.UInt64,
    "shard": pl.String,
    "position": pl.Int64,
    "row": pl.Int64,
    "source": pl.String,
    "n_chars": pl.Int64,
    "text": pl.String,
}  # and a score and a percentile of each sampler


def documents(workspace: Context) -> BuildOne:
    """Find the documents that samplers like most and least, and disagree on: `documents.parquet` and the section."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = workspace.shards()
        names = scored(workspace, shards, "there are no documents to show")
        corpus = Corpus(workspace, shards, names, progress, _PASSES)
        sample = corpus.sample()
        found = _lists(corpus, sample)
        table = _table(corpus, found)
        table.write_parquet(folder / _FILE)
        missing = [name for name in SAMPLERS if name not in names]
        sampled = min(sample.seen, sample.limit)
        return {
            "documents": sample.seen,
            "shown": table["doc_hash"].n_unique(),
            "lists": len(found),
            "not_current": ", ".join(missing) or "none",
            **publish(folder, section(table, names, missing, sample.seen, sampled)),
        }

    return build


def _lists(corpus: Corpus, sample: HashSample) -> dict[tuple[tuple[str, ...], str], Found]:
    """Return {(samplers, side): documents} of all lists, in the order of `lists`."""
    names, sampled = corpus.names, sample.scores()
    ranks = Ranks(names, np.stack([sampled[name] for name in names]))
    found = apart(names, iter(corpus), ranks, LISTED) | alone(names, iter(corpus), LISTED)
    return {at: found[at] for at in lists(names) if found[at].row.size}


def _table(corpus: Corpus, found: dict[tuple[tuple[str, ...], str], Found]) -> pl.DataFrame:
    """Return one row for each line of each list, with all digits; none where uniform sampling is alone, which has no list."""
    names, rows = corpus.names, []
    if found:
        entries, shown = merge(found)
        counts = Counts(names, shown.scores)
        for one in corpus:
            counts.add(one)
        percentiles, about = counts.percentiles(), _about(corpus.workspace, corpus.shards, shown)
        fields = [name for name in about[0] if name not in _OWN]
        for entry in entries:
            i, told = entry.document, about[entry.document]
            kept = [str(told[name]) for name in fields if told[name] is not None]
            place = (corpus.shards[shown.shard[i]], int(shown.row[i]), told["row"])
            document = (", ".join(kept), told["n_chars"], told["text"][:CUT])
            numbers = (*shown.scores[:, i].tolist(), *percentiles[:, i].tolist())
            rows.append((*entry[:3], told["doc_id"], int(shown.doc_hash[i]), *place, *document, *numbers))
    of_samplers = {f"{kind}_{name}": pl.Float64 for kind in ("score", "percentile") for name in names}
    return pl.DataFrame(rows, schema=_COLUMNS | of_samplers, orient="row")


def _about(workspace: Context, shards: list[str], shown: Found) -> list[dict[str, Any]]:
    """Return the rows of the documents tables of the documents shown, in their order; other row groups are not read."""
    found: list[dict[str, Any]] = [{} for _ in shown.row]
    for number in np.unique(shown.shard):
        mine = np.flatnonzero(shown.shard == number)
        with pq.ParquetFile(open_documents(workspace, shards[number])) as source:
            sizes = [source.metadata.row_group(g).num_rows for g in range(source.metadata.num_row_groups)]
            ends = np.cumsum(sizes)
            groups = np.searchsorted(ends, shown.row[mine], side="right")
            for group in np.unique(groups):
                here = mine[groups == group]
                rows = shown.row[here] - (ends[group] - sizes[group])
                for i, row in zip(here, source.read_row_group(group).take(rows).to_pylist(), strict=True):
                    found[i] = row
    return found
