"""The evaluation assets: one long table of measurements for each checkpoint."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.evaluation.build import metrics
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS


def evaluation_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the evaluation stage."""
    return [
        step_asset(
            f"{name}/metrics",
            metrics(name),
            profile,
            f"Span-corruption perplexity of each snapshot of `{name}/checkpoint` on the held-out documents and on the "
            "high-quality texts.",
        )
        for name in ("full_data", *SAMPLERS)
    ]
