"""What every module of a sampler keeps to, and what the graph refuses of one that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.config.profile import Profile
from curation_assets.config.registry import MODULES, SAMPLERS
from curation_assets.engine.context import load
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.build import scores
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Sampler
from curation_assets_tests.conftest import make_current

HEAVY = {"torch", "transformers", "dagster", "faiss", "polars", "sentence_transformers"}


@pytest.mark.process
def test_listing_the_samplers_imports_nothing_large() -> None:
    code = "import sys; from curation_assets.config.registry import SAMPLERS; list(SAMPLERS); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.process
@pytest.mark.parametrize("line", MODULES)
def test_each_can_be_imported_first(line: str) -> None:
    """In whatever order modules are imported, the registry and the graph come out whole."""
    code = (
        f"import {line.partition(':')[0]}\nfrom curation_assets.engine.graph import STEPS\nprint(len(STEPS))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) == len(STEPS)


def test_what_a_sampler_brings_is_in_the_graph_as_it_is() -> None:
    for sampler in SAMPLERS.values():
        for step in sampler.steps:
            assert STEPS[step.key] is step


def _scored(tiny: Profile, found: Any, tmp_path: Path, **more: Any) -> Any:
    """Let a sampler in place of `random` return something for the first corpus file."""
    sampler = Sampler(
        name="random",
        family="x",
        technique="top_k",
        description="x",
        score=lambda *given: found(*given),
        **more,
    )
    workspace = Workspace(tiny)
    make_current(workspace, "corpus/documents")
    shard, folder = workspace.shards()[0], tmp_path / "out"
    folder.mkdir()
    load(scores(sampler), workspace, STEPS["random/scores"])(shard, folder, lambda *told: None)
    return pq.read_table(folder / "scores.parquet")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (
            lambda n: {"score": np.zeros(n), "more": np.zeros(n)},
            "returned the columns more, score; it should be score",
        ),
        (lambda n: {}, "returned the columns ; it should be score"),
        (lambda n: {"score": np.zeros(n - 1)}, "values of score for"),
        (lambda n: {"score": np.r_[np.zeros(n - 1), np.nan]}, "has the score nan"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(tiny: Profile, tmp_path: Path, found: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        _scored(tiny, lambda state, documents, progress: found(len(documents)), tmp_path)


def test_in_parts_it_is_given_every_document_once(tiny: Profile, tmp_path: Path) -> None:
    given: list[int] = []

    def found(state: Any, documents: Documents, progress: Any) -> Any:
        assert len(documents.texts) == len(documents.hashes) == len(documents) <= 7
        given.append(len(documents))
        return {"score": documents.hashes % 97, "length": [len(text) for text in documents.texts]}

    table = _scored(tiny, found, tmp_path, part=lambda state: 7, columns={"length": "int64: Characters"})
    assert sum(given) == len(table) and len(given) > 1
    assert table["score"].to_pylist() == [float(h % 97) for h in table["doc_hash"].to_pylist()]
    assert table.column_names == ["doc_id", "doc_hash", "source_row", "score", "length"]
