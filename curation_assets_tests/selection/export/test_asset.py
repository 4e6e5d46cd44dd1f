"""The asset and the commands, on a corpus that several samplers have scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from curation_assets.cli.main import main as cli
from curation_assets.common.files import read_json, write_json
from curation_assets.config.profile import ProfileError, load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.products import PRODUCTS
from curation_assets.selection.export import build as build_module
from curation_assets.selection.export import documents
from curation_assets.selection.export import export as export_module
from curation_assets.selection.export.checks import holds_the_subset
from curation_assets_tests.making import load, materialize, put
from curation_assets_tests.selection.scored import copied, made

__all__ = ["made"]
EXPORT = '\n[export]\nsamplers = ["density"]\nshard_size = "4kB"\n'


@pytest.fixture
def mine(made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of the scored corpus, whose profile has an export."""
    monkeypatch.setenv("CURATION_PROFILE", "")
    copied(tmp_path / "mine", monkeypatch)
    profile = tmp_path / "mine" / "tiny.toml"
    profile.write_text(profile.read_text("utf-8") + EXPORT, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "mine")
        patch.setattr(documents, "ROW_GROUP", 8)
        yield Workspace(load_profile(profile))


def _make(workspace: Workspace, key: str, rate: str) -> Any:
    [product] = [one for one in PRODUCTS if one.key == key]
    step = STEPS[key]
    return materialize(workspace, step, rate, lambda inputs: load(product.build, workspace, step))[0]


def _rows(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "data" / "*.parquet")


