"""Spherical k-means and the assignment to its centroids."""

import numpy as np
import pytest
import torch

from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids


def groups(
    n: int, k: int, dim: int = 16, spread: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around k random directions, and the true group of each."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, k, n)
    x = draw.standard_normal((k, dim))[group] + spread * draw.standard_normal((n, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), group


def test_default_clusters_are_the_papers_at_the_papers_size():
    assert default_clusters(364_000_000) == 10_000
    assert default_clusters(3_640_000) == 1_000
    assert default_clusters(1) == 1
    with pytest.raises(ValueError, match="at least one document"):
        default_clusters(0)


def test_centroids_are_a_fixed_point_that_improves_and_repeats():
    x, _ = groups(2000, 5)
    fit = fit_centroids(x, 12, seed=3, iterations=40)
    assert fit.centroids.shape == (12, 16) and fit.centroids.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(fit.centroids, axis=1), 1, atol=1e-6)
    assert fit.points_used == 2000 and 1 < len(fit.objective) <= 40
    assert all(late >= early - 1e-6 for early, late in zip(fit.objective, fit.objective[1:], strict=False))
    cluster, similarity = assign(x, fit.centroids)
    assert similarity.mean() >= fit.objective[-1] - 1e-5
    means = np.stack([x[cluster == c].sum(0) for c in range(12)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert ((means * fit.centroids).sum(1) > 0.999).all()
    again = fit_centroids(x, 12, seed=3, iterations=40)
    assert np.array_equal(again.centroids, fit.centroids) and again.objective == fit.objective
    assert not np.array_equal(fit_centroids(x, 12, seed=4).centroids, fit.centroids)


def test_every_point_is_used_unless_told_otherwise():
    # faiss drops points above 256 per centroid by default: two far away points show whether it did.
    draw = np.random.default_rng(0)
    x = np.zeros((3000, 4), dtype=np.float32)
    x[:, 0], x[:, 1:] = 1, 0.05 * draw.standard_normal((3000, 3))
    x[-2:] = [-1, 0, 0, 0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    fit = fit_centroids(x, 1, seed=0)
    expected = x.sum(0, dtype=np.float64)
    np.testing.assert_allclose(fit.centroids[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert fit.points_used == 3000
    assert fit_centroids(x, 2, seed=0, max_points_per_centroid=100).points_used == 200


def test_fewer_points_than_clusters_reduce_the_clusters():
    x, _ = groups(7, 7)
    fit = fit_centroids(x, 20, seed=0)
    assert fit.centroids.shape == (7, 16) and fit.points_used == 7
    assert len(set(assign(x, fit.centroids)[0].tolist())) == 7


def test_assignment_equals_brute_force_and_does_not_depend_on_the_batch():
    x, _ = groups(3000, 40, spread=1.0)
    centroids = np.concatenate([x[:60] * 3, x[:60]])  # each twice: the lower number wins
    cluster, similarity = assign(x, centroids)
    cosine = x.astype(np.float64) @ x[:60].astype(np.float64).T
    assert cluster.dtype == np.int32 and similarity.dtype == np.float32
    np.testing.assert_allclose(cosine[np.arange(3000), cluster % 60], cosine.max(1), atol=1e-6)
    np.testing.assert_allclose(similarity, cosine.max(1), atol=1e-6)
    for step in (1, 7, 1000):
        parts = [assign(x[at : at + step], centroids) for at in range(0, 300, step)]
        assert np.array_equal(np.concatenate([p[0] for p in parts])[:300], cluster[:300])
        assert np.array_equal(np.concatenate([p[1] for p in parts])[:300], similarity[:300])
    exactly = np.eye(4, dtype=np.float32)
    assert assign(np.ones((3, 4), dtype=np.float32), exactly)[0].tolist() == [0, 0, 0]
    assert assign(torch.ones(3, 4, dtype=torch.float16), exactly[::-1])[0].tolist() == [0, 0, 0]


def test_bad_input_is_refused():
    x, _ = groups(20, 3)
    bad = x.copy()
    bad[11, 2] = np.inf
    with pytest.raises(ValueError, match="row 11"):
        fit_centroids(bad, 3, seed=0)
    with pytest.raises(ValueError, match="row 11"):
        assign(bad, x[:3])
    bad[11] = 0
    with pytest.raises(ValueError, match="row 11 of x is zero"):
        assign(bad, x[:3])
    with pytest.raises(ValueError, match="centroid 1 is zero"):
        assign(x, np.stack([x[0], 0 * x[0]]))
    with pytest.raises(ValueError, match=r"\[n, 16\]"):
        assign(x[:, :8], x[:3])
    with pytest.raises(ValueError, match="needs points"):
        fit_centroids(x[:0], 3, seed=0)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="faiss sees no GPU"):
            fit_centroids(x, 3, seed=0, device="cuda")
