"""The library: its examples run, and it takes what people hold their data in."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import curation_assets
from curation_assets import api
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.docs.markdown import ROOT, of_language

TEXTS = [text for _, text in stdlib_texts()[:12]]
X = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
LIGHT = {"dagster", "torch", "transformers", "polars", "faiss", "pydantic", "datasets"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.process
def test_importing_it_is_light_and_using_it_needs_no_dagster() -> None:
    code = (
        "import sys; import curation_assets.api; before = set(sys.modules)\n"
        "from curation_assets import RaceSketch, load_scorer\n"
        "load_scorer('heuristic', 'local').score(['Water boils.'])\n"
        "print(*before); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = ({name.partition(".")[0] for name in line.split()} for line in done.stdout.splitlines())
    assert not LIGHT & before
    assert "dagster" not in after and "torch" in after


@pytest.mark.slow
def test_the_examples_are_true() -> None:
    result = doctest.testmod(api, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0 and result.attempted > 25
    without = [n for n in api._FUNCTIONS if callable(getattr(api, n)) and n[0].islower()]
    finder = doctest.DocTestFinder(recurse=False)
    shown = {name for name in without if any(t.examples for t in finder.find(getattr(api, name), name))}
    assert set(without) - shown == {"embed"}, "embed loads a model; docs/api.md has it"


def test_every_name_is_there_and_documented() -> None:
    for name in api.__all__:
        assert getattr(curation_assets, name) is getattr(api, name)
        assert getattr(api, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_it'"):
        _ = curation_assets.nothing_of_it


HOLDERS: dict[str, Callable[[list[str]], Any]] = {
    "tuple": tuple,
    "numpy": np.array,
    "numpy objects": lambda texts: np.array(texts, object),
    "arrow array": pa.array,
    "large strings": lambda texts: pa.array(texts, pa.large_string()),
    "chunked": lambda texts: pa.chunked_array([texts[:5], texts[5:]]),
    "table": lambda texts: pa.table({"text": texts}),
    "batch": lambda texts: pa.RecordBatch.from_pydict({"text": texts}),
    "polars series": pl.Series,
    "polars": lambda texts: pl.DataFrame({"text": texts}),
    "pandas series": pd.Series,
    "pandas": lambda texts: pd.DataFrame({"text": texts}),
    "dict": lambda texts: {"text": texts, "id": list(map(str, range(len(texts))))},
    "dataset": lambda texts: datasets.Dataset.from_dict({"text": texts}),
    "selected": lambda texts: datasets.Dataset.from_dict({"text": [*texts[::-1], "more"]}).select(
        range(len(texts) - 1, -1, -1)
    ),
    "dataset column": lambda texts: datasets.Dataset.from_dict({"text": texts})["text"],
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_texts_come_in_what_people_hold_them_in(holder: str) -> None:
    expected = api.heuristic(TEXTS)
    assert api.heuristic(HOLDERS[holder](TEXTS)).tolist() == expected.tolist()
    assert expected.dtype == np.float64 and len(set(expected)) > 5


LISTS = [row.tolist() for row in X]
VECTORS: dict[str, Callable[[], Any]] = {
    "lists": lambda: LISTS,
    "float16": lambda: X.astype(np.float16).astype(np.float32),
    "torch": lambda: torch.from_numpy(X),
    "arrow": lambda: pa.table({"embedding": pa.array(LISTS, pa.list_(pa.float32()))}),
    "fixed size": lambda: pa.table({"embedding": pa.array(LISTS, pa.list_(pa.float32(), 6))}),
    "sliced": lambda: pa.table({"embedding": pa.array([[0.0] * 6, *LISTS], pa.list_(pa.float32(), 6))}).slice(
        1
    ),
    "polars": lambda: pl.DataFrame({"embedding": LISTS}, schema={"embedding": pl.List(pl.Float32)}),
    "polars array": lambda: pl.DataFrame({"embedding": X}, schema={"embedding": pl.Array(pl.Float32, 6)}),
    "pandas": lambda: pd.DataFrame({"embedding": [*X]}),
    "dataset": lambda: datasets.Dataset.from_dict({"embedding": X}),
}


@pytest.mark.parametrize("holder", VECTORS)
def test_vectors_come_in_what_people_hold_them_in(holder: str) -> None:
    x = VECTORS["float16"]() if holder == "float16" else X
    expected = api.density(x, api.sketch(x, bits=4, rows=50))
    given = VECTORS[holder]()
    assert api.density(given, api.sketch(given, bits=4, rows=50)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        (lambda: api.heuristic("one text"), TypeError, "not one string"),
        (lambda: api.heuristic(["a", None]), TypeError, "row 1 is no string, but NoneType"),
        (lambda: api.heuristic({"body": ["a"]}), ValueError, "no column 'text': the columns are body"),
        (lambda: api.sketch([[1.0], [1.0, 2.0]]), ValueError, "of one length"),
        (lambda: api.sketch(pa.array([[1.0], [1.0, 2.0]])), ValueError, "of one length"),
        (lambda: api.sketch(pa.array([[1.0], None])), ValueError, "row 1 has no vector"),
        (lambda: api.sketch([1.0, 2.0]), ValueError, r"numbers \[n, dimensions\]"),
        (lambda: api.select(["a"], [1.0], "2M tokens"), ValueError, "name a share, or a number"),
        (lambda: api.select(["a"], [1.0], "2 documents"), ValueError, "cannot keep 2 documents: there are 1"),
        (lambda: api.load_scorer("semdedup_density", "local"), ValueError, "score with that"),
        (lambda: api.load_scorer("densty", "local"), ValueError, "did you mean 'density'"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[], Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        call()


def test_a_selection_takes_shares_and_numbers_and_keeps_its_promises() -> None:
    ids, scores = [f"d{n}" for n in range(50)], np.random.default_rng(1).uniform(1, 9, 50)
    mask = api.select(ids, scores, "20%", "ips", seed=3)
    assert (
        mask.sum() == 10 and (mask == api.select(pa.array(ids), pl.Series(scores), 0.2, "ips", seed=3)).all()
    )
    order = np.random.default_rng(2).permutation(50)
    assert (
        api.select([ids[i] for i in order], scores[order], "10 documents", "ips", seed=3) == mask[order]
    ).all()


def test_semdedup_and_prototypes_are_those_of_the_graph_s_functions() -> None:
    clusters = api.cluster(X, k=2)
    found = api.semdedup(
        np.concatenate([X, X[:3]]), np.r_[clusters.assignments, clusters.assignments[:3]], threshold=0.9999
    )
    assert found.keep.sum() == 12 and (found.score[~found.keep] < -0.999).all()
    scores, duplicate_of = api.semdedup_scores(X, clusters.assignments)
    mine = api.semdedup(X, clusters.assignments)
    assert mine.score.tolist() == scores.tolist() and mine.duplicate_of.tolist() == duplicate_of.tolist()
    expected = api.prototype_scores(X, clusters.centroids, clusters.assignments)
    assert api.prototypes(X, clusters).tolist() == expected.tolist()


@pytest.mark.slow
def test_a_model_of_a_source_scores_a_dataset(teacher: Path) -> None:
    rows = datasets.Dataset.from_dict({"body": TEXTS, "name": [f"n{n}" for n in range(len(TEXTS))]})
    with api.load_scorer(f"path:{teacher}", "local", column="body", ids="name") as judge:
        mapped = rows.map(judge, batched=True, batch_size=5)
        scores = judge.score(rows)
    np.testing.assert_allclose(mapped["score"], scores, rtol=1e-4)
    assert (scores < 0).all() and judge.sampler == "ask_llm_small"
    fluent = api.score(f"path:{teacher}", TEXTS, "local") - scores
    assert np.abs(fluent).max() < 1e-3
    assert pickle.loads(pickle.dumps(judge)).score(rows).tolist() == scores.tolist()
    with api.load_scorer(f"path:{teacher}", "local", perplexity=True) as model:
        assert (model.score(TEXTS) < -1).all() and model.sampler == "perplexity_small"


def test_a_scorer_is_loaded_again_only_as_it_was(teacher: Path, tmp_path: Path) -> None:
    """What a dataset has cached is of a judge with that prompt and length."""
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "local"\n[samplers.ask_llm]\nmax_tokens = 200\n', "utf-8")
    with api.load_scorer(f"path:{teacher}", mine) as judge:
        kept = pickle.dumps(judge)
    pickle.loads(kept).close()
    assert len(kept) < 1000
    mine.write_text('extends = "local"\n[samplers.ask_llm]\nmax_tokens = 201\n', "utf-8")
    with pytest.raises(
        ValueError, match=r"is not what it was: .*mine\.toml, or what it is fitted to, has changed"
    ):
        pickle.loads(kept)


@pytest.mark.slow
def test_the_examples_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    """That of a library user has 15 lines."""
    namespace: dict[str, Any] = {}
    for block in of_language(ROOT / "docs" / "api.md", "python"):
        exec(compile(block.text, block.where, "exec"), namespace)
    assert len(namespace["chosen"]) == round(0.2 * len(namespace["texts"])) > 0
