"""A rung whose judge goes by embeddings: it is learned, chosen and scored with by the graph's own builders, and named wherever it was used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import read_json
from curation_assets.common.progress import Progress
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Builder, Metadata, Workspace
from curation_assets.invariants import agrees_with_teacher, within_bound
from curation_assets.judges.build import judge
from curation_assets.models.build import model_note
from curation_assets.samplers.build import scores
from curation_assets.samplers.caveats import few_caveats
from curation_assets.scoring.ridge_judge import load_ridge_judge
from curation_assets_tests.making import load, materialize
from curation_assets_tests.report.hand_made import texts, workspace

SHARDS = ("a.jsonl", "b.jsonl")
PROFILE = """
extends = "tiny.toml"
name = "tiny"
[judge]
student = "embeddings"
"""


def _vectors(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors that follow from the documents, and which of them the encoder could read."""
    x = np.array([np.random.default_rng(int(one)).normal(size=16) for one in hashes])
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), hashes % 11 > 0


def _make(found: Workspace, key: str, build: Builder, partition: str = "") -> None:
    materialize(found, STEPS[key], partition, lambda inputs: load(build, found, STEPS[key]))


def _labels(found: Workspace) -> Builder:
    """Label every document by a direction of its vector."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        tables = [
            pq.read_table(open_documents(found, shard), columns=["doc_hash", "text"])
            for shard in found.shards()
        ]
        table = pa.concat_tables(tables)
        x, _ = _vectors(table["doc_hash"].to_numpy())
        table = table.append_column("score", pa.array(-2 + 0.1 * x[:, 0].astype(float)))
        pq.write_table(table.sort_by([("score", "descending")]), folder / "labels.parquet")
        return {}

    return lambda context: build


def _embedded(hashes: Builder) -> Builder:
    def load_one(context: object) -> object:
        def build(partition: str, folder: Path, progress: Progress) -> Metadata:
            x, readable = _vectors(hashes(context, partition))  # type: ignore[call-arg, arg-type]
            np.save(folder / "embeddings.npy", x)
            np.save(folder / "readable.npy", readable)
            return {}

        return build

    return load_one  # type: ignore[return-value]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make all that stands before the scores, the judge and its note by their own builders."""
    documents = texts(120)
    workspace(tmp_path, monkeypatch, {name: documents[number::2] for number, name in enumerate(SHARDS)}, {})
    (tmp_path / "own.toml").write_text(PROFILE, "utf-8")
    found = Workspace(load_profile(tmp_path / "own.toml"))
    _make(found, "judge/teacher", lambda context: lambda partition, folder, progress: {})
    _make(found, "judge/labels", _labels(found))

    def of_labels(context: Workspace, partition: str) -> np.ndarray:
        return pq.read_table(context.open("judge/labels") / "labels.parquet")["doc_hash"].to_numpy()

    def of_shard(context: Workspace, shard: str) -> np.ndarray:
        return pq.read_table(open_documents(context, shard), columns=["doc_hash"])["doc_hash"].to_numpy()

    _make(found, "judge/label_embeddings", _embedded(of_labels))  # type: ignore[arg-type]
    for shard in SHARDS:
        _make(found, "corpus/embeddings", _embedded(of_shard), shard)  # type: ignore[arg-type]
    _make(found, "judge/checkpoint", judge, "small")
    _make(found, "ask_llm_small/model", model_note(lambda profile: profile.model_source("ask_llm_small")))
    for shard in SHARDS:
        _make(found, "ask_llm_small/scores", scores(SAMPLERS["ask_llm_small"]), shard)
    return found


def test_scores_are_the_judges_and_it_is_named_where_it_was_used(made: Workspace) -> None:
    _what_was_learned_is_told(made)
    _scores_are_the_judges(made)
    _another_encoder_makes_them_stale(made)


def _what_was_learned_is_told(made: Workspace) -> None:
    about = made.metadata("judge/checkpoint", "small")
    assert about["student"] == "embeddings" and about["tau"] > 0.4 and "tau_of_length" in about
    record = read_json(made.open("judge/checkpoint", "small") / "distillation.json")
    assert record["students"].keys() == {"embeddings"} and record["advantage"] is None
    assert made.metadata("ask_llm_small/model")["student"] == "embeddings"
    outcome = agrees_with_teacher(made)
    assert outcome.passed and f"small {about['tau']:.2f} (embeddings)" in outcome.description
    read = made.artifact("ask_llm_small/scores", "a.jsonl").inputs
    assert read["corpus/embeddings"] == made.artifact("corpus/embeddings", "a.jsonl").version
    assert "full_data/checkpoint" not in made.artifact("judge/checkpoint", "small").inputs


def _scores_are_the_judges(made: Workspace) -> None:
    ridge = load_ridge_judge(made.open("judge/checkpoint", "small") / "model")
    unreadable = 0
    for shard in SHARDS:
        table = pq.read_table(made.open("ask_llm_small/scores", shard) / "scores.parquet")
        hashes = table["doc_hash"].to_numpy()
        x, readable = _vectors(hashes)
        np.testing.assert_array_equal(table["score"], ridge.score(x, readable, hashes))
        assert table["caveat"].to_pylist() == [None if one else "unreadable" for one in readable]
        assert table["tokens"].null_count == table["cut"].null_count == len(table)
        assert (
            made.metadata("ask_llm_small/scores", shard).get("unreadable_documents", 0) == (~readable).sum()
        )
        unreadable += int((~readable).sum())
    outcome = few_caveats("ask_llm_small", made)
    assert unreadable and not outcome.passed and f"{unreadable} of " in outcome.description
    assert within_bound(0.0, "ask_llm_small", made).passed


def _another_encoder_makes_them_stale(made: Workspace) -> None:
    """The judge too: what was fitted to the vectors of one encoder says nothing of another's."""
    embeddings = made.profile.embeddings.model_copy(update={"max_tokens": 77})
    other = Versions(Workspace(made.profile.model_copy(update={"embeddings": embeddings})))
    assert Versions(made).current(STEPS["judge/checkpoint"], "small")
    assert not other.current(STEPS["judge/label_embeddings"], "")
    assert other.follows(STEPS["judge/checkpoint"], "small")
    assert other.current(STEPS["judge/labels"], "") and not other.follows(STEPS["judge/labels"], "")
