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

pytestmark = pytest.mark.graph

PAGE = ROOT / "docs" / "your-sampler.md"
COPIED = ("curation_assets", "curation_assets_tests", "docs")
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
    "pyproject.toml",
    "constraints.txt",
    "workspace.yaml",
)
EXAMPLE = ROOT / "examples" / "curation-repetition"
TOUCHED = {
    "curation_assets/samplers/repetition.py",
    "curation_assets/config/registry.py",
    "curation_assets_tests/samplers/test_repetition.py",
}
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


def test_a_sampler_is_a_module_a_line_and_its_test(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    for block in _edits():
        apply(block, project)
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    touched = {str(path.relative_to(project)) for path in after if before.get(path) != after[path]}
    assert touched == TOUCHED
    line = (project / "curation_assets/config/registry.py").read_text("utf-8").splitlines()
    assert len(line) == len((ROOT / "curation_assets/config/registry.py").read_text("utf-8").splitlines()) + 1
    _check(project, "curation_assets_tests/samplers/test_repetition.py", WALK)


def test_the_package_has_the_same_module_and_the_entry_point_of_the_page() -> None:
    module, _ = [block for block in _edits() if block.language == "python"]
    shown = module.text.partition("\n")[2]
    assert shown.strip() == (EXAMPLE / "curation_repetition.py").read_text("utf-8").strip()
    [entry] = [block for block in blocks(PAGE) if block.language == "toml" and not block.file]
    assert entry.text.strip() in (EXAMPLE / "pyproject.toml").read_text("utf-8")


def test_a_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    apply(Block(PAGE, 1, "diff", "--- a.py\n@@\n one\n+and a half\n two", ""), tmp_path)
    assert (tmp_path / "a.py").read_text() == "one\nand a half\ntwo\ntwo\n"
    for lines in ("-three", " two\n+four"):
        with pytest.raises(AssertionError, match="has this place"):
            apply(Block(PAGE, 1, "diff", f"--- a.py\n@@\n{lines}", ""), tmp_path)
