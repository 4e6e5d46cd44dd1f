"""Every setting of a recipe arrives in the configuration that the library is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.settings import Section
from curation_assets.corpus.demo.build import BuiltinSettings
from curation_assets.evaluation.finetune import FineTuneConfig
from curation_assets.evaluation.suites import SuiteConfig
from curation_assets.judges.build import distill_config
from curation_assets.pretraining.build import train_config


def _pretraining(p: Profile) -> dict[str, Any]:
    return asdict(train_config(p, "small", vocab_size=512, first_sentinel=511))


def _fine_tuning(p: Profile) -> dict[str, Any]:
    tuning = p.evaluation.finetuning.to(FineTuneConfig, seed=0)
    return asdict(p.evaluation.finetuning.to(SuiteConfig, tuning=tuning))


def _builtin(p: Profile) -> dict[str, Any]:
    documents = tuple(p.corpus.builtin.documents.items())
    return asdict(p.corpus.builtin.to(BuiltinSettings, documents=documents))


CASES: dict[str, tuple[Callable[[Profile], dict[str, Any]], set[str]]] = {
    "pretraining": (_pretraining, {"seeds"}),  # a run each
    "ladder.small": (_pretraining, set()),
    "judge": (
        lambda p: asdict(distill_config(p)),
        {"teacher", "documents", "teacher_max_tokens", "held_out", "bases", "student"},
    ),
    "evaluation.finetuning": (_fine_tuning, set()),
    "corpus.builtin": (_builtin, set()),
}


def _changed(value: Any) -> Any:
    if isinstance(value, str):
        return "probability"
    if isinstance(value, dict):
        return {name: _changed(inner) for name, inner in value.items()}
    return (
        [0.25, 1.0]
        if isinstance(value, list)
        else value / 2 + 0.003
        if isinstance(value, float)
        else value + 1
    )


def _with(section: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    inner = section[path[0]] if isinstance(section, dict) else getattr(section, path[0])
    new = _with(inner, path[1:], value)
    if isinstance(section, dict):
        return section | {path[0]: new}
    return section.model_copy(update={path[0]: new})


@pytest.mark.parametrize("name", CASES)
def test_every_setting_arrives(name: str) -> None:
    profile = load_profile("local")
    configure, elsewhere = CASES[name]
    section: Any = profile
    for part in name.split("."):
        section = section[part] if isinstance(section, dict) else getattr(section, part)
    assert isinstance(section, Section)
    lost = set()
    for setting, value in section.identity().items():
        changed = _with(profile, [*name.split("."), setting], _changed(value))
        if configure(changed) == configure(profile):
            lost.add(setting)
    assert lost == elsewhere
