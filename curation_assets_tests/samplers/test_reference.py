"""What is fitted to reference text: apart from what models are measured on, counted file by file, and the scores of the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import read_json
from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.corpus.checks import reference_is_apart
from curation_assets.corpus.reference import in_reference
from curation_assets.defs.jobs import Chosen, narrowed
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.scoring.dsir import dsir_scores, log_ratios, ngram_counts
from curation_assets.scoring.heuristic import heuristic_scores
from curation_assets.scoring.q_classifier import fit_classifier
from curation_assets_tests.conftest import make_current, stdlib_texts, work_in, write_shard, write_tiny

FILTERS = ("dsir", "q_classifier", "heuristic")


def test_each_text_is_in_one_half_whatever_stands_beside_it() -> None:
    texts = [f"text {number}" for number in range(2000)]
    half = in_reference(texts)
    assert 900 < half.sum() < 1100 and in_reference(texts[::-1]).tolist() == half[::-1].tolist()
    assert np.flatnonzero(half[:12]).tolist() == [7, 8, 10, 11], "pinned: another split is another reference"
    assert in_reference([]).tolist() == []


def test_without_reference_text_who_needs_it_is_left_out_and_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[corpus]\nhq_url = ""\n')
    bare = load_profile(path)
    assert {"dsir", "q_classifier", "ask_llm_gemma", "oracle"} == bare.left_out.keys()
    assert "heuristic" in bare.chosen_samplers and "dsir" not in bare.chosen_samplers
    with pytest.raises(ProfileError, match="hq_url are empty: sampler q_classifier needs reference text"):
        narrowed(bare, Chosen(samplers=("q_classifier",)))
    path.write_text('[corpus]\nhq_url = ""\n[run]\nsamplers = ["dsir"]\n')
    with pytest.raises(ProfileError, match="sampler dsir needs reference text"):
        load_profile(path)
    path.write_text('[corpus]\nhq_url = ""\nreference_url = "good"\n')
    mine = load_profile(path)
    assert (
        mine.left_out.keys() == {"ask_llm_gemma", "oracle"}
        and mine.corpus.reference_url == f"{tmp_path}/good"
    )


def test_the_judge_of_ones_own_is_off_until_the_profile_names_it(tmp_path: Path) -> None:
    local = load_profile("local")
    assert "ask_llm_gemma" not in local.chosen_samplers
    path = tmp_path / "mine.toml"
    path.write_text('[run]\nsamplers = ["ask_llm_gemma"]\n')
    with pytest.raises(ProfileError, match="gemma is missing"):
        load_profile(path)
    path.write_text('[samplers.ask_llm.models]\ngemma = "path:judge"\n')
    mine = load_profile(path)
    assert "ask_llm_gemma" in mine.chosen_samplers and mine.left_out.keys() == {"oracle"}
    assert mine.samplers.ask_llm.models["gemma"] == f"path:{tmp_path}/judge"


@pytest.fixture
def filtered(tiny: Profile) -> Workspace:
    workspace = Workspace(tiny)
    make_current(workspace, *(f"{name}/subset" for name in FILTERS), "corpus/validation")
    return workspace


def _texts(workspace: Workspace, shard: str) -> list[str]:
    return pq.read_table(workspace.open("corpus/documents", shard) / "documents.parquet")["text"].to_pylist()


def _scores(workspace: Workspace, sampler: str, shard: str) -> list[float]:
    return pq.read_table(workspace.open(f"{sampler}/scores", shard) / "scores.parquet")["score"].to_pylist()


@pytest.mark.graph
def test_scores_are_those_of_the_library_and_a_changed_file_costs_itself(
    filtered: Workspace, tmp_path: Path
) -> None:
    _are_those_of_the_library(filtered)
    _reference_is_apart(filtered)
    _a_changed_file_costs_itself(filtered, tmp_path)
    _a_changed_reference_is_followed(filtered, tmp_path)


def _are_those_of_the_library(workspace: Workspace) -> None:
    settings, shards = workspace.profile.samplers, workspace.shards()
    wanted = pq.read_table(workspace.open("corpus/reference") / "reference.parquet")["text"].to_pylist()
    size, seed = settings.dsir.buckets, settings.dsir.seed
    everything = [text for shard in shards for text in _texts(workspace, shard)]
    ratios = log_ratios(ngram_counts(wanted, size, seed), ngram_counts(everything, size, seed))
    folders = {shard: workspace.open("corpus/embeddings", shard) for shard in shards}
    vectors = {shard: np.load(folder / "embeddings.npy") for shard, folder in folders.items()}
    assert all(np.load(folder / "readable.npy").all() for folder in folders.values())
    fit = fit_classifier(
        np.load(workspace.open("corpus/reference_embeddings") / "embeddings.npy"),
        np.concatenate(list(vectors.values())),
        settings.q_classifier.penalty,
    )
    for shard in shards:
        texts = _texts(workspace, shard)
        assert _scores(workspace, "dsir", shard) == dsir_scores(texts, ratios, seed)[0].tolist()
        assert _scores(workspace, "heuristic", shard) == heuristic_scores(texts).score.tolist()
        expected = fit.probability(vectors[shard])
        np.testing.assert_allclose(_scores(workspace, "q_classifier", shard), expected, atol=1e-6)
    about = workspace.metadata("q_classifier/classifier")
    assert about["mean_score_of_reference"] > about["mean_score_of_corpus"]


def _reference_is_apart(workspace: Workspace) -> None:
    outcome = reference_is_apart(workspace)
    assert outcome.passed and outcome.metadata["shared"] == 0
    rows = [
        pq.read_table(workspace.open(key) / f"{name}.parquet")["text"].to_pylist()
        for key, name in (("corpus/reference", "reference"), ("corpus/validation", "hq"))
    ]
    assert all(rows), "neither is empty"
    assert not set(rows[0]) & set(rows[1])


def _made(workspace: Workspace, *keys: str) -> dict[tuple[str, str], str]:
    versions = Versions(workspace)
    return {
        (key, shard): receipt.folder
        for key in keys
        for shard in (workspace.shards() if STEPS[key].by == "shard" else [""])
        if (receipt := versions.receipt(key, shard))
    }


def _a_changed_file_costs_itself(workspace: Workspace, tmp_path: Path) -> None:
    before = _made(workspace, "dsir/shard_counts", "dsir/log_ratios", "heuristic/scores")
    write_shard(tmp_path / "shards" / "s1.jsonl", stdlib_texts()[1:140:4])
    again = Workspace(workspace.profile)
    make_current(again, "dsir/subset", "heuristic/subset")
    after = _made(again, "dsir/shard_counts", "dsir/log_ratios", "heuristic/scores")
    changed = {at for at in after if before[at] != after[at]}
    assert changed == {
        ("dsir/shard_counts", "s1.jsonl"),
        ("dsir/log_ratios", ""),
        ("heuristic/scores", "s1.jsonl"),
    }


def _a_changed_reference_is_followed(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.metadata("corpus/reference")["documents"]
    write_shard(tmp_path / "hq.jsonl", stdlib_texts()[3::4][:30])
    again = Workspace(workspace.profile)
    make_current(again, "corpus/source")
    assert not Versions(Workspace(workspace.profile)).current(STEPS["corpus/reference"], "")
    make_current(Workspace(workspace.profile), "dsir/subset")
    assert Workspace(workspace.profile).metadata("corpus/reference")["documents"] > before


@pytest.mark.graph
def test_a_reference_of_its_own_shares_nothing_with_the_high_quality_texts_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Path
) -> None:
    write_tiny(tmp_path, teacher)
    texts = stdlib_texts()
    write_shard(tmp_path / "wanted" / "a.jsonl", [(f"other id {i}", text) for i, text in texts[3::4][:20]])
    write_shard(tmp_path / "wanted" / "b.jsonl", texts[:20])
    text = (tmp_path / "tiny.toml").read_text("utf-8")
    (tmp_path / "tiny.toml").write_text(
        text.replace('hq_url = "hq.jsonl"', 'hq_url = "hq.jsonl"\nreference_url = "wanted"'), "utf-8"
    )
    workspace = Workspace(work_in(tmp_path, monkeypatch))
    make_current(workspace, "corpus/reference", "corpus/validation")
    assert reference_is_apart(workspace).metadata["shared"] == 0
    ids = pq.read_table(workspace.open("corpus/reference") / "reference.parquet")["doc_id"].to_pylist()
    assert any(one.startswith("other id ") for one in ids) and any(one in dict(texts[:20]) for one in ids)
    assert len(read_json(workspace.open("corpus/source") / "reference.json")["files"]) == 2
