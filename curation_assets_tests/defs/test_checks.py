"""Checks as Dagster runs them: what they say is text, whatever stands in a file's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from curation_assets.config.profile import Profile
from curation_assets.definitions import definitions
from curation_assets.defs.checks import escaped_description, severity
from curation_assets.defs.instance import instance_for
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS, Outcome
from curation_assets_tests.report.test_untrusted import EVIL

NAME = "**b** <img src=x onerror=alert(1)> ![x](http:evil) [y](z).jsonl"
_MARKUP = re.compile(r"(?<!\\)[<>\[\]`*]")


@pytest.mark.parametrize("name", EVIL)
def test_what_a_check_says_is_no_markdown(name: str) -> None:
    said = escaped_description(Outcome(False, f"left out: {EVIL[name]}"))
    assert not _MARKUP.search(said.replace("<!-- -->", "")) and len(said.splitlines()) == 1


def test_a_warning_is_no_error() -> None:
    assert severity(Outcome(False, "", warns=True)) == dg.AssetCheckSeverity.WARN
    assert severity(Outcome(False, "")) == dg.AssetCheckSeverity.ERROR


@pytest.mark.graph
def test_a_file_that_cannot_be_read_is_told_of_where_its_run_failed(tiny: Profile, tmp_path: Path) -> None:
    """Dagster itself would show the checks of a failed run as failed, without a verdict."""
    (tmp_path / "shards" / f"{NAME}.gz").write_bytes(b"this is no gzip file")
    first = [STEPS[f"corpus/{name}"] for name in ("source", "shards", "documents")]
    run_graph(tiny, lambda line: None, first)
    job, key = definitions(tiny).resolve_implicit_global_asset_job_def(), dg.AssetKey(["corpus", "documents"])
    with instance_for(tiny) as instance:
        failed = job.execute_in_process(
            instance=instance, asset_selection=[key], partition_key=NAME, raise_on_error=False
        )
        assert not failed.success
        verdicts = _verdicts(instance, key, "all_files_read", "rows_add_up")
    assert verdicts["rows_add_up"].passed and not verdicts["all_files_read"].passed
    assert verdicts["all_files_read"].severity == dg.AssetCheckSeverity.WARN
    said = verdicts["all_files_read"].description or ""
    assert "left out: 1" in said and "onerror" in said and not _MARKUP.search(said.replace("<!-- -->", ""))


@pytest.mark.graph
def test_a_check_that_cannot_look_says_so_and_fails_no_run(
    tiny: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(workspace: Workspace) -> Outcome:
        raise FileNotFoundError("documents.parquet\nis gone")

    run_graph(
        tiny, lambda line: None, [STEPS[f"corpus/{name}"] for name in ("source", "shards", "documents")]
    )
    monkeypatch.setitem(INVARIANTS["corpus/documents"], "rows_add_up", looks)
    key = dg.AssetKey(["corpus", "documents"])
    two = {
        "dagster/asset_partition_range_start": "s0.jsonl",
        "dagster/asset_partition_range_end": "s1.jsonl",
    }
    with instance_for(tiny) as instance:
        job = definitions(tiny).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=[key], tags=two).success
        verdicts = _verdicts(instance, key, "rows_add_up", "all_files_read")
    assert not verdicts["rows_add_up"].passed and verdicts["all_files_read"].passed
    assert (
        verdicts["rows_add_up"].description
        == "this cannot be told: FileNotFoundError: documents.parquet is gone"
    )


def _verdicts(instance: dg.DagsterInstance, key: dg.AssetKey, *names: str) -> dict[str, Any]:
    """Return the latest evaluation of checks of an asset."""
    checks = [dg.AssetCheckKey(key, name) for name in names]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    found = {}
    for check in checks:
        event = latest[check].event
        assert event and event.dagster_event
        found[check.name] = event.dagster_event.asset_check_evaluation_data
    return found
