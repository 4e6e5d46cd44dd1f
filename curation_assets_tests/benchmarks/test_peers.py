"""The comparisons with peers: what stands in a row, and that both sides of those that need no other package agree."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_peers
from benchmarks.peers import density, kmeans, near_duplicates
from benchmarks.peers.comparison import Comparison, Result, measure, one_thread


def _side(folder):
    yield np.empty(0)
    yield np.arange(3)


def _comparison(package: str, aim: float | None = None) -> Comparison:
    return Comparison("somebody", package, "counting", _side, _side, lambda *_: "equal", aim)


def test_a_peer_that_is_not_installed_is_a_row(tmp_path: Path) -> None:
    row = measure("kmeans", _comparison("no-such-package"), tmp_path).row()
    assert (
        math.isnan(row.value) and row.note == "no-such-package is not installed" and "MISSED" not in str(row)
    )


def test_a_row_has_both_times_and_peaks_and_the_table_says_who_is_slower() -> None:
    slower = Result(
        _comparison("numpy", aim=3.0), "2.0", ours=(2.0, 100), theirs=(1.0, 50), agreement="equal"
    )
    assert "MISSED" in str(slower.row())
    assert str(slower.row()).endswith("2.00 s against 1.00; 100 MiB against 50; equal")
    missing = Result(_comparison("numpy"), problem="theirs failed: No module named 'cudf'")
    lines = bench_peers.table([slower, missing]).splitlines()
    assert "| 0.50 (slower than the peer) | 2.00, 1.00 | 100, 50 | equal |" in lines[-2]
    assert "| not measured |" in lines[-1] and "cudf" in lines[-1]


def test_one_thread_is_for_the_peers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    with one_thread():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["POLARS_MAX_THREADS"] == "1"
    assert dict(os.environ) == before


def test_the_table_replaces_the_last_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n\n{bench_peers._BEGIN}\n\nold\n\n{bench_peers._END}\n\nafter\n")
    result = Result(_comparison("numpy"), "2.0", (1.0, 10), (2.0, 20), "equal")
    monkeypatch.setattr(bench_peers, "README", page)
    monkeypatch.setattr(bench_peers, "compared", lambda peers: iter([result]))
    monkeypatch.setattr("sys.argv", ["bench_peers", "--markdown"])
    bench_peers.main()
    text = page.read_text()
    assert text.startswith("before\n\n") and text.endswith("\n\nafter\n")
    assert "old" not in text and "| somebody 2.0 | counting | 2.00 |" in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors about twenty centres, a few of them near copies of others."""
    made = tmp_path_factory.mktemp("material")
    draw = np.random.default_rng(0)
    x = draw.standard_normal((20, 16))[np.arange(600) % 20] + 0.5 * draw.standard_normal((600, 16))
    x[300:400] = x[:100] + 0.02 * draw.standard_normal((100, 16))
    np.save(made / "vectors.npy", (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
    return made


def _both(comparison: Comparison, folder: Path) -> list[np.ndarray]:
    answers = []
    for side in (comparison.ours, comparison.theirs):
        ready, answer = side(folder)
        assert not len(ready)
        answers.append(answer)
    return answers


def test_an_exact_search_leaves_no_pair_together(folder: Path) -> None:
    [comparison] = [one for one in near_duplicates.COMPARISONS if one.peer == "faiss"]
    ours, theirs = _both(comparison, folder)
    text = comparison.agreement(folder, ours, theirs)
    assert "theirs 100.0%" in text and 100 <= (~ours).sum() < 600


def test_clusters_are_those_of_faiss(folder: Path) -> None:
    [comparison] = kmeans.COMPARISONS
    ours, theirs = _both(comparison, folder)
    assert (ours == theirs).mean() > 0.99 and "same cluster" in comparison.agreement(folder, ours, theirs)


def test_the_published_sketch_estimates_the_same_density(folder: Path) -> None:
    [comparison] = density.COMPARISONS
    ours, theirs = _both(comparison, folder)
    exact = density._exact(np.load(folder / "vectors.npy"))
    for estimate in (ours, theirs):
        assert np.median(np.abs(estimate / exact - 1)) < 0.05
