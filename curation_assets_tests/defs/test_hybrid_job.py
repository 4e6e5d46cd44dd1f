"""A hybrid, and a selection within clusters, by jobs on a real instance: lineage, what a new first stage costs, the report."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import RATES
from curation_assets.defs.instance import instance_for
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.report.section import read_section
from curation_assets_tests.defs.test_jobs import _failures, _made, _run

HYBRID = """
extends = "tiny.toml"
name = "hybrid"
[run]
samplers = ["semdedup_density"]
[selection]
within = "cluster"
[samplers.semdedup_density]
first = "semdedup < {cosine}"
[automation]
settle_seconds = 0.0
"""


def _profile(folder: Path, monkeypatch: pytest.MonkeyPatch, cosine: float) -> Profile:
    path = folder / f"hybrid_{cosine}.toml"
    path.write_text(HYBRID.format(cosine=cosine), "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(path))
    return load_profile()


@pytest.mark.graph
def test_a_hybrid_is_made_of_both_stages_and_a_new_first_stage_scores_nothing(
    tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tiny.source).parent
    profile = _profile(folder, monkeypatch, 0.9)
    subsets = {("semdedup_density/subset", rate) for rate in RATES}
    with instance_for(profile) as instance:
        first = _run(profile, instance, "score_what_changed")
        assert first.success, _failures(first)
        assert subsets | {("semdedup/scores", "s0.jsonl"), ("density/scores", "s0.jsonl")} < _made(first)
        assert not {key for key, _ in _made(first)} & {"semdedup/subset", "density/subset", "random/scores"}
        assert _made(_run(profile, instance, "score_what_changed")) == {("corpus/source", "")}
        told = _run(profile, instance, "make_the_report", sections=["composition"])
        assert told.success, _failures(told)

        other = _profile(folder, monkeypatch, 0.5)
        assert _made(_run(other, instance, "score_what_changed")) == {("corpus/source", ""), *subsets}
    workspace = Workspace(other)
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS["semdedup_density/subset"][check](workspace).passed
    metadata = workspace.metadata("semdedup_density/subset", "80")
    assert metadata["first"] == "semdedup < 0.5" and metadata["documents"] <= metadata["admitted"]
    strata = pq.read_table(workspace.open("semdedup_density/subset", "20") / "strata.parquet")
    assert sum(strata["candidates"].to_pylist()) == metadata["candidates"]
    section = read_section(workspace.open("report/composition"))
    (table,) = [one for one in section.tables if one.source == "strata.parquet"]
    assert table.columns[:3] == ["sampler", "amount", "documents"] and len(table.rows) == 1 + len(RATES)
    assert any("keeps its rate within each cluster" in sentence for sentence in section.findings)
