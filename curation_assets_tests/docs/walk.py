"""A reader's folder: the docs' commands and files in a copy of the project, with a `local` profile that is a miniature."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path, PurePath
from typing import Any

import pytest

from curation_assets.cli.main import main as cli
from curation_assets.config import profile
from curation_assets.config.profile import Profile
from curation_assets.defs import run_graph as jobs
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Builder, BuildOne, Workspace
from curation_assets_tests.conftest import TINY
from curation_assets_tests.docs.markdown import PAGES, ROOT, Block, Command, of_language
from curation_assets_tests.making import load, materialize

COPIED = ("Makefile", "pyproject.toml", "constraints.txt", "workspace.yaml")
READY = ".venv/.ready"  # as if `make` had set everything up, with what follows from it:
DEVELOP = ".venv/.ready-to-develop"
LINES = 40  # of a corpus file
SECTIONS = ("report/comparison", "report/page")
SMALLER = """
[corpus]
url = "{folder}/texts"
hq_url = ""
keep_fields = []
[tokenizer]
vocab_size = 600
[embeddings]
max_tokens = 16
[pretraining]
tokens = 2_000
batch_size = 4
micro_batch_size = 4
input_length = 32
snapshots = [0.5, 1.0]
[evaluation]
suites = ["perplexity"]
max_documents = 8
[samplers.perplexity.models]
large_20k = "asset:full_data/checkpoint#large@0.5"
large_100k = "asset:full_data/checkpoint#large@0.5"
large_300k = "asset:full_data/checkpoint#large@0.5"
large_700k = "asset:full_data/checkpoint#large@0.5"
[run]
samplers = ["random", "density", "semdedup", "prototypes"]
"""
"""What the miniature changes of `local` besides conftest's TINY: so little that every command of the docs takes a second or two."""


def miniature(folder: Path, models: Path) -> Callable[[str], dict[str, Any]]:
    """Return a reader of profiles for which `local` is small: its corpus is `texts` in a folder, its teacher a model in another."""
    read, overlay = profile._read, profile._overlay
    small = tomllib.loads(TINY.replace("{teacher}", str(models / "my-judge")))
    small = overlay(small, tomllib.loads(SMALLER.replace("{folder}", str(folder))))
    del small["extends"], small["name"]

    def reader(wanted: str) -> dict[str, Any]:
        found = read(wanted)
        return overlay(found, small) if wanted == "local" else found

    return reader


class Reader:
    """Somebody who follows a page, in a folder of their own; `models` is what the docs call /models.

    `steps` are what `curation run` makes under a profile.
    """

    def __init__(
        self,
        folder: Path,
        models: Path,
        patch: pytest.MonkeyPatch,
        steps: Callable[[Profile], list[Step]] | None = None,
    ) -> None:
        self.folder, self.models, self.patch, self.steps = folder, models, patch, steps or wanted
        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            shutil.copy(ROOT / name, folder / name)
        (folder / READY).parent.mkdir(exist_ok=True)
        for name in (READY, DEVELOP):
            (folder / name).touch()
        patch.setattr(profile, "_read", miniature(folder, models))
        # In this process, which knows the miniature.
        run_graph = jobs.run_graph
        patch.setattr(jobs, "run_graph", lambda by, tell, steps=None, apart=False: run_graph(by, tell, steps))
        for name in ("CURATION_PROFILE", "CURATION_DATA", "DAGSTER_HOME"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)

    def write(self, block: Block) -> Path:
        """Write the file that a block says it is."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(block.text) + "\n", "utf-8")
        return path

    def here(self, text: str) -> str:
        """Return a text of the docs with its models where they are here."""
        return text.replace("/models/", f"{self.models}/")

    def write_all(self) -> None:
        """Write every profile and script of the docs: pages build on each other."""
        for page in PAGES:
            for block in of_language(page, "toml", "python"):
                if block.file and "/" not in block.file:
                    self.write(block)

    def run(self, command: Command) -> str:
        """Carry a command out and return what it printed. AssertionError, with that, where it fails."""
        out = io.StringIO()
        with _variables(command.variables), self._clean_home(), redirect_stdout(out), redirect_stderr(out):
            status = self._carry_out(command)
        assert status == 0, f"{command.where}: {command} ended with {status}:\n{out.getvalue()}"
        return out.getvalue()

    def _carry_out(self, command: Command) -> int:
        name, rest = PurePath(command.words[0]).name, list(command.words[1:])
        if name == "export":
            for word in rest:
                self.patch.setenv(*word.split("=", 1))
            return 0
        if name == "make":
            return max(self._carry_out(each) for each in self.recipe(command))
        if name == "curation":
            if "run" in rest:
                self.patch.setattr("curation_assets.defs.run_graph.wanted_steps", self.steps)
            return cli([self.here(word) for word in rest])
        if name == "python" and rest[0] == "-c":
            exec(rest[1], {})  # a line of the docs
            return 0
        if name == "python":
            runpy.run_path(str(self.folder / rest[0]))
            self._shorten()
            return 0
        raise AssertionError(f"{command.where}: no test knows how to run {command}")

    def _shorten(self) -> None:
        """Leave the first documents of each corpus file, so that nothing takes long."""
        for path in (self.folder / "texts").iterdir():
            lines = path.read_text("utf-8").splitlines(keepends=True)
            path.write_text("".join(lines[:LINES]), "utf-8")

    def recipe(self, command: Command) -> list[Command]:
        """Return the commands that `make TARGET` carries out here, where everything is set up."""
        words = ["make", "-n", "--no-print-directory", "-o", READY, *command.words[1:]]
        done = run_make(words, self.folder)
        assert done.returncode == 0, f"{command.where}: {command}: {done.stderr}"
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        assert lines, f"{command.where}: {command} does nothing"
        return [Command(command.where, {}, tuple(line.split())) for line in lines]

    @contextmanager
    def _clean_home(self) -> Iterator[None]:
        """Let each command find Dagster's home anew, as a process of its own would."""
        self.patch.delenv("DAGSTER_HOME", raising=False)
        yield
        self.patch.delenv("DAGSTER_HOME", raising=False)


def run_make(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a make command in a folder, as a reader does: not as a part of the make that runs the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=own)


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def wanted(by: Profile, leave: tuple[str, ...] = ("-",)) -> list[Step]:
    """Return what a profile wants, but for steps that are to be left, with two sections of the report: that each section is made is tested elsewhere."""
    asked = [step for step in wanted_steps(by) if step.group != "report" or step.key in SECTIONS]
    return [step for step in asked if not step.key.startswith(leave)]


def needed(by: Profile, ends: tuple[str, ...]) -> list[Step]:
    """Return some steps and all that they need, each after what it needs."""
    keep = set(ends)
    for step in reversed(list(STEPS.values())):
        if step.key in keep:
            keep |= set(step.reads(by))
    return [step for step in STEPS.values() if step.key in keep]


def make(by: Profile, steps: list[Step]) -> None:
    """Make some steps without Dagster: in a second or two instead of a run for each."""
    from curation_assets.definitions import PRODUCTS

    builders = {product.key: product.build for product in PRODUCTS}
    workspace = Workspace(by)
    for step in steps:
        make_step(workspace, step, builders[step.key])


def make_step(workspace: Workspace, step: Step, builder: Builder) -> None:
    """Make all partitions of a step that the profile wants; what they share is loaded once."""
    loaded: list[BuildOne] = []

    def one(inputs: dict[str, str]) -> BuildOne:
        if not loaded:
            loaded.append(load(builder, workspace, step))
        return loaded[0]

    for partition in targets(workspace, STEPS[step.key]):
        materialize(workspace, step, partition, one)
