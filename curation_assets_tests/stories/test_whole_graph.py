"""The whole graph on a real Dagster instance: from files to the comparison, again, after changes, and with bad input."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest

from curation_assets.cli.main import main
from curation_assets.common.files import safe_name
from curation_assets.config.profile import Profile
from curation_assets.config.registry import RATES, SAMPLERS, SIZES
from curation_assets.definitions import definitions
from curation_assets.defs.instance import instance_for
from curation_assets.defs.materializing import RunOutcome
from curation_assets.defs.run_graph import run_graph
from curation_assets.defs.table_schemas import tables, written
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.receipt import title
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.verify import verify
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets_tests.conftest import Kept, stdlib_texts, work_in, write_shard, write_tiny

pytestmark = pytest.mark.graph

FEW = ["random", "density", "semdedup", "perplexity_large_20k", "ask_llm_small"]
TRAINED = {f"{name}/{end}" for name in FEW for end in ("checkpoint", "metrics")}


def _run(profile: Profile, steps: list[Step] | None = None) -> tuple[RunOutcome, list[str]]:
    lines: list[str] = []
    return run_graph(profile, lines.append, steps), lines


def _versions(instance: dg.DagsterInstance, key: str) -> dict[str, str]:
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(key.split("/")), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    return {partition: found["dagster/data_version"] for partition, found in tags.items()}


@pytest.fixture(scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Kept:
    root = tmp_path_factory.mktemp("whole")
    write_tiny(root, teacher)
    with pytest.MonkeyPatch.context() as patch:
        outcome, lines = _run(work_in(root, patch))
    assert not outcome.failed and not outcome.blocked, outcome
    assert any("random/checkpoint[20|small]: made" in line for line in lines), "every artifact is told of"
    return Kept(root)


@pytest.fixture
def done(_kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The profile of a folder in which everything has been made. A test that changes it asks for `shards`, too."""
    return work_in(_kept.root, monkeypatch)


@pytest.fixture
def shards(_kept: Kept) -> Iterator[Path]:
    """The corpus of that folder; what a test does to it, and to what was made, is undone."""
    yield _kept.root / "shards"
    _kept.restore()


def _only(profile: Profile, samplers: list[str]) -> Profile:
    return profile.model_copy(update={"run": profile.run.model_copy(update={"samplers": samplers})})


def test_everything_is_there_and_passes_its_checks(done: Profile) -> None:
    workspace = Workspace(done)
    for step in wanted_steps(done):
        for partition in targets(workspace, step):
            assert workspace.receipt(step.key, partition), f"{step.key}[{partition}] is missing"
    left_out = {step.key for step in STEPS.values()} - {step.key for step in wanted_steps(done)}
    gemma = {f"ask_llm_gemma/{end}" for end in ("model", "scores", "subset", "checkpoint", "metrics")}
    oracle = {f"oracle/{end}" for end in ("scores", "subset", "checkpoint", "metrics")}
    exports = {f"{name}/export" for name in SAMPLERS}
    assert left_out == gemma | oracle | exports, "these are made where they are asked for"
    for key, checks in INVARIANTS.items():
        for name, check in checks.items():
            outcome = check(workspace)
            assert outcome.passed or outcome.warns, f"{key} {name}: {outcome.description}"


def test_dagster_knows_the_versions(done: Profile) -> None:
    workspace = Workspace(done)
    with instance_for(done) as instance:
        assert instance.get_dynamic_partitions("shard") == ["s0.jsonl", "s1.jsonl", "s2.jsonl"]
        for step in wanted_steps(done):
            if step.by:
                known = _versions(instance, step.key)
                for partition in targets(workspace, step):
                    receipt = workspace.receipt(step.key, partition)
                    assert receipt and known[partition] == receipt.version, f"{step.key}[{partition}]"
        key = dg.AssetCheckKey(dg.AssetKey(["density", "scores"]), "scores_differ")
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
        assert found[key].status.value == "SUCCEEDED"


def test_no_published_file_is_a_file_of_scratch_as_well(done: Profile) -> None:
    published, kept = (
        {path: path.stat() for path in (done.data / name).rglob("*") if path.is_file()}
        for name in ("artifacts", "scratch")
    )
    assert any("runs" in path.parts and path.suffix == ".safetensors" for path in kept)
    assert not {state.st_ino for state in published.values()} & {state.st_ino for state in kept.values()}
    assert all(state.st_nlink == 1 for state in published.values())


