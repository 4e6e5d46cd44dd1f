import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.common.auc import auc, length_controlled_auc


def brute(scores, labels):
    """By the definition: every pair, and DeLong's structural components."""
    positive, negative = scores[labels], scores[~labels]
    pairs = np.array([[(a > b) + (a == b) / 2 for b in negative] for a in positive])
    error = np.sqrt(
        pairs.mean(axis=1).var(ddof=1) / len(positive) + pairs.mean(axis=0).var(ddof=1) / len(negative)
    )
    return pairs.mean(), error


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=4, max_size=40))
def test_it_is_the_share_of_pairs_in_order_with_the_variance_of_delong(rows):
    scores, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if min(labels.sum(), (~labels).sum()) < 2:
        return
    np.testing.assert_allclose(auc(scores, labels), brute(scores, labels), atol=1e-12)
    assert auc(-scores, labels)[0] == pytest.approx(1 - auc(scores, labels)[0])
    assert auc(scores**3, labels.astype(int)) == auc(scores, labels)


def test_the_standard_error_is_the_spread_over_samples():
    rng = np.random.default_rng(0)
    labels = np.arange(300) < 100
    drawn = np.array([auc(np.round(rng.normal(size=300) + labels, 1), labels) for _ in range(400)])
    assert drawn[:, 0].std() == pytest.approx(drawn[:, 1].mean(), rel=0.12)
    covered = np.abs(drawn[:, 0] - 0.7602) < 1.96 * drawn[:, 1]
    assert 0.92 < covered.mean() < 0.98


def test_what_cannot_be_said_is_nan():
    assert np.isnan(auc(np.arange(3), np.ones(3))).all()
    value, error = auc(np.arange(3), np.array([0, 0, 1]))
    assert value == 1 and np.isnan(error)
    assert np.isnan(length_controlled_auc(np.arange(4), np.array([0, 0, 1, 1]), np.array([1, 1, 9, 9]))).all()


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, np.nan], [0, 1], "1 of 2 scores are NaN"),
        ([0.1, 0.2], [0, 2], "labels are 0 and 1"),
        ([0.1, 0.2], [0, 1, 1], "one label per score"),
    ],
)
def test_bad_input_is_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        auc(np.array(scores), np.array(labels))


def test_length_itself_says_nothing_at_equal_length_and_quality_still_does():
    rng = np.random.default_rng(1)
    labels = rng.random(4000) < 0.4
    lengths = np.exp(rng.normal(6, 1, 4000) + labels)
    quality = rng.normal(size=4000) + labels
    assert auc(lengths, labels)[0] > 0.74
    value, error = length_controlled_auc(np.log(lengths) + rng.normal(size=4000) / 9, labels, lengths)
    assert value == pytest.approx(0.5, abs=0.04) and error < 0.02
    value, error = length_controlled_auc(quality, labels, lengths)
    assert value == pytest.approx(0.76, abs=3 * error)
    assert auc(quality, labels)[1] < error < 2 * auc(quality, labels)[1]


def test_the_controlled_auc_is_the_weighted_mean_of_its_strata():
    rng = np.random.default_rng(2)
    labels, lengths = rng.random(90) < 0.5, np.repeat([10, 20, 30], 30)
    scores = rng.integers(0, 5, 90)
    parts = [brute(scores[lengths == n], labels[lengths == n]) for n in (10, 20, 30)]
    m = np.array([labels[lengths == n].sum() for n in (10, 20, 30)])
    weights = m * (30 - m) / 30
    expected = (
        sum(w * p[0] for w, p in zip(weights, parts, strict=True)) / weights.sum(),
        np.sqrt(sum((w * p[1]) ** 2 for w, p in zip(weights, parts, strict=True))) / weights.sum(),
    )
    assert length_controlled_auc(scores, labels, lengths) == pytest.approx(expected)
