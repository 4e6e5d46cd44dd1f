"""What k-means is fitted to: the documents of the smallest hashes, from samples of the files, whatever the files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import splitmix64
from curation_assets.common.progress import silent
from curation_assets.samplers import cluster_sample
from curation_assets.samplers.cluster_sample import halvings, training_points


class _Corpus:
    """Files with embeddings, and their samples, as far as the steps ask for them."""

    def __init__(self, home: Path, files: list[np.ndarray], limit: int) -> None:
        self.home, self.about, self.read = home, {}, []  # type: ignore[var-annotated]
        sizes = SimpleNamespace(max_training_points=limit)
        self.profile = SimpleNamespace(samplers=SimpleNamespace(clusters=sizes))
        self.names = [f"f{number:02}" for number in range(len(files))]
        for name, numbers in zip(self.names, files, strict=True):
            hashes, folder = splitmix64(numbers.astype(np.uint64)), home / name
            folder.mkdir()
            pq.write_table(pa.table({"doc_hash": hashes}), folder / "documents.parquet")
            x = np.stack([numbers, numbers + 0.5], axis=1).astype(np.float16)
            np.save(folder / "embeddings.npy", x)
            np.save(folder / "readable.npy", numbers % 7 != 0)
        distinct = len(np.unique(np.concatenate(files)))
        self.about["corpus/index", ""] = {"documents": distinct}
        self.about[cluster_sample.SHARE, ""] = cluster_sample.share(self)("", home, silent)  # type: ignore[arg-type]
        build = cluster_sample.sample(self)  # type: ignore[arg-type]
        for name in self.names:
            self.about[cluster_sample.SAMPLE, name] = build(name, home / name, silent)
        self.read.clear()

    def shards(self) -> list[str]:
        return self.names

    def metadata(self, key: str, partition: str = "") -> dict[str, Any]:
        return self.about[key, partition]

    def open(self, key: str, partition: str = "") -> Path:
        self.read.append(key)
        return self.home / partition

    def opened(self, key: str, partition: str) -> AbstractContextManager[Path]:
        return nullcontext(self.open(key, partition))


def _points(home: Path, files: list[np.ndarray], limit: int) -> tuple[np.ndarray, bool, int, _Corpus]:
    corpus = _Corpus(home, files, limit)
    return *training_points(corpus, limit, silent), corpus  # type: ignore[arg-type, return-value]


def _expected(numbers: np.ndarray, limit: int) -> np.ndarray:
    chosen = numbers[np.argsort(splitmix64(numbers.astype(np.uint64)), kind="stable")][:limit]
    readable = chosen % 7 != 0
    return chosen[readable] if readable.any() else chosen


@pytest.fixture(scope="module")
def numbers() -> Iterator[np.ndarray]:
    """6,000 documents, some of them twice."""
    every = np.concatenate([np.arange(5_500), np.arange(500)])
    yield np.random.default_rng(0).permutation(every)


@pytest.mark.parametrize("limit", [1, 5, 40, 700, 10_000])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_points_are_those_of_the_smallest_hashes_in_their_order(
    tmp_path: Path, numbers: np.ndarray, limit: int, count: int
) -> None:
    vectors, readable, documents, corpus = _points(tmp_path, np.array_split(numbers, count), limit)
    expected = _expected(numbers, limit)
    assert documents == len(numbers) and readable == (expected % 7 != 0).all()
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors[:, 0], expected.astype(np.float16).astype(np.float32))
    assert set(corpus.read) == {cluster_sample.SAMPLE}, "no other embedding is read"
    held = sum(corpus.about[cluster_sample.SAMPLE, name]["points"] for name in corpus.names)
    assert held == len(numbers) or held < 3 * limit + 300


def test_where_none_could_be_read_all_are_taken(tmp_path: Path) -> None:
    vectors, readable, documents, _ = _points(tmp_path, [np.arange(0, 70, 7), np.zeros(0, int)], 100)
    assert not readable and documents == len(vectors) == 10


def test_a_corpus_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no documents to cluster"):
        _points(tmp_path, [np.zeros(0, int)], 10)


@given(st.integers(0, 10**9), st.integers(1, 10**7))
@settings(max_examples=300)
def test_the_share_holds_half_as_many_again_and_little_more(documents: int, points: int) -> None:
    number = halvings(documents, points)
    held, wanted = documents * 0.5 ** (number / 2), 1.5 * points + 64
    assert held <= wanted * 1.4143
    assert number == 0 or held >= 0.9999 * (wanted - 1)
    assert halvings(2 * documents, points) in (number, number + 1, number + 2), "it follows the corpus's size"


@given(st.integers(0, 60))
def test_a_share_is_a_power_of_the_square_root_of_one_half(number: int) -> None:
    share = (int(cluster_sample._largest(number)) + 1) / 2**64
    assert share == pytest.approx(0.5 ** (number / 2), rel=1e-5)
    assert cluster_sample._largest(number + 1) < cluster_sample._largest(number)
