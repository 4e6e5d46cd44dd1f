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
from curation_assets.samplers import cluster_sample
from curation_assets.samplers.cluster_sample import training_points
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
    does not depend on the shards (`cluster_sample`). Memory: the training points, and faiss's own copies of some.
    """
    from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids

    settings = context.profile.samplers.clusters

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        points, readable, n = training_points(context, settings.max_training_points, progress)
        count = settings.count or default_clusters(n)
        fit = fit_centroids(
            points, count, settings.seed, iterations=settings.iterations, device=context.device
        )
        np.save(folder / "centroids.npy", fit.centroids)
        _, similarity = assign(points, fit.centroids, device=context.device)
        np.save(folder / "prototypes.npy", score_histogram(-similarity if readable else similarity[:0]))
        return {
            "clusters": len(fit.centroids),
            "documents": context.metadata("corpus/index")["documents"],
            "points_used": fit.points_used,
            "points_there": n,
            "iterations": len(fit.objective),
            "mean_similarity": fit.objective[-1],
        }

    return build


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
        cluster_sample.SHARE,
        "",
        ("corpus/index",),
        "coverage",
        settings=("samplers.clusters.max_training_points",),
    ),
    Step(
        cluster_sample.SAMPLE,
        "shard",
        ("corpus/documents", "corpus/embeddings", cluster_sample.SHARE),
        "coverage",
        ("numpy",),
    ),
    Step(
        "clusters/centroids",
        "",
        (cluster_sample.SAMPLE, "corpus/index"),
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
        cluster_sample.SHARE,
        cluster_sample.share,
        "Which share of the documents k-means is fitted to.",
        "It follows from the number of documents and `max_training_points`, and stays while the corpus grows by less than 41 %.",
        files="nothing but the share in its metadata",
    ),
    Product(
        cluster_sample.SAMPLE,
        cluster_sample.sample,
        "A corpus file's part of what k-means is fitted to.",
        "The embeddings of its documents of the smallest hashes, so that k-means reads no others.",
        files="`sample.npz` (doc_hash, readable, embeddings)",
    ),
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
