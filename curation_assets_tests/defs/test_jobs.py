"""The jobs on a real instance, with the config that the launchpad begins with: what they make, twice, and what they do with faults."""

from __future__ import annotations

import os
import shutil
import socket
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import RATES
from curation_assets.definitions import definitions
from curation_assets.defs.instance import instance_for
from curation_assets.defs.jobs import FOLLOW, JOBS
from curation_assets.defs.resources import ASKED, CHANGE, DUE, HOST, JOB, PID, Curation
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.making import withdraw

FEW = """
extends = "tiny.toml"
name = "few"
[run]
samplers = ["random", "perplexity_small"]
[automation]
settle_seconds = 0.0
"""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def few(tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    (tmp_path / "few.toml").write_text(FEW, "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(tmp_path / "few.toml"))
    return load_profile()


def _run(
    profile: Profile, instance: dg.DagsterInstance, name: str, **config: object
) -> dg.ExecuteInProcessResult:
    job = _defs(profile.source).resolve_job_def(name)
    run_config = QUIET | ({"ops": {"config": config}} if config else {})
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


@cache
def _defs(source: str) -> dg.Definitions:
    return definitions(load_profile(source))


def _made(result: dg.ExecuteInProcessResult) -> set[tuple[str, str]]:
    events = result.filter_events(lambda event: event.is_step_materialization)
    found = [event.step_materialization_data.materialization for event in events]
    return {(m.asset_key.to_user_string(), m.partition or "") for m in found}


def _failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    events = result.filter_events(lambda event: event.is_step_failure)
    return {str(e.step_key): e.step_failure_data.error.message for e in events}  # type: ignore[union-attr]


@pytest.mark.graph
def test_each_job_does_what_it_says_with_its_default_config(few: Profile, tmp_path: Path) -> None:
    """One story, since the first run is what costs time."""
    workspace = Workspace(few)
    with instance_for(few) as instance:
        early = _run(few, instance, "select_at_all_rates")
        assert "random/subset: random/subset[10] needs" in _failures(early)["bring_up_to_date"]

        scored = _run(few, instance, "score_what_changed")
        assert scored.success, _failures(scored)
        made = _made(scored)
        assert {("full_data/checkpoint", "small"), ("perplexity_small/scores", "s2.jsonl")} < made
        assert {("random/subset", rate) for rate in RATES} < made and (
            "corpus/embeddings",
            "s0.jsonl",
        ) not in made
        assert instance.get_dynamic_partitions("shard") == ["s0.jsonl", "s1.jsonl", "s2.jsonl"]
        _dagster_knows(instance, workspace, made)
        key = dg.AssetCheckKey(dg.AssetKey(["random", "scores"]), "scores_differ")
        assert instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert _made(_run(few, instance, "score_what_changed")) == {("corpus/source", "")}, (
            "nothing else is made"
        )

        withdraw(workspace, "random/subset", "40")
        assert _made(_run(few, instance, "select_at_all_rates")) == {("random/subset", "40")}

        cell = _run(few, instance, "train_and_evaluate_one_cell")
        assert cell.success, _failures(cell)
        assert {("random/checkpoint", "20|small"), ("random/metrics", "20|small")} <= _made(cell)

        everything = _run(few, instance, "first_comparison")
        assert everything.success, _failures(everything)
        for step in wanted_steps(few):
            for partition in targets(workspace, step):
                assert workspace.receipt(step.key, partition), f"{step.key}[{partition}]"
        _nothing_is_shown_as_stale(instance, few)

        withdraw(workspace, "report/tradeoff")
        report = _run(few, instance, "make_the_report")
        assert report.success and _made(report) == {("report/tradeoff", "")}, "the page is made of the same"

        assert _run(few, instance, "checks").success
        assert _run(few, instance, "refresh_models").success
        assert not workspace.catalog.marks(), "nothing is behind, so nothing is marked"

    _another_home_is_told_what_is_there(few, tmp_path)
    _one_bad_file_stops_nobody(few, tmp_path)


def _dagster_knows(instance: dg.DagsterInstance, workspace: Workspace, made: set[tuple[str, str]]) -> None:
    for key, partition in made:
        receipt = workspace.receipt(key, partition)
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            dg.AssetKey(key.split("/")), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        assert receipt
        if partition:
            assert tags[partition]["dagster/data_version"] == receipt.version
        else:
            event = instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
            assert event and event.asset_materialization
            assert event.asset_materialization.tags["dagster/data_version"] == receipt.version


def _nothing_is_shown_as_stale(instance: dg.DagsterInstance, profile: Profile) -> None:
    """By what Dagster itself says of assets and partitions that a job made, as the UI's badge does."""
    graph = _defs(profile.source).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    for key, partition in (
        ("corpus/index", None),
        ("corpus/tokens", "s1.jsonl"),
        ("perplexity_small/scores", "s1.jsonl"),
        ("random/subset", "20"),
        ("random/metrics", "20|small"),
        ("report/comparison", None),
        ("report/page", None),
    ):
        status = resolver.get_status(dg.AssetKey(key.split("/")), partition)
        assert status == StaleStatus.FRESH, (
            key,
            resolver.get_stale_causes(dg.AssetKey(key.split("/")), partition),
        )


def _another_home_is_told_what_is_there(profile: Profile, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path / "another_home"))
        with instance_for(profile) as instance:
            told = _run(profile, instance, "score_what_changed")
            assert told.success, _failures(told)
            assert {("random/scores", "s1.jsonl"), ("random/subset", "80")} <= _made(told)
            assert _made(_run(profile, instance, "score_what_changed")) == {("corpus/source", "")}


def _one_bad_file_stops_nobody(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "shards" / "a_bad.jsonl.gz").write_bytes(b"this is no gzip file")
    write_shard(tmp_path / "shards" / "z_new.jsonl", stdlib_texts()[3::8])
    with instance_for(profile) as instance:
        result = _run(profile, instance, "score_what_changed")
        reason = _failures(result)["bring_up_to_date"]
        assert "corpus/documents: a_bad.jsonl: " in reason and "is damaged before the first row" in reason
        assert ("random/scores", "z_new.jsonl") in _made(result)
        assert list(Workspace(profile).set_aside()) == ["a_bad.jsonl"]
        shutil.rmtree(profile.data / "artifacts" / "random" / "scores")
        failed = _run(profile, instance, "select_at_all_rates")
        assert "not everything could be made" in _failures(failed)["bring_up_to_date"]


@pytest.mark.graph
def test_mistakes_in_the_config_are_told_before_or_at_the_start(few: Profile) -> None:
    job = _defs(few.source).resolve_job_def("train_and_evaluate_one_cell")
    with pytest.raises(dg.DagsterInvalidConfigError, match="densty"):
        dg.validate_run_config(job, {"ops": {"config": {"sampler": "densty"}}})
    with instance_for(few) as instance:
        failed = _run(few, instance, "train_and_evaluate_one_cell", amount="25%")
        assert (
            "amounts: there is no '25%'; there are 10%, 20%, 40%, 60%, 80%"
            in _failures(failed)["bring_up_to_date"]
        )


def test_every_job_can_be_launched_as_it_is(few: Profile) -> None:
    found = _defs(few.source)
    for name in (*JOBS, FOLLOW, "checks", "refresh_models"):
        job = found.resolve_job_def(name)
        assert dg.validate_run_config(job, {}) is not None and job.description
        assert len(job.description.split("\n")[0]) < 80, "lists show the first line"


@pytest.mark.graph
def test_the_sensor_waits_for_a_job_that_is_at_work(few: Profile) -> None:
    """Then it asks for one run of all that is left to do, and says why."""
    repository = _defs(few.source).get_repository_def()
    sensor = repository.get_sensor_def("corpus_changes")

    def tick(instance: dg.DagsterInstance) -> Any:
        context = dg.build_sensor_context(
            instance=instance, resources={"curation": Curation(few.source)}, repository_def=repository
        )
        return sensor.evaluate_tick(context)

    with instance_for(few) as instance:
        run = instance.create_run_for_job(
            repository.get_job("train_and_evaluate_one_cell"),
            status=dg.DagsterRunStatus.STARTED,
            tags={JOB: ASKED, PID: str(os.getpid()), HOST: socket.gethostname()},
        )
        waits = tick(instance)
        assert not waits.run_requests and waits.skip_message
        assert f"train_and_evaluate_one_cell is at work (run {run.run_id[:8]})" in waits.skip_message
        instance.report_run_canceled(run)
        [asked] = tick(instance).run_requests or []
        assert asked.run_config == {"ops": {"config": {"listing": True}}}
        assert "3 new or changed (s0.jsonl, s1.jsonl, s2.jsonl)" in asked.tags[CHANGE]
        run_graph(few, lambda line: None, [STEPS["corpus/source"]])
        [asked] = tick(instance).run_requests or []
        assert asked.run_config == {"ops": {"config": {"listing": False}}}
        assert asked.tags[DUE] == "corpus/shards: 3 (not made yet)"
