"""Selection: a subset of ten million rows of scores, in one corpus file and in many, beside that of a tenth of them.

Also of a hybrid, and within a thousand sources.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from benchmarks.harness import Row, report_peak
from curation_assets.common.files import write_json, write_table
from curation_assets.common.hashing import splitmix64
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.repeats import REPEATS_SCHEMA
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.selection.build import subset
from curation_assets_tests.making import commit, load, materialize

DOCUMENTS, SHARDS, RATE = 10_000_000, 100, "20"
_AIM = 1024.0  # MiB
_SOURCES = 1000
_RUNS = (("perplexity_small", ""), ("density", ""), ("semdedup_density", ""), ("density", "source"))
"""Sampler, strata."""


def rows() -> Iterator[Row]:
    """Yield peak memory and seconds of one subset, at two sizes in one file and at the larger one in many."""
    for documents, shards in ((DOCUMENTS // 10, 1), (DOCUMENTS, 1), (DOCUMENTS, SHARDS)):
        with tempfile.TemporaryDirectory() as folder:
            _run(folder, "--write", documents, shards)
            for sampler, within in _RUNS:
                about = _run(folder, "--subset", sampler, within)
                name = f"{sampler}{' within ' * bool(within)}{within}: {documents:,} rows in {shards}"
                yield Row(
                    f"{name}, MiB of {_AIM:,.0f}",
                    _AIM / about["peak_mib"],
                    "x",
                    1.0,
                    f"{about['peak_mib']:,.0f} MiB",
                )
                yield Row(name, about["seconds"], "s", note=f"a subset of {RATE} %")


def _run(folder: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_selection", *map(str, arguments)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "CURATION_DATA": folder}
    )
    return {name: value for line in done.stdout.splitlines() for name, value in json.loads(line).items()}


def write(documents: int, shards: int) -> None:
    """Commit scores, tokens and an index of made-up documents with ids of 38 characters."""
    workspace = Workspace(load_profile())
    names = [f"part-{number:05}.jsonl" for number in range(shards)]
    listing = {name: {"url": name, "bytes": 1, "modified": 0} for name in names}
    with workspace.store.staged() as folder:
        write_json(folder / "shards.json", listing)
        commit(workspace, folder, _receipt("corpus/source", "", {}))
    ends = [documents * number // shards for number in range(shards + 1)]
    for name, first, last in zip(names, ends, ends[1:], strict=False):
        _write_shard(workspace, name, np.arange(first, last))
    with workspace.store.staged() as folder:
        write_table(folder / "repeats.parquet", REPEATS_SCHEMA.empty_table())
        commit(workspace, folder, _receipt("corpus/index", "", {"documents": documents}))


def _write_shard(workspace: Workspace, shard: str, numbers: np.ndarray) -> None:
    doc_hash = splitmix64(numbers.astype(np.uint64))
    draw = np.random.default_rng(int(numbers[0]))
    table = {
        "doc_id": pa.array([f"https://example.org/pages/{number:012}" for number in numbers], pa.string()),
        "doc_hash": doc_hash,
        "source_row": numbers - numbers[0],
    }
    with workspace.store.staged() as folder:
        names = pa.array([f"https://{number:03}.example.org" for number in range(_SOURCES)])
        source = names.take(pa.array(doc_hash % np.uint64(_SOURCES)))
        write_table(folder / "documents.parquet", pa.table({"doc_hash": doc_hash, "source": source}))
        commit(workspace, folder, _receipt("corpus/documents", shard, {"documents": len(numbers)}))
    for sampler, score in (
        ("perplexity_small", -draw.lognormal(3, 1, len(numbers))),
        ("density", draw.gamma(2, 1e-3, len(numbers)) + 1e-6),
        ("semdedup", -draw.beta(4, 2, len(numbers))),
    ):
        with workspace.store.staged() as folder:
            write_table(folder / "scores.parquet", pa.table({**table, "score": score}))
            about = {"documents": len(numbers)}
            commit(workspace, folder, _receipt(f"{sampler}/scores", shard, about))
    with workspace.store.staged() as folder:
        np.save(folder / "documents.ids.npy", np.zeros(2 * len(numbers), np.uint16))
        np.save(folder / "documents.offsets.npy", np.arange(len(numbers) + 1) * 2)
        commit(workspace, folder, _receipt("corpus/tokens", shard, {"tokens": 2 * len(numbers)}))


def _receipt(key: str, partition: str, metadata: dict[str, object]) -> Receipt:
    return Receipt(key, partition, "v", "r", "c", {}, "", {}, metadata)


def draw(sampler: str, within: str) -> None:
    """Make one subset, and print what that took."""
    workspace, step = Workspace(load_profile()), STEPS[f"{sampler}/subset"]
    selection = workspace.profile.selection.model_copy(update={"within": within})
    workspace.profile = workspace.profile.model_copy(update={"selection": selection})
    started = time.perf_counter()
    materialize(workspace, step, RATE, lambda inputs: load(subset(SAMPLERS[sampler]), workspace, step))
    print(json.dumps({"seconds": time.perf_counter() - started}))
    report_peak()


if __name__ == "__main__" and sys.argv[1:2] == ["--write"]:
    write(int(sys.argv[2]), int(sys.argv[3]))
if __name__ == "__main__" and sys.argv[1:2] == ["--subset"]:
    draw(sys.argv[2], sys.argv[3])
