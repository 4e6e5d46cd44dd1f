"""docs/your-sampler.md, followed to the letter: its blocks are applied to a copy of the project, which then runs its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets_tests.docs.edits import apply
from curation_assets_tests.docs.markdown import ROOT, Block, blocks

PAGE = ROOT / "docs" / "your-sampler.md"
COPIED = ("curation_assets", "curation_assets_tests", "docs")
FILES = ("README.md", "Makefile", "pyproject.toml", "constraints.txt", "workspace.yaml")
SETTING = "A setting of its own"
WALK = "curation_assets_tests/docs/walk_sampler.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("sampler") / "project"
    for name in COPIED:
        shutil.copytree(ROOT / name, found / name, ignore=shutil.ignore_patterns("__pycache__", "images"))
    for name in FILES:
        shutil.copy(ROOT / name, found)
    return found


def _edits() -> list[Block]:
    return [b for b in blocks(PAGE) if b.language in ("diff", "python")]


def _check(project: Path, *wanted: str) -> None:
    """Run tests in the copy, in a process of its own that finds the copy's package and no other."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=ci",
        *wanted,
    ]
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PYTEST_ADDOPTS": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_sampler_is_a_function_and_a_row(project: Path) -> None:
    for block in _edits():
        if block.heading != SETTING:
            apply(block, project)
    _check(
        project, "curation_assets_tests/scoring/test_repetition.py", f"{WALK}::test_the_commands_of_the_page"
    )


def test_a_setting_of_its_own_makes_the_scores_stale_and_nothing_else(project: Path) -> None:
    for block in _edits():
        if block.heading == SETTING:
            apply(block, project)
    _check(project, f"{WALK}::test_a_setting")


def test_a_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    apply(Block(PAGE, 1, "diff", "--- a.py\n@@\n one\n+and a half\n two", ""), tmp_path)
    assert (tmp_path / "a.py").read_text() == "one\nand a half\ntwo\ntwo\n"
    for lines in ("-three", " two\n+four"):
        with pytest.raises(AssertionError, match="has this place"):
            apply(Block(PAGE, 1, "diff", f"--- a.py\n@@\n{lines}", ""), tmp_path)
