"""The random sampler's scores."""

from itertools import pairwise

import numpy as np

from curation_assets.scoring.random import random_scores
from curation_assets.selection import hash_ids, select

IDS = [f"doc-{i}" for i in range(5000)]


def test_scores_are_uniform_and_a_function_of_id_and_seed():
    score = random_scores(IDS, 0)
    assert ((score > 0) & (score < 1)).all()
    assert np.abs(np.sort(score) - (np.arange(5000) + 0.5) / 5000).max() < 1.95 / np.sqrt(
        5000
    )  # KS, p = 0.001
    assert np.array_equal(random_scores(hash_ids(IDS), 0), score)
    assert np.array_equal(random_scores(IDS[::-1], 0), score[::-1])
    assert abs(np.corrcoef(score, random_scores(IDS, 1))[0, 1]) < 0.05


def test_subsets_nest_across_rates():
    score = random_scores(IDS, 0)
    kept = [select(IDS, score, rate, "uniform", 0) for rate in (0.1, 0.2, 0.4, 0.6, 0.8)]
    assert [int(mask.sum()) for mask in kept] == [500, 1000, 2000, 3000, 4000]
    assert all((small <= large).all() for small, large in pairwise(kept))
    assert np.array_equal(kept[1], select(IDS, score, 0.2, "top_k", 7))  # the key is the score itself
