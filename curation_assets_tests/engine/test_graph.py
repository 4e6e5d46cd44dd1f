"""The graph as data: keys that others rely on, order, partitions, and the waves in which it runs."""

from __future__ import annotations

import itertools
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.config.profile import load_profile
from curation_assets.config.registry import INPUTS, RATES, RESERVED, SAMPLERS, SIZES
from curation_assets.definitions import definitions
from curation_assets.defs import partitions
from curation_assets.defs.descriptions import group
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.step import reads_all, upstream
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS

PAPER = [  # v1, appendix B, in its order
    *("random", "density", "semdedup", "prototypes"),
    *("perplexity_small", "perplexity_base", "perplexity_large", "perplexity_xl", "perplexity_xxl"),
    *("perplexity_large_20k", "perplexity_large_100k", "perplexity_large_300k", "perplexity_large_500k"),
    *("perplexity_large_700k", "ask_llm_small", "ask_llm_base", "ask_llm_large", "ask_llm_xl", "ask_llm_xxl"),
]
PUBLIC = {
    "corpus/documents": "shard",
    "corpus/tokens": "shard",
    "corpus/tokenizer": "",
    "corpus/embeddings": "shard",
    "clusters/centroids": "",
    "clusters/assignments": "shard",
    "density/bits": "",
    "density/shard_sketch": "shard",
    "density/sketch": "",
    "full_data/checkpoint": "size",
    "full_data/metrics": "size",
    "judge/labels": "",
    "judge/label_embeddings": "",
    "judge/checkpoint": "size",
    "evaluation/examples": "",
    "evaluation/ngrams": "",
    "evaluation/contamination": "shard",
    "report/comparison": "",
    "report/correlation": "",
    "report/convergence": "",
    "report/tradeoff": "",
} | {
    f"{name}/{end}": by
    for name in PAPER
    for end, by in (
        ("scores", "shard"),
        ("subset", "rate"),
        ("checkpoint", "rate|size"),
        ("metrics", "rate|size"),
    )
}


def test_public_keys_and_partitions() -> None:
    assert {key: STEPS[key].by for key in PUBLIC} == PUBLIC
    assert RATES == ("10", "20", "40", "60", "80") and SIZES == ("small", "base", "large", "xl", "xxl")


def test_the_papers_samplers_are_among_them_in_order() -> None:
    assert [name for name in SAMPLERS if name in PAPER] == PAPER and len(PAPER) == 19
    families = [SAMPLERS[name].family for name in PAPER]
    assert [families.count(f) for f in ("random", "coverage", "perplexity", "ask_llm")] == [1, 3, 10, 5]


def test_what_samplers_may_read_is_made_before_theirs() -> None:
    order = list(STEPS)
    assert max(order.index(key) for key in INPUTS) < order.index("random/scores")
    assert {key.partition("/")[0] for key in order} - set(SAMPLERS) == {*RESERVED, "clusters"}


def test_model_sources_decide_what_a_step_reads() -> None:
    local, hub = load_profile("local"), load_profile("hub")
    assert STEPS["perplexity_large_20k/model"].reads(local) == {"full_data/checkpoint": "large"}
    assert STEPS["ask_llm_xl/model"].reads(local) == {"judge/checkpoint": "xl"}
    assert STEPS["ask_llm_xl/model"].reads(hub) == {}
    assert STEPS["judge/checkpoint"].reads(local)["full_data/checkpoint"] is None
    assert "full_data/checkpoint" not in STEPS["judge/checkpoint"].reads(hub)
    judges, scores = STEPS["judge/checkpoint"], STEPS["ask_llm_xl/scores"]
    for student, needs in {
        "t5": {"full_data/checkpoint"},
        "embeddings": {"judge/label_embeddings"},
        "better": {"full_data/checkpoint", "judge/label_embeddings"},
    }.items():
        profile = local.model_copy(update={"judge": local.judge.model_copy(update={"student": student})})
        assert set(judges.reads(profile)) == {*judges.needs, *needs}
        assert ("corpus/embeddings" in scores.reads(profile)) == (student != "t5")
        assert "corpus/embeddings" not in STEPS["perplexity_xl/scores"].reads(profile)
    assert "corpus/embeddings" not in scores.reads(hub), "its judge is no student"
    kinds = {"size": list(SIZES), "": [""]}
    step, need = STEPS["perplexity_large_20k/model"], STEPS["full_data/checkpoint"]
    assert upstream(step, "", need, kinds.__getitem__, "large") == ["large"]
    assert isinstance(partitions.mapping(step, need, "large", local), dg.SpecificPartitionsPartitionMapping)
    wanted = {step.key for step in wanted_steps(hub)}
    assert "ask_llm_xl/scores" in wanted and "judge/checkpoint" not in wanted, "no judge is made for nothing"


