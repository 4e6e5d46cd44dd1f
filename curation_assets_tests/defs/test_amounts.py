"""Amounts of a person's own through the whole graph, by jobs and clicks on a real instance: training, metrics, report."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from curation_assets.config.amount import amount as of
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import RATES
from curation_assets.defs.instance import instance_for
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.report.section import read_section
from curation_assets_tests.defs.test_jobs import QUIET, _defs, _failures, _made, _run

AMOUNTS = """
extends = "tiny.toml"
name = "amounts"
[run]
samplers = ["random", "density"]
amounts = {amounts}
sizes = ["small"]
[pretraining]
tokens = 3_000
snapshots = [1.0]
[evaluation]
suites = ["perplexity"]
[automation]
settle_seconds = 0.0
"""
KEYS = ["12.5", "50-documents", "4k-tokens"]
BOTH = ("random", "density")


def _profile(folder: Path, monkeypatch: pytest.MonkeyPatch, *amounts: str) -> Profile:
    path = folder / f"{len(amounts)}.toml"
    path.write_text(AMOUNTS.format(amounts=list(amounts)), "utf-8")
    monkeypatch.setenv("CURATION_PROFILE", str(path))
    return load_profile()


@pytest.mark.graph
def test_amounts_are_partitions_with_subsets_checkpoints_metrics_and_a_report(
    tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tiny.source).parent
    profile = _profile(folder, monkeypatch, "12.5%", "50 documents", "4k tokens")
    with instance_for(profile) as instance:
        scored = _run(profile, instance, "score_what_changed")
        assert scored.success, _failures(scored)
        made = _made(scored)
        assert {p for k, p in made if k == "random/subset"} == {*RATES, *KEYS}
        assert {p for k, p in made if k == "density/subset"} == {*RATES, *KEYS}
        assert _made(_run(profile, instance, "score_what_changed")) == {("corpus/source", "")}

        for sampler, amount in (
            ("random", "0.125"),
            ("random", "50 documents"),
            *((s, "4_000 tokens") for s in BOTH),
        ):
            cell = _run(profile, instance, "train_and_evaluate_one_cell", sampler=sampler, amount=amount)
            assert cell.success, _failures(cell)
            ends = {p for k, p in _made(cell) if k in (f"{sampler}/checkpoint", f"{sampler}/metrics")}
            assert ends == {f"{of(amount).key}|small"}
        known = instance.get_materialized_partitions(dg.AssetKey(["random", "metrics"]))
        assert known == {f"{key}|small" for key in KEYS}

        click = _defs(profile.source).resolve_implicit_global_asset_job_def()
        for key in ("12.5", "4k-tokens"):
            clicked = click.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(["density", "subset"])],
                partition_key=key,
                run_config=QUIET,
            )
            assert clicked.success
        told = _run(profile, instance, "make_the_report", sections=["comparison", "composition"])
        assert told.success, _failures(told)
        _the_report_tells(Workspace(profile))

        more = _profile(folder, monkeypatch, "12.5%", "50 documents", "4k tokens", "2.5k tokens")
        assert _made(_run(more, instance, "score_what_changed")) == {
            ("corpus/source", ""),
            *((f"{name}/subset", "2.5k-tokens") for name in ("random", "density")),
        }
        fewer = _profile(folder, monkeypatch, "12.5%")
        again = _run(fewer, instance, "score_what_changed")
        assert again.success and _made(again) == {("corpus/source", "")}
        assert Workspace(fewer).receipt("density/metrics", "4k-tokens|small"), "it stays until gc"


def _the_report_tells(workspace: Workspace) -> None:
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS["density/subset"][check](workspace).passed
    runs = pl.read_parquet(workspace.open("report/comparison") / "comparison.parquet")
    assert runs.filter(pl.col("sampler") != "full_data").select("sampler", "rate").rows() == [
        *(("random", key) for key in KEYS),
        ("density", "4k-tokens"),
    ]
    tokens = runs.filter(pl.col("rate") == "4k-tokens")["tokens"].to_list()
    assert all(3000 < kept <= 4000 for kept in tokens)
    compared = read_section(workspace.open("report/comparison"))
    amounts = [row[compared.tables[0].columns.index("amount")] for row in compared.tables[0].rows]
    assert amounts == ["12.5 %", "50 documents", "4k tokens", "4k tokens"]
    assert [figure.name for figure in compared.figures] == ["difference_4k_tokens_small"]
    kept = read_section(workspace.open("report/composition"))
    assert {row[1] for row in kept.tables[0].rows} >= {"12.5 %", "50 documents", "4k tokens", "20 %"}
