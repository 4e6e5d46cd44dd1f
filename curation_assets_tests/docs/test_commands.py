"""Every command of the docs is run, in the order of its page, on a small corpus; those that cannot be are named, with what is tested of them instead."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path, PurePath

import pytest
from packaging.requirements import Requirement

import benchmarks.replicate
from curation_assets.cli.main import main as cli
from curation_assets.common.files import write_json
from curation_assets.config.profile import load_profile
from curation_assets.engine.graph import STEPS
from curation_assets_tests.browser.serving import asked, served
from curation_assets_tests.docs.markdown import PAGES, ROOT, Command, blocks, commands, of_language, spans
from curation_assets_tests.docs.walk import Reader, make, run_make, wanted

pytestmark = pytest.mark.graph

ELSEWHERE = {"your-sampler.md": "test_sampler.py", "CONTRIBUTING.md": "test_packaging.py"}
"""Pages whose commands another test runs."""

NOT_RUN: dict[tuple[str, ...], str] = {
    ("make", "test"): "would run this test",
    ("make", "check"): "takes minutes",
    ("make", "format"): "would look at nothing: there is no source in the reader's folder",
    ("make", "bench"): "takes minutes",
    ("make", "ui"): "serves until it is stopped",
    ("make", "clean"): "would take away what the other commands need: run in a folder of its own",
    ("pip", "install"): "needs the package index",
    ("hf", "auth", "login"): "asks for an account",
    ("ray",): "starts nodes that stay",
    ("ssh",): "needs another machine",
    ("torchrun",): "waits for the other nodes",
    ("curation", "run", "--profile", "replicate"): "takes hours",
    ("python", "-m", "benchmarks.replicate"): "takes hours",
}
"""Commands that are not carried out, and why; `_instead` tests what can be tested of them."""


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory, teacher: Path, patch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    """A reader in whose folder all but the ends of the graph has been made, under the profiles that the docs run."""
    home = tmp_path_factory.mktemp("reader")
    shutil.copytree(teacher, home / "models" / "my-judge")
    found = Reader(home / "project", home / "models", patch)
    found.write_all()
    found.run(Command("here", {}, ("python", "make_texts.py")))
    mine = load_profile("mine.toml")
    make(mine, wanted(mine, leave=("report/",)))
    for name, data in (("local", "data"), ("judged", "data/judged")):
        shutil.copytree("data/mine", data, dirs_exist_ok=True)
        write_json(Path(data, "profile.json"), {"profile": name})
    judged = load_profile("judged.toml")
    make(judged, wanted(judged, leave=("report/", "ask_llm_small/metrics")))
    yield found


ASSETS = "{ assetNodes { assetKey { path } } }"
STARTS = ("make ", "curation ", ".venv/bin/")
PAGES_WITH_COMMANDS = [page for page in PAGES if of_language(page, "sh") and page.name not in ELSEWHERE]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.name)
def test_every_command_is_run(page: Path, reader: Reader) -> None:
    """Blocks of Python that are files are run by the commands; the others here, where they stand."""
    for block in blocks(page):
        if block.language == "python" and not block.file:
            exec(compile(reader.here(block.text), block.where, "exec"), {})
        for command in commands(block) if block.language == "sh" else []:
            instead = next((test for start, test in INSTEAD.items() if _begins(command, start)), None)
            if instead:
                instead(command, reader)
            else:
                reader.run(command)
    for name in ("CURATION_PROFILE", "CURATION_DATA"):
        reader.patch.delenv(name, raising=False)


def _begins(command: Command, start: tuple[str, ...]) -> bool:
    words = (PurePath(command.words[0]).name, *command.words[1:])
    return words[: len(start)] == start


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_running_text_exist(
    page: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have names in capitals and dots in them, so they are not run: targets, subcommands, options and packages are looked up."""
    for span in spans(page):
        words = tuple(shlex.split(span)) if span.startswith(STARTS) else ()
        command = Command(page.name, {}, words)
        if len(words) < 2:
            continue
        if words[0] == "make":
            assert reader.recipe(command)
        elif words[0].endswith("curation"):
            _is_a_subcommand(Command(page.name, {}, words[:2]), reader)
            told = capsys.readouterr().out
            assert all(word in told for word in words if word.startswith("--")), f"{page.name}: {span}"
        elif words[0].endswith("pip"):
            _names_packages(command, reader)
        else:
            reader.run(command)


# ---- what is tested of commands that are not run


def _its_recipe_exists(command: Command, reader: Reader) -> None:
    """Check that make knows the target, and that what it would start is there: a module, a tool, a subcommand."""
    started = [each for each in reader.recipe(command) if each.words[0].startswith(".venv/bin/")]
    assert started, f"{command.where}: {command} starts nothing"
    for each in started:
        name, rest = PurePath(each.words[0]).name, list(each.words[1:])
        if name == "curation":
            _is_a_subcommand(each, reader)
            continue
        module = rest[1] if name == "python" else {"lint-imports": "importlinter"}.get(name, name)
        assert find_spec(module), f"{command.where}: {each}"
        if module == "benchmarks":
            assert all(find_spec(f"benchmarks.bench_{only}") for only in rest[2:]), f"{command.where}: {each}"