def test_a_flip_in_any_kind_of_file_is_found_named_and_withdrawn(done: Profile, shards: Path) -> None:
    workspace, dice = Workspace(done), random.Random(0)
    flipped: dict[tuple[str, str], str] = {}
    for step in wanted_steps(done):
        for name in sorted(
            {name.rpartition("/")[2] for r in workspace.receipts(step.key).values() for name in r.files}
        ):
            left = [r for at, r in workspace.receipts(step.key).items() if (step.key, at) not in flipped]
            names = [
                (r, file) for r in left for file, (size, _) in r.files.items() if size and file.endswith(name)
            ]
            if names:
                receipt, file = dice.choice(names)
                _flip(Path(workspace.store.path(receipt, file)), dice)
                flipped[step.key, receipt.partition] = file
    found = verify(workspace, digests=True)
    assert found.damaged == {
        title(*at): f"{file} changed since it was written" for at, file in flipped.items()
    }
    assert {Path(file).suffix for file in flipped.values()} >= {
        ".parquet",
        ".npy",
        ".json",
        ".safetensors",
        ".html",
    }
    versions = Versions(workspace)
    for (key, partition), file in flipped.items():
        [reason] = versions.reasons(STEPS[key], partition)
        assert str(reason) == f"damaged, and withdrawn: {file} changed since it was written"


