"""Prototypes against brute force."""

import numpy as np
import pytest

from curation_assets.scoring.prototypes import prototype_scores


def test_equals_brute_force_whatever_the_lengths_and_the_batch(monkeypatch):
    draw = np.random.default_rng(0)
    x, centroids = draw.standard_normal((500, 20)), draw.standard_normal((7, 20)) * 9
    cluster = draw.integers(0, 7, 500)
    x[3], x[4] = centroids[cluster[3]] / 5, -centroids[cluster[4]]
    own = centroids[cluster]
    expected = -(x * own).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(own, axis=1)
    score = prototype_scores(x.astype(np.float32), centroids.astype(np.float32), cluster)
    assert score.dtype == np.float64
    np.testing.assert_allclose(score, expected, atol=1e-6)
    assert score[3] == pytest.approx(-1, abs=1e-7) and score[4] == pytest.approx(1, abs=1e-7)
    monkeypatch.setattr("curation_assets.scoring.prototypes._BLOCK_CELLS", 1)
    assert np.array_equal(
        prototype_scores(x.astype(np.float32), centroids.astype(np.float32), cluster), score
    )


def test_bad_input_is_refused():
    x, centroids = np.ones((5, 3), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    cluster = np.zeros(5, dtype=np.int32)
    with pytest.raises(ValueError, match="row 2 is in cluster 7"):
        prototype_scores(x, centroids, np.array([0, 1, 7, 0, 0]))
    with pytest.raises(ValueError, match="row 0 is in cluster -1"):
        prototype_scores(x, centroids, cluster - 1)
    with pytest.raises(ValueError, match="5 integers"):
        prototype_scores(x, centroids, cluster[:-1])
    with pytest.raises(ValueError, match=r"centroids must have shape \[n, 3\]"):
        prototype_scores(x, np.ones((2, 4), dtype=np.float32), cluster)
    with pytest.raises(ValueError, match="row 1 of centroids is zero"):
        prototype_scores(x, np.array([[1, 1, 1], [0, 0, 0]], dtype=np.float32), cluster)
    x[4, 1] = np.nan
    with pytest.raises(ValueError, match="row 4 of x"):
        prototype_scores(x, centroids, cluster)
