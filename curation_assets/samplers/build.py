"""How a sampler's scores are made: its `score` on one corpus file after the other, and the table that is written of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import read_batches, safe_name, write_table
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, Metadata
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.parts import in_parts
from curation_assets.samplers.spec import Sampler

_PERCENTILES = (10, 50, 90)


def scores(sampler: Sampler) -> Builder:
    """Return the builder of a sampler's scores."""

    def load(context: Context) -> BuildOne:
        own = sampler.section or sampler.name
        if sampler.setup is not None:
            state = sampler.setup(context)
        else:
            state = None if sampler.settings is None else getattr(context.profile.samplers, own)
        size = sampler.part(state) if sampler.part else None

        def build(shard: str, folder: Path, progress: Progress) -> Metadata:
            documents = Documents(context, shard)
            n = len(documents)

            def score(rows: slice, progress: Progress) -> pa.Table:
                return _table(sampler, state, documents.part(rows), progress)

            if size is None:
                table = score(slice(0, n), progress)
            else:
                table = in_parts(_home(context, sampler, shard), n, size, score, progress)
            more = {name: table[name] for name in table.column_names if name != "score"}
            about = write_scores(context, shard, folder, table["score"].to_numpy(), **more)
            return about | (sampler.summary(table) if sampler.summary and n else {})

        return build

    return load


def _table(sampler: Sampler, state: object, documents: Documents, progress: Progress) -> pa.Table:
    """Return the scores of some documents and what stands beside them, as the sampler names it. ValueError where that is something else."""
    found = sampler.score(state, documents, progress)
    if found.keys() != {"score", *sampler.columns}:
        expected, given = (", ".join(sorted(names)) for names in (("score", *sampler.columns), found))
        raise ValueError(f"sampler {sampler.name} returned the columns {given}; it should be {expected}")
    for name, column in found.items():
        if len(column) != len(documents):
            raise ValueError(
                f"{documents.shard}: sampler {sampler.name}: {len(column)} values of {name} for {len(documents)} documents"
            )
    return pa.table({**found, "score": pa.array(np.asarray(found["score"], np.float64))})


def _home(context: Context, sampler: Sampler, shard: str) -> Path:
    """Return where parts of a shard's scores wait; parts of other versions of it are removed."""
    version = context.recipe(shard)
    home = context.scratch / "scores" / sampler.name / safe_name(shard)
    for other in home.glob("*"):
        if other.name != version:
            shutil.rmtree(other, ignore_errors=True)
    return home / version


def write_scores(context: Context, shard: str, folder: Path, score: np.ndarray, **more: pa.Array) -> Metadata:
    """Write `scores.parquet` (doc_id, doc_hash, source_row, score, and `more` columns), row by row as in `corpus/documents`.

    Raises
    ------
    ValueError
        A score is missing or not finite: names the document.
    """
    path = open_documents(context, shard)
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
        values = np.percentile(score, _PERCENTILES)
        about |= {f"percentile_{p}": float(value) for p, value in zip(_PERCENTILES, values, strict=True)}
        about["first_scores"] = Markdown(_first_scores(path, table))
    return about


def _first_scores(documents: Path, scores: pa.Table) -> str:
    texts = next(read_batches(documents, ["text"], 10))["text"].to_pylist()
    rows = scores.slice(0, 10).to_pylist()
    return preview([{**row, "text": text} for row, text in zip(rows, texts, strict=True)])


SCORERS: dict[str, Builder] = {s.name: scores(s) for s in SAMPLERS.values() if isinstance(s, Sampler)}
"""Sampler -> builder of its `scores`."""
