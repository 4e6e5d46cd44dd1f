"""How scores are made: what the coverage samplers share, then for each sampler a function that scores one shard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.progress import Progress
from curation_assets.report.pictures import histogram, png_markdown
from curation_assets.report.tables import preview
from curation_assets.scoring.cluster_store import semdedup_shards
from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids
from curation_assets.scoring.density import RaceSketch
from curation_assets.scoring.prototypes import prototype_scores
from curation_assets.scoring.random import random_scores
from curation_assets.storage import read_batches, safe_name, write_json, write_table
from curation_assets.workspace import Builder, BuildOne, Markdown, Metadata, Workspace

_BLOCK = 8192  # documents at a time
_NEAR = 0.95  # similarity above which a document is counted as a near-duplicate, for people
_PICTURED = (
    32  # shards up to which each shard's scores are drawn; beyond it the events would outweigh the scores
)


def open_embeddings(workspace: Workspace, shard: str) -> np.ndarray:
    """Return a shard's embeddings as a read-only memory map, [n, dim]."""
    return np.load(workspace.open("corpus/embeddings", shard) / "embeddings.npy", mmap_mode="r")


def open_hashes(workspace: Workspace, shard: str) -> np.ndarray:
    """Return the `doc_hash` column of a shard's documents, uint64 [n]."""
    path = workspace.open("corpus/documents", shard) / "documents.parquet"
    return pq.read_table(path, columns=["doc_hash"])["doc_hash"].to_numpy()


def blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, float32 copy of those rows)."""
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        yield rows, np.asarray(x[rows], dtype=np.float32)


# --- what the coverage samplers share ---------------------------------------------------------------------------------


def centroids(workspace: Workspace) -> BuildOne:
    """Fit k-means to the corpus: `centroids.npy`, float32 [k, dim].

    Where there are more than `max_training_points` documents, those with the smallest hashes are used: a sample that
    does not depend on the shards. Memory: the training points.
    """
    settings = workspace.profile.clusters

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        points, n = _training_points(workspace, settings.max_training_points, progress)
        count = settings.count or default_clusters(n)
        fit = fit_centroids(
            points, count, settings.seed, iterations=settings.iterations, device=workspace.device
        )
        np.save(folder / "centroids.npy", fit.centroids)
        return {
            "clusters": len(fit.centroids),
            "documents": workspace.metadata("corpus/index")["documents"],
            "points_used": fit.points_used,
            "points_there": n,
            "iterations": len(fit.objective),
            "mean_similarity": fit.objective[-1],
        }

    return build


def _training_points(workspace: Workspace, limit: int, progress: Progress) -> tuple[np.ndarray, int]:
    """Return the points in the order of their hashes, float32 [m, dim], and how many documents there are."""
    shards = workspace.shards()
    hashes = [open_hashes(workspace, shard) for shard in shards]
    n = sum(map(len, hashes))
    order = np.argsort(np.concatenate(hashes), kind="stable")[:limit]
    place = np.full(n, -1)
    place[order] = np.arange(len(order))
    points, start = None, 0
    for number, (shard, own) in enumerate(zip(shards, hashes, strict=True), 1):
        x = open_embeddings(workspace, shard)
        if points is None:
            points = np.empty((len(order), x.shape[1]), np.float32)
        target = place[start : start + len(own)]
        chosen = np.flatnonzero(target >= 0)
        points[target[chosen]] = x[chosen]
        start += len(own)
        progress(number, len(shards), "shards")
    if points is None or not len(points):
        raise ValueError("the corpus has no documents to cluster")
    return points, n


def assignments(workspace: Workspace) -> BuildOne:
    """Assign each document to its nearest centroid: `clusters.npy` int32 [n], `similarity.npy` float32 [n]."""
    table = np.load(workspace.open("clusters/centroids") / "centroids.npy")

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        x = open_embeddings(workspace, shard)
        cluster, similarity = assign(x, table, device=workspace.device)
        np.save(folder / "clusters.npy", cluster)
        np.save(folder / "similarity.npy", similarity)
        return {
            "documents": len(cluster),
            "clusters_met": len(np.unique(cluster)),
            "mean_similarity": float(similarity.mean()) if len(similarity) else 0.0,
        }

    return build


def _empty_sketch(workspace: Workspace, dim: int) -> RaceSketch:
    return RaceSketch(dim, **workspace.profile.density.model_dump(), device=workspace.device)


def _write_sketch(sketch: RaceSketch, folder: Path) -> Metadata:
    keys, counts = sketch.to_sparse()
    np.save(folder / "keys.npy", keys)
    np.save(folder / "counts.npy", counts)
    write_json(folder / "settings.json", sketch.settings)
    return {
        "documents": sketch.documents,
        "dimensions": sketch.dim,
        "filled_counters": len(keys),
        "filled_buckets_per_row": round(len(keys) / sketch.rows, 1),
    }


def _read_sketch(workspace: Workspace, key: str, partition: str = "") -> tuple[np.ndarray, np.ndarray]:
    folder = workspace.open(key, partition)
    return np.load(folder / "keys.npy"), np.load(folder / "counts.npy")


def shard_sketch(workspace: Workspace) -> BuildOne:
    """Sketch one shard (first pass of the density estimate): `keys.npy`, `counts.npy`, the filled counters."""

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        x = open_embeddings(workspace, shard)
        sketch = _empty_sketch(workspace, x.shape[1])
        for rows, part in blocks(x):
            sketch.add(part)
            progress(rows.stop, len(x), "documents")
        return _write_sketch(sketch, folder)

    return build


def sketch(workspace: Workspace) -> BuildOne:
    """Add the shards' sketches up."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = workspace.shards()
        total = _empty_sketch(workspace, workspace.metadata("density/shard_sketch", shards[0])["dimensions"])
        for number, shard in enumerate(shards, 1):
            total.merge_sparse(*_read_sketch(workspace, "density/shard_sketch", shard))
            progress(number, len(shards), "shards")
        return _write_sketch(total, folder)

    return build


