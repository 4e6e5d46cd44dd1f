"""Documents to read, for people: excerpts with percentiles, a table of all of them, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from curation_assets.corpus.names import decoded, visible
from curation_assets.report.documents import PAIRS
from curation_assets.report.section import Excerpt, Link, Section, table

LISTED = 5
"""Documents of a list."""
CUT = 600
"""Characters shown of a document."""
_CELL = 80


def section(
    documents: pl.DataFrame, names: Sequence[str], missing: Sequence[str], seen: int, sampled: int
) -> Section:
    """Return the section of documents.parquet; documents were picked of `seen` ones, and samplers compared on so many `sampled`."""
    rows = documents.rows(named=True)
    sentences = _disagreements(documents)
    if not rows:
        sentences.append(
            "Only uniform sampling has scores, and its scores are noise: there is no list to show."
        )
    if missing:
        sentences.append(f"Without current scores of every shard, and not shown: {', '.join(missing)}.")
    exact = "all of them" if sampled == seen else f"a sample of {sampled:,} of them, drawn by hash"
    method = (
        f"Each list has {LISTED} documents, picked from all {seen:,} (repeated documents count once); equal scores go by the smaller "
        f"hash. A document's percentiles are exact: the share of all documents that rank below it, half of the ties counted. "
        f"Where samplers are compared, documents are picked by the difference of their percentiles among {exact}. Uniform "
        f"sampling gets no lists, as its score is noise. Texts are cut after {CUT} characters."
    )
    words = ("list", "percentile", "document", "source", "shard", "text")
    about: dict[str, Any] = {"text": words, "first": ("list", "document", "percentile", "rank", "source")}
    lines = [_line(row) for row in rows]
    caption = "All documents of all lists"
    shown = table(lines, caption, "documents.parquet", links=[_link(row) for row in rows], **about)
    intro = _intro(names, any(len(row["samplers"]) == 2 for row in rows))
    excerpts = [_excerpt(row, names) for row in rows]
    return Section("Documents to read", intro, sentences, [], [shown], method, excerpts)


def _intro(names: Sequence[str], compared: bool) -> str:
    pairs = ", and those on which two samplers are furthest apart" if compared else ""
    density = " For density, that is the rarest text." if "density" in names else ""
    return (
        "What the scores mean is seen best in the documents themselves: those that each sampler would keep first and drop "
        f"first{pairs}. A percentile says which share of all documents a sampler would drop before this one: 100 is kept "
        f"first.{density}"
    )


def _disagreements(documents: pl.DataFrame) -> list[str]:
    """Tell how far apart each pair of samplers comes."""
    firsts = documents.filter((pl.col("samplers").list.len() == 2) & (pl.col("rank") == 1))
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


def _link(row: dict[str, Any]) -> Link:
    return f"{row['samplers'][0]}/scores", row["shard"]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line of a list in the cells that people read."""
    start = " ".join(row["text"].split())
    return {
        "list": row["list"] if len(row["samplers"]) == 2 else f"{row['samplers'][0]} {row['list']}",
        "rank": row["rank"],
        "percentile": " and ".join(f"{row[f'percentile_{name}']:.1f}" for name in row["samplers"]),
        "document": row["doc_id"],
        "source": row["source"],
        "shard": row["shard"],
        "row": row["row"],
        "characters": row["n_chars"],
        "text": start if len(start) <= _CELL else f"{start[: _CELL - 1]}…",
    }


def _excerpt(row: dict[str, Any], names: Sequence[str]) -> Excerpt:
    length, whole = len(row["text"]), row["n_chars"]
    size = f"{whole:,} characters" if length == whole else f"first {length:,} of {whole:,} characters"
    where = f"row {row['row']:,} of {visible(decoded(row['shard']))}"
    samplers = tuple(row["samplers"])
    return Excerpt(
        samplers=list(samplers[::-1] if samplers[::-1] in PAIRS else samplers),
        side=row["list"],
        heading=row["doc_id"],
        meta="; ".join(filter(None, [row["source"], where, size])),
        text=row["text"] + ("" if length == whole else "…"),
        percentiles={name: row[f"percentile_{name}"] for name in names},
        link=_link(row),
    )
