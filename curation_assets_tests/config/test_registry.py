"""What other packages bring: used where it can be, and else left out, by name and with one line, whatever is wrong with it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets.config.registry import GROUP, SAMPLERS, Samplers

MODULE = """
from curation_assets.config.section import EXECUTION, Model, Positive, Section
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.samplers.spec import Sampler
from pydantic import Field

class Settings(Section):
    {settings}

SAMPLER = Sampler(
    name="{name}", family="strange", technique="{technique}", description="None.", inputs=("{need}",), settings=Settings,
    reads=({reads}), model="{model}", {more}
    score=lambda settings, documents, progress: {{"score": documents.hashes % settings.n}},
)
"""
USUAL = {
    "name": "mine",
    "technique": "top_k",
    "settings": "n: Positive = 3",
    "need": "corpus/tokens",
    "reads": "",
    "model": "",
    "more": "",
}


def step(key: str, by: str = "", group: str = "strange", rest: str = "") -> dict[str, str]:
    """Return what lets the module bring a step, and what makes it."""
    steps = f'steps=(Step("{key}", "{by}", (), "{group}", {rest}),)'
    return {"more": f'{steps}, products=(Product("{key}", len, "x"),),'}


def install(folder: Path, package: str, text: str | None = None, **other: str) -> None:
    """Put a package into a folder as pip does: a module and its dist-info."""
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{other.pop('entry', 'mine')} = {package}:SAMPLER\n")
    (folder / f"{package}.py").write_text(MODULE.format(**USUAL | other) if text is None else text)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Samplers:
    """Return the registry as a process would have it that finds the folder's packages; the modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(folder)
    for module in folder.glob("*.py"):
        monkeypatch.delitem(sys.modules, module.stem, raising=False)
    found = Samplers()
    assert [name for name in found if name not in found.packages] == list(SAMPLERS)
    return found


def test_a_package_brings_samplers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = "'selection.seed', 'samplers.density.rows', 'ladder.small', 'samplers.mine'"
    settings = "n: Positive = 3\n    judge: Model = 'path:/nowhere'"
    install(tmp_path, "good_one", reads=reads, settings=settings, model="samplers.mine.judge")
    found = loaded(tmp_path, monkeypatch)
    assert list(found.packages) == ["mine"] and not found.left_out
    assert (
        found["mine"].setting_paths[:2] == ("samplers.mine.n", "selection.seed") and "mine" in found.sections
    )


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"text": "import nowhere_at_all"}, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ({"text": "raise SystemExit('no')"}, "SystemExit: no"),
        ({"text": "SAMPLER = 3"}, "int is no Sampler: write MODULE:ATTRIBUTE of one"),
        ({"text": "OTHER = 3"}, "AttributeError"),
        ({"technique": "best"}, "sampler 'mine': technique 'best' is none of top_k, bottom_k, ips, uniform"),
        ({"name": "Mine"}, "name 'Mine' must be lower-case letters, digits and _"),
        ({"settings": "n: Positive"}, "[samplers.mine]: every setting of Settings needs a default"),
        ({"settings": "n: Positive = 0"}, "[samplers.mine]: every setting of Settings needs a default"),
        ({"settings": "m: Model = 'models/x'"}, "[samplers.mine]: every setting of Settings needs a default"),
        ({"need": "corpus/tokenz"}, "sampler 'mine' reads 'corpus/tokenz', which nothing before it makes"),
        ({"reads": "'selection.sed',"}, "no profile has a setting 'selection.sed' that changes results"),
        ({"reads": "'embeddings.batch_tokens',"}, "no profile has a setting 'embeddings.batch_tokens'"),
        ({"reads": "'samplers.density.row',"}, "no profile has a setting 'samplers.density.row'"),
        ({"reads": "'samplers.nobody.n',"}, "no profile has a setting 'samplers.nobody.n'"),
        ({"model": "samplers.mine.n"}, "model 'samplers.mine.n' is the path of no `Model` in its settings"),
        ({"reads": "'samplers',"}, "no profile has a setting 'samplers' that changes results"),
        ({"reads": "'report.seed.more',"}, "no profile has a setting 'report.seed.more'"),
        ({"reads": "'ladder.small.d_model',"}, "no profile has a setting 'ladder.small.d_model'"),
        ({"reads": "None,"}, "sampler 'mine': AttributeError: "),
        ({"name": "chance"}, "sampler 'chance': its name, or the family 'strange', is taken"),
        ({"name": "small"}, "sampler 'small': its name, or the family 'strange', is taken"),
        ({"name": "identity"}, "sampler 'identity': no table can be called [samplers.identity]"),
        ({"name": "copy"}, "sampler 'copy': no table can be called [samplers.copy]"),
        (step("corpus/shards"), "the step 'corpus/shards' in the group 'strange' is no sampler's to bring"),
        (step("report/page"), "the step 'report/page' in the group 'strange' is no sampler's to bring"),
        (step("mine/scores"), "the step 'mine/scores' in the group 'strange' is no sampler's to bring"),
        (step("mine/x", group="corpus"), "the step 'mine/x' in the group 'corpus' is no sampler's to bring"),
        (step("mine"), "a step 'mine' in the group 'strange' cannot be shown"),
        (step("mine/x", by="day"), "is no step that is made for each of something known"),
        (
            step("mine/x", rest="drift='samplers.mine.m'"),
            "no profile has a setting 'samplers.mine.m' to drift by",
        ),
        ({"name": "density"}, "sampler 'density' would have the assets of another"),
        ({"name": "clusters"}, "sampler 'clusters' would have the assets of another"),
        ({"name": "full_data"}, "sampler 'full_data' would have the assets of another"),
        ({"name": "perplexity"}, "sampler 'perplexity': the table [samplers.perplexity] is another's"),
    ],
)
def test_what_cannot_be_used_is_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    other: dict[str, str],
    why: str,
) -> None:
    install(tmp_path, "bad_one", entry=other.get("name", "mine").lower(), **other)
    install(tmp_path, "good_one", name="yours")
    with caplog.at_level(logging.WARNING):
        found = loaded(tmp_path, monkeypatch)
    assert list(found.packages) == ["yours"]
    (line,) = found.left_out.values()
    assert line.startswith("package bad_one 1.0: ") and why in line and "\n" not in line
    assert [record.getMessage() for record in caplog.records] == [f"samplers left out: {line}"]