def test_every_step_comes_after_what_it_needs() -> None:
    seen: set[str] = set()
    for key, step in STEPS.items():
        assert all(set(step.reads(load_profile(name))) <= seen for name in ("local", "hub")), key
        seen.add(key)


def test_every_sampler_has_a_chain_of_its_own() -> None:
    profile = load_profile("local")
    lineage: dict[str, set[str]] = {}
    for key, step in STEPS.items():
        lineage[key] = {key}.union(*(lineage[need] for need in step.reads(profile)))
    for name, other in itertools.permutations(SAMPLERS, 2):
        for end in ("scores", "subset", "checkpoint", "metrics"):
            theirs = {f"{other}/{stage}" for stage in ("scores", "subset", "checkpoint")}
            if other in profile.scorers(name):  # a hybrid reads the scores of both stages
                theirs -= {f"{other}/scores"}
            assert not theirs & lineage.get(f"{name}/{end}", set())


def test_what_decides_what_a_report_shows_is_in_its_version() -> None:
    """Reports leave out what is stale, which the versions of what they read do not show."""
    profile = load_profile("local")

    def changed(**sections: object) -> set[str]:
        parts = {name: getattr(profile, name).model_copy(update=update) for name, update in sections.items()}
        other = profile.model_copy(update=parts)
        reports = [key for key in STEPS if key.startswith("report/")]
        return {key for key in reports if STEPS[key].code_version(profile) != STEPS[key].code_version(other)}

    shown_by_scores = {f"report/{name}" for name in ("correlation", "distributions", "documents", "page")}
    perplexity = profile.samplers.perplexity.model_copy(update={"window": 77})
    assert changed(samplers={"perplexity": perplexity}) >= shown_by_scores
    assert {"report/composition", "report/page"} <= changed(selection={"seed": 7})
    assert changed(evaluation={"max_documents": 77}) == {"report/page"}, "which says what is out of date"
    assert changed(execution={"workers": 7}) == set()


def test_a_partition_reads_what_it_should() -> None:
    kinds = {"shard": ["a", "b"], "rate": list(RATES), "size": ["small"], "rate|size": ["10|small"], "": [""]}
    read = {
        ("random/scores", "corpus/documents", "a"): ["a"],
        ("random/subset", "random/scores", "20"): ["a", "b"],
        ("random/checkpoint", "random/subset", "20|small"): ["20"],
        ("random/checkpoint", "corpus/tokens", "20|small"): ["a", "b"],
        ("density/scores", "density/sketch", "a"): [""],
        ("density/sketch", "density/shard_sketch", ""): ["a", "b"],
        ("full_data/metrics", "full_data/checkpoint", "small"): ["small"],
    }
    for (key, need, partition), expected in read.items():
        assert upstream(STEPS[key], partition, STEPS[need], kinds.__getitem__) == expected


