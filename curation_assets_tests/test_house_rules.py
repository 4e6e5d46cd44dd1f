"""The house rules that a machine can check: who imports what, what loads when, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "curation_assets"
WHAT_IF = {"candidates.py", "cut.py", "joint.py", "output.py", "what_if.py"}  # they read artifacts
GLUE = {"assets.py", "checks.py", "sensors.py", "resources.py", "definitions.py", "partitions.py", "jobs.py"}
GLUE |= {"workers.py", "web.py", "daemons.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_glue_imports_dagster(path: Path) -> None:
    assert path.name in GLUE or "dagster" not in _imports(path)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 320


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_unpickles_or_runs_foreign_code(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "pickle" not in _imports(path)
    for forbidden in ("trust_remote_code=True", "shell=True", "torch.load(", "allow_pickle=True"):
        assert forbidden not in text


def _loaded_by(modules: list[str]) -> set[str]:
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_importing_the_compute_modules_does_not_import_dagster() -> None:
    compute = [_dotted(p) for p in MODULES if p.name not in GLUE]
    assert "dagster" not in _loaded_by(compute)


def test_scorers_and_trainer_import_on_a_bare_gpu_machine() -> None:
    """torch, transformers, numpy and pyarrow are all that such a machine has."""
    compute = [
        _dotted(p)
        for p in MODULES
        if p.parent.name in ("scoring", "pretraining", "sampling")
        and p.name not in GLUE | {"build.py", "by_model.py", "coverage.py", *WHAT_IF}
    ]
    assert len(compute) > 8
    loaded = _loaded_by(compute)
    assert not loaded & {
        "dagster",
        "polars",
        "faiss",
        "sentence_transformers",
        "matplotlib",
        "pydantic",
        "fsspec",
    } - (_loaded_by(["torch", "transformers"]))


def test_definitions_read_like_a_table_of_contents() -> None:
    assert len((PACKAGE / "definitions.py").read_text("utf-8").splitlines()) < 80
