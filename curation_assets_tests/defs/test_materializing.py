"""What a run tells Dagster of what is current: what turns out to be damaged, and what another run has made."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.common.progress import Line
from curation_assets.config.profile import Profile
from curation_assets.defs.instance import instance_for
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.driver import Event, bring_up_to_date
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import everything
from curation_assets.engine.workspace import Workspace

pytestmark = pytest.mark.graph

READ = [STEPS[key] for key in ("corpus/source", "corpus/shards", "corpus/documents")]


def test_a_damaged_table_of_what_is_current_is_a_failure_of_that_partition_alone(
    tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Dagster home is told of what is there, and so its tables are looked at."""
    assert not run_graph(tiny, lambda line: None, READ).failed
    workspace = Workspace(tiny)
    table = workspace.open("corpus/documents", "s1.jsonl") / "documents.parquet"
    table.write_bytes(b"\0" * table.stat().st_size)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "another_home"))
    steps = [*READ, STEPS["evaluation/contamination"]]
    outcome = run_graph(tiny, lambda line: None, steps)
    assert list(outcome.failed) == ["corpus/documents"]
    reason = outcome.failed["corpus/documents"]
    assert reason.startswith("s1.jsonl: DamagedArtifact: ") and reason.endswith("it will be made anew")
    assert outcome.blocked == ["evaluation/contamination"]
    assert workspace.receipt("corpus/documents", "s1.jsonl") is None
    again = run_graph(tiny, lambda line: None, READ)
    assert not again.failed and again.made == {"corpus/documents": 1}


def test_what_another_run_has_made_meanwhile_has_its_event_from_that_one(tiny: Profile) -> None:
    """The other run is at its first file; it goes on once this one waits for it. Here it has no Dagster run that tells of it."""
    workspace = Workspace(tiny)
    assert not run_graph(tiny, lambda line: None, READ[:2]).failed
    with InlineExecutor(workspace, "curation_assets.products", lambda line: None) as executor:
        other = bring_up_to_date(
            workspace, everything(tiny, READ[2:]), executor, run_id="another", checks=False
        )
        next(event for event in other if isinstance(event, Line) and event.when == "begin")
        outcome = run_graph(tiny, lambda line: _go_on(other, line), READ)
    assert not outcome.failed and not outcome.made.get("corpus/documents") and _events(tiny) == []
    assert not run_graph(tiny, lambda line: None, READ).failed
    assert _events(tiny) == ["s0.jsonl", "s1.jsonl", "s2.jsonl"], "which Dagster did not know"


def _go_on(other: Iterator[Event], line: str) -> None:
    if "run another is making it" in line:
        deque(other, maxlen=0)


def _events(profile: Profile) -> list[str]:
    """Return the partitions of the events that Dagster has of the documents."""
    with instance_for(profile) as instance:
        records = instance.fetch_materializations(dg.AssetKey(["corpus", "documents"]), limit=99).records
    return sorted(record.partition_key or "" for record in records)
