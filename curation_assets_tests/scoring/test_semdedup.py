"""SemDeDup against brute force, in memory and out of core."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.scoring.cluster_store import ClusterStore, semdedup_shards
from curation_assets.scoring.semdedup import semdedup_scores


def brute_force(x, cluster, priority=None):
    """The definition, one document at a time, in float64."""
    x = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    score, duplicate = np.ones(len(x)), np.full(len(x), -1)
    for c in np.unique(cluster):
        rows = np.flatnonzero(cluster == c)
        mean = x[rows].sum(0) / max(np.linalg.norm(x[rows].sum(0)), 1e-12)
        rank = np.round(x[rows] @ mean, 6) if priority is None else -priority[rows]
        rows = rows[np.lexsort((rows, rank))]
        for place in range(1, len(rows)):
            cosine = x[rows[:place]] @ x[rows[place]]
            first = int(np.argmax(cosine >= cosine.max() - 1e-6))
            score[rows[place]], duplicate[rows[place]] = -np.clip(cosine[first], -1, 1), rows[first]
    return score, duplicate


def corpus(n, clusters, copies, seed=0, dim=12):
    """Random vectors in random clusters, some of them exact copies of others in the same cluster."""
    draw = np.random.default_rng(seed)
    x, cluster = draw.standard_normal((n, dim)).astype(np.float32), draw.integers(0, clusters, n)
    source = draw.integers(0, n, copies)
    target = draw.integers(0, n, copies)
    x[target], cluster[target] = x[source], cluster[source]
    return x, cluster


@given(
    n=st.integers(1, 120),
    clusters=st.integers(1, 40),
    copies=st.integers(0, 60),
    block=st.sampled_from([1, 2, 5, 256]),
    seed=st.integers(0, 99),
    given_priority=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_equals_brute_force(n, clusters, copies, block, seed, given_priority):
    x, cluster = corpus(n, clusters, copies, seed)
    priority = np.random.default_rng(seed).integers(0, 5, n) if given_priority else None
    score, duplicate = semdedup_scores(x, cluster, priority=priority, block=block)
    expected, expected_duplicate = brute_force(x, cluster, priority)
    np.testing.assert_allclose(score, expected, atol=2e-6)
    assert np.array_equal(duplicate, expected_duplicate)


def test_identical_vectors_leave_one_representative():
    x = np.tile(np.random.default_rng(0).standard_normal(64).astype(np.float32), (1500, 1))
    for block in (256, 50):
        score, duplicate = semdedup_scores(x, np.zeros(1500, dtype=np.int32), block=block)
        assert score[0] == 1 and (score[1:] == -1).all()
        assert duplicate[0] == -1 and (duplicate[1:] == 0).all()


def test_one_giant_cluster_among_singletons():
    x, _ = corpus(3000, 1, 500)
    cluster = np.where(np.arange(3000) % 3 == 0, np.arange(3000), -5)
    score, duplicate = semdedup_scores(x, cluster, block=64)
    expected, expected_duplicate = brute_force(x, cluster)
    np.testing.assert_allclose(score, expected, atol=2e-6)
    assert np.array_equal(duplicate, expected_duplicate)
    assert (score[::3] == 1).all() and (duplicate[::3] == -1).all()


def test_hard_examples_are_kept_first_and_ties_go_by_row():
    # Two near-copies: the one farther from the mean direction stays. Opposite vectors have no mean direction.
    x = np.array([[1, 0], [0.99, 0.141], [0.999, -0.045], [1, 0.01]], dtype=np.float32)
    score, duplicate = semdedup_scores(x, np.zeros(4, dtype=int))
    assert duplicate[1] == -1 and score[1] == 1
    score, duplicate = semdedup_scores(np.array([[1, 0], [-1, 0]], dtype=np.float32), np.zeros(2, dtype=int))
    assert score.tolist() == [1, 1] and duplicate.tolist() == [-1, 0]
    score, duplicate = semdedup_scores(x, np.zeros(4, dtype=int), priority=np.array([0, 0, 9, 0]))
    assert duplicate.tolist()[2] == -1 and set(duplicate.tolist()) <= {-1, 0, 2, 1}


def test_bad_input_is_refused():
    x, cluster = corpus(30, 3, 0)
    for bad, message in ((np.nan, "row 17 of x holds NaN"), (0, "row 17 of x is zero")):
        y = x.copy()
        y[17] = bad
        with pytest.raises(ValueError, match=message):
            semdedup_scores(y, cluster)
    with pytest.raises(ValueError, match="30 vectors but 29"):
        semdedup_scores(x, cluster[:-1])
    with pytest.raises(ValueError, match="integers"):
        semdedup_scores(x, cluster.astype(float))
    with pytest.raises(ValueError, match="priorities"):
        semdedup_scores(x, cluster, priority=np.ones(3))
    with pytest.raises(ValueError, match="row 4 has nan"):
        semdedup_scores(x, cluster, priority=np.where(np.arange(30) == 4, np.nan, 0))
    score, duplicate = semdedup_scores(x[:0], cluster[:0])
    assert len(score) == len(duplicate) == 0


def out_of_core(x, cluster, hashes, bounds, scratch, **options):
    """Run the shards [bounds[i], bounds[i+1]); return what `semdedup_scores` does, with rows of the whole."""
    shards = [lambda a=a, b=b: (x[a:b], cluster[a:b], hashes[a:b]) for a, b in pairwise(bounds)]
    counts = np.bincount(cluster, minlength=cluster.max() + 2)
    parts = list(semdedup_shards(shards, counts, x.shape[1], scratch, **options))
    duplicate = np.concatenate(
        [
            np.where(p.duplicate_shard < 0, -1, np.array(bounds)[p.duplicate_shard] + p.duplicate_row)
            for p in parts
        ]
    )
    score = np.concatenate([p.score for p in parts])
    similarity = np.concatenate([p.similarity for p in parts])
    assert np.array_equal(np.isnan(similarity), duplicate < 0)
    assert np.array_equal(similarity[duplicate >= 0], -score[duplicate >= 0])
    return score, duplicate


@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    # A group of clusters per megabyte at these sizes is everything; `room` is patched to force several.
    room=st.sampled_from([1, 7, 50, 10_000]),
)
@settings(max_examples=12, deadline=None)
def test_out_of_core_equals_in_memory_for_every_shard_layout(tmp_path_factory, seed, cuts, room):
    x, cluster = corpus(200, 6, 60, seed)
    hashes = np.random.default_rng(seed).permutation(np.arange(200, dtype=np.uint64) << np.uint64(55))
    by_hash = np.argsort(hashes)
    expected, expected_row = semdedup_scores(x[by_hash], cluster[by_hash])
    scratch = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curation_assets.scoring.cluster_store._ROW_BYTES", 2**20 // room - 4 * 12)
        score, duplicate = out_of_core(x, cluster, hashes, [0, *sorted(cuts), 200], scratch, memory_mib=1)
    np.testing.assert_allclose(score[by_hash], expected, atol=1e-6)
    assert np.array_equal(duplicate[by_hash], np.where(expected_row < 0, -1, by_hash[expected_row]))
    shuffle = np.random.default_rng(seed + 1).permutation(200)
    again, again_duplicate = out_of_core(x[shuffle], cluster[shuffle], hashes[shuffle], [0, 200], scratch)
    np.testing.assert_allclose(again, score[shuffle], atol=1e-6)
    assert np.array_equal(np.where(again_duplicate < 0, -1, shuffle[again_duplicate]), duplicate[shuffle])
    assert list(scratch.iterdir()) == []


def test_progress_counts_every_document_twice_and_ends(tmp_path):
    x, cluster = corpus(100, 4, 0)
    told = []
    out_of_core(
        x, cluster, np.arange(100, dtype=np.uint64), [0, 50, 100], tmp_path,
        progress=lambda done, total, unit, note="": told.append((done, total, unit)),
    )  # fmt: skip
    assert told[0] == (50, 200, "documents") and told[-1] == (200, 200, "documents")
    assert [t[0] for t in told] == sorted(t[0] for t in told)


def test_out_of_core_refuses_shards_that_do_not_fit(tmp_path):
    x, cluster = corpus(40, 4, 0)
    hashes, counts = np.arange(40, dtype=np.uint64), np.bincount(cluster, minlength=4)

    def run(*rows, counts=counts):
        return list(semdedup_shards([lambda r=r: r for r in rows], counts, 12, tmp_path))

    half = (x[:20], cluster[:20], hashes[:20])
    with pytest.raises(ValueError, match="the shards hold 20 documents, but cluster_counts 40"):
        run(half)
    with pytest.raises(ValueError, match=r"shard 1 has more documents of cluster"):
        run((x, cluster, hashes), half)
    with pytest.raises(ValueError, match="shard 1: clusters must be 0 to 3"):
        run(half, (x[20:], cluster[20:] + 7, hashes[20:]))
    with pytest.raises(ValueError, match=r"shard 0: x must have shape \[n, 12\]"):
        run((x[:, :5], cluster, hashes))
    with pytest.raises(ValueError, match="shard 0: 40 vectors, 40 clusters and 39 hashes"):
        run((x, cluster, hashes[1:]))
    with pytest.raises(ValueError, match="shard 0: row 9 is zero"):
        run((np.where(np.arange(40)[:, None] == 9, 0, x), cluster, hashes))
    with pytest.raises(ValueError, match="uint64"):
        run((x, cluster, hashes.astype(np.int64)))
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
    assert [len(p.score) for p in run(counts=np.zeros(4, dtype=int))] == []
    assert ClusterStore(tmp_path, counts, 12).documents == 40