def test_an_export_is_an_artifact_with_versions_and_a_check(mine: Workspace) -> None:
    receipt = _make(mine, "density/export", "20")
    folder, subset = mine.open("density/export", "20"), mine.metadata("density/subset", "20")
    manifest = read_json(folder / "manifest.json")
    assert sorted(receipt.files) == sorted(
        ["README.md", "manifest.json", "preview.json", *(f["name"] for f in manifest["files"])]
    )
    assert len(manifest["files"]) > 1
    for name in ("documents", "tokens"):
        assert receipt.metadata[name] == manifest[name] == subset[name]
    assert (
        manifest["selection"]["versions"]["density/subset"] == mine.artifact("density/subset", "20").version
    )
    assert manifest["selection"]["sampler"] == "density" and "by_shard" not in manifest["selection"]
    rows = _rows(folder)
    listed = {shard: mine.open("semdedup/scores", shard) / "scores.parquet" for shard in mine.shards()}
    near = {
        (shard, row["source_row"]): row["duplicate_of"] if (row["similarity"] or 0) >= 0.9 else None
        for shard, path in listed.items()
        for row in pq.read_table(path).to_pylist()
    }
    assert rows["duplicate_of"].to_list() == [
        near[place] for place in rows.select("source_file", "source_row").iter_rows()
    ]
    assert 0 < rows["duplicate_of"].null_count() < len(rows)
    assert Versions(mine).current(STEPS["density/export"], "20")
    assert not list((mine.scratch / "exports").rglob("*.parquet")), "nothing is left where it was written"
    assert holds_the_subset("density", mine).passed
    with mine.store.staged() as staged:
        for file in manifest["files"]:
            (staged / file["name"]).parent.mkdir(exist_ok=True)
            (staged / file["name"]).write_bytes((folder / file["name"]).read_bytes())
        write_json(staged / "manifest.json", {**manifest, "documents": manifest["documents"] + 1})
        put(mine, mine.store.publish(staged, receipt))
    outcome = holds_the_subset("density", mine)
    assert outcome.metadata == {"wrong": ["20"]} and outcome.description == "not what was chosen at 20 %"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_asset_goes_on(mine: Workspace, monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    written: list[str] = []
    original = export_module._write_file

    def counted(*arguments: Any) -> Any:
        if len(written) == 1:
            written.append("killed")
            raise KeyboardInterrupt
        written.append("file")
        return original(*arguments)

    monkeypatch.setattr(export_module, "_write_file", counted)
    with pytest.raises(KeyboardInterrupt):
        _make(mine, "density/export", "60")
    assert len(list((mine.scratch / "exports").rglob("part-*"))) == 1
    [progress] = (mine.scratch / "exports").rglob("_progress.json")
    if damaged:
        progress.write_bytes(progress.read_bytes().replace(b'"behind": ', b'"behind": 1'))
    _make(mine, "density/export", "60")
    files = len(read_json(mine.open("density/export", "60") / "manifest.json")["files"])
    assert written.count("file") == files + damaged, (
        "the first is written twice where it is not known how far it was"
    )
    assert len(_rows(mine.open("density/export", "60"))) == mine.metadata("density/subset", "60")["documents"]


def test_killed_while_its_files_take_their_place_it_is_made_again(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, moved = shutil.move, list[str]()

    def killed(source: Path, target: Path) -> None:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(str(source))
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(build_module.shutil, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            _make(mine, "density/export", "60")
    _make(mine, "density/export", "60")
    assert len(_rows(mine.open("density/export", "60"))) == mine.metadata("density/subset", "60")["documents"]
    assert not list((mine.scratch / "exports").rglob("*.parquet"))


def test_a_run_makes_what_the_profile_names(mine: Workspace) -> None:
    steps = {step.key for step in wanted_steps(mine.profile) if step.key.endswith("/export")}
    assert steps == {"density/export"}
    assert targets(mine, STEPS["density/export"]) == ["20"]
    none = load_profile("local")
    assert not [step for step in wanted_steps(none) if step.key.endswith("/export")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('samplers = ["densty"]', r"export.samplers: unknown sampler 'densty'; did you mean 'density'"),
        ('shard_size = "many"', "export.shard_size: 'many' is no size of a file"),
        ('repeat = ["best 10%"]', "export.repeat: 'best 10%' is no repeat"),
        ('format = "csv"', "export.format"),
    ],
)
def test_mistakes_in_a_profile(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.toml").write_text(f"[export]\n{text}\n")
    with pytest.raises(ProfileError, match=said):
        load_profile(tmp_path / "p.toml")


def test_a_subset_is_exported_by_a_command(mine: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--profile", "tiny.toml", "export", "semdedup/subset", "--partition", "20", "--to", "out"]
    assert cli([*command, "--repeat", "top 50% x 2"]) == 0
    manifest, rows = read_json(Path("out/manifest.json")), _rows(Path("out"))
    n = mine.metadata("semdedup/subset", "20")["documents"]
    assert manifest["documents"] == n and len(rows) == n + round(n / 2) == manifest["rows"]
    said = capsys.readouterr().out
    assert said.startswith(f"{n:,} documents ({len(rows):,} rows) with {manifest['tokens']:,} tokens in ")
    assert said.endswith(f"MB: {Path('out').resolve()}\n")
    assert manifest["corpus"]["profile"] == "tiny" and manifest["layout"]["shard_size"] == 4_000, (
        "the profile's"
    )
    assert cli([*command, "--repeat", "top 50% x 2"]) == 0 and capsys.readouterr().out == said
    for arguments, why in (
        (command, "holds another export"),
        ([*command[:3], "density/scores", *command[4:]], "'density/scores' is no subset"),
        (
            [*command[:5], "21", *command[6:]],
            "density/subset has no partition|semdedup/subset has no partition '21'",
        ),
        ([*command, "--shard-size", "big"], "'big' is no size of a file"),
        (
            ["--profile", "tiny.toml", "export", "perplexity_small/subset", "--partition", "20", "--to", "o"],
            "has not been",
        ),
    ):
        assert cli(arguments) == 1
        lines = capsys.readouterr().err
        assert lines.count("\n") == 1 and any(one in lines for one in why.split("|")), lines


def test_other_near_duplicates_are_another_export(
    mine: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "density/subset", "--partition", "60", "--to", "out"]
    assert cli(["--profile", "tiny.toml", *command]) == 0
    named = _rows(Path("out"))["duplicate_of"].null_count()
    Path("strict.toml").write_text(
        'name = "tiny"\nextends = "tiny.toml"\n[samplers.semdedup]\nthreshold = 1.0\n', "utf-8"
    )
    capsys.readouterr()
    assert cli(["--profile", "strict.toml", *command]) == 1
    assert "holds another export" in capsys.readouterr().err
    assert cli(["--profile", "strict.toml", *command[:-1], "strict"]) == 0
    assert _rows(Path("strict"))["duplicate_of"].null_count() > named
    near = [read_json(Path(name, "manifest.json"))["near_duplicates"] for name in ("out", "strict")]
    assert [one["threshold"] for one in near] == [0.9, 1.0] and near[0]["versions"] == near[1]["versions"]


def test_a_choice_of_ones_own_is_exported(mine: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    choice = ["--profile", "tiny.toml", "select", "density", "random", "--keep", "30%", "--combine", "union"]
    assert cli([*choice, "--to", "both", "--format", "jsonl.zst"]) == 0
    manifest = json.loads(Path("both/manifest.json").read_text())
    assert f"kept: {manifest['documents']:,} documents" in capsys.readouterr().out
    rows = pl.concat([pl.read_ndjson(path) for path in sorted(Path("both/data").iterdir())])
    assert rows.columns == manifest["columns"] and len(rows) == manifest["rows"]
    assert {"density_score", "density_percentile", "random_score"} <= set(rows.columns)
    assert manifest["selection"]["combine"] == "union" and set(manifest["percentile"]) == {
        "density",
        "random",
    }
    texts = {row["id"]: row["text"] for row in map(json.loads, _corpus())}
    assert all(texts[row["id"]] == row["text"] or row["id"] in _SHARED for row in rows.iter_rows(named=True))
    assert cli([*choice, "--to", "again", "--repeat", "top 10% x 2"]) == 1
    assert "goes by the scores of one sampler" in capsys.readouterr().err


_SHARED: set[str] = set()


def _corpus() -> list[str]:
    """Return the lines of the corpus that are JSON, and note ids of several texts."""
    lines, seen = [], dict[str, str]()
    for path in sorted(Path("shards").iterdir()):
        for line in path.read_text("utf-8").splitlines():
            if line.endswith("}"):
                row = json.loads(line)
                if seen.setdefault(row["id"], row["text"]) != row["text"]:
                    _SHARED.add(row["id"])
                lines.append(line)
    return lines
