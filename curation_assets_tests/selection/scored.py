"""A small corpus that several samplers have scored, made without Dagster: the steps themselves, but for models.

Embeddings count the letters of a text; perplexity and Ask-LLM scores are made up. Everything else is what the graph makes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import write_json
from curation_assets.common.progress import Progress
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Builder, BuildOne, Metadata, Workspace
from curation_assets.samplers import cluster_sample, clusters, density, semdedup
from curation_assets.samplers.build import scores, write_scores
from curation_assets.selection.build import subset
from curation_assets_tests.conftest import TINY, stdlib_texts, write_shard
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import commit, load, materialize

SCORED = ["random", "density", "semdedup", "perplexity_small", "ask_llm_small"]
DRAWN = ["random", "density", "semdedup"]
_LETTERS = 26
_HOME: list[Path] = []


def write_corpus(home: Path) -> None:
    """Write three shards with repeats across them, near-duplicates, ids of several texts, and rows that go to quarantine."""
    texts = stdlib_texts()
    parts = [texts[number::4] for number in range(3)]
    parts[1] += [parts[0][2], parts[0][7]]  # documents of an earlier shard
    parts[1] += [(parts[0][4][0], "A text of its own under an id of the first file.")]
    parts[2] += [parts[0][2], *((f"again.{name}", text) for name, text in parts[1][:4])]
    for number, rows in enumerate(parts):
        write_shard(home / "shards" / f"s{number}.jsonl", rows)
    with (home / "shards" / "s1.jsonl").open("a") as out:
        out.write(json.dumps({"id": parts[1][3][0], "text": "Another text with an id that is taken."}) + "\n")
        out.write(json.dumps({"id": parts[1][3][0], "text": parts[1][3][1]}) + "\n")
        out.write(json.dumps({"id": "broken.empty", "text": "  "}) + "\n")
        out.write('{"id": "broken.json", "text": \n')
    write_shard(home / "hq.jsonl", texts[3::4][:20])
    (home / "tiny.toml").write_text(TINY.replace("{teacher}", str(home)), "utf-8")


def _embeddings(workspace: Workspace) -> BuildOne:
    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        texts = pq.read_table(open_documents(workspace, shard), columns=["text"])["text"].to_pylist()
        x = np.array([[1e-3 + t.lower().count(chr(97 + i)) for i in range(_LETTERS)] for t in texts])
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        np.save(folder / "embeddings.npy", x.astype(np.float32))
        np.save(folder / "readable.npy", np.ones(len(x), bool))
        return {"documents": len(x), "unreadable_documents": 0, "dimensions": _LETTERS}

    return build


def _made_up(sampler: str) -> Builder:
    def load(workspace: Workspace) -> BuildOne:
        def build(shard: str, folder: Path, progress: Progress) -> Metadata:
            table = pq.read_table(open_documents(workspace, shard), columns=["n_chars", "doc_hash"])
            score = -np.sqrt(table["n_chars"].to_numpy()).round()  # with ties
            if sampler.startswith("perplexity"):
                more = {"target_tokens": pa.array(table["n_chars"].to_numpy() // 30, pa.int32())}
            else:
                more = {"cut": pa.array(score < -30), "flags": pa.array((score < -35) * 2, pa.uint8())}
            return write_scores(workspace, shard, folder, score / 7, more)

        return build

    return load


def _nothing(workspace: Workspace) -> BuildOne:
    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        write_json(folder / "made_up.json", {})
        return {}

    return build


BUILDERS: dict[str, Builder] = {
    **CORPUS,
    "corpus/embeddings": _embeddings,
    "density/bits": density.bits,
    "density/shard_sketch": density.shard_sketch,
    "density/sketch": density.sketch,
    "clusters/sample_share": cluster_sample.share,
    "clusters/sample": cluster_sample.sample,
    "clusters/centroids": clusters.centroids,
    "clusters/assignments": clusters.assignments,
    "semdedup/vectors": semdedup.sort_vectors,
    "semdedup/neighbours": semdedup.neighbours,
    "perplexity_small/model": _nothing,
    "ask_llm_small/model": _nothing,
    **{f"{name}/scores": scores(SAMPLERS[name]) for name in ("random", "density", "semdedup")},
    **{f"{name}/scores": _made_up(name) for name in ("perplexity_small", "ask_llm_small")},
    **{f"{name}/subset": subset(SAMPLERS[name]) for name in DRAWN},
}
"""In the order in which they are made."""


def make(workspace: Workspace, key: str, *partitions: str) -> None:
    """Make partitions of a step current, or all of them."""
    step = STEPS[key]
    for partition in partitions or workspace.partitions(step.by):
        materialize(workspace, step, partition, lambda inputs: load(BUILDERS[key], workspace, step))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The workspace with all of BUILDERS made; to look at only."""
    if not _HOME:
        _HOME.append(tmp_path_factory.mktemp("scored"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
            _make_all(_HOME[0], patch)
    with pytest.MonkeyPatch.context() as patch:
        yield open_workspace(_HOME[0], patch)


def copied(to: Path, patch: pytest.MonkeyPatch) -> Workspace:
    """Return a copy of all that `made` has, its corpus included, to change things in."""
    shutil.copytree(_HOME[0], to)
    return open_workspace(to, patch)


def open_workspace(home: Path, patch: pytest.MonkeyPatch) -> Workspace:
    """Open what lies below `home`."""
    patch.setenv("CURATION_DATA", str(home / "data"))
    return Workspace(load_profile(home / "tiny.toml"))


def _make_all(home: Path, patch: pytest.MonkeyPatch) -> None:
    write_corpus(home)
    workspace = open_workspace(home, patch)
    for key in ("full_data/checkpoint", "judge/checkpoint"):
        with workspace.store.staged() as folder:
            write_json(folder / "made_up.json", {})
            commit(workspace, folder, Receipt(key, "small", "v", "v", "c", {}, "", {}))
    for key in BUILDERS:
        make(workspace, key)
