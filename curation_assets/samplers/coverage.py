"""What the coverage samplers share, and how it is made: k-means, the RACE sketches, the nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import safe_name, write_json, write_table
from curation_assets.common.progress import Progress
from curation_assets.corpus.reading import open_documents, open_hashes
from curation_assets.engine.context import Artifacts, Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers.neutral import score_histogram
from curation_assets.scoring.cluster_store import semdedup_shards
from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids
from curation_assets.scoring.density import RaceSketch

_BLOCK = 8192  # documents at a time
_NEAR = 0.95  # similarity above which a document is counted as a near-duplicate, for people


def open_embeddings(workspace: Artifacts, shard: str) -> np.ndarray:
    """Return a shard's embeddings as a read-only memory map, [n, dim]."""
    return np.load(workspace.open("corpus/embeddings", shard) / "embeddings.npy", mmap_mode="r")


def open_readable(workspace: Artifacts, shard: str) -> np.ndarray:
    """Return which of a shard's documents the encoder could read, bool [n]."""
    return np.load(workspace.open("corpus/embeddings", shard) / "readable.npy")


def blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, float32 copy of those rows)."""
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        yield rows, np.asarray(x[rows], dtype=np.float32)


def centroids(workspace: Context) -> BuildOne:
    """Fit k-means to the corpus: `centroids.npy`, float32 [k, dim], and `prototypes.npy`, a histogram of prototype scores.

    Documents that the encoder could not read are left out, unless there are no others.

    Where there are more than `max_training_points` documents, those with the smallest hashes are used: a sample that
    does not depend on the shards. Memory: the training points.
    """
    settings = workspace.profile.clusters

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        points, readable, n = _training_points(workspace, settings.max_training_points, progress)
        points = points[readable] if readable.any() else points
        count = settings.count or default_clusters(n)
        fit = fit_centroids(
            points, count, settings.seed, iterations=settings.iterations, device=workspace.device
        )
        np.save(folder / "centroids.npy", fit.centroids)
        _, similarity = assign(points, fit.centroids, device=workspace.device)
        np.save(folder / "prototypes.npy", score_histogram(-similarity if readable.any() else similarity[:0]))
        return {
            "clusters": len(fit.centroids),
            "documents": workspace.metadata("corpus/index")["documents"],
            "points_used": fit.points_used,
            "points_there": n,
            "iterations": len(fit.objective),
            "mean_similarity": fit.objective[-1],
        }

    return build


def _training_points(
    workspace: Context, limit: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the points in the order of their hashes, float32 [m, dim], which are readable, and the number of documents."""
    shards = workspace.shards()
    hashes = [open_hashes(workspace, shard) for shard in shards]
    n = sum(map(len, hashes))
    order = np.argsort(np.concatenate(hashes), kind="stable")[:limit]
    place = np.full(n, -1)
    place[order] = np.arange(len(order))
    points, readable, start = None, np.zeros(len(order), bool), 0
    for number, (shard, own) in enumerate(zip(shards, hashes, strict=True), 1):
        x = open_embeddings(workspace, shard)
        if points is None:
            points = np.empty((len(order), x.shape[1]), np.float32)
        target = place[start : start + len(own)]
        chosen = np.flatnonzero(target >= 0)
        points[target[chosen]] = x[chosen]
        readable[target[chosen]] = open_readable(workspace, shard)[chosen]
        start += len(own)
        progress(number, len(shards), "shards")
    if points is None or not len(points):
        raise ValueError("the corpus has no documents to cluster")
    return points, readable, n


def assignments(workspace: Context) -> BuildOne:
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


def empty_sketch(workspace: Artifacts, dim: int) -> RaceSketch:
    """Return a sketch with the profile's settings and no counts."""
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


