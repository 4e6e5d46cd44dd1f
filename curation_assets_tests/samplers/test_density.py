"""Density in the graph: bits that follow the corpus and are seen to, sketches that add up, scores that say nothing of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.samplers.density import Density
from curation_assets.scoring.density import RaceSketch
from curation_assets_tests.conftest import write_shard
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.samplers.test_unreadable import make, write_corpus

SKETCHED = ("density/bits", "density/shard_sketch", "density/sketch", "density/scores")
FILES = ["s0.jsonl", "s1.jsonl"]


def documents_of(home: Path, first: int, last: int) -> None:
    """Write the second file with these documents."""
    write_shard(
        home / "shards" / "s1.jsonl", [(f"n{i}", f"number {i} of the documents") for i in range(first, last)]
    )


def made(workspace: Workspace) -> dict[str, list[str]]:
    """Make the scores current, and return of which files each step was made anew."""
    every = make(workspace, *CORPUS, "corpus/embeddings", *SKETCHED)
    return {key: [partition for one, partition in every if one == key] for key in SKETCHED}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """126 documents, of which each file has 63: two less than a power of two."""
    workspace = write_corpus(tmp_path, monkeypatch, 126, 0)
    documents_of(tmp_path, 1000, 1063)
    return workspace


def test_bits_change_at_a_power_of_two_alone_and_the_reason_says_so(
    corpus: Workspace, tmp_path: Path
) -> None:
    made(corpus)
    assert corpus.metadata("density/bits")["bits"] == 5
    documents_of(tmp_path, 1000, 1064)
    again = made(corpus)
    assert again["density/shard_sketch"] == ["s1.jsonl"], "one document more is one file's sketch"
    assert again["density/scores"] == FILES
    documents_of(tmp_path, 1000, 1065)
    make(corpus, *CORPUS, "corpus/embeddings", "density/bits")
    reasons = Versions(corpus).reasons(STEPS["density/shard_sketch"], "s0.jsonl")
    assert [str(reason) for reason in reasons] == ["density/bits changed (5 bits -> 6 bits)"]
    make(corpus, "corpus/embeddings")
    step = STEPS["density/shard_sketch"]
    assert len(Versions(corpus).reasons(step, "s1.jsonl")) == 2
    assert made(corpus)["density/shard_sketch"] == FILES
    assert corpus.metadata("density/sketch")["bits"] == 6


def test_scores_are_those_of_one_sketch_of_all_documents(corpus: Workspace) -> None:
    made(corpus)
    x = np.concatenate([np.load(corpus.open("corpus/embeddings", one) / "embeddings.npy") for one in FILES])
    settings = corpus.profile.samplers.density
    whole = settings.to(RaceSketch, dim=x.shape[1], bits=5).add(x)
    scores = [pq.read_table(corpus.open("density/scores", one) / "scores.parquet")["score"] for one in FILES]
    assert np.array_equal(np.concatenate(scores), whole.density(x))
    keys, counts = whole.to_sparse()
    stored = pq.read_table(corpus.open("density/sketch") / "sketch.parquet")
    assert np.array_equal(stored["key"], keys) and np.array_equal(stored["count"], counts)
    assert corpus.metadata("density/sketch")["filled_counters"] == len(keys)


def test_sketches_of_different_bits_are_not_added_up(corpus: Workspace, tmp_path: Path) -> None:
    made(corpus)
    documents_of(tmp_path, 1000, 1065)
    make(corpus, *CORPUS, "corpus/embeddings", "density/bits")
    partitions = corpus.partitions
    corpus.partitions = lambda by: ["s1.jsonl"] if by == "shard" else partitions(by)  # type: ignore[method-assign]
    make(corpus, "density/shard_sketch")
    corpus.partitions = partitions  # type: ignore[method-assign]
    with pytest.raises(MissingInput, match="not of one number of bits"):
        make(corpus, "density/sketch")


def test_what_is_corrected_for_chance_is_never_less_than_the_document_itself(corpus: Workspace) -> None:
    samplers = corpus.profile.samplers
    density = samplers.density.model_copy(update={"kernel": "l2", "bits": 12, "bandwidth": 1.0, "buckets": 8})
    samplers = samplers.model_copy(update={"density": density})
    corpus.profile = corpus.profile.model_copy(update={"samplers": samplers})
    made(corpus)
    score = pq.read_table(corpus.open("density/scores", "s0.jsonl") / "scores.parquet")["score"].to_numpy()
    assert score.min() == 1.0 < score.max()


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"bits": 14}, r"14 bits of the cosine kernel are 16,384 cells, but buckets = 512"),
        ({"pool": 63}, r"pool must be at least rows and bits, got 63 for 64 rows"),
        ({"kernel": "dot"}, r"Input should be 'cosine' or 'l2'"),
    ],
)
def test_settings_that_make_no_sketch_are_refused(settings: dict[str, object], said: str) -> None:
    fit = {"kernel": "cosine", "bits": 0, "pool": 64, "rows": 64, "buckets": 512, "bandwidth": 0.5, "seed": 0}
    assert Density(**fit).projections == 64 and Density(**fit | {"bits": 1, "pool": 1}).projections == 64
    with pytest.raises(ValidationError, match=said):
        Density(**fit | settings)
