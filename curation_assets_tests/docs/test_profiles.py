"""Every profile of the docs loads, and the settings of Dagster that they show are ones that Dagster takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.config.profile import load_profile
from curation_assets_tests.docs.markdown import PAGES, Block, of_language

OF_A_SAMPLER = "your-sampler.md"  # names one that is not there: see test_sampler
PROFILES = [b for page in PAGES if page.name != OF_A_SAMPLER for b in of_language(page, "toml")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all profiles of the docs: some extend others."""
    found = tmp_path_factory.mktemp("profiles")
    for block in PROFILES:
        path = found / block.file
        assert not path.exists(), f"{block.where}: {block.file} is the name of another profile, too"
        path.write_text(block.text, "utf-8")
    return found


@pytest.mark.parametrize("block", PROFILES, ids=lambda block: block.where)
def test_profiles_load(block: Block, folder: Path) -> None:
    assert block.file.endswith(".toml"), f"{block.where}: the first line is to say what the file is called"
    loaded = load_profile(folder / block.file)
    assert loaded.execution.data != "data", f"{block.where}: it would share the folder of the default profile"


def test_profiles_that_share_a_folder_share_a_name(folder: Path) -> None:
    """Else the second one is refused."""
    names: dict[str, set[str]] = {}
    for block in PROFILES:
        loaded = load_profile(folder / block.file)
        names.setdefault(loaded.execution.data, set()).add(loaded.name)
    assert all(len(sharing) == 1 for sharing in names.values()), names
