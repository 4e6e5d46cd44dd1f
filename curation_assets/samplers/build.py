"""How a sampler's scores are made: its `score` on one corpus file after the other, and the table that is written of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import read_batches, safe_name, write_table
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
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
        state = set_up(sampler, context)
        size = sampler.part(state) if sampler.part else None

        def build(shard: str, folder: Path, progress: Progress) -> Metadata:
            documents = Documents(context, shard)
            n = len(documents)

            def score(rows: slice, progress: Progress) -> pa.Table:
                return score_table(sampler, state, documents.part(rows), progress)

            if size is None:
                table = score(slice(0, n), progress)
            else:
                table = in_parts(_home(context, sampler, shard), n, size, score, progress)
            more = {name: table[name] for name in table.column_names if name != "score"}
            about = write_scores(context, shard, folder, table["score"].to_numpy(), more)
            return about | (sampler.summary(table) if sampler.summary and n else {})

        return build

    return load


def set_up(sampler: Sampler, context: Context) -> Any:
    """Return what a sampler's `score` is given beside documents: what `setup` loads, or else its settings."""
    if sampler.setup is not None:
        return sampler.setup(context)
    own = sampler.section or sampler.name
    return None if sampler.settings is None else getattr(context.profile.samplers, own)


def score_table(sampler: Sampler, state: object, documents: Documents, progress: Progress) -> pa.Table:
    """Score some documents; return that as `checked`."""
    return checked(sampler, sampler.score(state, documents, progress), documents)


def checked(sampler: Sampler, returned: object, documents: Documents) -> pa.Table:
    """Return the scores of some documents and what stands beside them, of the types that the sampler declares.

    Raises
    ------
    ValueError
        The sampler returned something else, or a score that is missing or not finite: names the file, and the document.
    """
    where = f"{documents.shard}: sampler {sampler.name}"
    if not isinstance(returned, Mapping):
        raise ValueError(
            f"{where} returned {type(returned).__name__}; it should be a dict of columns by name"
        )
    if returned.keys() != {"score", *sampler.columns}:
        expected, given = (
            ", ".join(sorted(map(str, names))) for names in (("score", *sampler.columns), returned)
        )
        raise ValueError(f"{where} returned the columns {given}; it should be {expected}")
    table = {}
    for name, values in returned.items():
        try:
            table[name] = _column(values, sampler.columns[name].type if name != "score" else "float64")
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise ValueError(
                f"{where}: {name} is no column of its type: {' '.join(str(error).split())}"
            ) from error
        if len(table[name]) != len(documents):
            raise ValueError(f"{where}: {len(table[name])} values of {name} for {len(documents)} documents")
    score = np.asarray(table["score"])  # null is not a number
    bad = np.flatnonzero(~np.isfinite(score))
    if len(bad):
        row = documents.rows.indices(len(documents))[0] + int(bad[0])
        raise ValueError(
            f"{where}: document {documents.ids[bad[0]]!r} (row {row}) has the score {score[bad[0]]}"
        )
    return pa.table(table)


def _column(values: Any, kind: str) -> pa.Array | pa.ChunkedArray:
    if kind == "float64" and not isinstance(values, pa.Array | pa.ChunkedArray):
        values = np.asarray(values, np.float64)  # also of integers that are rounded by that
    return (values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)).cast(kind)


def parts_of(scratch: Path, sampler: str) -> Path:
    """Return the folder where parts of a sampler's scores wait: who wants all of them made anew removes it."""
    return scratch / "scores" / sampler


def _home(context: Context, sampler: Sampler, shard: str) -> Path:
    """Return where parts of a shard's scores wait; parts of other versions of it are removed."""
    version = context.recipe(shard)
    home = parts_of(context.scratch, sampler.name) / safe_name(shard)
    for other in home.glob("*"):
        if other.name != version:
            shutil.rmtree(other, ignore_errors=True)
    return home / version


def write_scores(
    context: Context, shard: str, folder: Path, score: np.ndarray, more: Mapping[str, pa.Array]
) -> Metadata:
    """Write `scores.parquet` (doc_id, doc_hash, source_row, score, and `more` columns), row by row as in `corpus/documents`."""
    path = open_documents(context, shard)
    documents = pq.read_table(path, columns=["doc_id", "doc_hash", "row"])
    if len(documents) != len(score):
        raise ValueError(f"{shard}: {len(score)} scores for {len(documents)} documents")
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
