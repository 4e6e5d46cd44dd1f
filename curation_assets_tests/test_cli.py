"""The `curation` command: exit statuses, and messages that say what to do."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.profile import Profile


def test_a_mistake_in_the_profile_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_PROFILE", "local")
    (tmp_path / "bad.toml").write_text("[density]\nrowz = 1")
    assert main(["--profile", str(tmp_path / "bad.toml"), "plan"]) == 2
    assert "did you mean 'rows'?" in capsys.readouterr().err


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
    tiny.data.mkdir(parents=True)
    with (tiny.data / ".run.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