def test_what_was_damaged_is_made_anew_as_it_was(
    done: Profile, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where what was kept of the training is damaged as well: then it is trained again."""
    workspace, dice, cell = Workspace(done), random.Random(0), "20|small"
    before = {key: workspace.artifact(key, cell).files for key in ("random/checkpoint", "random/metrics")}
    weights = next(name for name in before["random/checkpoint"] if name.endswith(".safetensors"))
    [run] = (workspace.scratch / "runs" / "random" / "checkpoint" / safe_name(cell)).glob("*")
    _flip(run / weights.partition("/")[2], dice)
    for key, name in (
        ("random/checkpoint", weights),
        ("random/metrics", "metrics.parquet"),
        ("report/page", "index.html"),
    ):
        receipt = workspace.artifact(key, cell if key.startswith("random") else "")
        [file] = [file for file in receipt.files if file.endswith(name)]
        _flip(Path(workspace.store.path(receipt, file)), dice)
    assert main(["catalog", "check", "--digests"]) == 1
    told = capsys.readouterr().out
    assert f"random/checkpoint[{cell}]: {weights} changed since it was written; withdrawn\n" in told
    assert "report/page: " in told
    outcome, _ = _run(done)
    assert not outcome.failed and not outcome.blocked
    assert verify(Workspace(done), digests=True).sound
    made = {key: workspace.artifact(key, cell).files for key in before}
    assert made == before, "with the same bits"


def _flip(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def test_the_comparison_is_complete(done: Profile) -> None:
    table = pl.read_parquet(Workspace(done).open("report/comparison") / "comparison.parquet")
    samplers = [name for name in SAMPLERS if name not in done.left_out]
    assert table["sampler"].to_list() == [*["full_data"] * len(SIZES), *samplers]
    assert table["perplexity"].is_finite().all() and table["perplexity_hq"].is_finite().all()
    assert table["size"].to_list() == [*SIZES, *["small"] * len(samplers)]
    full, *rest = table.iter_rows(named=True)
    subsets = rest[len(SIZES) - 1 :]
    for row in subsets:
        assert row["documents"] == round(0.2 * full["documents"])
        assert row["epochs"] > full["epochs"], "iso-compute: a smaller subset is repeated more often"


def test_tables_have_the_columns_that_people_are_told_of(done: Profile) -> None:
    workspace = Workspace(done)
    for step in wanted_steps(done):
        for name, told in tables(step, workspace.profile).items():
            if name in ("strata", "labels"):
                continue  # there are none here; `defs/test_hybrid_job.py` and `report/test_labels.py` look at them
            for partition in targets(workspace, step)[:1]:
                columns, _ = written(workspace.open(step.key, partition) / f"{name}.parquet", told)
                types = {column.name: column.type for column in columns}
                assert {column.name: column.type for column in told}.items() <= types.items(), (
                    f"{step.key} {name}"
                )


def test_a_second_run_makes_nothing(done: Profile) -> None:
    again, _ = _run(done)
    assert not again.made and not again.failed


def test_touching_a_shard_causes_nothing(done: Profile, shards: Path) -> None:
    path = shards / "s1.jsonl"
    path.write_bytes(path.read_bytes())
    outcome, _ = _run(_only(done, FEW))
    assert set(outcome.made) <= {"corpus/shards"}, "the file is looked at again, and found to be the same"


def test_changing_a_shard_causes_what_follows(done: Profile, shards: Path) -> None:
    profile = _only(done, FEW)
    write_shard(shards / "s1.jsonl", stdlib_texts()[1::4][:-1])
    outcome, _ = _run(profile)
    one_shard = {
        "corpus/shards",
        "corpus/documents",
        "corpus/tokens",
        "corpus/embeddings",
        "density/shard_sketch",
        "semdedup/vectors",
    }
    one_shard |= {"clusters/assignments", *(f"{n}/scores" for n in FEW if n not in ("density", "semdedup"))}
    assert {key: outcome.made.get(key) for key in one_shard} == dict.fromkeys(one_shard, 1)
    assert outcome.made["density/scores"] == outcome.made["semdedup/scores"] == 3, (
        "they depend on the whole corpus"
    )
    assert all(outcome.made[f"{name}/subset"] == len(RATES) for name in FEW)
    assert set(outcome.made) >= TRAINED and "corpus/tokenizer" not in outcome.made, "the tokenizer is pinned"
    assert "clusters/centroids" not in outcome.made and "full_data/checkpoint" not in outcome.made
    assert not {"judge/labels", "judge/checkpoint", "ask_llm_small/model"} & set(outcome.made), (
        "judges are pinned"
    )
    workspace = Workspace(profile)
    table = pl.read_parquet(workspace.open("report/comparison") / "comparison.parquet")
    trained_on = workspace.metadata("full_data/checkpoint", "small")["documents"]
    assert workspace.metadata("corpus/index")["documents"] == trained_on - 1
    assert table.filter(pl.col("sampler") == "full_data")["documents"][0] == trained_on, (
        "what it was trained on then"
    )
    assert (
        "of a model that is kept: learned from an earlier corpus"
        in (profile.data / "report" / "index.html").read_text()
    )
    about = workspace.metadata("report/correlation")
    assert about["samplers"] == len(FEW) and "ask_llm_xxl" in about["not_current"], (
        "no stale score is correlated"
    )


def test_a_bad_shard_does_not_keep_the_others_waiting(done: Profile, shards: Path) -> None:
    profile = _only(done, FEW[:2])
    up_to_training = [step for step in wanted_steps(profile) if not (step.trains or step.partial)]
    (shards / "a_bad.jsonl.gz").write_bytes(b"this is no gzip file")
    write_shard(shards / "z_new.jsonl", stdlib_texts()[3::8])
    outcome, _ = _run(profile, up_to_training)
    assert "a_bad.jsonl" in outcome.failed["corpus/documents"]
    assert outcome.made["corpus/documents"] == 1 and outcome.made["random/scores"] == 1
    (shards / "a_bad.jsonl.gz").unlink()
    outcome, _ = _run(profile, up_to_training)
    assert not outcome.failed and not outcome.blocked
    assert Workspace(profile).shards() == ["s0.jsonl", "s1.jsonl", "s2.jsonl", "z_new.jsonl"]


def test_damage_is_repaired(done: Profile, shards: Path) -> None:
    profile = _only(done, FEW[:2])
    workspace = Workspace(profile)
    path = workspace.open("density/scores", "s0.jsonl") / "scores.parquet"
    before = path.read_bytes()
    path.write_bytes(before[:-1])
    outcome, _ = _run(profile)
    assert outcome.made["density/scores"] == 1 and not outcome.failed
    assert (workspace.open("density/scores", "s0.jsonl") / "scores.parquet").read_bytes() == before


def test_single_assets_materialize_as_from_the_ui(tiny: Profile) -> None:
    job = definitions(tiny).resolve_implicit_global_asset_job_def()
    with instance_for(tiny) as instance:

        def materialize(key: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
            return job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(key.split("/"))],
                partition_key=partition,
                raise_on_error=False,
            )

        early = materialize("corpus/source")
        assert early.success and instance.get_dynamic_partitions("shard") == [
            "s0.jsonl",
            "s1.jsonl",
            "s2.jsonl",
        ]
        refused = materialize("corpus/documents", "s0.jsonl")
        [failure] = refused.filter_events(lambda e: e.is_step_failure)
        assert "corpus/shards[s0.jsonl], which has not been materialized" in str(
            failure.step_failure_data.error
        )
        for key in ("corpus/shards", "corpus/documents"):
            assert materialize(key, "s0.jsonl").success
        last = materialize("random/scores", "s0.jsonl")
        [event] = last.asset_materializations_for_node("random__scores")
        assert {"documents", "min", "max", "first_scores"} <= set(event.metadata)
        evaluations = {e.check_name: e.passed for e in last.get_asset_check_evaluations()}
        assert evaluations == {"complete_and_finite": True, "scores_differ": True}


def test_quarantined_and_held_out_documents_reach_no_scorer(tiny: Profile, tmp_path: Path) -> None:
    path = tmp_path / "shards" / "s0.jsonl"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows, "{not json", '{"id": "x"}', rows[0]]) + "\n")
    job = definitions(tiny).resolve_implicit_global_asset_job_def()
    with instance_for(tiny) as instance:
        for key in ("corpus/source", "corpus/shards", "corpus/documents", "random/scores"):
            job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(key.split("/"))],
                partition_key=None if key == "corpus/source" else "s0.jsonl",
            )
    workspace = Workspace(tiny)
    about = workspace.metadata("corpus/documents", "s0.jsonl")
    assert about["rows"] == len(rows) + 3 == about["documents"] + about["validation"] + about["quarantined"]
    assert about["reasons"] == {"invalid_json": 1, "missing_text": 1, "repeated_id": 1}
    folder = workspace.open("corpus/documents", "s0.jsonl")
    held_out = set(pq.read_table(folder / "validation.parquet")["doc_id"].to_pylist())
    scored = set(
        pq.read_table(workspace.open("random/scores", "s0.jsonl") / "scores.parquet")["doc_id"].to_pylist()
    )
    assert held_out and scored and not held_out & scored
    assert len(scored) == about["documents"]
