"""k-means of the embeddings: what SemDeDup and SSL Prototypes share (paper, appendix B)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from curation_assets.common.progress import Progress
from curation_assets.config.section import EXECUTION, Positive, Section
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.unreadable import score_histogram


class Clusters(Section):
    """k-means for SemDeDup and Prototypes; `count = 0` scales the paper's 10,000 clusters by the corpus's size.

    Centroids are kept until the number of documents has moved by more than `drift` (a share) since they were fitted.
    """

    count: Annotated[int, Field(ge=0)]
    iterations: Positive
    max_training_points: Positive
    seed: int
    drift: Annotated[float, Field(ge=0)] = Field(json_schema_extra=EXECUTION)


def centroids(context: Context) -> BuildOne:
    """Fit k-means to the corpus: `centroids.npy`, float32 [k, dim], and `prototypes.npy`, a histogram of prototype scores.

    Documents that the encoder could not read are left out, unless there are no others.

    Where there are more than `max_training_points` documents, those with the smallest hashes are used: a sample that
    does not depend on the shards. Memory: the training points.
    """
    from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids

    settings = context.profile.samplers.clusters

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        points, readable, n = _training_points(context, settings.max_training_points, progress)
        points = points[readable] if readable.any() else points
        count = settings.count or default_clusters(n)
        fit = fit_centroids(
            points, count, settings.seed, iterations=settings.iterations, device=context.device
        )
        np.save(folder / "centroids.npy", fit.centroids)
        _, similarity = assign(points, fit.centroids, device=context.device)
        np.save(folder / "prototypes.npy", score_histogram(-similarity if readable.any() else similarity[:0]))
        return {
            "clusters": len(fit.centroids),
            "documents": context.metadata("corpus/index")["documents"],
            "points_used": fit.points_used,
            "points_there": n,
            "iterations": len(fit.objective),
            "mean_similarity": fit.objective[-1],
        }

    return build


def _training_points(context: Context, limit: int, progress: Progress) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the points in the order of their hashes, float32 [m, dim], which are readable, and the number of documents."""
    shards = context.shards()
    hashes = [Documents(context, shard).hashes for shard in shards]
    n = sum(map(len, hashes))
    order = np.argsort(np.concatenate(hashes), kind="stable")[:limit]
    place = np.full(n, -1)
    place[order] = np.arange(len(order))
    points, readable, start = None, np.zeros(len(order), bool), 0
    for number, (shard, own) in enumerate(zip(shards, hashes, strict=True), 1):
        x = Documents(context, shard).embeddings
        if points is None:
            points = np.empty((len(order), x.shape[1]), np.float32)
        target = place[start : start + len(own)]
        chosen = np.flatnonzero(target >= 0)
        points[target[chosen]] = x[chosen]
        readable[target[chosen]] = Documents(context, shard).readable[chosen]
        start += len(own)
        progress(number, len(shards), "shards")
    if points is None or not len(points):
        raise ValueError("the corpus has no documents to cluster")
    return points, readable, n


def assignments(context: Context) -> BuildOne:
    """Assign each document to its nearest centroid: `clusters.npy` int32 [n], `similarity.npy` float32 [n]."""
    from curation_assets.scoring.clusters import assign

    table = np.load(context.open("clusters/centroids") / "centroids.npy")

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        x = Documents(context, shard).embeddings
        cluster, similarity = assign(x, table, device=context.device)
        np.save(folder / "clusters.npy", cluster)
        np.save(folder / "similarity.npy", similarity)
        return {
            "documents": len(cluster),
            "clusters_met": len(np.unique(cluster)),
            "mean_similarity": float(similarity.mean()) if len(similarity) else 0.0,
        }

    return build


SETTINGS = {"clusters": Clusters}
STEPS = (
    Step(
        "clusters/centroids",
        "",
        ("corpus/documents", "corpus/embeddings", "corpus/index"),
        "coverage",
        ("faiss",),
        ("samplers.clusters",),
        code=2,
        pinned=True,
        drift="samplers.clusters.drift",
        accelerated=True,
    ),
    Step(
        "clusters/assignments", "shard", ("corpus/embeddings", "clusters/centroids"), "coverage", ("numpy",)
    ),
)
PRODUCTS = (
    Product(
        "clusters/centroids",
        centroids,
        "Spherical k-means of the embeddings: the centroids.",
        "Kept while the corpus changes little, so that scores can be compared.",
        files="`centroids.npy` (float32 [clusters, dimensions])",
        paper="appendix B (10,000 clusters for 364M documents)",
    ),
    Product(
        "clusters/assignments",
        assignments,
        "Each document's nearest centroid, and how near it is.",
        files="`clusters.npy` (int32 [documents]), `similarity.npy` (cosine, float32 [documents])",
        paper="appendix B",
    ),
)
