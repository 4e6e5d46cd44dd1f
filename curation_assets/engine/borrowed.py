"""What steps read because of the profile: the artifact behind a model source, documents that are left out."""

from __future__ import annotations

from collections.abc import Callable

from curation_assets.config.model_sources import parse
from curation_assets.config.paths import value_at
from curation_assets.config.profile import Profile
from curation_assets.config.settings import CLUSTER

Borrows = Callable[[Profile], dict[str, str | None]]
"""Gives {asset key: the one partition that is read, or None for the reader's own}."""


def nothing(profile: Profile) -> dict[str, str | None]:
    """Return what a step borrows whose inputs are the same under every profile."""
    return {}


def contaminated(profile: Profile) -> dict[str, str | None]:
    """Return what is read to leave contaminated documents out, where the profile asks for that."""
    return {"evaluation/contamination": None} if profile.evaluation.decontaminate else {}


def chosen_by(sampler: str) -> Borrows:
    """Return what a sampler's subsets read: of a hybrid the scores of its first stage, and what says which stratum a document is in."""

    def borrows(profile: Profile) -> dict[str, str | None]:
        first, within = profile.first_stage(sampler), profile.within
        strata = {"": (), CLUSTER: ("clusters/assignments",)}.get(within, ("corpus/documents",))
        needs = (*([f"{first.sampler}/scores"] if first else []), *strata)
        return dict.fromkeys(needs) | contaminated(profile)

    return borrows


def has_near_duplicates(sampler: str, profile: Profile) -> bool:
    """Tell whether an export of a sampler's choice names near-duplicates: where the profile has semdedup's scores made."""
    samplers = profile.run.samplers
    return not samplers or "semdedup" in (*samplers, sampler)


def exported(sampler: str) -> Borrows:
    """Return what an export reads besides the subset: the scores that tell near-duplicates."""

    def borrows(profile: Profile) -> dict[str, str | None]:
        return {"semdedup/scores": None} if has_near_duplicates(sampler, profile) else {}

    return borrows


def students(profile: Profile) -> dict[str, str | None]:
    """Return what judges are made from: of T5s the graph's own ladder, where they begin there; of regressions the labels' embeddings."""
    student = profile.judge.student
    kinds = {parse(base).kind for base in profile.judge.bases.values()}
    rungs = ["full_data/checkpoint"] if student != "embeddings" and "asset" in kinds else []
    return dict.fromkeys([*rungs, *(["judge/label_embeddings"] if student != "t5" else [])])


def embedded(path: str) -> Borrows:
    """Return what scores of the model at a path of the profile read besides: embeddings, where a judge of this graph may go by them."""

    def borrows(profile: Profile) -> dict[str, str | None]:
        judged = "judge/checkpoint" in model_at(path)(profile)
        return {"corpus/embeddings": None} if judged and profile.judge.student != "t5" else {}

    return borrows


def model_at(path: str) -> Borrows:
    """Return what is read of the graph by a step that finds the files of the model source at a path of the profile."""

    def borrows(profile: Profile) -> dict[str, str | None]:
        spec = value_at(profile, path)
        source = parse(spec) if spec else None
        return {source.name: source.partition} if source is not None and source.kind == "asset" else {}

    return borrows
