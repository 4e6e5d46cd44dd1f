"""Subsets at amounts of a person's own: their sizes, what lies in what, and what a change of the amounts makes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from curation_assets.common.files import read_json
from curation_assets.config.amount import of_key
from curation_assets.config.registry import RATES
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS, _has_its_share
from curation_assets.selection.what_if import what_if
from curation_assets_tests.selection.scored import DRAWN, copied, made, make
from curation_assets_tests.selection.test_build import _candidates

__all__ = ["made"]

OWN = {
    "12.5%": "12.5",
    "50 documents": "50-documents",
    "4000 tokens": "4k-tokens",
    "2.5k tokens": "2.5k-tokens",
}


@pytest.fixture
def amounts(made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy whose profile names amounts."""
    monkeypatch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
    found = copied(tmp_path / "copy", monkeypatch)
    _name(found, *OWN)
    return found


def _name(found: Workspace, *texts: str) -> None:
    run = type(found.profile.run)(**found.profile.run.model_dump() | {"amounts": list(texts)})
    found.profile = found.profile.model_copy(update={"run": run})


def test_an_amount_makes_its_own_subset_and_the_others_stay_as_they_are(amounts: Workspace) -> None:
    before = dict(amounts.receipts("random/subset"))
    assert before.keys() == set(RATES)
    keys = ["10", "12.5", *RATES[1:], "50-documents", "2.5k-tokens", "4k-tokens"]
    assert amounts.partitions("rate") == keys
    make(amounts, "random/subset")
    after = dict(amounts.receipts("random/subset"))
    assert after.keys() == set(keys) and after.items() > before.items()
    _name(amounts, "4k tokens", "16%")  # the first is written otherwise, and others are named no more
    make(amounts, "random/subset")
    last = dict(amounts.receipts("random/subset"))
    assert last.keys() - after.keys() == {"16"} and last.items() > after.items()


@pytest.mark.parametrize("sampler", DRAWN)
def test_each_amount_is_kept_in_full(amounts: Workspace, tmp_path: Path, sampler: str) -> None:
    make(amounts, f"{sampler}/subset")
    tokens = _candidates(amounts)
    kept = {key: read_json(amounts.open(f"{sampler}/subset", key) / "manifest.json") for key in OWN.values()}
    assert kept["12.5"]["documents"] == round(0.125 * len(tokens)) and kept["50-documents"]["documents"] == 50
    for key, budget in (("4k-tokens", 4000), ("2.5k-tokens", 2500)):
        assert 0 <= budget - kept[key]["tokens"] < tokens.max()
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS[f"{sampler}/subset"][check](amounts).passed, check
    for text, key in OWN.items():
        what_if(amounts, [sampler], text, folder=tmp_path / key)
        own = amounts.open(f"{sampler}/subset", key) / "subset.parquet"
        assert (tmp_path / key / "subset.parquet").read_bytes() == own.read_bytes()


def test_a_subset_of_another_size_is_noticed(amounts: Workspace) -> None:
    make(amounts, "random/subset")
    for key, other in itertools.chain(*(((key, key), (key, "80")) for key in OWN.values())):
        folder = amounts.open("random/subset", other)
        manifest = read_json(folder / "manifest.json")
        exact = _has_its_share(amounts, folder, manifest, of_key(key), manifest["documents"])
        assert exact == (key == other), (key, other)


def test_a_budget_beyond_the_corpus_fails_alone(amounts: Workspace) -> None:
    _name(amounts, "1B tokens", "30%")
    total = int(np.sum(_candidates(amounts)))
    with pytest.raises(ValueError, match=f"cannot keep 1B tokens: there are {total:,} to choose from"):
        make(amounts, "density/subset")
    assert amounts.receipt("density/subset", "1B-tokens") is None
