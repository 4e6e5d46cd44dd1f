"""The embeddings asset."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.embeddings import build
from curation_assets.profile import Profile


def embedding_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the embeddings stage."""
    return [
        step_asset(
            "corpus/embeddings",
            build.embeddings,
            profile,
            "Unit sentence embeddings of the shard's documents (paper: Sentence-T5-Base, 768 dimensions).",
        )
    ]
