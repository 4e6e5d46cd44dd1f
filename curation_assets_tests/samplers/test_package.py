"""A sampler of another package: `examples/curation-repetition` as pip installs it, with no change here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.graph

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "curation-repetition"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the example into a folder of its own, without an index, and return an environment that has it."""
    home = tmp_path_factory.mktemp("package")
    source = shutil.copytree(EXAMPLE, home / "source")  # pip leaves a build folder there
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(home / "site"), str(source)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(home / "site"), str(ROOT)]),
        "CURATION_DATA": str(home / "data"),
        "PYTEST_ADDOPTS": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_its_own_test_and_what_is_made_of_it(installed: dict[str, str]) -> None:
    """`walk_package` looks at the profile, the graph, the UI's definitions, the scores and the report."""
    files = (str(EXAMPLE), "curation_assets_tests/samplers/walk_package.py")
    done = _run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plan_has_its_chain(installed: dict[str, str], tmp_path: Path) -> None:
    profile = tmp_path / "try.toml"
    profile.write_text('[run]\nsamplers = ["random", "repetition"]\n[samplers.repetition]\nn = 4\n')
    environment = installed | {"CURATION_PROFILE": str(profile)}
    done = _run(environment, "-m", "curation_assets.cli", "plan")
    assert done.returncode == 0, done.stderr
    for stage in ("scores", "subset", "checkpoint", "metrics"):
        assert f"repetition/{stage}" in done.stdout
    profile.write_text("[samplers.repetition]\nn = 0\n")
    done = _run(environment, "-m", "curation_assets.cli", "plan")
    assert done.returncode != 0
    assert (
        done.stderr.splitlines()[-1]
        .removeprefix("error: ")
        .endswith("samplers.repetition.n: input should be greater than 0, got 0")
    )
