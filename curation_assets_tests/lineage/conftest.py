"""A small workspace with everything from corpus files to a metric, made once and given back to each test as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus import build as corpus
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets
from curation_assets.engine.workspace import Builder, Workspace
from curation_assets.evaluation.build import metrics
from curation_assets.evaluation.examples_build import examples
from curation_assets.models.build import model_note
from curation_assets.pretraining.build import full_data_checkpoint, subset_checkpoint
from curation_assets.samplers.build import scores
from curation_assets.selection.build import subset
from curation_assets_tests.conftest import Kept, work_in, write_tiny
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

BUILDERS: dict[str, Builder] = {
    **CORPUS,
    "corpus/validation": corpus.validation,
    "evaluation/examples": examples,
    "random/scores": scores(SAMPLERS["random"]),
    "random/subset": subset(SAMPLERS["random"]),
    "random/checkpoint": subset_checkpoint("random"),
    "random/metrics": metrics("random"),
    "full_data/checkpoint": full_data_checkpoint,
    "perplexity_small/model": model_note(lambda profile: profile.model_source("perplexity_small")),
    "perplexity_small/scores": scores(SAMPLERS["perplexity_small"]),
    "perplexity_small/subset": subset(SAMPLERS["perplexity_small"]),
}
MADE = list(BUILDERS)
"""The steps that have been made, of those that the profile wants."""

SHARDS = ["s0.jsonl", "s1.jsonl", "s2.jsonl"]


def make(profile: Profile, keys: list[str]) -> None:
    """Make what is out of date of some steps, in this order."""
    workspace = Workspace(profile)
    for key in keys:
        build = BUILDERS[key]
        for partition in targets(workspace, STEPS[key]):
            materialize(
                workspace,
                STEPS[key],
                partition,
                lambda inputs, build=build, key=key: load(build, workspace, STEPS[key]),
            )


@pytest.fixture(scope="session")
def _kept(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Kept:
    root = tmp_path_factory.mktemp("lineage")
    write_tiny(root, teacher, '[run]\nsamplers = ["random", "perplexity_small"]\n')
    with pytest.MonkeyPatch.context() as patch:
        make(work_in(root, patch), MADE)
    return Kept(root)


@pytest.fixture
def made(_kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The profile of a workspace in which `MADE` has been made. A test that changes it asks for `root`, too."""
    return work_in(_kept.root, monkeypatch)


@pytest.fixture
def root(_kept: Kept) -> Iterator[Path]:
    """The folder with the corpus (`shards`), the profile and the data; what a test does to it is undone."""
    yield _kept.root
    _kept.restore()
