"""Checks as Dagster runs them: what they say is text, whatever stands in a file's name."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.checks import severity, told
from curation_assets.definitions import definitions
from curation_assets.graph import STEPS
from curation_assets.invariants import Outcome
from curation_assets.jobs import instance_for, run_graph
from curation_assets.profile import Profile
from curation_assets_tests.report.test_untrusted import EVIL

NAME = "**b** <img src=x onerror=alert(1)> ![x](http:evil) [y](z).jsonl"
_MARKUP = re.compile(r"(?<!\\)[<>\[\]`*]")


@pytest.mark.parametrize("name", EVIL)
def test_what_a_check_says_is_no_markdown(name: str) -> None:
    said = told(Outcome(False, f"left out: {EVIL[name]}"))
    assert not _MARKUP.search(said.replace("<!-- -->", "")) and len(said.splitlines()) == 1


def test_a_warning_is_no_error() -> None:
    assert severity(Outcome(False, "", warns=True)) == dg.AssetCheckSeverity.WARN
    assert severity(Outcome(False, "")) == dg.AssetCheckSeverity.ERROR


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
        checks = [dg.AssetCheckKey(key, name) for name in ("all_files_read", "rows_add_up")]
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        verdicts = {}
        for check in checks:
            event = latest[check].event
            assert event and event.dagster_event
            verdicts[check.name] = event.dagster_event.asset_check_evaluation_data
    assert verdicts["rows_add_up"].passed and not verdicts["all_files_read"].passed
    assert verdicts["all_files_read"].severity == dg.AssetCheckSeverity.WARN
    said = verdicts["all_files_read"].description or ""
    assert "left out: 1" in said and "onerror" in said and not _MARKUP.search(said.replace("<!-- -->", ""))
