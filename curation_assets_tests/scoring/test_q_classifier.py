"""The quality classifier: the optimum that it should be, alike for any number of texts, and the same row by row."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.scoring.q_classifier import fit_classifier

RNG = np.random.default_rng(0)


def _vectors(n: int, shift: float) -> np.ndarray:
    x = RNG.normal(size=(n, 24)) + shift * np.eye(24)[0]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_the_fit_is_where_the_loss_has_no_slope() -> None:
    reference, corpus, penalty = _vectors(40, 2.0), _vectors(500, 0.0), 0.7
    fit = fit_classifier(reference, corpus, penalty)
    x, y = np.concatenate([reference, corpus]).astype(np.float64), np.repeat([1.0, 0.0], [40, 500])
    weight = np.repeat([540 / 2 / 40, 540 / 2 / 500], [40, 500])
    error = weight * (fit.probability(x) - y)
    assert np.abs(x.T @ error + penalty * fit.weights).max() < 1e-3
    assert abs(error.sum()) < 1e-3


def test_how_many_there_are_of_each_makes_no_difference_to_what_is_probable() -> None:
    corpus = _vectors(500, 0.0)
    fit = fit_classifier(_vectors(50, 0.0), corpus, penalty=100.0)
    assert abs(fit.probability(corpus).mean() - 0.5) < 0.1


def test_a_row_has_its_value_whatever_stands_beside_it() -> None:
    fit = fit_classifier(_vectors(40, 1.0), _vectors(60, 0.0))
    x = _vectors(1000, 0.5)
    assert fit.probability(x).tolist() == [float(fit.probability(x[i : i + 1])[0]) for i in range(len(x))]
    assert np.array_equal(fit.probability(x)[::3], fit.probability(x[::3]))


def test_it_takes_both_sides() -> None:
    with pytest.raises(ValueError, match="0 vectors of the reference and 3 of the corpus"):
        fit_classifier(_vectors(0, 0.0), _vectors(3, 0.0))
