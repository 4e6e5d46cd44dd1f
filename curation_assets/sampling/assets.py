"""One `subset` asset for each sampler."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS
from curation_assets.sampling.build import subset

_TECHNIQUES = {
    "top_k": "the highest scores stay",
    "bottom_k": "the lowest scores stay",
    "ips": "drawn without replacement with probability proportional to 1/score (inverse propensity sampling)",
    "uniform": "drawn uniformly",
}


def sampling_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the sampling stage."""
    return [
        step_asset(
            f"{name}/subset",
            subset(spec),
            profile,
            f"The documents that `{name}` keeps at a rate (percent of the corpus's documents): "
            f"{_TECHNIQUES[spec.technique]}.",
        )
        for name, spec in SAMPLERS.items()
    ]
