"""SSL Prototypes (paper, appendix B): what is nearest to the centroid of its cluster goes first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curation_assets.common.progress import Progress
from curation_assets.engine.context import Context
from curation_assets.samplers import clusters
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Sampler, Scores
from curation_assets.samplers.unreadable import READABLE, draw_scores


class Prototypes(NamedTuple):
    """The centroids, and the histogram of the scores of what was clustered."""

    centroids: np.ndarray
    histogram: np.ndarray


def setup(context: Context) -> Prototypes:
    """Read the centroids."""
    folder = context.open("clusters/centroids")
    return Prototypes(np.load(folder / "centroids.npy"), np.load(folder / "prototypes.npy"))


def score(prototypes: Prototypes, documents: Documents, progress: Progress) -> Scores:
    """Compare each document with its centroid; one that the encoder could not read has a score as the others have."""
    from curation_assets.scoring.prototypes import prototype_scores

    readable = documents.readable
    own = prototype_scores(documents.embeddings, prototypes.centroids, documents.clusters)
    return {
        "score": np.where(readable, own, draw_scores(prototypes.histogram, documents.hashes)),
        "readable": readable,
    }


SAMPLER = Sampler(
    name="prototypes",
    family="coverage",
    technique="top_k",
    minus="cosine similarity",
    description="Minus the cosine similarity to the document's own centroid: the most prototypical go first.",
    paper="SSL Prototypes",
    inputs=("corpus/embeddings", "clusters/centroids", "clusters/assignments"),
    shared_settings=clusters.SETTINGS,
    columns=READABLE,
    setup=setup,
    score=score,
    code=3,
    steps=clusters.STEPS,
    products=clusters.PRODUCTS,
)
