"""The corpus changes on a real instance: Dagster's own evaluation decides, real runs follow, and exactly what had to be is made."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import RATES
from curation_assets.definitions import definitions
from curation_assets.defs import jobs
from curation_assets.defs.instance import instance_for
from curation_assets.defs.materializing import Retell, Tell, carry_out
from curation_assets.defs.resources import Curation
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.executors import Executor
from curation_assets.engine.follow import Follow
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.refresh import ask_refresh
from curation_assets.engine.scope import Scope
from curation_assets.engine.step import Step
from curation_assets.engine.store import PREVIEW
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import Kept, stdlib_texts, work_in, write_shard, write_tiny

pytestmark = pytest.mark.graph

FEW = ["random", "density", "semdedup", "perplexity_large_20k", "ask_llm_small"]
TEN = f"""
extends = "tiny.toml"
name = "ten"
[run]
samplers = {FEW}
[automation]
settle_seconds = 0.0
retries = 1
retry_seconds = 0.0
"""
LOCAL = {
    "corpus/shards",
    "corpus/documents",
    "corpus/tokens",
    "corpus/embeddings",
    "evaluation/contamination",
    "clusters/sample",
    "clusters/assignments",
    "density/shard_sketch",
    "semdedup/vectors",
    "random/scores",
    "perplexity_large_20k/scores",
    "ask_llm_small/scores",
}
ONE = {
    ("corpus/index", ""),
    ("corpus/validation", ""),
    ("clusters/sample_share", ""),
    ("density/bits", ""),
    ("density/sketch", ""),
    ("semdedup/neighbours", "0-of-1"),
}
OF_ALL = {"density/scores", "semdedup/scores"}
Made = set[tuple[str, str]]


def _write_ten(root: Path, teacher: Path) -> None:
    """Write ten shards of some 20 documents, the last one compressed."""
    write_tiny(root, teacher)
    folder, texts = root / "shards", stdlib_texts()
    shutil.rmtree(folder)
    for number in range(9):
        write_shard(folder / f"s{number}.jsonl", texts[number::12])
    write_shard(folder / "s9.jsonl", texts[9::12])
    (folder / "s9.jsonl.gz").write_bytes(gzip.compress((folder / "s9.jsonl").read_bytes(), mtime=0))
    (folder / "s9.jsonl").unlink()
    (root / "ten.toml").write_text(TEN, "utf-8")


def _following(profile: Profile) -> list[Step]:
    look = Follow(Workspace(profile))
    return [step for step in wanted_steps(profile) if look.follows(step) or step.key == "corpus/source"]


def _before_training(profile: Profile) -> list[Step]:
    ladder = ("full_data/checkpoint", "judge/checkpoint")
    return [s for s in wanted_steps(profile) if not (s.partial or (s.trains and s.key not in ladder))]


@dataclass
class Daemon:
    """Ticks as Dagster's daemon does, and carries out what is asked for at once, in this process."""

    profile: Profile
    instance: dg.DagsterInstance
    folder: Path  # of the corpus
    during: list[Callable[[], object]] = field(default_factory=list)  # done one by one, each with an artifact
    failed: list[str] = field(default_factory=list)
    runs: int = 0  # since the last `settle`

    def __post_init__(self) -> None:
        self._repository = definitions(self.profile).get_repository_def()
        self._cursor: str | None = None

    def settle(self) -> Made:
        """Tick until nothing is asked for; return what was made."""
        before, self.runs = self._state(), 0
        for _ in range(60):
            if not self._tick():
                assert not self.during
                return {at for at, state in self._state().items() if before.get(at) != state}
        raise AssertionError("it does not come to an end")

    def _tick(self) -> bool:
        sensor = self._repository.get_sensor_def("corpus_changes")
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self._cursor,
            resources={"curation": Curation(self.profile.source)},
            repository_def=self._repository,
        )
        found = sensor.evaluate_tick(context)
        self._cursor = found.cursor
        for request in found.run_requests or ():
            self._run(request)
        return bool(found.run_requests)

    def _run(self, request: dg.RunRequest) -> None:
        self.runs += 1
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job = self._repository.get_job("follow_changes")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jobs, "carry_out", self._carry_out)
            result = job.execute_in_process(
                instance=self.instance,
                run_config=dict(request.run_config) | quiet,
                tags=request.tags,
                raise_on_error=False,
            )
        for failure in result.filter_events(lambda event: event.is_step_failure):
            self.failed.append(failure.step_failure_data.error.message)

    def _carry_out(
        self,
        context: Any,
        workspace: Workspace,
        scope: Scope,
        executor: Executor,
        tell: Tell,
        *,
        retell: Retell,
    ) -> Iterator[Any]:
        """Do what the job does, and hear every line of it."""

        def heard(line: str) -> None:
            tell(line)
            self._heard(line)

        return (yield from carry_out(context, workspace, scope, executor, heard, retell=retell))

    def _heard(self, line: str) -> None:
        if self.during and ": made (" in line and not line.startswith("corpus/source"):
            self.during.pop(0)()

    def _state(self) -> dict[tuple[str, str], str]:
        workspace, found = Workspace(self.profile), {}
        for step in wanted_steps(self.profile):
            if step.key == "corpus/source":
                continue
            receipts = workspace.receipts(step.key)
            for partition in targets(workspace, step):
                if receipt := receipts.get(partition):
                    found[step.key, partition] = f"{receipt.folder}@{receipt.created}"
        return found


