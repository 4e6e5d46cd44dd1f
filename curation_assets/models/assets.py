"""The model assets: where the scorers' models come from, and the judges that are made in the graph."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.models import judges
from curation_assets.models.build import found_model
from curation_assets.models.sources import parse
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS


def model_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the model stage."""
    teacher = step_asset(
        "judge/teacher",
        found_model(lambda p: parse(p.judge.teacher)),
        profile,
        "The instruction-tuned model whose judgements the judges learn: which weights, by digest.",
    )
    labels = step_asset(
        "judge/labels",
        judges.labels,
        profile,
        "The teacher's answers to the Ask-LLM prompt on a hash sample of the corpus. Cached by text: a killed run goes on, "
        "and more labels keep those that are there. Pinned.",
    )
    checkpoint = step_asset(
        "judge/checkpoint",
        judges.judge,
        profile,
        "A T5 fine-tuned to answer the Ask-LLM prompt as the teacher does, as Flan-T5 is an instruction-tuned T5; with its "
        "agreement (Kendall's tau) on labels held out. Pinned.",
    )
    models = [
        step_asset(
            f"{name}/model",
            found_model(lambda p, name=name: p.model_source(name)),  # type: ignore[misc]
            profile,
            f"The model that `{name}` scores with: where it was found, its digest and size. Scores follow the digest.",
        )
        for name, spec in SAMPLERS.items()
        if spec.model
    ]
    return [teacher, labels, checkpoint, *models]