def _serves(command: Command, reader: Reader) -> None:
    """Look up its recipe; under a profile of the reader's own also start what that starts, which finds the profile and shows its assets.

    The built-in corpus would take minutes to list. What is listed goes to a data folder of its own.
    """
    _its_recipe_exists(command, reader)
    environment = os.environ | command.variables | {"CURATION_DATA": str(reader.folder / "served")}
    environment.pop("DAGSTER_HOME", None)
    if environment.get("CURATION_PROFILE", "local") == "local":
        return
    with served(reader.folder / "ui.log", environment) as url:
        found = {"/".join(node["assetKey"]["path"]) for node in asked(url, ASSETS)["assetNodes"]}
    assert found == set(STEPS)


def _is_a_subcommand(command: Command, reader: Reader) -> None:
    with pytest.raises(SystemExit) as ended:
        cli([*command.words[1:], "--help"])
    assert ended.value.code == 0, f"{command.where}: {command}"


def _clears_a_folder(command: Command, reader: Reader) -> None:
    """Run it in a folder of its own: it takes what the default profile made, and nothing else."""
    folder = reader.folder.parent / "cleared"
    for name in ("data/artifacts", "data/mine", "texts"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    done = run_make(command.words, folder)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.rglob("*")) == ["Makefile", "data", "mine", "texts"]


def _names_packages(command: Command, reader: Reader) -> None:
    """Check that what pip is asked for is well said: the project's own extras exist, files are there."""
    words = list(command.words[2:])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    while words:
        word = words.pop(0)
        if word == "--constraint":
            assert (ROOT / words.pop(0)).is_file(), f"{command.where}: {command}"
        elif word == "--editable":
            asked = words.pop(0).removeprefix(".[").removesuffix("]").split(",")
            assert set(asked) <= set(extras), f"{command.where}: {command}"
        elif ".whl" in word:
            wheel, _, asked = word.removesuffix("]").partition("[")
            assert wheel == f"curation_assets-{project['version']}-py3-none-any.whl", (
                f"{command.where}: {command}"
            )
            assert asked in extras, f"{command.where}: {command}"
        elif word == "--no-deps":
            continue
        elif word.startswith("./"):
            assert (ROOT / word / "pyproject.toml").is_file(), f"{command.where}: {command}"
        else:
            Requirement(word)


def _is_installed(command: Command, reader: Reader) -> None:
    assert find_spec("huggingface_hub.cli.auth"), f"{command.where}: {command}"


def _is_of_ray(command: Command, reader: Reader) -> None:
    """Check that Ray knows the subcommand and its options; two nodes are started in test_ray_executor.py."""
    # Not imported here: a process that did so without a token is let into no cluster that wants one.
    known = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", command.words[1], "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    options = {word for word in command.words if word.startswith("--")}
    assert options <= {*known.stdout.replace(",", " ").split()}, f"{command.where}: {options}"


def _goes_to_loopback(command: Command, reader: Reader) -> None:
    assert any("127.0.0.1" in word for word in command.words), f"{command.where}: {command}"


def _launches_a_subcommand(command: Command, reader: Reader) -> None:
    """Have torchrun's own parser read it; what it starts on two nodes, `cli/test_train.py` tests."""
    from torch.distributed.run import parse_args

    launch = parse_args(list(command.words[1:]))
    assert launch.module and launch.training_script == "curation_assets.cli"
    _is_a_subcommand(Command(command.where, {}, ("curation", launch.training_script_args[0])), reader)


def _is_of_the_experiment(command: Command, reader: Reader) -> None:
    """Have its own parser read it, and look up its profile; `stories/test_replicate.py` runs what it does, small."""
    asked = benchmarks.replicate.parser().parse_args(command.words[3:])
    profile = load_profile(asked.profile)
    assert profile.corpus.url == "planted"
    assert asked.page is None or benchmarks.replicate.MARKS.search((ROOT / asked.page).read_text("utf-8"))


INSTEAD: dict[tuple[str, ...], Callable[[Command, Reader], None]] = {
    ("make", "test"): _its_recipe_exists,
    ("make", "check"): _its_recipe_exists,
    ("make", "format"): _its_recipe_exists,
    ("make", "bench"): _its_recipe_exists,
    ("make", "ui"): _serves,
    ("make", "clean"): _clears_a_folder,
    ("pip", "install"): _names_packages,
    ("hf", "auth", "login"): _is_installed,
    ("ray",): _is_of_ray,
    ("ssh",): _goes_to_loopback,
    ("torchrun",): _launches_a_subcommand,
    ("curation", "run", "--profile", "replicate"): _is_a_subcommand,
    ("python", "-m", "benchmarks.replicate"): _is_of_the_experiment,
}


def test_what_is_not_run_is_named_and_tested_otherwise() -> None:
    assert set(INSTEAD) == set(NOT_RUN)
    there = [c for page in PAGES for block in of_language(page, "sh") for c in commands(block)]
    idle = [start for start in NOT_RUN if not any(_begins(command, start) for command in there)]
    assert not idle, f"no page has these any more: {idle}"


def test_an_unknown_command_fails(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="no test knows how to run"):
        reader.run(Command("here", {}, ("frobnicate",)))
    with pytest.raises(AssertionError, match="No rule to make target"):
        reader.run(Command("here", {}, ("make", "frobnicate")))
    with pytest.raises(AssertionError, match="ended with 2"):
        reader.run(Command("here", {"CURATION_PROFILE": "nowhere.toml"}, ("curation", "plan")))
