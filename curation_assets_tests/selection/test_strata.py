"""Strata on arrays: each is chosen from as a corpus of its own, streamed as whole, and shares are rounded fairly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.sampling import hash_ids, select, selection_keys
from curation_assets.selection.keys import TECHNIQUES
from curation_assets.selection.select import quota
from curation_assets.selection.threshold import Block, count_thresholds, token_thresholds

NAMES = ["a", "b", None, "rare"]
SCORES = st.sampled_from([0.25, 1.0, 1.0, 2.0]) | st.floats(1e-3, 1e3)


def _parts(arrays: list[np.ndarray], cuts: list[int]) -> list[Block]:
    return [Block(*part) for part in zip(*(np.split(array, cuts) for array in arrays), strict=True)]


@given(
    keys=st.lists(st.sampled_from([-1.5, -0.0, 0.0, 2.0]) | st.floats(-9, 9), min_size=1, max_size=50),
    hash_bits=st.integers(7, 64),
    strata=st.sampled_from([1, 3, 40, 5000]),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_each_stratum_has_the_cuts_of_a_corpus_of_its_own(keys, hash_bits, strata, data):
    n, keys = len(keys), np.array(keys)
    unique = st.lists(st.integers(0, 2**hash_bits - 1), min_size=n, max_size=n, unique=True)
    hashes = np.array(data.draw(unique), np.uint64)
    stratum = np.array(data.draw(st.lists(st.integers(0, strata - 1), min_size=n, max_size=n)))
    tokens = np.array(data.draw(st.lists(st.integers(0, 9) | st.integers(0, 2**40), min_size=n, max_size=n)))
    sizes = np.bincount(stratum, minlength=strata)
    counts = np.array([data.draw(st.integers(0, size)) if size else 0 for size in sizes.tolist()])
    budgets = np.bincount(stratum, tokens, strata).astype(np.int64) // 3
    parts = _parts(
        [keys, hashes, tokens, stratum], sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    )
    by_count = count_thresholds(lambda: iter(parts), sizes, counts).keep(keys, hashes, stratum)
    cut = token_thresholds(lambda: iter(parts), sizes, budgets)
    by_tokens = cut.keep(keys, hashes, stratum)
    for number in np.unique(stratum):
        rows = np.flatnonzero(stratum == number)
        order = rows[np.lexsort((hashes[rows], -keys[rows]))]
        assert set(rows[by_count[rows]]) == set(order[: counts[number]])
        fitting = int(np.searchsorted(np.cumsum(tokens[order]), budgets[number], side="right"))
        assert set(rows[by_tokens[rows]]) == set(order[:fitting]) and cut.count[number] == fitting


def test_thousands_of_strata_take_little_memory_and_few_passes():
    draw, passes = np.random.default_rng(0), []
    n, strata = 200_000, 20_000
    keys, hashes = draw.standard_normal(n), draw.integers(0, 2**64, n, dtype=np.uint64)
    stratum = draw.integers(0, strata, n)
    parts = _parts([keys, hashes, np.ones(n, np.int64), stratum], list(range(50_000, n, 50_000)))
    sizes = np.bincount(stratum, minlength=strata)

    def blocks():
        passes.append(1)
        return iter(parts)

    kept = count_thresholds(blocks, sizes, sizes // 5).keep(keys, hashes, stratum)
    assert np.array_equal(np.bincount(stratum[kept], minlength=strata), sizes // 5)
    assert len(passes) <= 12


def test_blocks_must_say_their_strata():
    keys, hashes = np.array([1.0, 2.0]), np.array([1, 2], np.uint64)
    sizes, counts = np.array([1, 1]), np.array([1, 0])
    with pytest.raises(ValueError, match="which of 2 strata"):
        count_thresholds(lambda: [Block(keys, hashes)], sizes, counts)
    for stratum in (np.array([0, 2]), np.array([-1, 0]), np.array([0])):
        with pytest.raises(ValueError, match="a stratum below 2 for each of its 2 documents"):
            count_thresholds(lambda s=stratum: [Block(keys, hashes, None, s)], sizes, counts)


@given(
    scores=st.lists(SCORES, min_size=1, max_size=60),
    rate=st.floats(0.01, 1),
    technique=st.sampled_from(TECHNIQUES),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_select_within_strata_of_what_a_first_stage_leaves(scores, rate, technique, data):
    n, scores = len(scores), np.array(scores)
    ids = [f"d{i}" for i in range(n)]
    within = data.draw(st.lists(st.sampled_from(NAMES), min_size=n, max_size=n))
    first = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    mask = select(ids, scores, rate, technique, 3, first=first, within=within)
    keys, hashes = selection_keys(hash_ids(ids), scores, technique, 3), hash_ids(ids)
    for name in set(within):
        own = np.array([value == name for value in within])
        wanted = int(quota(rate, np.array([own.sum()]), [name], 3)[0])
        rows = np.flatnonzero(own & first)
        order = rows[np.lexsort((hashes[rows], -keys[rows]))]
        assert set(np.flatnonzero(mask & own)) == set(order[:wanted])
    order = np.array(data.draw(st.permutations(range(n))))
    again = select(
        [ids[i] for i in order], scores[order], rate, technique, 3, first=first[order],
        within=pa.array([within[i] for i in order], pa.string()),
    )  # fmt: skip
    assert np.array_equal(again, mask[order])


def test_a_first_stage_alone_leaves_the_size_as_it_is_or_all_that_there_is():
    ids, scores = [f"d{i}" for i in range(100)], np.arange(100.0)
    first = scores % 2 == 0
    assert select(ids, scores, 0.2, "top_k", 0, first=first).nonzero()[0].tolist() == list(range(60, 100, 2))
    assert np.array_equal(select(ids, scores, 0.8, "top_k", 0, first=first), first)
    with pytest.raises(ValueError, match=r"bool \[100\]"):
        select(ids, scores, 0.8, "top_k", 0, first=np.arange(100))
    with pytest.raises(ValueError, match="within has 3 values for 100 documents"):
        select(ids, scores, 0.8, "top_k", 0, within=["a", "b", "c"])


@given(
    sizes=st.lists(st.integers(0, 10**9), min_size=1, max_size=30),
    rates=st.lists(st.floats(1e-3, 1) | st.sampled_from([0.1, 0.2, 0.4, 0.6, 0.8]), min_size=2, max_size=5),
    seed=st.integers(0, 2**64 - 1),
)
@settings(deadline=None)
def test_shares_are_rounded_up_or_down_and_nest(sizes, rates, seed):
    sizes, names = np.array(sizes), [str(i) for i in range(len(sizes))]
    kept = [quota(rate, sizes, names, seed) for rate in sorted(rates)]
    for rate, counts in zip(sorted(rates), kept, strict=True):
        assert (np.abs(counts - rate * sizes) < 1 + 1e-6).all() and (counts <= sizes).all()
        for i in range(len(sizes)):  # whatever other strata there are
            assert quota(rate, sizes[i : i + 1], names[i : i + 1], seed)[0] == counts[i]
    assert all((small <= large).all() for small, large in pairwise(kept))


def test_a_share_that_is_whole_is_kept_exactly():
    assert quota(0.1, np.array([30, 70, 1000]), ["a", "b", None], 0).tolist() == [3, 7, 100]


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.4])
def test_very_many_small_strata_together_keep_the_rate(rate):
    """Rounding to the nearest would keep none of strata with one or two documents at 20 %."""
    sizes = np.random.default_rng(0).integers(1, 4, 40_000)
    kept = quota(rate, sizes, [f"https://host-{i}.example" for i in range(len(sizes))], 0)
    assert abs(kept.sum() - rate * sizes.sum()) < 4 * np.sqrt(len(sizes)) / 2
