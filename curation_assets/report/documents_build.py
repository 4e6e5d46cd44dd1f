"""How the documents to read are found in the scores that there are, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from curation_assets.common.markdown import markdown_table
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata
from curation_assets.report.correlation import HashSample
from curation_assets.report.documents import (
    PAIRS,
    Counts,
    Found,
    Ranks,
    alone,
    apart,
    lists,
    merge,
)
from curation_assets.report.scored import Corpus, scored
from curation_assets.report.section import Excerpt, Section, Table

_K = 5  # documents of a list
_PASSES = 4  # over all scores
_CUT = 600  # characters shown of a document
_CELL = 80
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
        _section(table, names, missing, sample).write(folder)
        return {
            "documents": sample.seen,
            "shown": table["doc_hash"].n_unique(),
            "lists": len(found),
            "not_current": ", ".join(missing) or "none",
            **_previews(table),
        }

    return build


def _lists(corpus: Corpus, sample: HashSample) -> dict[tuple[tuple[str, ...], str], Found]:
    """Return {(samplers, side): documents} of all lists, in the order of `lists`."""
    names, sampled = corpus.names, sample.scores()
    ranks = Ranks(names, np.stack([sampled[name] for name in names]))
    found = apart(names, iter(corpus), ranks, _K) | alone(names, iter(corpus), _K)
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
            document = (", ".join(kept), told["n_chars"], told["text"][:_CUT])
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


def _intro(names: list[str], compared: bool) -> str:
    pairs = ", and those on which two samplers are furthest apart" if compared else ""
    density = " For density, that is the rarest text." if "density" in names else ""
    return (
        "What the scores mean is seen best in the documents themselves: those that each sampler would keep first and drop "
        f"first{pairs}. A percentile says which share of all documents a sampler would drop before this one: 100 is kept "
        f"first.{density}"
    )


def _section(table: pl.DataFrame, names: list[str], missing: list[str], sample: HashSample) -> Section:
    found = _gaps(table)
    if table.is_empty():
        found.append("Only uniform sampling has scores, and its scores are noise: there is no list to show.")
    if missing:
        found.append(f"Without current scores of every shard, and not shown: {', '.join(missing)}.")
    seen, sampled = sample.seen, min(sample.seen, sample.limit)
    exact = "all of them" if sampled == seen else f"a sample of {sampled:,} of them, drawn by hash"
    method = (
        f"Each list has {_K} documents, picked from all {seen:,} (repeated documents count once); equal scores go by the smaller "
        f"hash. A document's percentiles are exact: the share of all documents that rank below it, half of the ties counted. "
        f"Where samplers are compared, documents are picked by the difference of their percentiles among {exact}. Uniform "
        f"sampling gets no lists, as its score is noise. Texts are cut after {_CUT} characters."
    )
    rows = list(table.iter_rows(named=True))
    columns = ["list", "rank", "percentile", "document", "source", "shard", "row", "characters", "text"]
    cells = [[_line(row)[name] for name in columns] for row in rows]
    links: list[tuple[str, str] | None] = [(f"{row['samplers'][0]}/scores", row["shard"]) for row in rows]
    first = ["list", "document", "percentile", "rank", "source"]
    shown = Table("All documents of all lists", columns, cells, _FILE, links, first)
    intro = _intro(names, any(len(row["samplers"]) == 2 for row in rows))
    return Section(
        "Documents to read", intro, found, [], [shown], method, [_excerpt(row, names) for row in rows]
    )


def _gaps(table: pl.DataFrame) -> list[str]:
    """Tell how far apart each pair of samplers comes."""
    firsts = table.filter((pl.col("samplers").list.len() == 2) & (pl.col("rank") == 1))
    ends = {
        tuple(row["samplers"]): [row[f"percentile_{name}"] for name in row["samplers"]]
        for row in firsts.iter_rows(named=True)
    }
    return [
        f"{a} and {b} are furthest apart on documents at percentile {ends[a, b][0]:.1f} of {a} and {ends[a, b][1]:.1f} of {b}, and "
        f"the other way at {ends[b, a][1]:.1f} and {ends[b, a][0]:.1f}."
        for a, b in PAIRS
        if (a, b) in ends
    ]


def _list_name(row: dict[str, Any]) -> str:
    return row["list"] if len(row["samplers"]) == 2 else f"{row['samplers'][0]} {row['list']}"


def _group(samplers: tuple[str, ...]) -> str:
    return " and ".join(samplers if samplers in PAIRS or len(samplers) == 1 else samplers[::-1])


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line of a list in the cells that people read."""
    return {
        "list": _list_name(row),
        "rank": row["rank"],
        "percentile": " and ".join(f"{row[f'percentile_{name}']:.1f}" for name in row["samplers"]),
        "document": row["doc_id"],
        "source": row["source"],
        "shard": row["shard"],
        "row": row["row"],
        "characters": row["n_chars"],
        "text": _start(row["text"]),
    }


def _start(text: str) -> str:
    head = " ".join(text.split())
    return head if len(head) <= _CELL else f"{head[: _CELL - 1]}…"


def _excerpt(row: dict[str, Any], names: list[str]) -> Excerpt:
    cut = row["n_chars"] > len(row["text"])
    length = (
        f"first {len(row['text']):,} of {row['n_chars']:,} characters"
        if cut
        else f"{row['n_chars']:,} characters"
    )
    where = f"row {row['row']:,} of {visible(decoded(row['shard']))}"
    return Excerpt(
        group=_group(tuple(row["samplers"])),
        side=row["list"],
        heading=row["doc_id"],
        meta="; ".join(filter(None, [row["source"], where, length])),
        text=row["text"] + ("…" if cut else ""),
        percentiles={name: row[f"percentile_{name}"] for name in names},
        link=(f"{row['samplers'][0]}/scores", row["shard"]),
    )


def _previews(table: pl.DataFrame) -> Metadata:
    """Return tables for the UI: where samplers disagree, and the first document of every other list."""
    rows = list(table.iter_rows(named=True))
    columns = ["list", "rank", "percentile", "document", "source", "text"]
    parts = {
        "disagreements": [_line(row) for row in rows if len(row["samplers"]) == 2],
        "liked_most_and_least": [
            _line(row) for row in rows if len(row["samplers"]) == 1 and row["rank"] == 1
        ],
    }
    return {name: Markdown(markdown_table(part, columns)) for name, part in parts.items() if part}
