"""What is tested in the copy of the project that has the sampler of docs/your-sampler.md; `test_sampler` runs this there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import curation_assets
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.build import scores
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.docs.markdown import ROOT, Command, commands, of_language
from curation_assets_tests.docs.walk import Reader, make_step, needed

pytestmark = pytest.mark.graph

PAGE = ROOT / "docs" / "your-sampler.md"


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A reader with a corpus that has been read; `curation run` goes on to the new sampler's subsets, not to training."""
    assert Path(curation_assets.__file__).is_relative_to(ROOT), "this is not the copy's package"

    def steps(by: Profile) -> list[Step]:
        return needed(by, ("repetition/subset",))

    found = Reader(tmp_path / "project", tmp_path / "models", monkeypatch, steps)
    found.write_all()
    found.run(Command("here", {}, ("python", "make_texts.py")))
    workspace = Workspace(load_profile("try.toml"))
    for key, build in CORPUS.items():
        make_step(workspace, STEPS[key], build)
    return found


def _scores(workspace: Workspace, n: int) -> dict[str, float]:
    """Return each document's score by brute force."""
    found = {}
    for shard in workspace.shards():
        ids, offsets = read_tokens(workspace.open("corpus/tokens", shard), "documents")
        names = pl.read_parquet(workspace.open("corpus/documents", shard) / "documents.parquet")["doc_id"]
        for name, (start, stop) in zip(names, pairwise(offsets.tolist()), strict=True):
            grams = [tuple(ids[i : i + n].tolist()) for i in range(start, stop - n + 1)]
            found[name] = len(set(grams)) / len(grams) - 1 if grams else 0.0
    return found


def _written(workspace: Workspace) -> dict[str, float]:
    files = [workspace.open("repetition/scores", shard) / "scores.parquet" for shard in workspace.shards()]
    table = pl.concat([pl.read_parquet(file) for file in files])
    return dict(zip(table["doc_id"], table["score"], strict=True))


def test_the_commands_of_the_page(reader: Reader) -> None:
    said = {}
    for block in of_language(PAGE, "sh"):
        for command in commands(block):
            if command.words[1] == "install":  # as `samplers/test_package.py` does
                continue
            said[command.words[1]] = reader.run(command)
    assert "repetition/scores" in said["plan"] and "repetition/metrics" in said["plan"]
    workspace = Workspace(load_profile("try.toml"))
    expected, found = _scores(workspace, 3), _written(workspace)
    assert found.keys() == expected.keys() and np.allclose(
        [found[name] for name in expected], list(expected.values())
    )
    chosen = pl.read_parquet("data/try/chosen/data/*.parquet")
    assert len(chosen) == round(0.2 * len(expected))
    assert chosen["score"].min() >= np.quantile(list(expected.values()), 0.79)
    for rate in RATES:
        subset = pl.read_parquet(workspace.open("repetition/subset", rate) / "subset.parquet")
        assert len(subset) == round(int(rate) / 100 * len(expected))
        assert rate != "20" or set(subset["doc_id"]) == set(chosen["id"])


def test_a_setting(reader: Reader) -> None:
    before = load_profile("try.toml")
    make_step(Workspace(before), STEPS["repetition/scores"], scores(SAMPLERS["repetition"]))
    with Path("try.toml").open("a", encoding="utf-8") as file:
        file.write("\n[samplers.repetition]\nn = 5\n")
    after = load_profile("try.toml")
    assert (before.samplers.repetition.n, after.samplers.repetition.n) == (3, 5)
    stale = [key for key, step in STEPS.items() if step.code_version(before) != step.code_version(after)]
    reports = [
        f"report/{name}"
        for name in ("labels", "correlation", "distributions", "composition", "documents", "page")
    ]
    assert stale == ["repetition/scores", *reports]
    workspace, step = Workspace(after), STEPS["repetition/scores"]
    assert Versions(workspace).stale(step, workspace.shards()) == workspace.shards()
    make_step(workspace, step, scores(SAMPLERS["repetition"]))
    expected, found = _scores(workspace, 5), _written(workspace)
    assert np.allclose([found[name] for name in expected], list(expected.values()))
