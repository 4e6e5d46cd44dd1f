"""`curation run ASSET ...`: what it makes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.cli.main import main
from curation_assets.cli.run_assets import scope_of
from curation_assets.config.profile import Profile
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.build import parts_of


@pytest.mark.graph
def test_assets_are_made_with_their_inputs_and_anew_where_that_is_forced(
    tiny: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "random/subset", "--partition", "20"]) == 0
    told = capsys.readouterr().out
    assert "random/subset" in told and "What was found" not in told
    workspace = Workspace(tiny)
    assert workspace.receipt("random/subset", "20") and not workspace.receipt("random/subset", "10")
    first = workspace.artifact("random/subset", "20")
    assert main(["run", "random/subset", "--partition", "20"]) == 0
    assert workspace.artifact("random/subset", "20") == first
    assert main(["run", "random/subset", "--partition", "20", "--force"]) == 0
    again = workspace.artifact("random/subset", "20")
    assert again.version == first.version and again.folder != first.folder


@pytest.mark.parametrize(
    ("keys", "partition", "force", "why"),
    [
        ([], "20", False, "name the assets that --partition and --force are of"),
        ([], "", True, "name the assets"),
        (
            ["density/subsets"],
            "",
            False,
            "there is no asset 'density/subsets'; did you mean 'density/subset'",
        ),
        (["density/sketch"], "20", False, "density/sketch has no partitions"),
        (["density/subset"], "25", False, "density/subset has no partition '25': 10, 20"),
        (["density/metrics"], "20", False, "density/metrics has no partition '20': 10|small"),
    ],
)
def test_what_there_is_not_is_refused(
    tiny: Profile, keys: list[str], partition: str, force: bool, why: str
) -> None:
    with pytest.raises(ValueError, match=why.replace("|", r"\|")):
        scope_of(Workspace(tiny), keys, partition, force=force)


def test_a_mistake_is_one_line(tiny: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "densty/subset"]) == 1
    assert "curation: there is no asset 'densty/subset'; did you mean" in capsys.readouterr().err


def test_parts_of_scores_that_are_forced_are_not_taken(tiny: Profile, tmp_path: Path) -> None:
    workspace = Workspace(tiny)
    part = parts_of(workspace.scratch, "ask_llm_small") / "shard" / "version" / "0.parquet"
    part.parent.mkdir(parents=True)
    part.touch()
    scope_of(workspace, ["ask_llm_small/scores"], "", force=False)
    assert part.exists()
    scope_of(workspace, ["ask_llm_small/scores"], "other", force=True)
    assert part.exists(), "of another partition"
    scope_of(workspace, ["ask_llm_small/scores"], "", force=True)
    assert not part.exists()
