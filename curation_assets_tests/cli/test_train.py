"""`curation train`: one checkpoint, by one process or by two nodes."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from curation_assets.cli.main import main
from curation_assets.config.profile import Profile
from curation_assets.defs.instance import instance_for
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current
from curation_assets_tests.pretraining.nodes import two_nodes


@pytest.mark.parametrize(
    ("asset", "partition", "why"),
    [
        ("density/scores", "20|small", "density/scores is no checkpoint: name one as density/checkpoint"),
        ("density/checkpoint", "20", "density/checkpoint has no partition '20': 10|small, "),
    ],
)
def test_what_cannot_be_trained_is_said(
    tiny: Profile, capsys: pytest.CaptureFixture[str], asset: str, partition: str, why: str
) -> None:
    assert main(["train", asset, "--partition", partition]) == 1
    assert capsys.readouterr().err.startswith(f"curation: {why}")


@pytest.mark.graph
def test_without_a_subset_it_says_what_is_missing(tiny: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "random/checkpoint", "--partition", "20|small"]) == 1
    assert "needs random/subset[20], which has not been materialized" in capsys.readouterr().err


@pytest.mark.graph
@pytest.mark.process
def test_two_nodes_make_an_artifact_of_which_one_has_nothing_else(
    tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_current(Workspace(tiny), "random/subset")
    profile = tmp_path / "node0" / "tiny.toml"
    profile.parent.mkdir()
    (tmp_path / "tiny.toml").rename(profile)
    text = profile.read_text().replace('url = "shards"', 'url = "../shards"')
    profile.write_text(text.replace('hq_url = "', 'hq_url = "../'))
    for name in ("CURATION_PROFILE", "DAGSTER_HOME"):
        monkeypatch.delenv(name)

    command = ["train", "random/checkpoint", "--partition", "20|small", "--profile", "tiny.toml"]
    codes, logs = two_nodes(tmp_path, "curation_assets.cli", *command, by_torchrun=True)
    assert codes == [0, 0], logs
    assert "1 artifact made in" in logs[0]
    assert (logs[1].strip(), list((tmp_path / "node1").iterdir())) == ("", []), (
        "it has no profile, and no data"
    )

    receipt = Workspace(tiny).receipt("random/checkpoint", "20|small")
    assert receipt is not None and receipt.metadata["loss"] > 0
    key = dg.AssetKey(["random", "checkpoint"])
    with instance_for(tiny) as instance:
        assert instance.get_materialized_partitions(key) == {"20|small"}
    assert main([*command[:-1], str(profile)]) == 0
    assert "nothing to do" in capsys.readouterr().out
