"""What goes wrong in docs/troubleshooting.md, made to go wrong: each function returns what is then said."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation_assets.cli.main import main as cli
from curation_assets.config.profile import load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Builder, Workspace
from curation_assets_tests.docs.walk import Reader, make, wanted
from curation_assets_tests.making import load, materialize


@dataclass
class Trouble:
    """Where things go wrong: a reader's folder (/home/me/project in the docs) with a small corpus in `texts` and a profile `mine.toml`."""

    reader: Reader
    patch: pytest.MonkeyPatch

    def profile(self, text: str, name: str = "mine") -> None:
        """Write a profile over the small corpus, with a data folder of its own."""
        head = f'extends = "local"\n[execution]\ndata = "data/{name}"\n'
        Path(f"{name}.toml").write_text(head + text, "utf-8")

    def curation(self, *arguments: str, name: str = "mine.toml") -> str:
        """Return what a command prints that must fail: its error output."""
        self.patch.delenv("DAGSTER_HOME", raising=False)
        self.patch.setattr("curation_assets.defs.run_graph.wanted_steps", wanted)
        errors = io.StringIO()
        with redirect_stderr(errors), redirect_stdout(io.StringIO()):
            assert cli(["--profile", name, *arguments]) != 0
        return errors.getvalue()

    def making(self, key: str, builder: Builder, partition: str = "", name: str = "mine.toml") -> str:
        """Return why an artifact cannot be made."""
        workspace = Workspace(load_profile(name))
        return why(
            lambda: materialize(
                workspace, STEPS[key], partition, lambda inputs: load(builder, workspace, STEPS[key])
            )
        )

    def make(self, keys: list[str], name: str = "mine.toml") -> Workspace:
        """Make some artifacts."""
        profile = load_profile(name)
        make(profile, [STEPS[key] for key in keys])
        return Workspace(profile)


def why(call: Callable[[], object]) -> str:
    with pytest.raises(Exception) as error:
        call()
    return str(error.value)


CORPUS = ["corpus/source", "corpus/shards", "corpus/documents"]
"""What most troubles begin with."""
