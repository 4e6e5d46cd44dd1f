"""The sensor on a real instance: what it asks for, what it waits for, and that nothing it asks for is a hot loop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._utils.tags import TagConcurrencyLimitsCounter

from curation_assets.config.profile import Profile, load_profile
from curation_assets.definitions import definitions
from curation_assets.defs import sensors
from curation_assets.defs.instance import instance_for
from curation_assets.defs.jobs import FOLLOW
from curation_assets.defs.resources import ASKED, DUE, FOLLOWING, HOST, JOB, PID, Curation
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.making import attempted

pytestmark = pytest.mark.graph

FEW = """
extends = "tiny.toml"
name = "few"
[run]
samplers = ["random"]
[automation]
settle_seconds = 0.0
"""
SIGNED = {PID: str(os.getpid()), HOST: socket.gethostname()}


@dataclass
class Ticks:
    """The sensor of a profile, ticked as Dagster's daemon does."""

    profile: Profile
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    cursor: str | None = None

    def tick(self) -> tuple[dg.RunRequest | None, str]:
        """Return what is asked for, or why nothing is."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"curation": Curation(self.profile.source)},
            repository_def=self.repository,
        )
        data = self.repository.get_sensor_def("corpus_changes").evaluate_tick(context)
        self.cursor = data.cursor
        return next(iter(data.run_requests or ()), None), data.skip_message or ""

    def carry_out(self, request: dg.RunRequest) -> bool:
        """Carry out what was asked for; return whether it succeeded."""
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job = self.repository.get_job(FOLLOW)
        result = job.execute_in_process(
            instance=self.instance, run_config=dict(request.run_config) | quiet, raise_on_error=False
        )
        return result.success

    def at_work(self, job: str, status: dg.DagsterRunStatus, **config: Any) -> dg.DagsterRun:
        """Have Dagster take a run of a job to be at work, in this process."""
        return self.instance.create_run_for_job(
            self.repository.get_job(job),
            run_config={"ops": {"config": config}} if config else {},
            status=status,
            tags={JOB: FOLLOWING if job == FOLLOW else ASKED, **SIGNED},
        )


@pytest.fixture
def ticks(tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ticks]:
    (tmp_path / "few.toml").write_text(FEW, "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(tmp_path / "few.toml"))
    few = load_profile()
    with instance_for(few) as instance:
        yield Ticks(few, instance, definitions(few).get_repository_def())


@pytest.fixture
def listed(ticks: Ticks) -> Ticks:
    """With its corpus listed, and all of it to be made."""
    run_graph(ticks.profile, lambda line: None, [STEPS["corpus/source"]])
    return ticks


def _idle_after(ticks: Ticks, most: int) -> str:
    """Tick and carry out until nothing is asked for; return what is waited for."""
    for _ in range(most + 1):
        request, waited = ticks.tick()
        if request is None:
            return waited
        ticks.carry_out(request)
    raise AssertionError(f"more than {most} runs were asked for")


def test_a_corpus_of_which_no_file_can_be_read_is_no_hot_loop(ticks: Ticks, tmp_path: Path) -> None:
    for path in (tmp_path / "shards").iterdir():
        path.unlink()
    (tmp_path / "shards" / "a.jsonl.gz").write_bytes(b"this is no gzip file")
    waited = _idle_after(ticks, 1)
    assert "no file of the corpus has been read" in waited and "tried again at" in waited


def test_a_corpus_without_a_document_fails_once_and_is_waited_for(ticks: Ticks) -> None:
    path = Path(ticks.profile.source)
    path.write_text(path.read_text("utf-8") + '[corpus]\ntext_field = "body"\n', "utf-8")
    ticks.profile = load_profile()
    ticks.repository = definitions(ticks.profile).get_repository_def()
    waited = _idle_after(ticks, 1)
    assert "out of date: waits for corpus/documents: " in waited
    assert "rows have no field 'body'; fields seen: id, text, source" in waited
    [run] = ticks.instance.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE, "the run that found it says so"
    clicked = ticks.repository.get_implicit_global_asset_job_def().execute_in_process(
        instance=ticks.instance,
        asset_selection=[dg.AssetKey(["corpus", "tokenizer"])],
        raise_on_error=False,
    )
    [failure] = clicked.filter_events(lambda event: event.is_step_failure)
    assert "rows have no field 'body'" in failure.step_failure_data.error.message
    signed = ticks.instance.get_run_by_id(clicked.run_id)
    assert signed and {key: signed.tags[key] for key in SIGNED} == SIGNED


def test_a_run_that_cannot_start_is_asked_for_after_longer_and_longer_pauses(
    listed: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("curation_assets.defs.sensors.time.time", lambda: now)
    asked = []
    for _ in range(8):
        request, waited = listed.tick()
        asked.append(request is not None)
        assert request or "corpus/shards: 3 (not made yet); asked for again at " in waited
        now += 61.0
    assert asked == [True, True, False, True, False, False, False, True]
    (Path(listed.profile.data).parent / "shards" / "s1.jsonl").write_text("")
    request, _ = listed.tick()
    assert request and "1 new or changed (s1.jsonl)" in request.tags[sensors.CHANGE], (
        "a change is another matter"
    )


def test_what_a_person_stopped_is_not_asked_for_at_once(
    listed: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = listed.at_work(FOLLOW, dg.DagsterRunStatus.STARTED)
    assert f"{FOLLOW} is at work" in listed.tick()[1]
    listed.instance.report_run_canceled(run)
    request, waited = listed.tick()
    assert request is None and f"run {run.run_id[:8]} was stopped: followed again at" in waited
    still = listed.profile.automation.model_copy(update={"retry_seconds": 0.0})
    now = listed.profile.model_copy(update={"automation": still})
    monkeypatch.setattr("curation_assets.defs.resources.load_profile", lambda source: now)
    assert listed.tick()[0]


def test_a_job_is_waited_for_where_it_comes_to_what_is_due(listed: Ticks) -> None:
    report = listed.at_work("make_the_report", dg.DagsterRunStatus.STARTED)
    request, _ = listed.tick()
    assert request and request.tags[DUE] == "corpus/shards: 3 (not made yet)", "it makes no scores"
    listed.instance.report_run_canceled(report)
    listed.cursor = None

    cell = {"sampler": "random", "amount": "40%", "size": "small"}
    run = listed.at_work("train_and_evaluate_one_cell", dg.DagsterRunStatus.STARTED, **cell)
    assert f"train_and_evaluate_one_cell is at work (run {run.run_id[:8]})" in listed.tick()[1]
    workspace = Workspace(listed.profile)
    with attempted(workspace, "random/checkpoint", "40|small", run_id="another run"):
        assert listed.tick()[0] is None
    with attempted(workspace, "random/checkpoint", "40|small", run_id=run.run_id):
        assert listed.tick()[0], "what comes before the training it has behind it"


def test_one_job_of_a_person_and_one_of_the_automation_are_at_work_at_a_time(listed: Ticks) -> None:
    """And clicks wait for none of them."""
    settings = yaml.safe_load(files("curation_assets.defs").joinpath("dagster.yaml").read_text("utf-8"))
    coordinator = listed.instance.run_coordinator
    assert isinstance(coordinator, QueuedRunCoordinator)
    limits = listed.instance.get_concurrency_config().run_queue_config.tag_concurrency_limits  # type: ignore[union-attr]
    assert limits == settings["concurrency"]["runs"]["tag_concurrency_limits"]
    counter = TagConcurrencyLimitsCounter(
        limits, [listed.at_work("first_comparison", dg.DagsterRunStatus.STARTED)]
    )
    assert counter.is_blocked(listed.at_work("make_the_report", dg.DagsterRunStatus.NOT_STARTED))
    assert not counter.is_blocked(listed.at_work(FOLLOW, dg.DagsterRunStatus.NOT_STARTED))
    assert not counter.is_blocked(listed.at_work("checks", dg.DagsterRunStatus.NOT_STARTED).with_tags({}))