@pytest.fixture(scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Kept:
    root = tmp_path_factory.mktemp("follow")
    _write_ten(root, teacher)
    with pytest.MonkeyPatch.context() as patch:
        ten = work_in(root, patch, "ten.toml")
        outcome = run_graph(ten, lambda line: None, _before_training(ten))
    assert not outcome.failed and not outcome.blocked, outcome
    return Kept(root)


@pytest.fixture
def daemon(_kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon of a folder in which all but training has been made; what a test does to it is undone."""
    profile = work_in(_kept.root, monkeypatch, "ten.toml")
    with instance_for(profile) as instance:
        yield Daemon(profile, instance, _kept.root / "shards")
    _kept.restore()


def _expected(shards: list[str], *changed: str) -> Made:
    made = {(key, shard) for key in LOCAL for shard in changed} | ONE
    made |= {(key, shard) for key in OF_ALL for shard in shards}
    return made | {(f"{name}/subset", rate) for name in FEW for rate in RATES}


OLD = [f"s{n}.jsonl" for n in range(10)]


def test_what_a_run_made_is_current(daemon: Daemon) -> None:
    assert daemon.settle() == set()


def test_a_file_comes_and_goes(daemon: Daemon) -> None:
    write_shard(daemon.folder / "t.jsonl", stdlib_texts()[10::24])
    assert daemon.settle() == _expected([*OLD, "t.jsonl"], "t.jsonl")
    (daemon.folder / "t.jsonl").unlink()
    assert daemon.settle() == _expected(OLD)
    assert "t.jsonl" not in daemon.instance.get_dynamic_partitions("shard")
    assert not daemon.failed


def test_a_file_changes_and_all_that_follows_is_one_run(daemon: Daemon) -> None:
    write_shard(daemon.folder / "s1.jsonl", stdlib_texts()[1::12][:-1])
    assert daemon.settle() == _expected(OLD, "s1.jsonl")
    assert daemon.runs == 1 and not daemon.failed


def test_a_file_that_is_touched_is_looked_at_and_is_the_same(daemon: Daemon) -> None:
    os.utime(daemon.folder / "s2.jsonl", (1, 1))
    assert daemon.settle() == {("corpus/shards", "s2.jsonl")}


def test_for_a_renamed_file_no_model_runs(daemon: Daemon) -> None:
    (daemon.folder / "s3.jsonl").rename(daemon.folder / "r3.jsonl")
    now = sorted([*(s for s in OLD if s != "s3.jsonl"), "r3.jsonl"])
    assert daemon.settle() == _expected(now, "r3.jsonl")
    for sampler in ("perplexity_large_20k", "ask_llm_small"):
        about = Workspace(daemon.profile).metadata(f"{sampler}/scores", "r3.jsonl")
        assert about["taken_over_from"] == "s3.jsonl"


def test_a_line_is_damaged(daemon: Daemon) -> None:
    path = daemon.folder / "s4.jsonl"
    path.write_text("{not json\n" + path.read_text().split("\n", 1)[1])
    assert daemon.settle() == _expected(OLD, "s4.jsonl")
    reasons = Workspace(daemon.profile).metadata("corpus/documents", "s4.jsonl")["reasons"]
    assert reasons == {"invalid_json": 1} and not daemon.failed


def test_a_file_that_cannot_be_read(daemon: Daemon) -> None:
    path = daemon.folder / "s9.jsonl.gz"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    assert daemon.settle() == {("corpus/shards", "s9.jsonl")}, "what was read of it stays in use"
    assert len(daemon.failed) == 2 and "s9.jsonl" in daemon.failed[0], "tried, and once more"
    path.write_bytes(good)
    assert daemon.settle() == {("corpus/shards", "s9.jsonl")}, "mended: it is what it was"


def test_a_new_file_that_cannot_be_read_is_left_out(daemon: Daemon) -> None:
    (daemon.folder / "u.jsonl.gz").write_bytes(b"this is no gzip file")
    assert daemon.settle() == {("corpus/shards", "u.jsonl")}, "the others do not wait for it"
    workspace = Workspace(daemon.profile)
    assert list(workspace.set_aside()) == ["u.jsonl"] and workspace.shards() == OLD


def test_changes_during_a_run(daemon: Daemon) -> None:
    texts = stdlib_texts()
    write_shard(daemon.folder / "s5.jsonl", texts[5::12][1:])

    def two() -> None:
        write_shard(daemon.folder / "s5.jsonl", texts[5::12][2:])
        write_shard(daemon.folder / "s6.jsonl", texts[6::12][2:])

    daemon.during = [lambda: None] * 4 + [two]
    assert daemon.settle() == _expected(OLD, "s5.jsonl", "s6.jsonl")


def test_a_model_is_refreshed(daemon: Daemon) -> None:
    for number in (1, 2, 5):  # of so many documents the teacher has labelled some
        write_shard(daemon.folder / f"s{number}.jsonl", stdlib_texts()[number::12][:-10])
    daemon.settle()
    workspace = Workspace(daemon.profile)
    with pytest.raises(ValueError, match="random/scores is no model learned from the corpus"):
        ask_refresh(workspace, ["random/scores"])
    job = definitions(daemon.profile).resolve_job_def("refresh_models")
    config = {"assets": ["judge/labels", "judge/checkpoint"]}
    run_config = {"ops": {"ask_for_new_models": {"config": config}}}
    assert job.execute_in_process(instance=daemon.instance, run_config=run_config).success
    made = daemon.settle()
    chain = {("judge/labels", ""), ("judge/label_embeddings", ""), ("judge/checkpoint", "small")}
    chain |= {("ask_llm_small/model", "")}
    chain |= {("ask_llm_small/scores", shard) for shard in OLD}
    assert made == chain | {("ask_llm_small/subset", rate) for rate in RATES}
    assert daemon.settle() == set(), "once is enough"


def test_after_changes_all_is_as_if_made_from_nothing(daemon: Daemon, tmp_path: Path) -> None:
    texts = stdlib_texts()
    write_shard(daemon.folder / "t.jsonl", texts[10::24])
    daemon.settle()
    write_shard(daemon.folder / "s1.jsonl", texts[1::12][:-1])
    (daemon.folder / "t.jsonl").unlink()
    (daemon.folder / "s3.jsonl").rename(daemon.folder / "r3.jsonl")
    daemon.settle()
    _as_from_nothing(daemon.profile, tmp_path / "fresh")


def _as_from_nothing(profile: Profile, data: Path) -> None:
    """Make everything anew in another folder, with the same pinned models, and compare every byte."""
    pinned = [s for s in _before_training(profile) if s.pinned]
    for step in pinned:
        shutil.copytree(profile.data / "artifacts" / step.key, data / "artifacts" / step.key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATION_DATA", str(data))
        patch.setenv("DAGSTER_HOME", str(data / "dagster_home"))
        fresh = load_profile()
        outcome = run_graph(fresh, lambda line: None, _following(fresh))
        assert not outcome.failed and not {s.key for s in pinned} & set(outcome.made), outcome
        here, there = Workspace(profile), Workspace(fresh)
        for step in _following(profile):
            if step.key not in ("corpus/source", "corpus/shards"):
                for partition in targets(here, step):
                    one, other = (w.receipt(step.key, partition) for w in (here, there))
                    assert one and other and one.version == other.version, f"{step.key}[{partition}]"
                    files = [{n: d for n, d in r.files.items() if n != PREVIEW} for r in (one, other)]
                    assert files[0] == files[1], f"{step.key}[{partition}]"
