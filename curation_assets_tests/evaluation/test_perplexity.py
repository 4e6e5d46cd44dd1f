"""Perplexity of whole sets along a real run's snapshots."""

from functools import partial

import numpy as np
import pytest

from curation_assets.evaluation.perplexity import evaluate
from curation_assets.models.snapshots import read_snapshots
from curation_assets.models.t5 import load
from curation_assets.pretraining.config import RuntimeConfig
from curation_assets.pretraining.trainer import train
from curation_assets.scoring.perplexity import SpanPerplexity
from curation_assets_tests.pretraining.small_run import CONFIG, SENTINEL, documents, stream

SCORER = partial(
    SpanPerplexity, eos=1, first_sentinel=SENTINEL, window=48, device="cpu", batch_tokens=600, dtype="float32"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(CONFIG, stream(), tmp_path_factory.mktemp("run"), execution=RuntimeConfig(device="cpu"))


def test_rows_tell_the_perplexity_of_each_set_at_each_snapshot(run):
    sets = {"like training": documents(30, seed=9), "noise": documents(20, seed=4)}
    sets["noise"] = (np.random.default_rng(0).integers(2, 60, len(sets["noise"][0])), *sets["noise"][1:])
    told = []
    snapshots = [s.folder for s in read_snapshots(run.folder)]
    rows, last = evaluate(snapshots, sets, SCORER, lambda *line: told.append(line))
    assert [(r["tokens_seen"], r["task"], r["metric"]) for r in rows] == [
        (s.tokens, task, metric) for s in run.snapshots for task in sets for metric in ("perplexity", "nll")
    ]
    assert {r["task"]: r["n"] for r in rows} == {"like training": 30, "noise": 20}
    value = {(r["tokens_seen"], r["task"], r["metric"]): r["value"] for r in rows}
    first, final = run.snapshots[0].tokens, run.tokens
    assert value[final, "like training", "perplexity"] < value[first, "like training", "perplexity"]
    assert value[final, "like training", "perplexity"] < value[final, "noise", "perplexity"]

    scorer = SpanPerplexity(load(snapshots[-1]), eos=1, first_sentinel=SENTINEL, window=48, device="cpu")
    for name, (ids, offsets, hashes) in sets.items():
        nll, count = scorer.nll(np.split(ids, offsets[1:-1]), hashes)
        np.testing.assert_allclose(last[name].nll, nll, rtol=1e-5)
        assert np.array_equal(last[name].target_tokens, count)
        assert value[final, name, "perplexity"] == pytest.approx(np.exp(nll.sum() / count.sum()), rel=1e-5)
        assert value[final, name, "nll"] == pytest.approx(np.log(value[final, name, "perplexity"]))
    assert told[-1][:3] == (150, 150, "documents")


def test_empty_input_is_refused(run):
    with pytest.raises(ValueError, match="0 snapshots"):
        evaluate([], {"a": documents(2)}, SCORER)
    with pytest.raises(ValueError, match=r"empty sets \['a'\]"):
        evaluate(
            [run.snapshots[0].folder],
            {"a": (np.zeros(0), np.zeros(1, int), np.zeros(0, np.uint64))},
            SCORER,
        )
