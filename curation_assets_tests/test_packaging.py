"""The wheel runs outside a checkout, the two lists of versions agree, and the pages make a site without a dead link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from curation_assets_tests.docs.markdown import PAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a list of requirements (several where they hang on the platform)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==([^\s;\\]+)", line):
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return found


def test_both_lists_of_versions_agree_and_have_all_that_is_asked_for() -> None:
    constraints, lock = pins("constraints.txt"), pins("requirements.lock")
    differing = {name: (constraints[name], lock[name]) for name in constraints.keys() & lock.keys()
                 if not constraints[name] <= lock[name]}  # fmt: skip
    assert not differing
    extras = PROJECT["optional-dependencies"]
    asked = [Requirement(line) for line in [*PROJECT["dependencies"], *extras["local"], *extras["dev"]]]
    for requirement in asked:
        if requirement.name != "curation-assets":
            name = canonicalize_name(requirement.name)
            assert name in lock, f"{name} is not in requirements.lock: make lock"
            assert all(requirement.specifier.contains(version) for version in lock[name]), requirement


def test_each_file_that_is_locked_has_a_digest() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages
    assert all("--hash=sha256:" in line for line in packages)
    assert not any("://" in line for line in packages)


def test_pre_commit_runs_what_make_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    commands = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert commands
    for command in commands:
        assert command.replace(".venv/bin", "$(BIN)") in makefile


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, built from a copy of what a commit has."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for path in [
        *(ROOT / "curation_assets").rglob("*"),
        *map(ROOT.joinpath, ("pyproject.toml", "README.md", "LICENSE")),
    ]:
        if path.is_file() and "__pycache__" not in path.parts:
            place = source / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", str(folder), str(source)], check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.process
def test_the_wheel_has_every_file_of_the_package(unpacked: Path) -> None:
    def files(root: Path) -> set[str]:
        paths = (root / "curation_assets").rglob("*")
        return {p.relative_to(root).as_posix() for p in paths if p.is_file() and "__pycache__" not in p.parts}

    assert files(unpacked) == files(ROOT)
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    assert "License-Expression: Apache-2.0" in metadata.read_text("utf-8")


@pytest.mark.process
def test_the_wheel_runs_in_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(
        "".join(f"Sentence number {n} says something.\n" for n in range(40))
    )
    profile = 'extends = "local"\n[corpus]\nurl = "texts"\nhq_url = ""\n[run]\nsamplers = ["random"]\n'
    (tmp_path / "mine.toml").write_text(profile)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CURATION", "DAGSTER"))
    }

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(unpacked), "CURATION_PROFILE": "mine.toml"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("import curation_assets.definitions as d; print(d.__file__)")
    assert Path(where.strip()).is_relative_to(unpacked)
    command = "import sys; from curation_assets.cli.entry import main; sys.exit(main())"
    assert "random/subset" in run(command.replace("import sys;", "import sys; sys.argv[1:] = ['plan'];"))


@pytest.mark.process
def test_the_pages_make_a_site(tmp_path: Path) -> None:
    """`--strict` makes an error of a link to a page, file or heading that is not there."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {page.name for page in tmp_path.glob("*.html")}
    assert {f"{page.stem}.html" for page in PAGES if page.parent.name == "docs"} <= names
    assert {"index.html", "contributing.html", "changelog.html"} <= names
