"""How it is found which documents of the corpus stand in evaluation inputs: an index of n-grams, and a table for each shard.

What to do about them is the profile's choice (`evaluation.decontaminate`); `corpus.reading.left_out` carries it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.common.files import fingerprint, parquet_file, read_batches, write_batches
from curation_assets.common.markdown import markdown_table, preview
from curation_assets.common.progress import Progress
from curation_assets.corpus.build import VALIDATION_SETS
from curation_assets.corpus.reading import open_documents, read_contaminated
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata
from curation_assets.evaluation.ngram_index import INPUTS_SCHEMA, TaskInputs, build_index
from curation_assets.evaluation.ngrams import NgramIndex
from curation_assets.models.files import file_digest

__all__ = ["CONTAMINATION_SCHEMA", "contamination", "ngrams", "read_contaminated"]

CONTAMINATION_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("row", pa.int64()),
        ("suite", pa.string()),
        ("task", pa.string()),
        ("overlaps", pa.int64()),
    ]
)
"""`row` counts the shard's documents from 0; `overlaps` are different n-grams of the task that stand in the document."""

_ROWS = 512  # read together
_BYTES = 4 << 20  # of text looked up together
_TASKS_SHOWN = 200


def ngrams(context: Context) -> BuildOne:
    """Index the n-grams of all evaluation inputs: test examples, and the texts that perplexity is measured on."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        done, total = 0, 2 * _count(context)

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal done
            for batch in _inputs(context):
                yield batch
                done += batch.num_rows
                progress(done, total, "inputs", "all are read twice")

        with context.temporary() as scratch:
            tasks = build_index(batches, folder, scratch)
        return _about(tasks)

    return build


def _count(context: Context) -> int:
    folder = context.open("corpus/validation")
    paths = [folder / f"{name}.parquet" for name in VALIDATION_SETS]
    paths.append(context.open("evaluation/examples") / "test.parquet")
    return sum(int(pq.read_metadata(path).num_rows) for path in paths)


def _about(tasks: list[TaskInputs]) -> Metadata:
    rows = [vars(about) for about in tasks]
    counts = ("inputs", "ngrams", "template_ngrams", "whole", "too_short")
    return {
        "tasks": len(tasks),
        **{name: sum(row[name] for row in rows) for name in counts},
        "by_task": Markdown(markdown_table(rows, limit=_TASKS_SHOWN)),
    }


def _inputs(context: Context) -> Iterator[pa.RecordBatch]:
    """Yield what models are measured on, as INPUTS_SCHEMA."""
    path = context.open("evaluation/examples") / "test.parquet"
    for batch in read_batches(path, INPUTS_SCHEMA.names, _ROWS):
        yield batch.select(INPUTS_SCHEMA.names)
    folder = context.open("corpus/validation")
    for name in VALIDATION_SETS:
        for batch in read_batches(folder / f"{name}.parquet", ["text"], _ROWS):
            columns = [["perplexity"] * batch.num_rows, [name] * batch.num_rows, batch["text"]]
            yield pa.record_batch([pa.array(c, pa.string()) for c in columns], schema=INPUTS_SCHEMA)


def contamination(context: Context) -> BuildOne:
    """Find the documents of a shard that share n-grams with evaluation inputs: `contamination.parquet`.

    The version is that of the table's content: what reads it follows only where that changes.
    """
    index = NgramIndex(context.open("evaluation/ngrams"))

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        path, out = open_documents(context, shard), folder / "contamination.parquet"
        total = pq.read_metadata(path).num_rows
        tasks: Counter[str] = Counter()
        contaminated = 0

        def overlapping() -> Iterator[pa.RecordBatch]:
            nonlocal contaminated
            row = 0
            for part in _parts(read_batches(path, ["doc_id", "text"], _ROWS)):
                distinct, batch = _overlaps(index, part, row)
                contaminated += int((distinct > 0).sum())
                names = pc.binary_join_element_wise(batch["suite"], batch["task"], "/")
                tasks.update(names.to_pylist())
                row += part.num_rows
                progress(row, total, "documents")
                yield batch

        write_batches(out, overlapping(), CONTAMINATION_SCHEMA)
        rows = [{"task": name, "documents": n} for name, n in tasks.most_common()]
        first = next(parquet_file(out).iter_batches(10), CONTAMINATION_SCHEMA.empty_table())
        return {
            "version": fingerprint("evaluation/contamination", file_digest(out)),
            "documents": total,
            "contaminated": contaminated,
            "share": contaminated / total if total else 0.0,
            "tasks": Markdown(markdown_table(rows, ["task", "documents"], limit=_TASKS_SHOWN)),
            "first_documents": Markdown(preview(first)),
        }

    return build


def _overlaps(index: NgramIndex, documents: pa.RecordBatch, row: int) -> tuple[np.ndarray, pa.RecordBatch]:
    """Return the different n-grams of each document, and the rows of CONTAMINATION_SCHEMA; `row` is the first one's."""
    overlaps = index.overlaps(documents["text"])
    suites, tasks = (pa.array([name[i] for name in index.tasks], pa.string()) for i in (0, 1))
    columns = [
        documents["doc_id"].take(pa.array(overlaps.document)),
        pa.array(overlaps.document + row),
        suites.take(pa.array(overlaps.task)),
        tasks.take(pa.array(overlaps.task)),
        pa.array(overlaps.shared),
    ]
    return overlaps.distinct, pa.record_batch(columns, schema=CONTAMINATION_SCHEMA)


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Split batches where their texts are long; a document stays whole."""
    for batch in batches:
        if not batch.num_rows:
            continue
        ends = np.cumsum(pc.binary_length(batch["text"]).to_numpy())
        group = ends // _BYTES
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        for begin, end in zip(starts, [*starts[1:], batch.num_rows], strict=True):
            yield batch.slice(begin, end - begin)
