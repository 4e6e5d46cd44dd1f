"""The training assets: one run for each sampler, rate and size, and the ladder on the full data."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.pretraining.build import full_data_checkpoint, subset_checkpoint
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS


def pretraining_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the pre-training stage."""
    full = step_asset(
        "full_data/checkpoint",
        full_data_checkpoint,
        profile,
        "T5 pre-trained on the whole corpus: the baseline, and the reference for over-scaling. Pinned.",
    )
    subsets = [
        step_asset(
            f"{name}/checkpoint",
            subset_checkpoint(name),
            profile,
            f"T5 pre-trained on the subset of `{name}` with the token budget of every other run (iso-compute), with "
            "snapshots along the way.",
        )
        for name in SAMPLERS
    ]
    return [full, *subsets]
