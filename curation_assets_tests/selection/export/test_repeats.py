"""Repeats: what is said, what it means, and what holds of any choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.config.export_settings import bands, file_size
from curation_assets.selection.export.documents import kept_columns
from curation_assets.selection.export.repeats import repeats
from curation_assets.selection.keys import selection_keys

SHARES = st.lists(st.tuples(st.integers(1, 25), st.integers(4, 20)), min_size=1, max_size=4)


@settings(deadline=None)
@given(SHARES, st.lists(st.integers(-3, 3), min_size=1, max_size=80), st.integers(0, 9), st.randoms())
def test_better_documents_appear_as_often_as_their_band_says(shares, keys, seed, rng) -> None:
    said = [f"{'next' if i else 'top'} {share}% x {times / 4}" for i, (share, times) in enumerate(shares)]
    key = np.array(keys, float)
    doc_hash = np.random.default_rng(seed).permutation(np.arange(1, len(key) + 1)).astype(np.uint64)
    blocks = lambda: ((key[i : i + 7], doc_hash[i : i + 7]) for i in range(0, len(key), 7))  # noqa: E731
    found = repeats(bands(said), blocks, len(key), seed)
    times = found.times(key, doc_hash)
    assert times.min() >= 1
    order = np.lexsort((doc_hash, -key))
    start = 0
    for band in found.bands:
        stop = round(band.upto * len(key))
        mine = times[order[start:stop]]
        assert set(mine.tolist()) <= {int(np.floor(band.times)), int(np.ceil(band.times))}
        start = stop
    assert (times[order[start:]] == 1).all()
    passes = found.passes(blocks)
    assert passes == [int((times > n).sum()) for n in range(times.max())] and sum(passes) == times.sum()
    shuffled = list(range(len(key)))
    rng.shuffle(shuffled)
    assert np.array_equal(found.times(key[shuffled], doc_hash[shuffled]), times[shuffled]), (
        "whatever the order"
    )


def test_a_fraction_is_drawn_at_its_rate() -> None:
    keys = np.arange(20_000, dtype=float)
    doc_hash = (np.arange(20_000, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    found = repeats(bands(["top 100% x 1.25"]), lambda: [(keys, doc_hash)], len(keys), 0)
    assert found.times(keys, doc_hash).mean() == pytest.approx(1.25, abs=0.01)


def test_a_fraction_of_what_noise_chose_is_drawn_at_its_rate_as_well() -> None:
    doc_hash = (np.arange(50_000, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    keys = selection_keys(doc_hash, np.zeros(len(doc_hash)), "uniform", seed=0)
    best = np.argsort(-keys)[:10_000]
    found = repeats(bands(["top 50% x 1.25"]), lambda: [(keys[best], doc_hash[best])], len(best), seed=0)
    times = found.times(keys[best], doc_hash[best])
    assert times[:5_000].mean() == pytest.approx(1.25, abs=0.02) and (times[5_000:] == 1).all()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["best 10% x 2"], 'is no repeat: say "top 10% x 2"'),
        (["top 10% times 2"], "is no repeat"),
        (["next 10% x 2"], 'the first repeat begins with "top"'),
        (["top 10% x 2", "top 10% x 3"], 'each after it with "next"'),
        (["top 60% x 2", "next 50% x 2"], "40% of the chosen documents are left for it"),
        (["top 0% x 2"], "100% of the chosen"),
        (["top 10% x 0.5"], "from 1 to 100 times"),
        (["top 10% x 101"], "from 1 to 100 times"),
    ],
)
def test_what_cannot_be_repeated_gets_one_line(said: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bands(said)


def test_bands_are_said_as_they_are_read() -> None:
    said = ["top 12.5% x 2", "next 20% x 1.5"]
    assert [str(band) for band in bands(said)] == said
    assert bands(["top 10%x2"]) == bands([" top 10 % × 2.0 "])


def test_sizes() -> None:
    assert (file_size("500MB"), file_size("2GiB"), file_size(7)) == (500_000_000, 2 << 30, 7)
    for wrong in ("many", "-3MB", "0", ""):
        with pytest.raises(ValueError, match="no size of a file"):
            file_size(wrong)


def test_kept_fields_that_an_export_has_columns_for_are_called_otherwise() -> None:
    assert kept_columns(("url", "score", "id"), [""]) == ["url", "corpus_score", "corpus_id"]
    assert kept_columns(("score", "corpus_score", "x_score"), ["x_"]) == [
        "score",
        "corpus_score",
        "corpus_x_score",
    ]
    assert kept_columns(("score", "corpus_score"), [""]) == ["corpus_corpus_score", "corpus_score"]
