"""The most similar document of a cluster, against all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.scoring.nearest import NearestInCluster


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 3))
def test_it_is_the_largest_cosine_of_all_blocks(seed: int, parts: int, clusters: int) -> None:
    draw = np.random.default_rng(seed)
    corpus, mine = draw.normal(size=(30, 4)).astype(np.float32), draw.normal(size=(8, 4)).astype(np.float32)
    theirs, own = draw.integers(clusters, size=30), draw.integers(clusters, size=8)
    hashes = np.arange(30, dtype=np.uint64)
    mine[0], own[0] = corpus[3], theirs[3]  # is in the corpus itself
    nearest = NearestInCluster(mine, own, np.r_[np.uint64(3), 100 + np.arange(7, dtype=np.uint64)])
    found = np.full(8, -1)
    for block in np.array_split(np.arange(30), parts):
        better, rows = nearest.add(corpus[block], theirs[block], hashes[block])
        found[better] = block[rows]
    unit = [x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (mine, corpus)]
    cosine = np.where(own[:, None] == theirs, unit[0] @ unit[1].T, -np.inf)
    cosine[0, 3] = -np.inf
    np.testing.assert_allclose(nearest.similarity, cosine.max(1), atol=1e-6)
    assert (found[np.isfinite(cosine.max(1))] >= 0).all() and (found[~np.isfinite(cosine.max(1))] == -1).all()
    some = np.flatnonzero(found >= 0)
    np.testing.assert_allclose(cosine[some, found[some]], cosine.max(1)[some], atol=1e-6)