def read_sketch(workspace: Artifacts, key: str, partition: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return a stored sketch's filled counters: keys int64 and counts int32."""
    folder = workspace.open(key, partition)
    return np.load(folder / "keys.npy"), np.load(folder / "counts.npy")


def shard_sketch(workspace: Context) -> BuildOne:
    """Sketch one shard (first pass of the density estimate): `keys.npy`, `counts.npy`, the filled counters.

    Documents that the encoder could not read are not counted: they would make each other look dense.
    """

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        x, readable = open_embeddings(workspace, shard), open_readable(workspace, shard)
        sketch = empty_sketch(workspace, x.shape[1])
        for rows, part in blocks(x):
            sketch.add(part[readable[rows]])
            progress(rows.stop, len(x), "documents")
        return _write_sketch(sketch, folder)

    return build


def sketch(workspace: Context) -> BuildOne:
    """Add the shards' sketches up."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = workspace.shards()
        total = empty_sketch(workspace, workspace.metadata("density/shard_sketch", shards[0])["dimensions"])
        for number, shard in enumerate(shards, 1):
            total.merge_sparse(*read_sketch(workspace, "density/shard_sketch", shard))
            progress(number, len(shards), "shards")
        return _write_sketch(total, folder)

    return build


def neighbours(workspace: Context) -> BuildOne:
    """Find each document's most similar predecessor in its cluster: one Parquet file a shard, row by row.

    Documents that the encoder could not read are compared with none, and their scores are null here. `semdedup.npy` is a
    histogram of the others' scores.
    """

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = workspace.shards()
        k, dim = np.load(workspace.open("clusters/centroids") / "centroids.npy").shape
        unreadable = np.array([int((~open_readable(workspace, shard)).sum()) for shard in shards])
        counts = np.zeros(k + unreadable.sum(), np.int64)  # each unreadable document is a cluster of its own
        counts[k:] = 1
        first = k + unreadable.cumsum() - unreadable
        for number, shard in enumerate(shards):
            own = _comparable_clusters(workspace, shard, first[number])
            counts[:k] += np.bincount(own[own < k], minlength=k)

        def read(number: int, shard: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return (
                open_embeddings(workspace, shard),
                _comparable_clusters(workspace, shard, first[number]),
                open_hashes(workspace, shard),
            )

        near, histogram = 0, score_histogram(np.zeros(0))
        with workspace.temporary() as scratch:
            found = semdedup_shards(
                [partial(read, number, shard) for number, shard in enumerate(shards)],
                counts,
                dim,
                scratch,
                device=workspace.device,
                progress=progress,
            )
            for shard, scores in zip(shards, found, strict=True):
                readable = open_readable(workspace, shard)
                near += int((scores.similarity > _NEAR).sum())
                histogram += score_histogram(scores.score[readable])
                write_table(
                    folder / f"{safe_name(shard)}.parquet",
                    pa.table(
                        {
                            "score": pa.array(scores.score, mask=~readable),
                            "similarity": pa.array(scores.similarity, from_pandas=True),
                            "duplicate_shard": pa.array(
                                [shards[i] if i >= 0 else None for i in scores.duplicate_shard], pa.string()
                            ),
                            "duplicate_of": _ids_at(
                                workspace, shards, scores.duplicate_shard, scores.duplicate_row
                            ),
                        }
                    ),
                )
        np.save(folder / "semdedup.npy", histogram)
        return {
            "documents": len(counts) - k + int(counts[:k].sum()),
            "unreadable_documents": int(unreadable.sum()),
            "clusters": k,
            "largest_cluster": int(counts[:k].max()),
            "empty_clusters": int((counts == 0).sum()),
            f"above_{_NEAR}": near,
        }

    return build


def _ids_at(workspace: Context, shards: list[str], where: np.ndarray, rows: np.ndarray) -> pa.Array:
    """Return the doc_id at each (number of a shard, row), null where the number is negative."""
    ids = np.full(len(where), None, dtype=object)
    for number in np.unique(where[where >= 0]):
        column = pq.read_table(open_documents(workspace, shards[number]), columns=["doc_id"])["doc_id"]
        here = np.flatnonzero(where == number)
        ids[here] = column.take(pa.array(rows[here])).to_pylist()
    return pa.array(ids, pa.string())


def _comparable_clusters(workspace: Context, shard: str, first: int) -> np.ndarray:
    """Return each document's cluster, int64 [n]; documents that the encoder could not read get new ones, from `first` on."""
    cluster = read_clusters(workspace, shard).astype(np.int64)
    unreadable = ~open_readable(workspace, shard)
    cluster[unreadable] = first + np.arange(unreadable.sum())
    return cluster


def read_clusters(workspace: Artifacts, shard: str) -> np.ndarray:
    """Return the cluster of each of a shard's documents, int32 [n]."""
    return np.load(workspace.open("clusters/assignments", shard) / "clusters.npy")
