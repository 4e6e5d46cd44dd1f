"""docs/your-judge.md with a small chat model and a small T5: its code runs, and what it says of versions is so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.models import t5
from curation_assets.models.tokenizer import train_tokenizer
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.docs.markdown import ROOT, Command, of_language
from curation_assets_tests.docs.walk import Reader, make, needed

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "your-judge.md"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Iterator[Reader]:
    home = tmp_path_factory.mktemp("judge")
    shutil.copytree(teacher, home / "models" / "my-judge")
    with pytest.MonkeyPatch.context() as patch:
        found = Reader(home / "project", home / "models", patch)
        found.write_all()
        found.run(Command("here", {}, ("python", "make_texts.py")))
        yield found


@pytest.fixture(scope="module")
def judged(reader: Reader) -> Profile:
    """The page's first profile, with the scores of its judge made."""
    found = load_profile("judged.toml")
    make(found, needed(found, ("ask_llm_small/scores",)))
    return found


def _scores(profile: Profile, sampler: str) -> np.ndarray:
    workspace = Workspace(profile)
    files = [workspace.open(f"{sampler}/scores", shard) / "scores.parquet" for shard in workspace.shards()]
    return pl.concat([pl.read_parquet(file) for file in files])["score"].to_numpy()


def _stale(profile: Profile, key: str) -> bool:
    workspace = Workspace(profile)
    partitions = workspace.partitions(STEPS[key].by)
    return Versions(workspace).stale(STEPS[key], partitions) == partitions


def test_a_t5_can_be_asked_as_well(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's code reads a chat model in test_commands, and here a T5 with a tokenizer of its own."""
    folder = reader.models / "my-t5"
    tokenizer = train_tokenizer([text for _, text in stdlib_texts()], 700, folder)
    t5.save(t5.build(t5.Shape(32, 8, 64, 1, 4), tokenizer.vocab_size, seed=3), folder)
    [block] = [block for block in of_language(PAGE, "python") if not block.file]
    exec(reader.here(block.text).replace("my-judge", "my-t5"), {})
    [first, second] = map(float, capsys.readouterr().out.strip(" []\n").split())
    assert 0 < first < 1 and 0 < second < 1 and first != second


def test_the_prompt_makes_the_scores_stale_and_nothing_else(judged: Profile) -> None:
    strict = load_profile("strict.toml")
    assert strict.samplers.ask_llm.prompt != judged.samplers.ask_llm.prompt and strict.data == judged.data
    changed = {key for key, step in STEPS.items() if step.code_version(judged) != step.code_version(strict)}
    asked = {f"{name}/scores" for name, spec in SAMPLERS.items() if spec.family == "ask_llm"}
    reports = {
        f"report/{name}"
        for name in ("tradeoff", "labels", "correlation", "distributions", "composition", "documents", "page")
    }
    assert changed == asked | {"judge/labels", "judge/checkpoint"} | reports
    before = _scores(judged, "ask_llm_small")
    assert (before < 0).all() and _stale(strict, "ask_llm_small/scores")
    make(strict, needed(strict, ("ask_llm_small/scores",)))
    assert not np.array_equal(_scores(strict, "ask_llm_small"), before)
    make(judged, needed(judged, ("ask_llm_small/scores",)))
    assert np.array_equal(_scores(judged, "ask_llm_small"), before)


def test_the_same_weights_elsewhere_change_nothing_and_others_do(reader: Reader, judged: Profile) -> None:
    shutil.copytree(reader.models / "my-judge", reader.models / "moved")
    text = Path("judged.toml").read_text("utf-8")
    Path("judged.toml").write_text(text.replace("my-judge", "moved"), "utf-8")
    moved = load_profile("judged.toml")
    Path("judged.toml").write_text(text, "utf-8")
    make(moved, [STEPS["ask_llm_small/model"]])
    assert not _stale(moved, "ask_llm_small/scores")
    fluent = load_profile("fluent.toml")
    make(fluent, needed(fluent, ("perplexity_small/scores",)))
    assert (_scores(fluent, "perplexity_small") < -1).all(), "minus a perplexity"


def test_a_judge_is_distilled(reader: Reader) -> None:
    distilled = load_profile("distilled.toml")
    make(distilled, needed(distilled, ("ask_llm_small/scores",)))
    workspace = Workspace(distilled)
    about = workspace.metadata("judge/checkpoint", "small")
    assert {"tau", "tau_low", "tau_high", "tau_of_length", "held_out"} <= set(about)
    assert workspace.metadata("ask_llm_small/model")["source"] == "asset:judge/checkpoint#small"
    assert (_scores(distilled, "ask_llm_small") < 0).all()
