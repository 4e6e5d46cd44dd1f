"""A workspace with a real corpus and scores that a test names: no model is trained or loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.progress import Progress
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata, Workspace
from curation_assets.samplers.build import write_scores
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

Document = tuple[str, str, str]
"""Id, text, source."""
Score = Callable[[list[str]], np.ndarray]
"""The scores of documents with some ids."""

_PROFILE = """
extends = "local"
name = "tiny"
[corpus]
url = "shards"
hq_url = "hq.jsonl"
id_field = "id"
keep_fields = ["source"]
validation_share = 0.02
[tokenizer]
vocab_size = 800
[execution]
workers = 1
"""


def texts(count: int = 60) -> list[Document]:
    """Return documents of the standard library."""
    return [(name, text, "stdlib") for name, text in stdlib_texts()[:count]]


def workspace(
    folder: Path,
    patch: pytest.MonkeyPatch,
    shards: Mapping[str, list[Document]],
    scores: Mapping[str, Score],
    store: str = "",
) -> Workspace:
    """Make the corpus of some shards {file name: documents}, and the scores of some samplers; `store` as in the profile."""
    for name, rows in {
        **{f"shards/{name}": rows for name, rows in shards.items()},
        "hq.jsonl": texts(5),
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"id": i, "text": text, "source": source}) for i, text, source in rows]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "tiny.toml").write_text(f'{_PROFILE}store = "{store}"\n', "utf-8")
    patch.setenv("CURATION_DATA", str(folder / "data"))
    patch.setenv("CURATION_PROFILE", str(folder / "tiny.toml"))
    found = Workspace(load_profile())
    wanted = {"corpus/index", *(f"{name}/scores" for name in scores)}
    for step in reversed(list(STEPS.values())):
        if step.key in wanted:
            wanted |= step.reads(found.profile).keys()
    for step in STEPS.values():
        if step.key in wanted:
            for partition in found.partitions(step.by) if step.by != "shard" else found.listed():
                materialize(found, step, partition, lambda inputs, step=step: _builder(found, step, scores))
    return found


def _builder(found: Workspace, step: Step, scores: Mapping[str, Score]) -> BuildOne:
    if step.key in CORPUS:
        return load(CORPUS[step.key], found, step)
    sampler, end = step.key.split("/")

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        if end != "scores":  # a model that nobody will open
            (folder / "made").write_text(step.key, "utf-8")
            return {}
        documents = open_documents(found, partition)
        ids = pq.read_table(documents, columns=["doc_id"])["doc_id"].to_pylist()
        return write_scores(found, partition, folder, np.asarray(scores[sampler](ids), np.float64), {})

    return build
