"""How the documents to read are picked by the scores that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.files import parquet_file
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.report.correlation import HashSample
from curation_assets.report.documents import Counts, Picked, Ranks, alone, apart, lists, merge
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


def documents(context: Context) -> BuildOne:
    """Find the documents that samplers like most and least, and disagree on: `documents.parquet` and the section."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = context.shards()
        names = scored(context, shards, "there are no documents to show")
        corpus = Corpus(context, shards, names, progress, _PASSES)
        sample = corpus.sample()
        picked = _lists(corpus, sample)
        table = _table(corpus, picked)
        table.write_parquet(folder / _FILE)
        missing = [name for name in SAMPLERS.scored if name not in names]
        sampled = min(sample.seen, sample.limit)
        return {
            "documents": sample.seen,
            "shown": table["doc_hash"].n_unique(),
            "lists": len(picked),
            "not_current": ", ".join(missing) or "none",
            **publish(folder, section(table, names, missing, sample.seen, sampled)),
        }

    return build


def _lists(corpus: Corpus, sample: HashSample) -> dict[tuple[tuple[str, ...], str], Picked]:
    """Return {(samplers, side): documents} of all lists, in the order of `lists`."""
    names, sampled = corpus.names, sample.scores()
    ranks = Ranks(names, np.stack([sampled[name] for name in names]))
    picked = apart(names, iter(corpus), ranks, LISTED) | alone(names, iter(corpus), LISTED)
    return {at: picked[at] for at in lists(names) if picked[at].row.size}


def _table(corpus: Corpus, picked: dict[tuple[tuple[str, ...], str], Picked]) -> pl.DataFrame:
    """Return one row for each line of each list, with all digits; none where uniform sampling is alone, which has no list."""
    names, rows = corpus.names, []
    if picked:
        entries, shown = merge(picked)
        counts = Counts(names, shown.scores)
        for one in corpus:
            counts.add(one)
        percentiles, about = counts.percentiles(), documents_at(corpus.workspace, corpus.shards, shown)
        for entry in entries:
            i, row = entry.document, about[entry.document]
            place = (corpus.shards[shown.shard[i]], int(shown.row[i]), row["row"])
            document = (kept_fields(row), row["n_chars"], row["text"][:CUT])
            numbers = (*shown.scores[:, i].tolist(), *percentiles[:, i].tolist())
            rows.append((*entry[:3], row["doc_id"], int(shown.doc_hash[i]), *place, *document, *numbers))
    of_samplers = {f"{kind}_{name}": pl.Float64 for kind in ("score", "percentile") for name in names}
    return pl.DataFrame(rows, schema=_COLUMNS | of_samplers, orient="row")


def documents_at(context: Context, shards: list[str], shown: Picked) -> list[dict[str, Any]]:
    """Return the rows of the documents tables of the documents shown, in their order; other row groups are not read."""
    picked: list[dict[str, Any]] = [{} for _ in shown.row]
    for number in np.unique(shown.shard):
        mine = np.flatnonzero(shown.shard == number)
        with parquet_file(open_documents(context, shards[number])) as source:
            sizes = [source.metadata.row_group(g).num_rows for g in range(source.metadata.num_row_groups)]
            ends = np.cumsum(sizes)
            groups = np.searchsorted(ends, shown.row[mine], side="right")
            for group in np.unique(groups):
                here = mine[groups == group]
                rows = shown.row[here] - (ends[group] - sizes[group])
                for i, row in zip(here, source.read_row_group(group).take(rows).to_pylist(), strict=True):
                    picked[i] = row
    return picked


def kept_fields(row: dict[str, Any]) -> str:
    """Return the kept fields of a row of the documents table, in words."""
    return ", ".join(str(value) for name, value in row.items() if name not in _OWN and value is not None)
