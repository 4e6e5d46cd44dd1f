"""What every module of a sampler keeps to, and what the graph refuses of one that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets import samplers
from curation_assets.config.profile import Profile
from curation_assets.config.registry import MODULES, SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.build import scores
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Column, Sampler
from curation_assets_tests.conftest import make_current
from curation_assets_tests.making import load

HEAVY = {"torch", "transformers", "dagster", "faiss", "polars", "sentence_transformers"}


@pytest.mark.process
def test_listing_the_samplers_imports_nothing_large() -> None:
    code = "import sys; from curation_assets.config.registry import SAMPLERS; list(SAMPLERS); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.process
def test_what_a_module_may_import_does_not_look_for_the_samplers() -> None:
    """Else a module that imports it would be looked for while it is being loaded, and be left out."""
    modules = [f"samplers.{p.stem}" for p in Path(samplers.__path__[0]).glob("*.py") if p.stem != "products"]
    modules += ["common.drawing.styles", "common.drawing.charts", "report.inputs", "engine.context"]
    lines = [f"import curation_assets.{name}" for name in sorted(modules)]
    code = "\n".join(
        [*lines, "from curation_assets.config.registry import SAMPLERS; print('_made' in vars(SAMPLERS))"]
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]


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
        (lambda n: np.zeros(n), "sampler random returned ndarray; it should be a dict of columns by name"),
        (lambda n: None, "sampler random returned NoneType"),
        (lambda n: {"score": None}, "sampler random: score is no column of its type"),
        (lambda n: {"score": np.zeros((n, 2))}, "sampler random: score is no column of its type"),
        (lambda n: {"score": ["high"] * n}, "sampler random: score is no column of its type"),
        (lambda n: {"score": pa.array([None] * n, pa.float64())}, "has the score nan"),
        (lambda n: {"score": np.r_[np.zeros(n - 1), np.nan]}, "has the score nan"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(tiny: Profile, tmp_path: Path, found: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        _scored(tiny, lambda state, documents, progress: found(len(documents)), tmp_path)


@pytest.mark.parametrize("values", [lambda n: [0.5] * n, lambda n: np.zeros((n, 2)), lambda n: ["many"] * n])
def test_a_column_of_another_type_is_refused(tiny: Profile, tmp_path: Path, values: Any) -> None:
    def score(state: Any, documents: Documents, progress: Any) -> Any:
        return {"score": documents.hashes % 97, "length": values(len(documents))}

    with pytest.raises(ValueError, match=r": sampler random: length is no column of its type: "):
        _scored(tiny, score, tmp_path, columns={"length": Column("int64", "Characters")})


def test_columns_are_written_as_they_are_declared(tiny: Profile, tmp_path: Path) -> None:
    """Names that the builder uses itself are no exception."""
    names = ("shard", "folder", "context")

    def score(state: Any, documents: Documents, progress: Any) -> Any:
        return {"score": documents.hashes % 97, **dict.fromkeys(names, np.ones(len(documents)))}

    table = _scored(tiny, score, tmp_path, columns=dict.fromkeys(names, Column("int16", "One")))
    assert [str(table.schema.field(name).type) for name in names] == ["int16"] * 3


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ({"score": Column("int64", "x")}, "every table of scores has a column 'score'"),
        ({"source_row": Column("int64", "x")}, "every table of scores has a column 'source_row'"),
        ({"n": Column("integer", "x")}, "column 'n' has no type 'integer'"),
        ({"n": "int64: x"}, "column 'n' must be a Column"),
    ],
)
def test_a_column_that_there_cannot_be_is_refused(column: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sampler(name="x", family="x", technique="top_k", description="x", score=len, columns=column)


def test_a_part_with_a_bad_score_is_not_kept(tiny: Profile, tmp_path: Path) -> None:
    """What is wrong is made anew by the next run, once the sampler is mended."""
    asked: list[int] = []

    def score(state: Any, documents: Documents, progress: Any) -> Any:
        asked.append(documents.rows.start)
        return {
            "score": np.where(
                asked.count(7) == 1 and documents.rows.start == 7, np.nan, documents.hashes % 97
            )
        }

    with pytest.raises(ValueError, match=r"\(row 7\) has the score nan"):
        _scored(tiny, score, tmp_path, part=lambda state: 7)
    (tmp_path / "out").rmdir()
    table = _scored(tiny, score, tmp_path, part=lambda state: 7)
    assert asked[:3] == [0, 7, 7] and np.isfinite(table["score"].to_numpy()).all()


def test_in_parts_it_is_given_every_document_once(tiny: Profile, tmp_path: Path) -> None:
    given: list[int] = []

    def found(state: Any, documents: Documents, progress: Any) -> Any:
        assert len(documents.texts) == len(documents.hashes) == len(documents) <= 7
        given.append(len(documents))
        return {"score": documents.hashes % 97, "length": [len(text) for text in documents.texts]}

    table = _scored(
        tiny, found, tmp_path, part=lambda state: 7, columns={"length": Column("int64", "Characters")}
    )
    assert sum(given) == len(table) and len(given) > 1
    assert table["score"].to_pylist() == [float(h % 97) for h in table["doc_hash"].to_pylist()]
    assert table.column_names == ["doc_id", "doc_hash", "source_row", "score", "length"]
