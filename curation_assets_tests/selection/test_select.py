"""The selection rule: size, ties, invariances, and the probabilities of inverse propensity sampling."""

import sys
from itertools import pairwise, permutations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curation_assets.selection as selection
from curation_assets.selection import hash_ids, select, selection_keys
from curation_assets.selection.keys import TECHNIQUES

SCORES = st.sampled_from([0.25, 1.0, 1.0, 2.0]) | st.floats(1e-3, 1e3)


@given(
    scores=st.lists(SCORES, min_size=1, max_size=60),
    rate=st.floats(0.01, 1),
    technique=st.sampled_from(TECHNIQUES),
    seed=st.integers(0, 2**64 - 1),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_exact_size_largest_keys_and_no_dependence_on_order(scores, rate, technique, seed, data):
    ids, scores = [f"d{i}" for i in range(len(scores))], np.array(scores)
    mask = select(ids, scores, rate, technique, seed)
    assert mask.dtype == bool and mask.sum() == round(rate * len(ids))
    hashes = hash_ids(ids)
    ranked = sorted(
        range(len(ids)),
        key=lambda i: (-selection_keys(hashes, scores, technique, seed)[i], hashes[i], ids[i]),
    )
    assert set(np.flatnonzero(mask)) == set(ranked[: mask.sum()])
    order = np.array(data.draw(st.permutations(range(len(ids)))))
    again = select([ids[i] for i in order], scores[order], rate, technique, seed)
    assert np.array_equal(again, mask[order])


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_choices_nest_across_rates(technique):
    ids = [f"d{i}" for i in range(2000)]
    scores = np.random.default_rng(0).gamma(1, 1, 2000).round(1) + 0.1  # with many ties
    kept = [select(ids, scores, rate, technique, 5) for rate in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert [int(m.sum()) for m in kept] == [200, 400, 800, 1200, 1600, 2000]
    assert all((small <= large).all() for small, large in pairwise(kept))


def test_every_form_of_ids_gives_the_same_choice():
    ids = [f"d{i}" for i in range(100)]
    expected = select(ids, np.ones(100), 0.3, "ips", 0)
    for form in (tuple(ids), np.array(ids), pa.array(ids), pa.chunked_array([ids[:40], ids[40:]])):
        assert np.array_equal(select(form, [1.0] * 100, 0.3, "ips", 0), expected)


def test_equal_keys_and_colliding_hashes_go_by_id(monkeypatch):
    module = sys.modules["curation_assets.selection.select"]  # the attribute of that name is the function
    monkeypatch.setattr(module, "hash_ids", lambda ids: np.full(len(ids), 7, dtype=np.uint64))
    assert select(["b", "c", "a", "B"], np.ones(4), 0.5, "top_k", 0).tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match="'c' is number 1 and 3"):
        select(["b", "c", "a", "c"], np.ones(4), 0.5, "top_k", 0)


def successive_sampling(weights: np.ndarray, draws: int) -> np.ndarray:
    """Exact inclusion probabilities of drawing without replacement in proportion to the weights left."""
    included = np.zeros(len(weights))
    for order in permutations(range(len(weights)), draws):
        probability, left = 1.0, weights.sum()
        for i in order:
            probability *= weights[i] / left
            left -= weights[i]
        included[list(order)] += probability
    return included


def test_ips_inclusion_frequencies_are_those_of_successive_sampling():
    ids, scores = [f"doc-{i}" for i in range(7)], np.array([0.2, 0.5, 1.0, 1.0, 2.0, 5.0, 20.0])
    expected = successive_sampling(1 / scores, 3)
    assert expected.sum() == pytest.approx(3)
    seeds = 2000
    found = sum(select(ids, scores, 3 / 7, "ips", seed).astype(float) for seed in range(seeds)) / seeds
    error = np.sqrt(expected * (1 - expected) / seeds)
    assert (np.abs(found - expected) < 4 * error).all()
    uniform = sum(select(ids, scores, 3 / 7, "uniform", seed).astype(float) for seed in range(seeds)) / seeds
    assert np.abs(uniform - 3 / 7).max() < 4 * np.sqrt(12 / 49 / seeds)


def test_the_number_kept_is_pythons_round():
    ids = [f"d{i}" for i in range(25)]
    assert select(ids, np.arange(25), 0.1, "top_k", 0).sum() == 2  # round(2.5) is 2
    assert select(ids[:3], np.arange(3), 0.1, "top_k", 0).sum() == 0
    assert select([], [], 0.5, "ips", 0).shape == (0,)
    assert selection.select is select  # the function, not the module of that name


def test_bad_input_is_refused():
    ids = ["a", "b", "c"]
    for rate in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            select(ids, np.ones(3), rate, "top_k", 0)
    with pytest.raises(ValueError, match="scores for"):
        select(ids, np.ones(2), 0.5, "top_k", 0)
    with pytest.raises(ValueError, match="finite: document 2 has inf"):
        select(ids, np.array([1, 2, np.inf]), 0.5, "top_k", 0)
    with pytest.raises(ValueError, match="unique: 'a' is number 0 and 2"):
        select(["a", "b", "a"], np.ones(3), 0.5, "top_k", 0)
    with pytest.raises(ValueError, match="choose one of top_k"):
        select(ids, np.ones(3), 0.5, "topk", 0)
