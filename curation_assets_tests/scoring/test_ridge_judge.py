"""Ridge regression as a judge: its penalty by leaving out one after the other, its scores by the row alone, and what it cannot read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from curation_assets.scoring.ridge_judge import _PENALTIES, fit_ridge_judge, load_ridge_judge

DIM = 12


def made_up(n: int, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors [n, DIM] as float32 and labels that follow one direction of theirs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    logits = 6 * x[:, 0] - 2 * x[:, 1] - 1 + noise * rng.normal(size=n)
    return x.astype(np.float32), 1 / (1 + np.exp(-logits))


def test_the_penalty_is_that_of_least_error_when_each_is_left_out() -> None:
    x, p = made_up(40, noise=3.0)
    judge = fit_ridge_judge(x, p)
    y, errors = np.log(p / (1 - p)), []
    for penalty in _PENALTIES:
        error = 0.0
        for out in range(40):
            kept = np.arange(40) != out
            a, b = x[kept].astype(float), y[kept]
            centred = a - a.mean(0)
            w = np.linalg.solve(centred.T @ centred + penalty * np.eye(DIM), centred.T @ (b - b.mean()))
            error += (b.mean() + (x[out] - a.mean(0)) @ w - y[out]) ** 2
        errors.append(error)
    assert judge.penalty == _PENALTIES[int(np.argmin(errors))] not in (_PENALTIES[0], _PENALTIES[-1])
    a = x.astype(float) - x.astype(float).mean(0)
    w = np.linalg.solve(a.T @ a + judge.penalty * np.eye(DIM), a.T @ (y - y.mean()))
    np.testing.assert_allclose(judge.weights, w, rtol=1e-9)


def test_it_learns_what_embeddings_hold_of_the_labels() -> None:
    x, p = made_up(300)
    judge = fit_ridge_judge(x[:200], p[:200])
    scores = judge.score(x[200:], np.ones(100, bool), np.arange(100, dtype=np.uint64))
    assert kendalltau(scores, p[200:]).statistic > 0.8
    assert abs(np.exp(scores) - p[200:]).mean() < 0.1
    assert (scores < 0).all(), "logarithms of probabilities"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_a_score_is_of_the_document_alone(seed: int, n: int) -> None:
    x, p = made_up(40)
    judge, rng = fit_ridge_judge(x, p), np.random.default_rng(seed)
    rows = rng.integers(40, size=n)
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64)
    readable = rng.random(40) < 0.7
    whole = judge.score(x, readable, hashes)
    np.testing.assert_array_equal(judge.score(x[rows], readable[rows], hashes[rows]), whole[rows])


def test_what_the_encoder_cannot_read_has_a_score_as_any_document_might_have_it() -> None:
    x, p = made_up(400)
    judge = fit_ridge_judge(x, p)
    hashes = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    drawn = judge.score(np.zeros((20_000, DIM), np.float32), np.zeros(20_000, bool), hashes)
    at = [0.1, 0.4, 0.7, 0.9]
    np.testing.assert_allclose(np.quantile(drawn, at), np.quantile(judge.known, at), atol=0.05)
    assert judge.known.min() <= drawn.min() and drawn.max() <= judge.known.max()


def test_it_is_kept_to_the_bit_and_equal_fits_are_equal_files(tmp_path: Path) -> None:
    x, p = made_up(60)
    judge = fit_ridge_judge(x, p)
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        fit_ridge_judge(x, p).save(tmp_path / name)
        contents.append((tmp_path / name / "ridge.safetensors").read_bytes())
    assert contents[0] == contents[1]
    kept = load_ridge_judge(tmp_path / "one")
    everything = (x, np.arange(60) % 5 > 0, np.arange(60, dtype=np.uint64))
    np.testing.assert_array_equal(kept.score(*everything), judge.score(*everything))
    assert kept.penalty == judge.penalty and kept.weights.dtype == np.float64


def test_labels_that_are_sure_and_embeddings_of_another_encoder() -> None:
    x, _ = made_up(30)
    judge = fit_ridge_judge(x, (x[:, 0] > 0).astype(float))
    assert np.isfinite(judge.weights).all()
    with pytest.raises(ValueError, match="embeddings of 12 dimensions, these have 5"):
        judge.score(x[:, :5], np.ones(30, bool), np.arange(30, dtype=np.uint64))
    with pytest.raises(ValueError, match="there are 1 embeddings"):
        fit_ridge_judge(x[:1], np.array([0.5]))