@pytest.mark.parametrize(
    "run", [{}, {"amounts": ["80%", "10%"], "sizes": ["base", "xl"]}, {"samplers": ["random"]}], ids=str
)
def test_dagster_maps_partitions_as_the_graph_does(run: dict[str, list[str]]) -> None:
    """Its default between different kinds of partition is identity, which silently never triggers; both ways, for each profile."""
    local = load_profile("local")
    profile = local.model_copy(update={"run": local.run.model_copy(update=run)})
    graph = definitions(profile).resolve_asset_graph()
    kinds = {"rate": list(RATES), "": [""], "shard": []}
    for step in STEPS.values():
        mine = graph.get(key := dg.AssetKey(step.key.split("/"))).partitions_def
        for need, only in step.reads(profile).items():
            theirs = graph.get(parent := dg.AssetKey(need.split("/"))).partitions_def
            mapping = graph.get_partition_mapping(key, parent)
            if reads_all(step.by, STEPS[need].by) and (
                only is None or only not in partitions.there(STEPS[need], profile)
            ):
                assert isinstance(mapping, dg.AllPartitionMapping)
            elif only is not None:
                assert isinstance(mapping, dg.SpecificPartitionsPartitionMapping)
            elif "shard" not in (step.by, STEPS[need].by) and mine and theirs:
                for cell in mine.get_partition_keys():
                    some = mine.subset_with_partition_keys([cell])
                    found = mapping.get_upstream_mapped_partitions_result_for_partitions(some, mine, theirs)
                    wanted = upstream(step, cell, STEPS[need], kinds.__getitem__)
                    there = set(wanted) & set(theirs.get_partition_keys())
                    assert set(found.partitions_subset.get_partition_keys()) == there


@pytest.mark.parametrize(
    "run", [{}, {"amounts": ["80%", "10%"], "sizes": ["base", "xl"]}, {"samplers": ["random"]}], ids=str
)
def test_training_has_the_cells_that_the_profile_asks_for(run: dict[str, list[str]], tmp_path: Path) -> None:
    """What it does not ask for would be shown as missing, whatever is done."""
    local = load_profile("local")
    profile = local.model_copy(update={"run": local.run.model_copy(update=run)})
    wanted = {step.key for step in wanted_steps(profile)}
    graph = definitions(profile).resolve_asset_graph()
    workspace = Workspace(
        profile.model_copy(update={"execution": profile.execution.model_copy(update={"data": str(tmp_path)})})
    )
    for step in STEPS.values():
        if step.by in ("size", "rate|size", "rate"):
            found = graph.get(dg.AssetKey(step.key.split("/"))).partitions_def.get_partition_keys()
            assert sorted(found) == sorted(targets(workspace, step)) or step.key not in wanted, step.key
    cells = [f"{rate}|{size}" for rate in profile.trained_amounts for size in profile.run.sizes]
    assert graph.get(dg.AssetKey(["random", "metrics"])).partitions_def.get_partition_keys() == cells


@pytest.mark.parametrize("name", ["local", "hub"])
def test_dagsters_assets_are_the_steps(name: str) -> None:
    profile = load_profile(name)
    graph = definitions(profile).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(STEPS)
    for step in STEPS.values():
        node = graph.get(dg.AssetKey(step.key.split("/")))
        assert node.code_version == step.code_version(profile)
        assert {key.to_user_string() for key in node.parent_keys} == set(step.reads(profile))
        assert (
            node.group_name == group(step) and node.description and node.owners and node.kinds and node.tags
        )
    checked = {(check.asset_key.to_user_string(), check.name) for check in graph.asset_check_keys}
    assert checked == {(key, name) for key, checks in INVARIANTS.items() for name in checks}


def test_dependent_assets_never_share_a_backfill_run() -> None:
    """Dagster would skip the dependent one, since a run of many partitions reports each by an event of its own."""
    graph = definitions(load_profile("local")).resolve_asset_graph()
    for step in STEPS.values():
        mine = graph.get(dg.AssetKey(step.key.split("/"))).backfill_policy
        for need in step.needs:
            theirs = graph.get(dg.AssetKey(need.split("/"))).backfill_policy
            if mine and theirs and not step.trains:
                assert mine != theirs, (step.key, need)


def test_what_is_made_of_a_shard_reads_that_shard() -> None:
    """Otherwise its version is the same for every shard, and one shard's could be taken for another's."""
    profile = load_profile()
    for step in STEPS.values():
        if step.by == "shard" and step.key != "corpus/shards":
            reads = step.reads(profile).items()
            assert any(STEPS[need].by == "shard" and not only for need, only in reads), step.key
