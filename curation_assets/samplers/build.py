"""How scores are made: for each sampler a function that scores one shard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import read_batches, safe_name, write_table
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents, open_hashes
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, Metadata
from curation_assets.samplers.by_model import ask_llm_scores, perplexity_scores
from curation_assets.samplers.coverage import (
    blocks,
    empty_sketch,
    open_embeddings,
    open_readable,
    read_clusters,
    read_sketch,
)
from curation_assets.samplers.neutral import draw_scores
from curation_assets.scoring.prototypes import prototype_scores
from curation_assets.scoring.random import random_scores

_PERCENTILES = (10, 50, 90)


def _random(workspace: Context) -> BuildOne:
    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        score = random_scores(open_hashes(workspace, shard), workspace.profile.selection.seed)
        return write_scores(workspace, shard, folder, score)

    return build


def _density(workspace: Context) -> BuildOne:
    dim = workspace.metadata("density/sketch")["dimensions"]
    total = empty_sketch(workspace, dim).merge_sparse(*read_sketch(workspace, "density/sketch"))

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        x, readable = open_embeddings(workspace, shard), open_readable(workspace, shard)
        score = np.empty(len(x))
        for rows, part in blocks(x):
            score[rows] = (
                total.density(part) + ~readable[rows]
            )  # these are not in the sketch: each has itself beside it
            progress(rows.stop, len(x), "documents")
        return write_scores(workspace, shard, folder, score, readable=pa.array(readable))

    return build


def _prototypes(workspace: Context) -> BuildOne:
    found = workspace.open("clusters/centroids")
    table, histogram = np.load(found / "centroids.npy"), np.load(found / "prototypes.npy")

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        score = prototype_scores(open_embeddings(workspace, shard), table, read_clusters(workspace, shard))
        return _write_readable(workspace, shard, folder, score, open_readable(workspace, shard), histogram)

    return build


def _semdedup(workspace: Context) -> BuildOne:
    found = workspace.open("semdedup/neighbours")
    histogram = np.load(found / "semdedup.npy")

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        table = pq.read_table(found / f"{safe_name(shard)}.parquet")
        score, readable = table["score"].to_numpy(), table["score"].is_valid().to_numpy()
        more = {name: table[name] for name in ("similarity", "duplicate_shard", "duplicate_of")}
        return _write_readable(workspace, shard, folder, score, readable, histogram, **more)

    return build


def _write_readable(
    workspace: Context,
    shard: str,
    folder: Path,
    score: np.ndarray,
    readable: np.ndarray,
    histogram: np.ndarray,
    **more: pa.Array,
) -> Metadata:
    """Write scores; a document that the encoder could not read has one drawn from `histogram`, and `readable` says so."""
    drawn = draw_scores(histogram, open_hashes(workspace, shard))
    score = np.where(readable, score, drawn)
    return write_scores(workspace, shard, folder, score, readable=pa.array(readable), **more)


_BY_FAMILY: dict[str, Callable[[str], Builder]] = {
    "perplexity": perplexity_scores,
    "ask_llm": ask_llm_scores,
}

SCORERS: dict[str, Builder] = {
    "random": _random,
    "density": _density,
    "semdedup": _semdedup,
    "prototypes": _prototypes,
    **{name: _BY_FAMILY[spec.family](name) for name, spec in SAMPLERS.items() if spec.family in _BY_FAMILY},
}
"""Sampler -> builder of its `scores`; exactly the registry's samplers."""


def write_scores(
    workspace: Context, shard: str, folder: Path, score: np.ndarray, **more: pa.Array
) -> Metadata:
    """Write `scores.parquet` (doc_id, doc_hash, source_row, score, and `more` columns), row by row as in `corpus/documents`.

    Raises
    ------
    ValueError
        A score is missing or not finite: names the document.
    """
    path = open_documents(workspace, shard)
    documents = pq.read_table(path, columns=["doc_id", "doc_hash", "row"])
    if len(documents) != len(score):
        raise ValueError(f"{shard}: {len(score)} scores for {len(documents)} documents")
    bad = np.flatnonzero(~np.isfinite(score))
    if len(bad):
        raise ValueError(
            f"{shard}: document {documents['doc_id'][int(bad[0])].as_py()!r} (row {bad[0]}) has the score {score[bad[0]]}"
        )
    table = documents.rename_columns(["doc_id", "doc_hash", "source_row"])
    for name, column in {"score": pa.array(score, pa.float64()), **more}.items():
        table = table.append_column(name, column)
    write_table(folder / "scores.parquet", table)
    about: Metadata = {"documents": len(score)}
    if len(score):
        about |= {"min": float(score.min()), "mean": float(score.mean()), "max": float(score.max())}
        found = np.percentile(score, _PERCENTILES)
        about |= {f"percentile_{p}": float(value) for p, value in zip(_PERCENTILES, found, strict=True)}
        about["first_scores"] = Markdown(_first_scores(path, table))
    return about


def _first_scores(documents: Path, scores: pa.Table) -> str:
    texts = next(read_batches(documents, ["text"], 10))["text"].to_pylist()
    rows = scores.slice(0, 10).to_pylist()
    return preview([{**row, "text": text} for row, text in zip(rows, texts, strict=True)])
