"""Documents that the encoder cannot read: not copies of one another, and chosen as often as others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.progress import Progress
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Builder, BuildOne, Metadata, Workspace
from curation_assets.samplers.products import SCORING
from curation_assets.samplers.unreadable import draw_scores, score_histogram
from curation_assets_tests.conftest import TINY, write_shard
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

COVERAGE = ("density", "semdedup", "prototypes")
SHARED = (
    "clusters/sample_share",
    "clusters/sample",
    "clusters/centroids",
    "clusters/assignments",
    "density/bits",
    "density/shard_sketch",
    "density/sketch",
    "semdedup/vectors",
    "semdedup/neighbours",
)
DIM = 16


def embeddings(workspace: Workspace) -> BuildOne:
    """A text is the seed of its vector; all that begin with "?" have one vector."""

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        texts = pq.read_table(open_documents(workspace, shard), columns=["text"])["text"].to_pylist()
        readable = np.array([not text.startswith("?") for text in texts])
        rows = [
            np.random.default_rng(int(text.split()[1]) if ok else 0)
            for text, ok in zip(texts, readable, strict=True)
        ]
        x = np.array([draw.standard_normal(DIM) for draw in rows])
        np.save(folder / "embeddings.npy", (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
        np.save(folder / "readable.npy", readable)
        about = {"documents": len(x), "unreadable_documents": int((~readable).sum())}
        return about | {"dimensions": DIM}

    return build


BUILDERS: dict[str, Builder] = {
    **CORPUS,
    "corpus/embeddings": embeddings,
    **{
        product.key: product.build
        for product in SCORING
        if product.key in SHARED or product.key in {f"{name}/scores" for name in COVERAGE}
    },
}
Row = dict[str, object]


def scored(home: Path, patch: pytest.MonkeyPatch, known: int, unknown: int) -> dict[str, dict[str, Row]]:
    """Return {sampler: {document: its row of the scores}} of a corpus in two files."""
    workspace = write_corpus(home, patch, known, unknown)
    make(workspace, *BUILDERS)
    return {
        name: {
            row["doc_id"]: row
            for shard in workspace.shards()
            for row in pq.read_table(workspace.open(f"{name}/scores", shard) / "scores.parquet").to_pylist()
        }
        for name in COVERAGE
    }


def write_corpus(
    home: Path, patch: pytest.MonkeyPatch, known: int, unknown: int, execution: str = ""
) -> Workspace:
    """Write a corpus in two files of documents that the encoder can read, and of such that it cannot."""
    rows = [(f"k{i}", f"number {i + 1} of the documents") for i in range(known)]
    rows += [(f"u{i}", f"? {i} of the documents that nobody reads") for i in range(unknown)]
    for number in range(2):
        write_shard(home / "shards" / f"s{number}.jsonl", rows[number::2])
    settings = "[samplers.clusters]\ncount = 4\n[corpus]\n"
    text = TINY.replace("{teacher}", str(home)).replace("[corpus]\n", settings).replace("= 0.1\n", "= 0.0\n")
    text = text.replace("[execution]\n", f"[execution]\n{execution}\n")
    (home / "tiny.toml").write_text(text.replace('hq_url = "hq.jsonl"', 'hq_url = ""'), "utf-8")
    patch.setenv("CURATION_DATA", str(home / "data"))
    return Workspace(load_profile(home / "tiny.toml"))


def make(workspace: Workspace, *keys: str) -> list[tuple[str, str]]:
    """Make steps current, each after what it needs; return what was made."""
    made = []
    for key in keys:
        step = STEPS[key]
        for partition in workspace.partitions(step.by):
            _, anew = materialize(
                workspace, step, partition, lambda inputs, s=step: load(BUILDERS[s.key], workspace, s)
            )
            made += [(key, partition)] if anew else []
    return made


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Row]]:
    with pytest.MonkeyPatch.context() as patch:
        return scored(tmp_path_factory.mktemp("mixed"), patch, 120, 60)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Row]]:
    with pytest.MonkeyPatch.context() as patch:
        return scored(tmp_path_factory.mktemp("without"), patch, 120, 0)


def values(rows: dict[str, Row], kind: str) -> np.ndarray:
    return np.array([row["score"] for name, row in rows.items() if name.startswith(kind)], np.float64)


def test_they_are_nobodys_copies_and_have_none(mixed: dict[str, dict[str, Row]]) -> None:
    rows = mixed["semdedup"]
    named = {row["duplicate_of"] for row in rows.values()} - {None}
    assert named and all(str(name).startswith("k") for name in named)
    assert all(row["duplicate_of"] is None for name, row in rows.items() if name.startswith("u"))
    assert [row["readable"] for row in rows.values()] == [name.startswith("k") for name in rows]


def test_the_scores_of_the_others_are_what_they_are_without_them(
    mixed: dict[str, dict[str, Row]], without: dict[str, dict[str, Row]]
) -> None:
    for sampler in COVERAGE:
        for name, row in without[sampler].items():
            assert mixed[sampler][name]["score"] == pytest.approx(row["score"], abs=1e-6), sampler


@pytest.mark.parametrize("sampler", ["semdedup", "prototypes"])
def test_they_are_chosen_as_often_as_the_others(mixed: dict[str, dict[str, Row]], sampler: str) -> None:
    known, unknown = values(mixed[sampler], "k"), values(mixed[sampler], "u")
    assert len(np.unique(unknown)) == 60
    for rate in (0.2, 0.5, 0.8):
        least = np.quantile(known, 1 - rate)
        assert abs((unknown > least).mean() - rate) < 0.2


def test_density_counts_each_alone(mixed: dict[str, dict[str, Row]]) -> None:
    known, unknown = values(mixed["density"], "k"), values(mixed["density"], "u")
    assert np.ptp(unknown) == 0 and 1 <= unknown[0] < 1.5 * known.max()


def test_a_corpus_that_nobody_can_read_is_chosen_from_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scored(tmp_path, monkeypatch, 0, 40)
    for sampler in ("semdedup", "prototypes"):
        assert len(np.unique(values(found[sampler], "u"))) == 40
    assert (values(found["density"], "u") == 1).all()


def test_drawn_scores_are_distributed_as_the_histogram() -> None:
    draw = np.random.default_rng(0)
    scores = np.concatenate([draw.normal(-0.6, 0.1, 4000), np.ones(1000)])
    parts = score_histogram(scores[:2000]) + score_histogram(scores[2000:])
    assert np.array_equal(parts, score_histogram(scores))
    hashes = draw.integers(0, 2**64, 20_000, dtype=np.uint64)
    drawn = draw_scores(parts, hashes)
    assert np.array_equal(drawn, draw_scores(parts, hashes))
    np.testing.assert_allclose(
        np.quantile(drawn, [0.1, 0.4, 0.7, 0.9]), np.quantile(scores, [0.1, 0.4, 0.7, 0.9]), atol=0.02
    )
