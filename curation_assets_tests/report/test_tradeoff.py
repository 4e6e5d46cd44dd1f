"""Who is charged for what: seconds of hand-made receipts, and the break-even of hand-made costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.common.files import write_json
from curation_assets.config.profile import load_profile
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.report.convergence import SCHEMA
from curation_assets.report.spent import Flops, Seconds, Spent
from curation_assets.report.tradeoff import pareto, tradeoff, with_front
from curation_assets.report.tradeoff_view import findings
from curation_assets.report.tradeoff_view import rows as shown_rows
from curation_assets_tests.making import commit

SHARDS = ("s0", "s1")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    found = Workspace(load_profile("local"))
    _put(found, "corpus/source", "", 1000.0)
    for shard in SHARDS:
        _put(found, "corpus/documents", shard, 1000.0)
        _put(found, "corpus/tokens", shard, 1000.0)
    return found


def _put(workspace: Workspace, key: str, partition: str, seconds: float, **metadata: object) -> None:
    with workspace.store.staged() as folder:
        write_json(folder / "shards.json", {shard: {} for shard in SHARDS})
        receipt = Receipt(key, partition, "v", "v", "c", {}, "", {}, metadata, seconds=seconds)
        commit(workspace, folder, receipt)


def _put_shards(workspace: Workspace, **seconds: float) -> None:
    for key, each in seconds.items():
        for shard in SHARDS:
            _put(workspace, key.replace("__", "/"), shard, each)


def test_coverage_pays_for_embeddings_but_not_for_the_corpus(workspace: Workspace) -> None:
    assert Seconds(workspace).choosing("density") == Spent(None, None, "density/scores[s0] has not been made")
    _put_shards(workspace, corpus__embeddings=10.0, density__shard_sketch=3.0, density__scores=2.0)
    _put(workspace, "density/bits", "", 0.5)
    _put(workspace, "density/sketch", "", 1.0)
    assert Seconds(workspace).choosing("density") == Spent(2 * 15.0 + 1.5, 0.0)


def test_perplexity_pays_for_its_share_of_one_seed_of_its_rung(workspace: Workspace) -> None:
    _put_shards(workspace, perplexity_large__scores=4.0, perplexity_large_20k__scores=4.0)
    for name in ("perplexity_large", "perplexity_large_20k"):
        _put(workspace, f"{name}/model", "", 0.5)
    _put(workspace, "full_data/checkpoint", "large", 600.0, seeds=3)
    seconds = Seconds(workspace)
    assert seconds.choosing("perplexity_large") == Spent(8.0, 0.5 + 200.0)
    assert seconds.choosing("perplexity_large_20k") == Spent(8.0, pytest.approx(0.5 + 200.0 * 0.02))
    assert seconds.choosing("perplexity_large").total == 208.5
    assert seconds.training("random", "20|small") is None


def test_a_judge_pays_for_labels_learning_and_what_it_is_made_from(workspace: Workspace) -> None:
    _put_shards(workspace, ask_llm_base__scores=5.0, corpus__embeddings=7.0)
    _put(workspace, "ask_llm_base/model", "", 1.0)
    _put(workspace, "judge/label_embeddings", "", 3.0)
    _put(workspace, "judge/checkpoint", "base", 20.0)
    _put(workspace, "judge/teacher", "", 2.0)
    _put(workspace, "judge/labels", "", 170.0)
    _put(workspace, "full_data/checkpoint", "base", 90.0, seeds=3)
    assert Seconds(workspace).choosing("ask_llm_base") == Spent(10.0 + 14.0, 1 + 3 + 20 + 2 + 170 + 30)


def test_random_costs_no_operations_and_needs_no_artifact(workspace: Workspace) -> None:
    assert Flops(workspace).choosing("random") == Spent(0.0, 0.0)


QUALITY = pl.DataFrame(
    {
        "sampler": ["full_data", "ask_llm_xl", "random"],
        "rate": ["100", "20", "20"],
        "size": ["large"] * 3,
        "perplexity": [4.0, 3.9, 4.2],
        "perplexity_sd": [None, 0.1, None],
    }
)


def _reached(there: int, seeds: int) -> pl.DataFrame:
    values = (
        "ask_llm_xl",
        "20",
        "large",
        "in_distribution",
        3.9,
        4.0,
        100.0,
        30.0,
        0.7,
        None,
        None,
        there,
        seeds,
    )
    return pl.DataFrame([dict(zip(SCHEMA, values, strict=True))], schema=SCHEMA)


def _table(reached: pl.DataFrame) -> pl.DataFrame:
    hours = {"ask_llm_xl": Spent(10.0, 0.0), "random": Spent(0.0, 0.0)}  # ICLR, cost table
    flops = {"ask_llm_xl": Spent(1e3, None), "random": Spent(0.0, 0.0)}
    training: dict[tuple[str, str], float | None] = {("ask_llm_xl", "20|large"): 24.0}
    return tradeoff(QUALITY, reached, hours, flops, training, {"large": 1e3})


def test_the_papers_ask_llm_pays_off_after_one_training() -> None:
    ask, random = _table(_reached(3, 3)).iter_rows(named=True)
    assert (ask["sampler"], ask["break_even_seconds"], ask["break_even_flops"]) == ("ask_llm_xl", 1, None)
    assert random["saved_share"] is None and random["training_seconds"] is None
    shown = shown_rows(_table(_reached(3, 3)))
    assert shown[0]["pays off after"] == "1 by seconds" and shown[0]["preparing FLOPs"] == "not known"
    assert shown[1]["pays off after"] == "no full data to compare with"


def test_what_not_every_seed_saves_is_not_counted() -> None:
    ask, _ = _table(_reached(2, 3)).iter_rows(named=True)
    assert ask["saved_share"] is None and ask["break_even_seconds"] is None
    assert shown_rows(_table(_reached(2, 3)))[0]["pays off after"] == "2 of 3 seeds got there"
    none = _reached(0, 3).with_columns(pl.lit(None, pl.Float64).alias("speed_up"))
    assert shown_rows(_table(none))[0]["pays off after"] == "never"


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(points)
def test_nothing_on_the_front_is_dominated_and_all_else_is(cells: list[tuple[int, int]]) -> None:
    cost, quality = np.array(cells, np.float64).T
    on = pareto(cost, quality)
    for i, (c, q) in enumerate(cells):
        others = [other for other in cells if other != (c, q)]
        beaten = any(other_c <= c and other_q <= q for other_c, other_q in others)
        assert on[i] != beaten
    assert on.any(), "somebody is cheapest"


def _costs(*rows: tuple[str, str, float | None, float | None]) -> pl.DataFrame:
    names = ("sampler", "rate", "scoring_seconds", "perplexity")
    fixed = {
        "size": "small",
        "preparing_seconds": 1.0,
        "perplexity_sd": None,
        "seeds": None,
        "seeds_reached": None,
    }
    return with_front(
        pl.DataFrame(
            [dict(zip(names, row, strict=True)) | fixed for row in rows],
            schema_overrides={"scoring_seconds": pl.Float64, "perplexity": pl.Float64},
        )
    )


FRONT = (
    ("random", "20", 0.0, 20.0),
    ("density", "20", 5.0, 18.0),
    ("semdedup", "20", 6.0, 19.0),
    ("ask_llm_xl", "20", 90.0, 17.9),
    ("prototypes", "20", None, 1.0),
    ("semdedup", "40", 6.0, 19.0),
)


def test_each_rate_has_its_own_front_and_what_is_not_known_is_on_none() -> None:
    assert _costs(*FRONT)["on_front"].to_list() == [True, True, False, True, None, True]
    assert _costs(FRONT[4])["on_front"].to_list() == [None]
    equal = _costs(("a", "20", 5.0, 3.0), ("b", "20", 5.0, 2.0), ("c", "20", 4.0, 3.0))
    assert equal["on_front"].to_list() == [False, True, True], "as dear as another one and worse"
    unknown = _costs(("a", "20", 5.0, float("nan")), ("b", "20", 6.0, 2.0))
    assert unknown["on_front"].to_list() == [None, True], "what diverged is no candidate"


def test_steps_of_the_front_are_told_from_noise() -> None:
    wiggle = {"random": [0.1, 0.0, -0.1], "density": [0.0, 0.1, -0.1], "ask_llm_xl": [-0.1, 0.1, 0.0]}
    means = {"random": 20.0, "density": 18.0, "ask_llm_xl": 17.9}
    by_seed = {name: np.array(wiggle[name]) + mean for name, mean in means.items()}
    first, unknown, paying, *_ = findings(_costs(*FRONT), {("20", "small"): by_seed})
    assert "density is 2.0 better than random, beyond the noise" in first
    assert "ask_llm_xl is 0.10 better than density, within the noise" in first and "Over 3 seeds" in first
    assert unknown.endswith("is known of prototypes.") and "no full data of that size" in paying
    alone = findings(_costs(*FRONT), {("20", "small"): {n: x[:1] for n, x in by_seed.items()}})[0]
    assert "cannot be told" in alone and "beyond the noise:" not in alone and "better than" not in alone


def test_who_pays_off_is_said_with_the_number_of_trainings() -> None:
    said = findings(_table(_reached(3, 3)), {})
    assert any("ask_llm_xl, 1 by seconds" in one for one in said)
    assert any("none of 1 samplers pays off" in one for one in findings(_table(_reached(2, 3)), {}))
