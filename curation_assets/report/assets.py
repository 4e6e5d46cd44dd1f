"""The report assets."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.profile import Profile
from curation_assets.report import build, merit_build


def report_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the report stage."""
    return [
        step_asset(
            "report/comparison",
            build.comparison,
            profile,
            "Every evaluated sampler, rate and size side by side: perplexities, averages of the evaluation suites, over-scaling, "
            "effective size, ranks, and whether the difference to random sampling is beyond the noise of training.",
        ),
        step_asset(
            "report/convergence",
            merit_build.convergence,
            profile,
            "Perplexity against training tokens, and how many tokens each sampler's model needs to be as good as one "
            "trained on everything (paper, figure 5).",
        ),
        step_asset(
            "report/tradeoff",
            merit_build.tradeoff,
            profile,
            "What choosing the data cost, in seconds and operations, against the quality of the model trained on it, and "
            "after how many trainings it has paid off.",
        ),
        step_asset(
            "report/correlation",
            build.correlation,
            profile,
            "Kendall's tau between the scores of all samplers, with intervals, as a table and a heat map (paper, figure 7).",
        ),
    ]
