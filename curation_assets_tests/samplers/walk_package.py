"""What is tested in a process that has the package `curation-repetition`; `test_package` runs this there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from curation_repetition import Repetition

from curation_assets.common.drawing.styles import PANELS, style_of
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.tokens import read_tokens
from curation_assets.definitions import PRODUCTS, definitions
from curation_assets.defs.descriptions import group, tags
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current
from curation_assets_tests.making import load, materialize

pytestmark = pytest.mark.graph

NAME = "repetition"


def _with(tiny: Profile, text: str) -> Profile:
    path = Path(tiny.source).with_name("try.toml")
    path.write_text(f'extends = "tiny.toml"\nname = "tiny"\n{text}', "utf-8")
    return load_profile(path)


def test_its_settings_are_in_the_profile_and_in_the_version_of_its_scores(tiny: Profile) -> None:
    assert tiny.samplers.repetition == Repetition(n=3) and SAMPLERS.scored[-1] == NAME
    other = _with(tiny, "[samplers.repetition]\nn = 5")
    changed = [key for key, step in STEPS.items() if step.code_version(tiny) != step.code_version(other)]
    reports = [
        f"report/{name}"
        for name in ("labels", "correlation", "distributions", "composition", "documents", "page")
    ]
    assert changed == [f"{NAME}/scores", *reports]


def test_the_ui_has_it(tiny: Profile) -> None:
    assert list(SAMPLERS.packages) == [NAME]
    graph = definitions(tiny).resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    for stage in ("scores", "subset", "checkpoint", "metrics"):
        assert f"{NAME}/{stage}" in keys
        assert group(STEPS[f"{NAME}/{stage}"]).endswith(f"_{NAME}")
        assert tags(STEPS[f"{NAME}/{stage}"])["family"] == "heuristic"
    assert NAME in PANELS["Others"] and style_of(NAME).colour not in {
        style_of(name).colour for name in PANELS["Coverage"]
    }


def test_its_scores_subsets_and_what_the_report_says_of_it(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    make_current(workspace, f"{NAME}/subset", "density/subset")
    for shard in workspace.shards():
        table = pl.read_parquet(workspace.open(f"{NAME}/scores", shard) / "scores.parquet")
        assert table.columns == ["doc_id", "doc_hash", "source_row", "score", "ngrams"]
        ids, offsets = read_tokens(workspace.open("corpus/tokens", shard), "documents")
        for row, (start, stop) in zip(table.to_dicts(), pairwise(offsets.tolist()), strict=True):
            grams = [tuple(ids[i : i + 3].tolist()) for i in range(start, stop - 2)]
            assert row["ngrams"] == len(grams)
            assert np.isclose(row["score"], len(set(grams)) / len(grams) - 1 if grams else 0.0)
    kept = pl.read_parquet(workspace.open(f"{NAME}/subset", "20") / "subset.parquet")
    assert kept["score"].min() >= table["score"].median()
    builds = {product.key: product.build for product in PRODUCTS}
    for section in ("correlation", "distributions", "documents", "composition", "page"):
        key = f"report/{section}"
        materialize(
            workspace, STEPS[key], "", lambda inputs, key=key: load(builds[key], workspace, STEPS[key])
        )
    page = "".join(p.read_text("utf-8") for p in workspace.open("report/page").rglob("*.html"))
    assert NAME in page
    for section, table in (("distributions", "distributions"), ("correlation", "correlation")):
        found = pl.read_parquet(workspace.open(f"report/{section}") / f"{table}.parquet")
        assert NAME in found.select(pl.col(pl.String)).to_series(0).to_list(), section
