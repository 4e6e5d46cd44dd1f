"""Where documents that are no part of the corpus would stand in it, against what the graph says of its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.config.registry import RATES
from curation_assets.corpus.reading import left_out
from curation_assets.engine.workspace import Workspace
from curation_assets.selection.placement import Corpus
from curation_assets_tests.making import withdraw
from curation_assets_tests.selection.scored import DRAWN, copied, made

__all__ = ["made"]


def _corpus(workspace: Workspace, sampler: str) -> pa.Table:
    """Return the scores of all documents that may be chosen, with their shard and row."""
    skipped, tables = left_out(workspace), []
    for shard in workspace.shards():
        table = pq.read_table(workspace.open(f"{sampler}/scores", shard) / "scores.parquet")
        rows = np.setdiff1d(np.arange(len(table)), skipped.get(shard, []))
        table = table.select(["doc_hash", "score"]).take(pa.array(rows))
        tables.append(table.append_column("at", pa.array([f"{shard} {row}" for row in rows], pa.string())))
    return pa.concat_tables(tables)


@pytest.mark.parametrize("sampler", DRAWN)
def test_a_document_of_the_corpus_is_kept_where_the_subset_has_it(made: Workspace, sampler: str) -> None:
    table, corpus = _corpus(made, sampler), Corpus.of(made, sampler)
    assert list(corpus.cuts) == list(RATES) and not corpus.notes
    for rate, cut in corpus.cuts.items():
        subset = pq.read_table(made.open(f"{sampler}/subset", rate) / "subset.parquet")
        chosen = {
            f"{s} {r}" for s, r in zip(subset["shard"].to_pylist(), subset["row"].to_pylist(), strict=True)
        }
        assert cut is not None
        kept = cut.keeps(table["score"].to_numpy(), table["doc_hash"].to_numpy())
        assert kept.tolist() == [at in chosen for at in table["at"].to_pylist()] and kept.any()


@pytest.mark.parametrize("sampler", ["density", "perplexity_small"])
def test_percentiles_count_what_is_lower_and_half_of_what_is_equal(made: Workspace, sampler: str) -> None:
    scores = _corpus(made, sampler)["score"].to_numpy()
    asked = np.r_[
        scores[::7], scores.min() - 1, scores.max() + 1, np.median(scores) + 1e-9, scores[0], scores[0]
    ]
    expected = [100 * ((scores < one).sum() + (scores == one).sum() / 2) / len(scores) for one in asked]
    percentiles = Corpus.of(made, sampler).percentiles(asked)
    assert percentiles is not None
    np.testing.assert_allclose(percentiles, expected)


def test_what_is_not_there_is_said(made: Workspace, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    withdraw(workspace, "density/subset", "40")
    withdraw(workspace, "density/scores", workspace.shards()[0])
    corpus = Corpus.of(workspace, "density")
    assert [rate for rate, cut in corpus.cuts.items() if cut is None] == ["40"]
    assert corpus.notes[0].startswith("no one cut of density/subset at 40: it has not been drawn")
    assert corpus.percentiles(np.ones(3)) is None
