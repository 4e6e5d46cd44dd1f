"""SemDeDup against brute force, in memory and by groups of clusters."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.record_blocks import BLOCKS, OFFSETS, parse_blocks
from curation_assets.scoring.cluster_groups import group_bounds, score_group, vector, write_vectors
from curation_assets.scoring.cluster_store import ClusterStore
from curation_assets.scoring.semdedup import semdedup_scores, threshold_counts


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


def in_groups(x, cluster, hashes, bounds, folder, groups, **options):
    """Score the shards [bounds[i], bounds[i + 1]) by groups of clusters; return what `semdedup_scores` does, with rows of the whole."""
    clusters, kind = int(cluster.max()) + 2, vector(x.shape[1], x.dtype.str)
    shards = list(pairwise(bounds))
    for number, (a, b) in enumerate(shards):
        (folder / str(number)).mkdir()
        ids = pa.array([f"{row} ü" for row in range(a, b)], pa.string())
        write_vectors(folder / str(number), x[a:b], cluster[a:b], hashes[a:b], ids, clusters)
    score, duplicate = np.full(len(x), np.nan), np.full(len(x), -2)
    for begin, end in pairwise(group_bounds(clusters, groups)):
        parts, documents = [], 0
        for number in range(len(shards)):
            (first, row), (last, end_row) = np.load(folder / str(number) / OFFSETS)[[begin, end]]
            parts.append(parse_blocks((folder / str(number) / BLOCKS).read_bytes()[first:last], kind))
            documents += end_row - row
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        found = score_group(parts, documents, x.shape[1], scratch, **options)
        for records, (a, _) in zip(found.blocks(), shards, strict=True):
            rows, other = a + records.fields["row"], records.fields["duplicate_shard"]
            assert np.isnan(score[rows]).all() and (np.diff(rows) > 0).all()
            score[rows] = records.fields["score"]
            named = [int(text.split()[0]) if text else -1 for text in records.texts().to_pylist()]
            duplicate[rows] = named
            inside = [n < 0 or bounds[s] <= n < bounds[s + 1] for n, s in zip(named, other, strict=True)]
            assert all(inside) and np.array_equal(other < 0, duplicate[rows] < 0)
    return score, duplicate


@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    groups=st.sampled_from([1, 2, 9]),
    room=st.sampled_from([1, 7, 50, 10_000]),  # documents that fit in memory
    threads=st.sampled_from([1, 2]),
    dtype=st.sampled_from([np.float32, np.float16]),
)
@settings(max_examples=10, deadline=None)
def test_groups_give_the_bytes_of_one_array_for_every_layout(
    tmp_path_factory, seed, cuts, groups, room, threads, dtype
):
    x, cluster = corpus(200, 6, 60, seed)
    x = x.astype(dtype)
    hashes = np.random.default_rng(seed).permutation(np.arange(200, dtype=np.uint64) << np.uint64(55))
    by_hash = np.argsort(hashes)
    expected, expected_row = semdedup_scores(x[by_hash], cluster[by_hash])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curation_assets.scoring.cluster_store.ROW_BYTES", 2**20 // room - 4 * 12)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        for order in (np.arange(200), np.random.default_rng(seed + 1).permutation(200)):
            score, duplicate = in_groups(
                x[order], cluster[order], hashes[order], [0, *sorted(cuts), 200],
                tmp_path_factory.mktemp("groups"), groups, memory_mib=1,
            )  # fmt: skip
            place = np.argsort(order)[by_hash]
            assert np.array_equal(score[place], expected)
            named = np.where(duplicate < 0, -1, order[duplicate])[place]
            assert np.array_equal(named, np.where(expected_row < 0, -1, by_hash[expected_row]))
        torch.set_num_threads(before)


def test_a_cluster_is_compared_the_same_whatever_the_others_are():
    """Real sizes: the products of float32 are where bits could differ."""
    draw = np.random.default_rng(3)
    sizes = [2, 3, 9, 17, 40, 41, 100, 256, 257, 700, 4500]
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    middle = draw.standard_normal((len(sizes), 384))
    x = (middle[cluster] + draw.standard_normal((len(cluster), 384))).astype(np.float32)
    whole = semdedup_scores(x, cluster)
    for number in range(len(sizes)):
        rows = np.flatnonzero(cluster == number)
        score, duplicate = semdedup_scores(x[rows], cluster[rows])
        assert np.array_equal(score, whole[0][rows])
        assert np.array_equal(np.where(duplicate < 0, -1, rows[duplicate]), whole[1][rows])


def test_documents_of_equal_hashes_go_by_shard_and_row(tmp_path):
    x, cluster = np.ones((4, 12), np.float32), np.zeros(4, int)
    score, duplicate = in_groups(x, cluster, np.zeros(4, np.uint64), [0, 2, 4], tmp_path, 1)
    assert score.tolist() == [1, -1, -1, -1] and duplicate.tolist() == [-1, 0, 0, 0]


def test_progress_counts_every_document_twice_and_ends(tmp_path):
    x, cluster = corpus(100, 4, 0)
    told = []
    in_groups(
        x, cluster, np.arange(100, dtype=np.uint64), [0, 50, 100], tmp_path, 1,
        progress=lambda done, total, unit, note="": told.append((done, total, unit)),
    )  # fmt: skip
    assert told[0] == (50, 200, "documents") and told[-1] == (200, 200, "documents")
    assert [t[0] for t in told] == sorted(t[0] for t in told)


def test_the_store_refuses_shards_that_do_not_fit(tmp_path):
    x, cluster = corpus(40, 4, 0)
    hashes, rows = np.arange(40, dtype=np.uint64), np.arange(40)

    def add(*shards, documents=40):
        store = ClusterStore(tmp_path, documents, 12)
        for number, shard in enumerate(shards):
            store.add(number, *shard)
        return list(store.compare())

    half = (rows[:20], cluster[:20], hashes[:20], x[:20])
    with pytest.raises(ValueError, match="20 documents were added, not 40"):
        add(half)
    with pytest.raises(ValueError, match="shard 1: 60 documents, but there should be 40"):
        add((rows, cluster, hashes, x), half)
    with pytest.raises(ValueError, match="shard 1: clusters must be at least 0"):
        add(half, (rows[20:], cluster[20:] - 7, hashes[20:], x[20:]))
    with pytest.raises(ValueError, match=r"shard 0: x must have shape \[n, 12\]"):
        add((rows, cluster, hashes, x[:, :5]))
    with pytest.raises(ValueError, match="shard 0: 40 vectors, 40 rows, 40 clusters and 39 hashes"):
        add((rows, cluster, hashes[1:], x))
    with pytest.raises(ValueError, match="shard 0: row 9 is zero"):
        add((rows, cluster, hashes, np.where(rows[:, None] == 9, 0, x)))
    with pytest.raises(ValueError, match="uint64"):
        add((rows, cluster, hashes.astype(np.int64), x))
    assert add(documents=0) == []


@given(
    n=st.integers(1, 60),
    clusters=st.integers(1, 9),
    copies=st.integers(0, 40),
    noise=st.sampled_from([0.0, 0.1, 0.4]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_threshold_keeps_one_representative_of_each_group(n, clusters, copies, noise, seed):
    x, cluster = corpus(n, clusters, copies, seed)
    x = (x + noise * np.random.default_rng(seed).standard_normal(x.shape)).astype(np.float32)
    score, duplicate = semdedup_scores(x, cluster)
    thresholds = np.array([-0.2, 0.0, 0.5, 0.9, 0.99, 1.0])
    removed, groups = threshold_counts(score, duplicate, thresholds)
    for t, count, several in zip(thresholds, removed, groups, strict=True):
        kept = score > -t
        assert count == (~kept).sum()
        representative = np.arange(n)
        while not kept[representative].all():  # ends, since each points to one before it in its cluster
            representative = np.where(kept[representative], representative, duplicate[representative])
        assert several == len(set(representative[~kept].tolist()))
        assert (cluster[representative] == cluster).all()
    assert set(cluster) == set(cluster[score > -1.0]), "no cluster is removed as a whole"


def test_of_a_pair_one_goes_and_of_a_chain_what_is_near_to_one_before_it():
    angles = np.array([0.0, 0.2, 0.4, 2.0])  # cosines of neighbours 0.98, of the ends of the chain 0.92
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    score, duplicate = semdedup_scores(x, np.zeros(4, int), priority=np.array([4, 3, 2, 1]))
    assert (score > -0.95).tolist() == [True, False, False, True]
    removed, groups = threshold_counts(score, duplicate, np.array([0.95, 0.99]))
    assert removed.tolist() == [2, 0] and groups.tolist() == [1, 0]
    score, _ = semdedup_scores(x, np.zeros(4, int), priority=np.array([4, 1, 3, 2]))
    assert (score > -0.95).tolist() == [True, False, True, True], (
        "the ends are no near-duplicates of each other"
    )
