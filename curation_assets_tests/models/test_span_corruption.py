"""Span corruption against T5's published rule, hand-made cases, and its own inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.models.span_corruption import (
    batch_keys,
    corrupt,
    corrupt_padded,
    corrupted_lengths,
    document_keys,
    lengths,
    mix,
    noise_counts,
    noise_mask,
)
from curation_assets_tests.models.one_document import corrupt_document

EOS, SENTINEL = 1, 999


def restore(inputs, targets, eos=EOS, first=SENTINEL):
    """Put the target spans back in place of their sentinels."""
    assert inputs[-1] == eos
    assert targets[-1] == eos
    spans, current = {}, None
    for token in targets[:-1]:
        if first - 100 < token <= first:
            current = spans.setdefault(int(token), [])
        else:
            current.append(int(token))
    out = []
    for token in inputs[:-1]:
        out.extend(spans.pop(int(token)) if first - 100 < token <= first else [int(token)])
    assert not spans
    return out


def test_lengths_are_those_of_t5():
    assert lengths(512) == (568, 114)
    assert lengths(256) == (284, 58)
    assert lengths(128) == (141, 29)


@pytest.mark.parametrize("input_length", [3, 4, 5, 6, 7, 8, 9, 31, 64, 100, 511, 512, 513, 1024])
@pytest.mark.parametrize(("density", "mean_span"), [(0.15, 3.0), (0.5, 10.0), (0.15, 8.0), (0.3, 5.0)])
def test_raw_tokens_corrupt_to_exactly_the_wanted_lengths(input_length, density, mean_span):
    raw, n_targets = lengths(input_length, density, mean_span)
    keys = batch_keys(0, 0, np.arange(4))
    tokens = np.arange(4 * raw).reshape(4, raw) + 2000
    mask = noise_mask(keys, raw, density, mean_span)
    inputs, targets = corrupt(tokens, mask, eos=EOS, first_sentinel=SENTINEL)
    assert inputs.shape == (4, input_length)
    assert targets.shape == (4, n_targets)
    assert corrupted_lengths(raw + 1, density, mean_span)[0] > input_length, "a longer sequence would fit"


def test_a_hand_made_case():
    tokens = np.array([[10, 11, 12, 13, 14, 15, 16, 17], [20, 21, 22, 23, 24, 25, 26, 27]])
    mask = np.array([[0, 0, 1, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 1, 1]], bool)
    inputs, targets = corrupt(tokens, mask, eos=1, first_sentinel=32099)
    assert inputs.tolist() == [[10, 11, 32099, 14, 15, 16, 32098, 1], [20, 32099, 22, 23, 24, 25, 32098, 1]]
    assert targets.tolist() == [[32099, 12, 13, 32098, 17, 1], [32099, 21, 32098, 26, 27, 1]]


def test_short_sequences():
    assert [a.tolist() for a in corrupt_document([], 5, eos=1, first_sentinel=9)] == [[1], [1]]
    assert [a.tolist() for a in corrupt_document([4], 5, eos=1, first_sentinel=9)] == [[9, 1], [9, 4, 1]]
    assert [a.tolist() for a in corrupt_document([4, 5], 5, eos=1, first_sentinel=9)] == [
        [4, 9, 1],
        [9, 5, 1],
    ]
    inputs, targets = corrupt_document([4, 5, 6], 5, eos=1, first_sentinel=9)
    assert [inputs.tolist(), targets.tolist()] == [[4, 5, 9, 1], [9, 6, 1]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=8),
    st.integers(0, 2**64 - 1),
    st.sampled_from([(0.15, 3.0), (0.5, 3.0), (0.9, 4.0)]),
)
def test_masks_obey_the_rule_and_corruption_inverts(sizes, seed, rule):
    density, mean_span = rule
    keys = mix(seed, np.arange(len(sizes)))
    n = np.array(sizes)
    mask = noise_mask(keys, n, *rule)
    noise, spans = noise_counts(n, density, mean_span)
    width = n.max()
    assert mask.shape == (len(n), width)
    assert not (mask & (np.arange(width) >= n[:, None])).any()
    assert (mask.sum(axis=1) == noise).all()
    starts = mask & ~np.pad(mask, ((0, 0), (1, 0)))[:, :-1]
    assert (starts.sum(axis=1) == spans).all()
    for row, length in zip(mask, n, strict=True):
        if length > 1:
            assert not row[0]
            assert row[length - 1]

    tokens = np.random.default_rng(0).integers(2, 800, mask.shape)
    inputs, n_in, targets, n_out = corrupt_padded(tokens, mask, n, eos=EOS, first_sentinel=SENTINEL)
    expected = corrupted_lengths(n, density, mean_span)
    assert (n_in == expected[0]).all()
    assert (n_out == expected[1]).all()
    for i, length in enumerate(n):
        assert restore(inputs[i, : n_in[i]], targets[i, : n_out[i]]) == tokens[i, :length].tolist()
        assert (inputs[i, n_in[i] :] == 0).all()


def test_noise_counts_follow_t5_for_every_length():
    n = np.arange(2, 1300)
    noise, spans = noise_counts(n)
    for length, a, b in zip(n.tolist(), noise.tolist(), spans.tolist(), strict=True):
        tokens = min(max(round(length * 0.15), 1), length - 1)
        assert (a, b) == (tokens, max(round(tokens / 3), 1))


def test_a_mask_depends_on_its_own_key_and_length_alone():
    keys = document_keys(np.arange(20, dtype=np.uint64), 0, 3)
    n = np.arange(20) * 7 + 1
    together = noise_mask(keys, n)
    for i in (0, 5, 19):
        assert np.array_equal(noise_mask(keys[i : i + 1], n[i])[0], together[i, : n[i]])
    assert not np.array_equal(
        noise_mask(document_keys(np.uint64(9), 0, 3), 100), noise_mask(document_keys(np.uint64(9), 1, 3), 100)
    )
    first, again = (corrupt_document(np.arange(50), 9, 1, 3, eos=1, first_sentinel=999) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    mask = noise_mask(document_keys(np.uint64(9), 1, 3), 50)
    assert np.array_equal(first[0], corrupt(np.arange(50)[None], mask, eos=1, first_sentinel=999)[0][0])


def test_segmentations_are_uniform():
    # 20 tokens: 3 noise tokens make one span; density 0.5, mean 5: 10 noise in 2 spans, 9 * 9 equally likely masks.
    mask = noise_mask(mix(1, np.arange(40_000)), 20, 0.5, 5.0)
    patterns, counts = np.unique(np.packbits(mask, axis=1), axis=0, return_counts=True)
    assert len(patterns) == 81
    expected = 40_000 / 81
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 124.8, "the 99.9 % point of chi-square with 80 degrees of freedom"


def test_the_mean_share_and_span_are_those_asked_for():
    mask = noise_mask(batch_keys(0, 0, np.arange(100)), 568)
    assert mask.mean() == pytest.approx(85 / 568)
    starts = (mask[:, 1:] & ~mask[:, :-1]).sum()
    assert mask.sum() / starts == pytest.approx(85 / 28)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="only 100 sentinels"):
        corrupt(np.arange(404)[None], np.arange(404)[None] % 4 == 3, eos=1, first_sentinel=999)
    with pytest.raises(ValueError, match="sentinels"):
        lengths(2048)
    with pytest.raises(ValueError, match="at least 3"):
        lengths(2)
    with pytest.raises(ValueError, match="density"):
        noise_counts(10, 1.0)
    with pytest.raises(ValueError, match="mean_span"):
        noise_counts(10, 0.15, 0.5)
    with pytest.raises(ValueError, match="differ"):
        corrupt(np.zeros((2, 4), int), np.array([[0, 0, 0, 1], [0, 0, 1, 1]], bool), eos=1, first_sentinel=9)
    with pytest.raises(ValueError, match="alike"):
        corrupt(np.zeros((2, 4), int), np.zeros((2, 3), bool), eos=1, first_sentinel=9)


def test_keys_are_pinned():
    """A change of the hash would silently change every mask, and so every score."""
    assert mix(1, 2, 3).tolist() == [12799061345140080112]
    assert np.flatnonzero(noise_mask(document_keys(np.uint64(42), 0, 0), 60)[0]).tolist() == [
        26,
        34,
        35,
        36,
        37,
        38,
        39,
        58,
        59,
    ]
