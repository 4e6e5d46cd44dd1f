"""What people are told of assets: it is there for each, it says what the graph does, and it finds its way into Dagster."""

from __future__ import annotations

import re
import warnings

import dagster as dg

from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.definitions import PRODUCTS, definitions
from curation_assets.defs.descriptions import description, group, kinds, tags
from curation_assets.defs.metadata import COLUMNS
from curation_assets.defs.table_schemas import tables
from curation_assets.engine.graph import STEPS

LOCAL = load_profile("local")
_SHOWN = 72  # characters of a description that a list has room for
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def test_every_step_has_one_product() -> None:
    assert sorted(product.key for product in PRODUCTS) == sorted(STEPS)


def test_a_description_begins_with_a_line_of_plain_text_and_says_what_is_read_and_written() -> None:
    for product in PRODUCTS:
        told, step = description(product, LOCAL), STEPS[product.key]
        first = told.split("\n")[0]
        assert first == product.what and len(first) <= _SHOWN, product.key
        assert not re.search(r"[`*\[\]]", first), product.key
        for need in list(step.reads(LOCAL))[:3]:
            assert f"`{need}`" in told, product.key
        for name in tables(step, LOCAL):
            assert f"`{name}.parquet`" in told, product.key
        assert "**Writes**" in told and "**Made again**" in told, product.key
        assert f"curation trace {step.key}" in told


def test_groups_sort_in_the_order_of_the_flow() -> None:
    order = list(dict.fromkeys(group(step) for step in STEPS.values()))
    assert (
        order[0] == "01_corpus"
        and max(order) == f"{len(order):02}_report"
        and len(order) == len({o[:2] for o in order}) == len(SAMPLERS) + 7
    )


def test_what_looks_alike_in_the_graph_is_told_apart_by_its_group_and_carries_its_sampler() -> None:
    """The graph names a node by the last part of its key."""
    named: dict[tuple[str, str], str] = {}
    for step in STEPS.values():
        owner, _, last = step.key.partition("/")
        assert named.setdefault((group(step), last), step.key) == step.key
        if owner in SAMPLERS:
            assert group(step).endswith(f"_{owner}") and owner in kinds(step) and len(kinds(step)) <= 3
    for product in PRODUCTS:
        owner, _, stage = product.key.partition("/")
        if owner in SAMPLERS and stage in ("model", "scores", "subset", "checkpoint", "metrics"):
            assert product.what.startswith(f"{owner}: "), product.key


def test_tags_find_stages_families_and_costs() -> None:
    assert tags(STEPS["ask_llm_xl/scores"]) == {
        "cost": "accelerator",
        "sampler": "ask_llm_xl",
        "family": "ask_llm",
        "stage": "scores",
    }
    assert tags(STEPS["judge/labels"], "figure 7, as in appendix B")["paper"] == "figure_7"
    assert tags(STEPS["judge/labels"])["kept"] == "until_refreshed"
    assert "kept" not in tags(STEPS["judge/teacher"]), "nothing refreshes what is not learned here"
    assert tags(STEPS["full_data/metrics"])["stage"] == "metrics"
    for product in PRODUCTS:
        for name, value in tags(STEPS[product.key], product.paper).items():
            assert _TAG.fullmatch(name) and _TAG.fullmatch(value)


def test_selections_of_the_ui_find_what_they_say() -> None:
    graph = definitions(LOCAL).resolve_asset_graph()

    def found(query: str) -> set[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keys = dg.AssetSelection.from_string(query).resolve(graph)
        return {key.to_user_string() for key in keys}

    assert found("tag:stage=scores") == {f"{name}/scores" for name in SAMPLERS.scored}
    family = {name for name, spec in SAMPLERS.items() if spec.family == "ask_llm"}
    assert found("tag:stage=subset and tag:family=ask_llm") == {f"{name}/subset" for name in family}
    assert found("tag:cost=training") == {step.key for step in STEPS.values() if step.trains}
    lineage = found('+key:"density/metrics"')
    assert {"density/metrics", "density/subset", "corpus/source"} <= lineage
    assert not any(key.startswith("random/") for key in lineage)
    assert found(f'group:"{group(STEPS["report/page"])}"') == {
        key for key in STEPS if key.startswith("report/")
    }


def test_tables_have_columns_before_anything_is_made() -> None:
    graph = definitions(LOCAL).resolve_asset_graph()
    for key, first in (
        ("corpus/documents", "doc_id"),
        ("density/scores", "doc_id"),
        ("density/subset", "doc_id"),
        ("density/metrics", "sampler"),
        ("report/quality", "sampler"),
    ):
        columns = graph.get(dg.AssetKey(key.split("/"))).metadata[COLUMNS].columns
        assert columns[0].name == first and all(column.description for column in columns)
    names = [column.name for column in tables(STEPS["semdedup/scores"], LOCAL)["scores"]]
    own = ["readable", "similarity", "duplicate_of", "duplicate_shard"]
    assert names == ["doc_id", "doc_hash", "source_row", "score", *own]
    assert "source" in [c.name for c in tables(STEPS["corpus/documents"], LOCAL)["documents"]]
