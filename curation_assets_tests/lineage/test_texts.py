"""Which documents are read where they are drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.lineage.texts import shuffle_keys
from curation_assets.selection.keys import selection_keys

HASHES = (np.arange(50_000, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


def test_a_random_order_of_a_choice_has_nothing_to_do_with_how_it_was_drawn() -> None:
    """By the noise that drew it, the documents with the lowest scores came first: the others stayed by their noise."""
    scores = np.random.default_rng(0).lognormal(size=len(HASHES))
    chosen = np.argsort(-selection_keys(HASHES, scores, "ips", seed=0))[:10_000]
    drawn = chosen[np.argsort(shuffle_keys(HASHES[chosen], 0))[:1000]]
    logs = np.log(scores)
    assert logs[drawn].mean() == pytest.approx(logs[chosen].mean(), abs=4 * logs[chosen].std() / 1000**0.5)


def test_a_seed_that_is_none_is_refused_as_it_was_given() -> None:
    with pytest.raises(ValueError, match="not -1"):
        shuffle_keys(HASHES[:1], -1)