def neighbours(workspace: Workspace) -> BuildOne:
    """Find each document's most similar predecessor in its cluster: one Parquet file a shard, row by row."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = workspace.shards()
        table = np.load(workspace.open("clusters/centroids") / "centroids.npy")

        def read(shard: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return (
                open_embeddings(workspace, shard),
                _clusters(workspace, shard),
                open_hashes(workspace, shard),
            )

        counts = sum(np.bincount(_clusters(workspace, shard), minlength=len(table)) for shard in shards)
        workspace.scratch.mkdir(parents=True, exist_ok=True)
        found = semdedup_shards(
            [partial(read, shard) for shard in shards],
            np.asarray(counts),
            table.shape[1],
            workspace.scratch,
            device=workspace.device,
            progress=progress,
        )
        near = 0
        for shard, scores in zip(shards, found, strict=True):
            near += int((scores.similarity > _NEAR).sum())
            write_table(
                folder / f"{safe_name(shard)}.parquet",
                pa.table(
                    {
                        "score": scores.score,
                        "similarity": pa.array(scores.similarity, from_pandas=True),
                        "duplicate_shard": pa.array(
                            [shards[i] if i >= 0 else None for i in scores.duplicate_shard], pa.string()
                        ),
                        "duplicate_row": pa.array(scores.duplicate_row, mask=scores.duplicate_row < 0),
                    }
                ),
            )
        return {
            "documents": int(np.sum(counts)),
            "clusters": len(table),
            "largest_cluster": int(np.max(counts)),
            "empty_clusters": int(np.sum(counts == 0)),
            f"above_{_NEAR}": near,
        }

    return build


def _clusters(workspace: Workspace, shard: str) -> np.ndarray:
    return np.load(workspace.open("clusters/assignments", shard) / "clusters.npy")


# --- scores -----------------------------------------------------------------------------------------------------------


def _random(workspace: Workspace) -> BuildOne:
    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        score = random_scores(open_hashes(workspace, shard), workspace.profile.selection.seed)
        return write_scores(workspace, shard, folder, score)

    return build


def _density(workspace: Workspace) -> BuildOne:
    dim = workspace.metadata("density/sketch")["dimensions"]
    total = _empty_sketch(workspace, dim).merge_sparse(*_read_sketch(workspace, "density/sketch"))

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        x = open_embeddings(workspace, shard)
        score = np.empty(len(x))
        for rows, part in blocks(x):
            score[rows] = total.density(part)
            progress(rows.stop, len(x), "documents")
        return write_scores(workspace, shard, folder, score)

    return build


def _prototypes(workspace: Workspace) -> BuildOne:
    table = np.load(workspace.open("clusters/centroids") / "centroids.npy")

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        score = prototype_scores(open_embeddings(workspace, shard), table, _clusters(workspace, shard))
        return write_scores(workspace, shard, folder, score)

    return build


def _semdedup(workspace: Workspace) -> BuildOne:
    found = workspace.open("semdedup/neighbours")

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        table = pq.read_table(found / f"{safe_name(shard)}.parquet")
        duplicate_of = _ids_at(workspace, table["duplicate_shard"], table["duplicate_row"])
        score = table["score"].to_numpy()
        return write_scores(
            workspace, shard, folder, score, similarity=table["similarity"], duplicate_of=duplicate_of
        )

    return build


def _ids_at(workspace: Workspace, shards: pa.ChunkedArray, rows: pa.ChunkedArray) -> pa.Array:
    """Return the doc_id at each (shard, row), null where there is none."""
    where = np.asarray(shards.fill_null(""))
    rows_ = rows.fill_null(0).to_numpy()
    ids = np.full(len(where), None, dtype=object)
    for shard in np.unique(where[where != ""]):
        path = workspace.open("corpus/documents", str(shard)) / "documents.parquet"
        column = pq.read_table(path, columns=["doc_id"])["doc_id"]
        here = np.flatnonzero(where == shard)
        ids[here] = column.take(pa.array(rows_[here])).to_pylist()
    return pa.array(ids, pa.string())


SCORERS: dict[str, Builder] = {
    "random": _random,
    "density": _density,
    "semdedup": _semdedup,
    "prototypes": _prototypes,
}
"""Sampler -> builder of its `scores`; exactly the registry's samplers."""


