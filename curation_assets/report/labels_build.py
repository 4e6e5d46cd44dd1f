"""How scores are measured against labels: one pass over the scores, and the texts of the documents that have a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.files import read_batches
from curation_assets.common.hashing import noise
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.label_files import LabelFiles, labels_of, read_label_files
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.report import labels_view
from curation_assets.report.documents import Best, Picked, Scored
from curation_assets.report.labels import LENGTH, baselines, measured
from curation_assets.report.scored import Corpus, scored
from curation_assets.report.section import publish

_SALT = 0xA54FF53A5F1D36F1  # no sampler's noise
_BATCH = 4096


def labels(context: Context) -> BuildOne:
    """Measure every current score against the labels that the profile names: `labels.parquet`, the section."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        settings = context.profile.labels
        if not settings.given:
            return publish(folder, labels_view.no_labels())
        own = [name for name in SAMPLERS.scored if not SAMPLERS[name].reads_labels]  # others are the labels
        names = [
            name for name in scored(context, context.shards(), "there is nothing to measure") if name in own
        ]
        files = read_label_files(settings, context.profile.corpus.storage_options) if settings.url else None
        corpus = Corpus(context, context.shards(), names, progress, 1)
        picked, labelled = _labelled(corpus, files)
        good = picked.scores[-1] > 0 if labelled else np.zeros(0, bool)
        about = _about(labelled, good, files)
        rows = measured(dict(zip(names, picked.scores, strict=False)), _simple(corpus, picked), good)
        rows.write_parquet(folder / "labels.parquet")
        missing = [name for name in own if name not in names]
        return {
            "documents": len(good),
            "good": int(good.sum()),
            "not_current": ", ".join(missing) or "none",
            **(files.seen if files else {}),
            **publish(folder, labels_view.section(rows, about, missing), labels_view.figures(rows)),
        }

    return build


def _about(labelled: int, good: NDArray[np.bool_], files: LabelFiles | None) -> str:
    """Tell which documents were measured on; ValueError where they are all of one kind, or none."""
    if not labelled:
        ids = (
            f": none of the {len(files.good):,} labelled ids is a document's, {next(iter(files.good), '')!r} for one"
            if files
            else ""
        )
        raise ValueError(f"no document has a label{ids}")
    if good.all() or not good.any():
        kind = "good" if good.all() else "bad"
        raise ValueError(
            f"all {len(good):,} labelled documents are {kind}: labels.positive names the good labels"
        )
    text = f"Measured on {good.sum():,} good and {(~good).sum():,} bad documents"
    if len(good) < labelled:
        text += f", drawn by hash from {labelled:,} that have a label"
    if files and len(files.good) > labelled:
        text += f"; of {len(files.good):,} labelled ids {len(files.good) - labelled:,} are not among the documents"
    return f"{text}."


def _labelled(corpus: Corpus, files: LabelFiles | None) -> tuple[Picked, int]:
    """Return at most `report.documents` labelled documents by hash, the label below their scores, and how many there are."""
    settings = corpus.workspace.profile.report
    best, seen, shard, labels = Best(settings.documents), 0, -1, np.zeros(0, np.int8)
    for one in corpus:
        if one.shard != shard:
            shard, labels = one.shard, _labels(corpus.workspace, corpus.shards[one.shard], files)
        label = labels[one.rows]
        has = label >= 0
        seen += int(has.sum())
        scores = np.concatenate([one.scores, label[None]])[:, has]
        documents = Scored(one.shard, one.rows[has], one.doc_hash[has], scores)
        best.add(-noise(documents.doc_hash, settings.seed ^ _SALT), documents)
    return best.picked(), seen


def _labels(context: Context, shard: str, files: LabelFiles | None) -> NDArray[np.int8]:
    """Return the label of each document of a shard, int8 [n]: 1 for good, 0 for bad, -1 for none."""
    path, settings = open_documents(context, shard), context.profile.labels
    if files is None:
        values = pq.read_table(path, columns=[settings.field])[settings.field].to_pylist()
        return labels_of(values, settings.positive, f"{shard}, field {settings.field}")
    ids = pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()
    return np.fromiter((files.good.get(doc_id, -1) for doc_id in ids), np.int8, len(ids))


def _simple(corpus: Corpus, picked: Picked) -> dict[str, NDArray[np.float64]]:
    """Return the baselines of the picked documents; held is a batch of texts."""
    result: dict[str, NDArray[np.float64]] = {}
    for number in np.unique(picked.shard):
        mine = np.flatnonzero(picked.shard == number)
        start = 0
        for batch in read_batches(open_documents(corpus.workspace, corpus.shards[number]), ["text"], _BATCH):
            here = mine[(picked.row[mine] >= start) & (picked.row[mine] < start + len(batch))]
            texts = batch["text"].take(pa.array(picked.row[here] - start)).to_pylist()
            for name, values in baselines(texts).items():
                result.setdefault(name, np.zeros(len(picked.row)))[here] = values
            start += len(batch)
    return result or {LENGTH: np.zeros(0)}
