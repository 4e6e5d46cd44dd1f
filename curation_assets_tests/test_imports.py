"""What importing loads: the parts that machines without the rest need load nothing of it, and Dagster is loaded by its own room alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "curation_assets"
LIBRARY = ("scoring", "pretraining", "selection")
EXPORT = "curation_assets.selection.export"  # reads corpus files, which are anywhere
NOT_ON_A_BARE_MACHINE = {
    "dagster",
    "polars",
    "faiss",
    "sentence_transformers",
    "matplotlib",
    "pydantic",
    "fsspec",
}
pytestmark = pytest.mark.process


def _modules() -> dict[str, Path]:
    """Return the modules that can be imported without starting anything, by name."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__main__.py"]
    root = PACKAGE.parent
    return {".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def _reads_artifacts(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    named = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(name.startswith("curation_assets.engine") for name in named)


def _loaded_by(modules: list[str]) -> set[str]:
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def test_dagster_is_loaded_by_its_own_room_alone() -> None:
    own = ("curation_assets.defs", "curation_assets.definitions")
    assert "dagster" not in _loaded_by([name for name in _modules() if not name.startswith(own)])


def test_scorers_trainer_and_selection_import_on_a_bare_gpu_machine() -> None:
    """torch, transformers, numpy and pyarrow are all that such a machine has; what reads artifacts is not for it."""
    rooms = tuple(f"curation_assets.{room}." for room in LIBRARY)
    library = [
        name
        for name, path in _modules().items()
        if name.startswith(rooms) and not name.startswith(EXPORT) and not _reads_artifacts(path)
    ]
    assert {name.split(".")[1] for name in library} == set(LIBRARY)
    assert not _loaded_by(library) & NOT_ON_A_BARE_MACHINE - _loaded_by(["torch", "transformers"])
