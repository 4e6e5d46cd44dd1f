"""How a subset is drawn: one global threshold on the selection keys, found and applied shard by shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.corpus.tokens import read_tokens
from curation_assets.progress import Progress
from curation_assets.registry import SamplerSpec
from curation_assets.report.pictures import histogram, png_markdown
from curation_assets.report.tables import preview
from curation_assets.sampling.keys import hash_ids, selection_keys
from curation_assets.sampling.select import kept_count
from curation_assets.sampling.threshold import global_threshold
from curation_assets.storage import write_batches, write_json
from curation_assets.workspace import Builder, BuildOne, Markdown, Metadata, Workspace

SUBSET_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("score", pa.float64()),
        ("key", pa.float64()),
        ("n_tokens", pa.int64()),
    ]
)
_SAMPLE = 200_000  # scores behind the histogram


@dataclass(frozen=True)
class Candidates:
    """A shard's documents that may be chosen: those whose id no earlier shard has. Arrays of equal length."""

    shard: str
    rows: np.ndarray
    doc_ids: pa.Array
    doc_hash: np.ndarray
    scores: np.ndarray
    keys: np.ndarray


def subset(spec: SamplerSpec) -> Builder:
    """Return the builder of a sampler's subsets: `subset.parquet` (SUBSET_SCHEMA) and `manifest.json`."""

    def load(workspace: Workspace) -> BuildOne:
        shards = workspace.shards()
        repeats = pq.read_table(workspace.open("corpus/index") / "repeats.parquet")
        seed = workspace.profile.selection.seed

        def candidates() -> Iterator[Candidates]:
            for shard in shards:
                yield _candidates(workspace, spec, shard, repeats, seed)

        @cache  # the same for all rates of a run
        def picture() -> Metadata:
            return _picture(spec, candidates())

        def build(rate: str, folder: Path, progress: Progress) -> Metadata:
            n = sum(len(c.keys) for c in candidates())
            count = kept_count(int(rate) / 100, n)
            cut = global_threshold(lambda: ((c.keys, c.doc_hash) for c in candidates()), n, count)
            tokens: Counter[str] = Counter()
            documents: Counter[str] = Counter()
            lowest = [np.inf]

            def chosen() -> Iterator[pa.RecordBatch]:
                for number, candidate in enumerate(candidates(), 1):
                    batch = _chosen(workspace, candidate, cut.keep(candidate.keys, candidate.doc_hash))
                    documents[candidate.shard] = batch.num_rows
                    tokens[candidate.shard] = int(np.sum(batch["n_tokens"].to_numpy()))
                    lowest[0] = min(lowest[0], batch["key"].to_numpy().min(initial=np.inf))
                    progress(number, len(shards), "shards")
                    yield batch

            write_batches(folder / "subset.parquet", chosen(), SUBSET_SCHEMA)
            manifest: dict[str, Any] = {
                "sampler": spec.name,
                "technique": spec.technique,
                "rate": rate,
                "seed": seed,
                "candidates": n,
                "documents": documents.total(),
                "tokens": tokens.total(),
                "threshold": float(lowest[0]) if count else None,
                "by_shard": {s: {"documents": documents[s], "tokens": tokens[s]} for s in shards},
                "score_versions": {s: _version(workspace, f"{spec.name}/scores", s) for s in shards},
            }
            write_json(folder / "manifest.json", manifest)
            kept = ("technique", "candidates", "documents", "tokens", "threshold")
            return {
                **{name: manifest[name] for name in kept},
                "rate_realised": documents.total() / n if n else 0.0,
                **_first_documents(folder),
                **picture(),
            }

        return build

    return load


def _candidates(
    workspace: Workspace, spec: SamplerSpec, shard: str, repeats: pa.Table, seed: int
) -> Candidates:
    table = pq.read_table(
        workspace.open(f"{spec.name}/scores", shard) / "scores.parquet", columns=["doc_id", "score"]
    )
    free = np.ones(table.num_rows, bool)
    free[repeats["row"].to_numpy()[np.asarray(repeats["shard"]) == shard]] = False
    rows = np.flatnonzero(free)
    doc_ids = table["doc_id"].combine_chunks().filter(pa.array(free))
    scores = table["score"].to_numpy()[rows]
    doc_hash = hash_ids(doc_ids)
    return Candidates(
        shard, rows, doc_ids, doc_hash, scores, selection_keys(doc_hash, scores, spec.technique, seed)
    )


def _chosen(workspace: Workspace, candidate: Candidates, keep: np.ndarray) -> pa.RecordBatch:
    _, offsets = read_tokens(workspace.open("corpus/tokens", candidate.shard), "documents")
    rows = candidate.rows[keep]
    columns = [
        candidate.doc_ids.filter(pa.array(keep)),
        pa.array([candidate.shard] * len(rows), pa.string()),
        pa.array(rows, pa.int64()),
        pa.array(candidate.scores[keep], pa.float64()),
        pa.array(candidate.keys[keep], pa.float64()),
        pa.array(np.diff(offsets)[rows], pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SUBSET_SCHEMA)


def _version(workspace: Workspace, key: str, partition: str) -> str:
    receipt = workspace.store.receipt(key, partition)
    return receipt.version if receipt else ""


def _first_documents(folder: Path) -> Metadata:
    """Return a preview of ten chosen documents."""
    first = next(pq.ParquetFile(folder / "subset.parquet").iter_batches(10), None)
    if first is None or not first.num_rows:
        return {}
    return {"first_documents": Markdown(preview(pa.Table.from_batches([first])))}


def _picture(spec: SamplerSpec, candidates: Iterator[Candidates]) -> Metadata:
    """Return the histogram of all scores (of a sample, in a large corpus)."""
    parts, held = [], 0
    for candidate in candidates:
        if held < _SAMPLE:
            parts.append(candidate.scores[: _SAMPLE - held])
            held += len(parts[-1])
    if not held:
        return {}
    drawn = histogram(np.concatenate(parts), f"{spec.name}: scores of the corpus", "score")
    return {"scores": Markdown(png_markdown(drawn, f"histogram of {spec.name} scores"))}