def write_scores(
    workspace: Workspace, shard: str, folder: Path, score: np.ndarray, **more: pa.Array
) -> Metadata:
    """Write `scores.parquet` (doc_id, score, and `more` columns), row by row as in `corpus/documents`.

    Raises
    ------
    ValueError
        A score is missing or not finite: names the document.
    """
    path = workspace.open("corpus/documents", shard) / "documents.parquet"
    doc_ids = pq.read_table(path, columns=["doc_id"])["doc_id"]
    if len(doc_ids) != len(score):
        raise ValueError(f"{shard}: {len(score)} scores for {len(doc_ids)} documents")
    bad = np.flatnonzero(~np.isfinite(score))
    if len(bad):
        raise ValueError(
            f"{shard}: document {doc_ids[int(bad[0])].as_py()!r} (row {bad[0]}) has the score {score[bad[0]]}"
        )
    table = pa.table({"doc_id": doc_ids, "score": pa.array(score, pa.float64()), **more})
    write_table(folder / "scores.parquet", table)
    about: Metadata = {"documents": len(score)}
    if len(score):
        about |= {"min": float(score.min()), "mean": float(score.mean()), "max": float(score.max())}
        about["first_scores"] = Markdown(_first_scores(path, table))
        if len(workspace.shards()) <= _PICTURED:
            picture = histogram(score, f"scores of {shard}", "score (higher is better)")
            about["histogram"] = Markdown(png_markdown(picture, f"histogram of the scores of {shard}"))
    return about


def _first_scores(documents: Path, scores: pa.Table) -> str:
    texts = next(read_batches(documents, ["text"], 10))["text"].to_pylist()
    rows = scores.slice(0, 10).to_pylist()
    return preview([{**row, "text": text} for row, text in zip(rows, texts, strict=True)])
