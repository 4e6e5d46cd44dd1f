"""The report assets."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.profile import Profile
from curation_assets.report import build


def report_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the report stage."""
    return [
        step_asset(
            "report/comparison",
            build.comparison,
            profile,
            "Every evaluated sampler, rate and size side by side: documents, tokens, epochs and both perplexities.",
        ),
        step_asset(
            "report/correlation",
            build.correlation,
            profile,
            "Kendall's tau between the scores of all samplers, with intervals, as a table and a heat map (paper, figure 7).",
        ),
    ]
