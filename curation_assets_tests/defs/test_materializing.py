"""What becomes of a run in which something that is current turns out to be damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.config.profile import Profile
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
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
