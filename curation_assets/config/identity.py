"""What of a profile changes a step's content (its identity settings), and what a step reads because of the profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curation_assets.config.model_sources import parse
from curation_assets.config.profile import Profile
from curation_assets.config.section import Section


def evaluation_settings(p: Profile) -> Any:
    """Return what a measurement depends on."""
    return {k: v for k, v in p.evaluation.identity().items() if k != "decontaminate"}


def contaminated(p: Profile) -> dict[str, str | None]:
    """Return what is read to leave contaminated documents out, where the profile asks for that."""
    return {"evaluation/contamination": None} if p.evaluation.decontaminate else {}


def document_settings(p: Profile) -> Any:
    """Return what documents depend on."""
    return {k: v for k, v in p.corpus.identity().items() if k != "builtin"}


def training(p: Profile) -> Any:
    """Return what a pre-trained model depends on besides its documents."""
    return {
        "recipe": p.pretraining.identity(),
        "ladder": {size: shape.identity() for size, shape in p.ladder.items()},
    }


def training_on_all(p: Profile) -> Any:
    """Return what a model trained on all data depends on; it is pinned, so that what is left out must show here."""
    return training(p) | ({"decontaminate": True} if p.evaluation.decontaminate else {})


def at(*paths: str) -> Callable[[Profile], Any]:
    """Return the identity settings at dotted paths of a profile: "samplers.density", "selection.seed"."""

    def read(p: Profile) -> Any:
        values = {path: p.setting(path) for path in paths}
        return {path: v.identity() if isinstance(v, Section) else v for path, v in values.items()}

    return read


def from_source(source_of: Callable[[Profile], Any]) -> dict[str, Any]:
    """Return the settings and what is borrowed of a step that finds the files of a model source."""

    def borrows(profile: Profile) -> dict[str, str | None]:
        source = source_of(profile)
        return {source.name: source.partition} if source is not None and source.kind == "asset" else {}

    return {"settings": lambda p: str(source_of(p)), "borrows": borrows, "kinds": ("huggingface",)}


def bases(profile: Profile) -> dict[str, str | None]:
    """Return what judges are made from, where that is the graph's own ladder."""
    kinds = {parse(base).kind for base in profile.judge.bases.values()}
    return {"full_data/checkpoint": None} if "asset" in kinds else {}
