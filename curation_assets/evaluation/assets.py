"""The evaluation assets: what models are measured by, and one long table of measurements for each checkpoint."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.evaluation.build import metrics
from curation_assets.evaluation.contamination import contamination, ngrams
from curation_assets.evaluation.gathering import examples
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS


def evaluation_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the evaluation stage."""
    return [
        step_asset(
            "evaluation/examples",
            examples,
            profile,
            "The examples of every fine-tuned and few-shot task as text in and text out, and which tasks lack data. Pinned: what "
            "models are measured by stays the same while the corpus moves on.",
        ),
        step_asset(
            "evaluation/ngrams",
            ngrams,
            profile,
            "Hashes of every 13 words in a row of the evaluation inputs, without template text, and the tasks they are of.",
        ),
        step_asset(
            "evaluation/contamination",
            contamination,
            profile,
            "Documents that share 13 words in a row with evaluation inputs, and with which tasks' (Brown et al. 2020).",
        ),
        *(
            step_asset(
                f"{name}/metrics",
                metrics(name),
                profile,
                f"What `{name}/checkpoint` is worth: span-corruption perplexity of each snapshot on held-out documents and on "
                "high-quality texts, and the last snapshot's scores in the profile's suites of tasks, for each seed.",
            )
            for name in ("full_data", *SAMPLERS)
        ),
    ]
