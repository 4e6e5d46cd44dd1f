"""The scoring assets: what the coverage samplers share, and one `scores` asset for each sampler."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS
from curation_assets.scoring import build, coverage


def scoring_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the scoring stage."""
    shared = [
        step_asset(
            "clusters/centroids",
            coverage.centroids,
            profile,
            "Spherical k-means of the embeddings (paper: 10,000 clusters for 364M documents). Pinned: kept until the "
            "corpus has drifted by `clusters.drift`.",
        ),
        step_asset(
            "clusters/assignments",
            coverage.assignments,
            profile,
            "The nearest centroid of each of the shard's documents, and the cosine similarity to it.",
        ),
        step_asset(
            "density/shard_sketch",
            coverage.shard_sketch,
            profile,
            "The shard's part of the RACE sketch (first pass of the paper's density estimate), as sparse counts.",
        ),
        step_asset(
            "density/sketch",
            coverage.sketch,
            profile,
            "The RACE sketch of the whole corpus: the sum of the shards'.",
        ),
        step_asset(
            "semdedup/neighbours",
            coverage.neighbours,
            profile,
            "For each document the most similar one of its cluster that is kept before it (SemDeDup, exact cosine).",
        ),
    ]
    scores = [
        step_asset(f"{name}/scores", build.SCORERS[name], profile, f"{spec.description} Higher is better.")
        for name, spec in SAMPLERS.items()
    ]
    return [*shared, *scores]
