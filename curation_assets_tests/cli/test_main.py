"""The `curation` command: exit statuses, and messages that say what to do."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from curation_assets.cli.main import main
from curation_assets.cli.summary import report_end
from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.lock import only_one
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.making import attempted, fail

COMMANDS = {
    "run": [],
    "ui": [],
    "init": [],
    "plan": [],
    "status": [],
    "trace": ["random/subset", "--partition", "20"],
    "explain": ["some-id"],
    "select": ["random", "--keep", "20%"],
    "export": ["random/subset", "--partition", "20", "--to", "out"],
    "tokenize": ["chosen", "--to", "tokens"],
    "show": ["random/subset", "--partition", "20"],
    "diff": ["random/subset", "--partition", "20"],
    "ask": ["ask_llm_small", "A text."],
    "score": ["random", "texts.jsonl"],
    "refresh": [],
    "catalog": ["check"],
    "gc": [],
    "train": ["random/checkpoint", "--partition", "20|small"],
}
"""Every subcommand, with as many arguments as it needs."""
ASKING = [name for name in COMMANDS if name not in ("run", "ui", "init", "train")]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a command tells the processes that it might start."""
    for name in ("CURATION_PROFILE", "DAGSTER_HOME", "CURATION_DATA"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    yield


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that went to stderr; nothing went to stdout."""
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1 and told.err.startswith("curation: "), told
    return told.err.strip()


def test_a_mistake_in_the_profile_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_PROFILE", "local")
    (tmp_path / "bad.toml").write_text("[samplers.density]\nrowz = 1")
    assert main(["--profile", str(tmp_path / "bad.toml"), "plan"]) == 2
    assert "did you mean 'rows'?" in capsys.readouterr().err


@pytest.mark.graph
def test_a_corpus_without_files_fails_with_the_reason(
    tiny: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "shards").iterdir():
        path.unlink()
    assert main(["run"]) == 1
    errors = capsys.readouterr().err
    assert "FAILED   corpus/source" in errors and "no corpus files there" in errors
    told = [line.split()[0] for line in errors.splitlines() if line.startswith(("FAILED", "BLOCKED"))]
    assert told == ["FAILED", "BLOCKED"], (
        "the cause alone has failed: reports that have nothing to show wait for it"
    )


def test_a_data_folder_belongs_to_one_profile(
    tiny: Profile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["plan"]) == 0
    monkeypatch.setenv("CURATION_PROFILE", "local")
    assert main(["plan"]) == 2
    assert "holds the artifacts of profile 'tiny'" in capsys.readouterr().err


def test_two_runs_of_one_data_folder_are_kept_apart(
    tiny: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_one(tiny):
        assert main(["run"]) == 2
    assert "another `curation run` is at work" in capsys.readouterr().err


def test_plan_names_what_would_be_made(tiny: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 0
    told = capsys.readouterr().out
    assert "corpus/tokenizer" in told and "density/scores" in told and "report/comparison" in told


def test_init_prepares_dagster_once_and_leaves_a_users_settings_alone(
    tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace.yaml").touch()
    home = tiny.data / "dagster_home"
    assert main(["init"]) == 0
    assert f"DAGSTER_HOME={home}" in (tmp_path / ".env").read_text()
    assert "enabled: false" in (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert main(["init"]) == 0
    assert (home / "dagster.yaml").read_text().count("\n") == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_describes_itself_in_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and max(map(len, told.splitlines())) <= 80
    _, about, *_, examples = told.split("\n\n")
    assert len(about) > 60 and f"  curation {command}" in examples and examples.startswith("examples:\n")
    for option in re.findall(r"^  (?:-h, )?--[a-z-]+.*(?:\n {8,}.*)*", told, re.MULTILINE):
        assert len(" ".join(option.split()).split(" ", 2)[-1]) > 5, f"says nothing: {option}"
    assert "--profile PROFILE" in told


def test_the_version_names_what_results_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and told.startswith(
        f"curation-assets {version('curation-assets')}, dagster "
    )
    assert f"torch {version('torch')}" in told


def test_options_stand_before_or_after_the_subcommand(
    tiny: Profile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for arguments in (["--profile", tiny.source, "plan"], ["plan", "--profile", tiny.source]):
        monkeypatch.setenv("CURATION_PROFILE", "nowhere.toml")
        assert main(arguments) == 0
        told.append(capsys.readouterr().out)
        assert os.environ["CURATION_PROFILE"] == tiny.source, "for processes that start in other folders"
    assert told[0] == told[1]
    assert main(["--profile", "nowhere.toml", "plan", "--profile", tiny.source]) == 0, "the later one counts"


def test_a_profile_in_the_working_folder_needs_no_path(
    tiny: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CURATION_PROFILE", "tiny.toml")
    assert main(["plan"]) == 0 and os.environ["CURATION_PROFILE"] == str(tmp_path / "tiny.toml")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("data", ["/proc/nothing/data", "/dev/null/data", "{}/file", "{}/file/data"])
def test_a_data_folder_that_cannot_be_written_is_one_line(
    tiny: Profile, tmp_path: Path, command: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    os.environ["CURATION_DATA"] = data.format(tmp_path)
    del os.environ["DAGSTER_HOME"]
    port = ["--port", "20971"] if command == "ui" else []
    assert main([command, *COMMANDS[command], *port]) == 2
    assert "the data folder cannot be used: make it one that can be written" in _one_line(capsys)


@pytest.mark.process
def test_a_folder_of_somebody_else_is_one_line(tiny: Profile, tmp_path: Path) -> None:
    """The kernel itself refuses: root does without the right to write everywhere."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o555)
    command = [sys.executable, "-m", "curation_assets.cli", "status"]
    if os.getuid() == 0:
        os.chown(theirs, 65534, 65534)
        command = [_program("setpriv"), "--bounding-set", "-dac_override", *command]
    environment = os.environ | {"CURATION_DATA": str(theirs)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert (
        done.stderr.startswith(f"curation: {theirs}/") and "Permission denied: the data folder" in done.stderr
    )


def _program(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"there is no {name}")


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ('url = "text"', "url"),
        ('url = "text/*.jsonl"', "url"),
        ('url = "shards"\nhq_url = "good"', "hq_url"),
        ('[corpus.sources.a]\nurl = "shards"\n[corpus.sources.b]\nurl = "text"', "sources.b.url"),
    ],
)
def test_a_corpus_that_is_not_there_is_one_line(
    tmp_path: Path, tiny: Profile, command: str, setting: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(f"[corpus]\n{setting}\n")
    assert main([command, "--profile", str(tmp_path / "mine.toml")]) == 2
    said = _one_line(capsys)
    assert re.search(
        rf"no corpus at {tmp_path}/(text|good).*; mend corpus.{name} in {tmp_path}/mine.toml$", said
    )
    assert not tiny.data.exists(), "nothing was begun"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_built_in_corpus_that_cannot_be_built_is_one_line(
    tmp_path: Path,
    tiny: Profile,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine.toml").write_text('[corpus]\nurl = "builtin"\n')
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gensim" else there(name, *rest)
    )
    assert main([command, "--profile", str(tmp_path / "mine.toml")]) == 2
    assert "needs gensim" in (said := _one_line(capsys))
    assert "pip install 'curation-assets[local]'" in said
    assert not tiny.data.exists(), "nothing was begun"


@pytest.mark.parametrize("url", ["shards", "shards/*.jsonl", "shards/s0.jsonl", "memory://nowhere"])
def test_a_corpus_that_is_there_or_elsewhere_is_not_complained_of(
    tmp_path: Path, tiny: Profile, url: str
) -> None:
    (tmp_path / "mine.toml").write_text(f'[corpus]\nurl = "{url}"\n')
    assert main(["plan", "--profile", str(tmp_path / "mine.toml")]) == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("text", ["[run]\nrates = []", "[run]\nsizes = ['huge']", "[corups]", "\xff", "= 3"])
def test_a_mistake_in_the_profile_is_one_line_for_every_command(
    tmp_path: Path, command: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_bytes(text.encode("latin-1"))
    assert main([command, *COMMANDS[command], "--profile", str(tmp_path / "mine.toml")]) == 2
    assert f"curation: {tmp_path}/mine.toml: " in _one_line(capsys)


def test_what_is_printed_as_json_is_json(tiny: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan[0] == {
        "asset": "corpus/source",
        "to_make": 1,
        "asked": 1,
        "follows": False,
        "seconds": None,
        "reasons": [{"artifacts": 1, "reason": {"kind": "missing", "text": "not made yet"}}],
        "failure": "",
        "waits_for": "",
    }
    assert {step["asset"] for step in plan} <= set(STEPS) and len(plan) > 50
    assert main(["status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (
        status["profile"] == "tiny" and status["failed"] == [] and status["rows"][0]["key"] == "corpus/source"
    )
    assert main(["trace", "random/subset", "--partition", "20", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "random/subset"


def test_a_tree_is_written_whole_or_through_a_link_or_a_pipe(
    tiny: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link.json").symlink_to("target.json")
    for name in ("plain.json", "link.json"):
        assert main(["trace", "random/subset", "--partition", "20", "--json", f"~/{name}"]) == 0
    assert json.loads((tmp_path / "plain.json").read_bytes()) == json.loads(
        (tmp_path / "target.json").read_bytes()
    )
    assert (tmp_path / "link.json").is_symlink() and not capsys.readouterr().out
    assert main(["trace", "random/subset", "--partition", "20", "--json", os.devnull]) == 0
    assert Path(os.devnull).is_char_device(), "a device is written to, not replaced"
    for nowhere in ("/proc/nothing/tree.json", str(tmp_path)):
        assert main(["trace", "random/subset", "--partition", "20", "--json", nowhere]) == 2
        assert nowhere in _one_line(capsys) or "/proc/nothing" in nowhere


def test_status_ends_with_1_where_something_failed_and_plan_says_what_waits(
    tiny: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 0, "nothing made is no failure"
    workspace = Workspace(tiny)
    with attempted(workspace, "corpus/source", ""):
        assert main(["status"]) == 0, "nor is what goes on"
    fail(workspace, "corpus/source", "", ValueError("two\nlines"))
    capsys.readouterr()
    assert main(["status"]) == 1
    told = capsys.readouterr().out
    assert "FAILED  corpus/source: ValueError: two lines (attempt 1, " in told
    assert re.search(r"^BLOCKED  \d+ assets wait for corpus/source: corpus/tokenizer, ", told, re.MULTILINE)
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"][0][0] == "corpus/source"
    assert main(["plan"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^corpus/source +1 of 1  FAILED, tried again: ValueError: two", told, re.MULTILINE)
    assert re.search(r"^density/sketch +1 of 1  BLOCKED: waits for corpus/source$", told, re.MULTILINE)
    assert max(map(len, told.splitlines())) <= 80


def test_the_end_of_a_run_names_the_failure_and_what_waits_for_it(
    tiny: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tiny)
    fail(workspace, "corpus/source", "", ValueError("broken"), "wanted")
    blocked = ["corpus/tokenizer", "corpus/index", "density/sketch", "density/scores", "report/page"]
    assert report_end(workspace, 0, {"corpus/source": "ValueError: broken"}, blocked, 3.0) == 1
    told = capsys.readouterr()
    assert told.out == "0 artifacts made in 3 s\n", "there was something to do"
    assert told.err.splitlines() == [
        "FAILED   corpus/source: ValueError: broken",
        "BLOCKED  5 assets wait for corpus/source: corpus/tokenizer, corpus/index, density/sketch, density/scores, ...",
    ]
    assert report_end(workspace, 0, {}, [], 3.0) == 0
    assert capsys.readouterr().out == "0 artifacts made in 3 s: nothing to do\n"
    assert report_end(workspace, 1, {}, [], 3.0) == 0
    assert capsys.readouterr().out == "1 artifact made in 3 s\n"


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments", [["status"], ["plan", "--json"], ["trace", "random/subset", "--partition=20", "--json=-"]]
)
def test_pipes_that_nobody_reads_end_quietly(tiny: Profile, arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "curation_assets.cli", *arguments]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.process
def test_a_full_disk_is_one_line_where_it_is_printed_to(tiny: Profile) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "curation_assets.cli", "status"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("curation: No space left on device: free some space; ")
