"""Subsets as the graph makes them: one version for each content, and what rates are shares of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import read_json, write_json
from curation_assets.config.registry import RATES
from curation_assets.corpus.reading import left_out
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.selection.candidates import token_counts
from curation_assets.selection.what_if import what_if
from curation_assets_tests.selection.scored import DRAWN, copied, made, make

__all__ = ["made"]


def test_subsets_at_five_rates_have_five_versions(made: Workspace) -> None:
    for sampler in DRAWN:
        receipts = [made.receipt(f"{sampler}/subset", rate) for rate in RATES]
        assert len({receipt.version for receipt in receipts if receipt}) == len(RATES) == 5


@pytest.mark.parametrize("key", ["random/subset", "random/checkpoint", "random/metrics", "full_data/metrics"])
def test_a_rate_or_size_is_part_of_what_is_made(made: Workspace, key: str) -> None:
    inputs = dict.fromkeys(STEPS[key].needs, "one version")
    partitions = made.partitions(STEPS[key].by)
    recipes = {STEPS[key].recipe(made.profile, inputs, partition) for partition in partitions}
    assert len(recipes) == len(partitions)


@pytest.mark.parametrize("key", ["corpus/documents", "random/scores", "density/scores"])
def test_the_name_of_a_file_is_no_part_of_what_is_made_of_it(made: Workspace, key: str) -> None:
    inputs = dict.fromkeys(STEPS[key].needs, "one version")
    assert len({STEPS[key].recipe(made.profile, inputs, name) for name in ("a.jsonl", "b.jsonl")}) == 1


@pytest.fixture
def by_tokens(made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy in which rates are shares of tokens, with the subsets made anew."""
    monkeypatch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
    found = copied(tmp_path / "copy", monkeypatch)
    selection = found.profile.selection.model_copy(update={"rate_of": "tokens"})
    found.profile = found.profile.model_copy(update={"selection": selection})
    for sampler in DRAWN:
        make(found, f"{sampler}/subset")
    return found


def _candidates(workspace: Workspace) -> np.ndarray:
    """Return the tokens of every document that may be chosen."""
    unused = left_out(workspace)
    return np.concatenate(
        [np.delete(token_counts(workspace, s), unused.get(s, [])) for s in workspace.shards()]
    )


def test_all_samplers_have_equally_many_tokens_where_rates_are_shares_of_tokens(by_tokens: Workspace) -> None:
    tokens = _candidates(by_tokens)
    documents = set()
    for rate in RATES:
        budget = round(int(rate) / 100 * tokens.sum())
        for sampler in DRAWN:
            folder = by_tokens.open(f"{sampler}/subset", rate)
            manifest, table = read_json(folder / "manifest.json"), pq.read_table(folder / "subset.parquet")
            assert manifest["rate_of"] == "tokens" and manifest["candidate_tokens"] == tokens.sum()
            assert manifest["tokens"] == sum(table["n_tokens"].to_pylist())
            assert 0 <= budget - manifest["tokens"] < tokens.max(), (sampler, rate)
            documents.add((rate, manifest["documents"]))
    assert len(documents) > len(RATES), "equal tokens are not equally many documents"
    for sampler in DRAWN:
        for check in ("exact_size", "smaller_in_larger"):
            assert INVARIANTS[f"{sampler}/subset"][check](by_tokens).passed, (sampler, check)


@pytest.mark.parametrize("sampler", DRAWN)
def test_asking_for_a_rate_is_asking_for_that_share_of_the_tokens(
    by_tokens: Workspace, tmp_path: Path, sampler: str
) -> None:
    for rate in ("10", "80"):
        what_if(by_tokens, [sampler], f"{rate}%", folder=tmp_path / rate)
        own = by_tokens.open(f"{sampler}/subset", rate) / "subset.parquet"
        assert (tmp_path / rate / "subset.parquet").read_bytes() == own.read_bytes()


def test_a_subset_that_lacks_tokens_or_has_too_many_is_noticed(by_tokens: Workspace) -> None:
    folder = by_tokens.open("random/subset", "40")
    manifest = read_json(folder / "manifest.json")
    for factor in (0.5, 1.5):
        other = manifest | {"candidate_tokens": int(factor * manifest["candidate_tokens"])}
        (folder / "manifest.json").chmod(0o644)
        write_json(folder / "manifest.json", other)
        assert not INVARIANTS["random/subset"]["exact_size"](by_tokens).passed


def test_what_rates_count_is_a_setting_of_subsets_and_of_no_score(
    by_tokens: Workspace, made: Workspace
) -> None:
    for key in ("random/scores", "density/scores"):
        assert STEPS[key].code_version(by_tokens.profile) == STEPS[key].code_version(made.profile)
    versions = Versions(made)
    assert versions.current(STEPS["random/subset"], "20")
    made_by_documents, made_by_tokens = (each.receipt("random/subset", "20") for each in (made, by_tokens))
    assert made_by_documents and made_by_tokens and made_by_documents.version != made_by_tokens.version