def test_of_two_packages_with_one_sampler_neither_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of them came first would decide what `mine/scores` means, unseen."""
    install(tmp_path, "one")
    install(tmp_path, "two")
    found = loaded(tmp_path, monkeypatch)
    assert not found.packages and found.left_out == {
        "mine": "package one 1.0: two 1.0 has a sampler 'mine' as well"
    }


def _plan(folder: Path, profile: str) -> subprocess.CompletedProcess[str]:
    (folder / "try.toml").write_text(profile)
    return _python(folder, "-m", "curation_assets.cli", "plan")


def _python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a process that finds the folder's packages and its profile."""
    environment = os.environ | {
        "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}",
        "CURATION_DATA": str(folder / "data"),
        "CURATION_PROFILE": str(folder / "try.toml"),
    }
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.process
def test_the_product_goes_on_without_it_and_says_so(tmp_path: Path) -> None:
    install(tmp_path, "blind", need="corpus/tokenz")
    install(tmp_path, "greedy", "from curation_assets.engine.graph import STEPS\nlist(STEPS)", entry="greedy")
    install(tmp_path, "over", name="corpus")
    done = _plan(tmp_path, "")
    assert done.returncode == 0 and "density/scores" in done.stdout, done.stderr
    assert "mine/" not in done.stdout and "corpus/scores" not in done.stdout
    warned = [line for line in done.stderr.splitlines() if line.startswith("samplers left out: ")]
    assert sorted(line.split()[4] for line in warned) == ["blind", "greedy", "over"]
    for why in (
        "sampler 'mine' reads 'corpus/tokenz', which nothing before it makes",
        "sampler 'corpus' would have the assets of another",
        "samplers are being loaded",
    ):
        assert sum(why in line for line in warned) == 1, done.stderr


@pytest.mark.process
@pytest.mark.parametrize("profile", ['[run]\nsamplers = ["mine"]', "[samplers.greedy]\nn = 3"])
def test_who_asks_for_it_is_told_why_there_is_none(tmp_path: Path, profile: str) -> None:
    install(tmp_path, "blind", need="corpus/tokenz")
    install(tmp_path, "greedy", "import nowhere_at_all", entry="greedy")
    done = _plan(tmp_path, profile)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "package blind 1.0: " in last or "package greedy 1.0: " in last


@pytest.mark.process
def test_without_a_model_it_is_left_out_of_all_and_refused_by_name(tmp_path: Path) -> None:
    settings = "n: Positive = 3\n    judges: dict[str, Model] = {}"
    install(tmp_path, "judging", settings=settings, model="samplers.mine.judges.good")
    source = tmp_path / "corpus" / "a.txt"
    source.parent.mkdir()
    source.write_text("a line\n")
    corpus = '[corpus]\nurl = "corpus/*.txt"\n'
    done = _plan(tmp_path, corpus)
    assert done.returncode == 0 and "density/scores" in done.stdout and "mine/scores" not in done.stdout, (
        done.stderr
    )
    why = "samplers.mine.judges.good is missing: sampler mine needs it (or leave it out of run.samplers)"
    assert done.stderr.splitlines().count(f"samplers left out of all: {why}") == 1
    done = _plan(tmp_path, f'{corpus}[run]\nsamplers = ["mine"]\n')
    assert done.returncode != 0 and done.stderr.splitlines()[-1].endswith(why)
    done = _plan(tmp_path, f'{corpus}[samplers.mine.judges]\ngood = "asset:full_data/checkpoint#small"\n')
    assert done.returncode == 0 and "mine/scores" in done.stdout and "left out" not in done.stderr, (
        done.stderr
    )


COSTS = """
import sys
from curation_assets.config.profile import load_profile
from curation_assets.engine.context import Context
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.report.spent import Flops, Seconds, _rung_share

context = Context(Workspace(load_profile()), STEPS["report/tradeoff"], "")
print(Flops(context).choosing("mine").unknown, Seconds(context).choosing("mine").unknown, sep="|")
print(_rung_share(context, "mine"))
"""


@pytest.mark.process
def test_the_report_on_costs_reads_where_its_model_is(tmp_path: Path) -> None:
    """A sampler with a model of its own: the step of the report declares the setting that names the model."""
    settings = "n: Positive = 3\n    judge: Model = 'asset:full_data/checkpoint#small'"
    install(tmp_path, "judging", settings=settings, model="samplers.mine.judge")
    source = tmp_path / "corpus" / "a.txt"
    source.parent.mkdir()
    source.write_text("a line\n")
    (tmp_path / "try.toml").write_text('[corpus]\nurl = "corpus/*.txt"\n')
    done = _python(tmp_path, "-c", COSTS)
    assert done.returncode == 0, done.stderr
    reasons, share = done.stdout.splitlines()
    assert reasons.startswith("mine: no rule counts its operations|") and float(share) == 1.0
