"""The streamed cut equals the choice on arrays."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.selection import (
    Threshold,
    global_threshold,
    hash_ids,
    kept_count,
    select,
    selection_keys,
)
from curation_assets.selection.keys import TECHNIQUES
from curation_assets.selection.threshold import Block, sortable, token_thresholds

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCORES = st.lists(FINITE | st.sampled_from([0.0, -0.0, 1.0, 5e-324, -5e-324]), min_size=1, max_size=80)


class Blocks:
    """Blocks of arrays cut at random places, which count how often they are read."""

    def __init__(self, *arrays, cuts=()):
        self.parts = list(zip(*(np.split(array, cuts) for array in arrays), strict=True))
        self.passes = 0

    def __call__(self):
        self.passes += 1
        return iter(self.parts)


@given(values=st.lists(FINITE, min_size=2, max_size=50))
@settings(deadline=None)
def test_sortable_keeps_the_order(values):
    values = np.array(values)
    image = sortable(values)
    assert np.array_equal(image[:, None] < image[None], values[:, None] < values[None])
    assert sortable(np.array([0.0]))[0] == sortable(np.array([-0.0]))[0]


@given(scores=SCORES, rate=st.floats(0.01, 1), technique=st.sampled_from(TECHNIQUES), data=st.data())
@settings(max_examples=150, deadline=None)
def test_equals_select(scores, rate, technique, data):
    scores = np.abs(np.array(scores)) + 1e-300 if technique == "ips" else np.array(scores)
    n = len(scores)
    ids = [f"d{i}" for i in range(n)]
    hashes = hash_ids(ids)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    blocks = Blocks(selection_keys(hashes, scores, technique, 3), hashes, cuts=cuts)
    threshold = global_threshold(blocks, n, kept_count(rate, n))
    kept = np.concatenate([threshold.keep(*part) for part in blocks()])
    assert np.array_equal(kept, select(ids, scores, rate, technique, 3))


@given(
    keys=st.lists(st.sampled_from([-1.5, -0.0, 0.0, 2.0]), min_size=1, max_size=40),
    hash_bits=st.integers(6, 64),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_ties_go_by_hash_at_every_digit(keys, hash_bits, data):
    n = len(keys)
    hashes = np.array(
        data.draw(st.lists(st.integers(0, 2**hash_bits - 1), min_size=n, max_size=n, unique=True)),
        dtype=np.uint64,
    )
    keys, count = np.array(keys), data.draw(st.integers(0, n))
    kept = global_threshold(Blocks(keys, hashes), n, count).keep(keys, hashes)
    assert set(np.flatnonzero(kept)) == set(np.lexsort((hashes, -keys))[:count].tolist())


@given(
    keys=st.lists(st.sampled_from([-1.5, -0.0, 0.0, 2.0]) | FINITE, min_size=1, max_size=40),
    hash_bits=st.integers(6, 64),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_a_token_budget_takes_the_longest_prefix_that_fits(keys, hash_bits, data):
    n = len(keys)
    draw_hash, draw_tokens = st.integers(0, 2**hash_bits - 1), st.integers(0, 9) | st.integers(0, 2**40)
    hashes = np.array(data.draw(st.lists(draw_hash, min_size=n, max_size=n, unique=True)), dtype=np.uint64)
    tokens = np.array(data.draw(st.lists(draw_tokens, min_size=n, max_size=n)), dtype=np.int64)
    keys, order = np.array(keys), np.lexsort((hashes, -np.array(keys)))
    sums = np.cumsum(tokens[order])
    budget = data.draw(st.integers(0, int(sums[-1]) + 1) | st.sampled_from(sums.tolist()))
    fitting = int(np.searchsorted(sums, budget, side="right"))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    blocks = Blocks(keys, hashes, tokens, cuts=cuts)
    threshold = token_threshold(blocks, n, budget)
    assert blocks.passes <= 8 and threshold.count == fitting
    assert set(np.flatnonzero(threshold.keep(keys, hashes))) == set(order[:fitting].tolist())


def token_threshold(blocks, n, budget):
    """Find the cut of one stratum."""
    return token_thresholds(lambda: (Block(*block) for block in blocks()), np.array([n]), np.array([budget]))


def test_a_token_budget_that_cannot_be():
    keys, hashes = np.array([3.0, 2.0, 2.0]), np.array([5, 8, 8], dtype=np.uint64)
    tokens = np.array([4, 4, 4])
    with pytest.raises(ValueError, match=r"doc_hash 8 and equal keys.*occur twice"):
        token_threshold(Blocks(keys, hashes, tokens), 3, 9)
    with pytest.raises(ValueError, match="negative"):
        token_threshold(Blocks(keys, hashes, tokens), 3, -1)
    with pytest.raises(ValueError, match="hold 3 documents, not 4"):
        token_threshold(Blocks(keys, hashes, tokens), 4, 1)
    for bad in (np.array([4, -4, 4]), np.array([4.0, 4.0, 4.0]), np.array([4, 4])):
        with pytest.raises(ValueError, match="as many tokens, not negative, as its 3 keys"):
            token_threshold(lambda bad=bad: [(keys, hashes, bad)], 3, 9)


def test_few_passes_and_constant_memory():
    draw = np.random.default_rng(0)
    keys, hashes = draw.standard_normal(200_000), draw.integers(0, 2**64, 200_000, dtype=np.uint64)
    blocks = Blocks(keys, hashes, cuts=range(1000, 200_000, 1000))
    threshold = global_threshold(blocks, 200_000, 40_000)
    assert blocks.passes <= 4 and threshold.keep(keys, hashes).sum() == 40_000
    assert sys.getsizeof(threshold) < 200  # the cut is two numbers, whatever the corpus
    same = Blocks(np.ones(1000), hashes[:1000])
    assert global_threshold(same, 1000, 300).keep(np.ones(1000), hashes[:1000]).sum() == 300
    assert same.passes <= 8


def test_everything_and_nothing():
    keys, hashes = np.array([1.0, -1e308]), np.array([0, 2**64 - 1], dtype=np.uint64)
    assert global_threshold(Blocks(keys, hashes), 2, 2).keep(keys, hashes).all()
    assert not global_threshold(Blocks(keys, hashes), 2, 0).keep(keys, hashes).any()
    assert global_threshold(Blocks(keys[:0], hashes[:0]), 0, 0).count == 0


def test_a_repeated_document_at_the_cut_is_refused_and_elsewhere_is_not():
    keys, hashes = np.array([3.0, 2.0, 2.0, 1.0]), np.array([5, 8, 8, 9], dtype=np.uint64)
    with pytest.raises(ValueError, match=r"doc_hash 8 and equal keys.*occur twice"):
        global_threshold(Blocks(keys, hashes), 4, 2)
    for count in (1, 3):
        assert global_threshold(Blocks(keys, hashes), 4, count).keep(keys, hashes).sum() == count


def test_bad_input_is_refused():
    keys, hashes = np.array([1.0, 2.0]), np.array([1, 2], dtype=np.uint64)
    one_cut = Threshold(np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.ones(1, np.int64))
    with pytest.raises(ValueError, match="cannot keep 3 of 2"):
        global_threshold(Blocks(keys, hashes), 2, 3)
    with pytest.raises(ValueError, match="hold 2 documents, not 5"):
        global_threshold(Blocks(keys, hashes), 5, 3)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="row 1 of a block has"):
            global_threshold(Blocks(np.array([1.0, bad]), hashes), 2, 1)
    with pytest.raises(ValueError, match="uint64"):
        one_cut.keep(keys, hashes.astype(np.int64))
    with pytest.raises(ValueError, match="as many"):
        one_cut.keep(keys[:1], hashes)
