"""SemDeDup: against the bare matrix product of the triangles it must compute; and as the graph does it, by groups of clusters.

A corpus of any size: python -m benchmarks.bench_semdedup '{"documents": 1000000, "shards": 500, "groups": 16}'
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.bench_density import unit_blocks
from benchmarks.harness import Row, best_seconds, figures, report_peak
from curation_assets.common.files import write_table
from curation_assets.common.progress import silent
from curation_assets.config.profile import load_profile
from curation_assets.engine.context import LoadedBuilder
from curation_assets.engine.graph import STEPS
from curation_assets.engine.materialize import materialize
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.resolved import Inputs, ResolvedWorkspace
from curation_assets.engine.staleness import Versions
from curation_assets.samplers.products import SCORING
from curation_assets.scoring.semdedup import semdedup_scores

DOCUMENTS, DIM = 20_000, 384
_COPIED = 5_000  # different documents of which copies are planted
_STEPS = ("semdedup/vectors", "semdedup/neighbours", "semdedup/scores")


@dataclass(frozen=True)
class Corpus:
    """Vectors about centres, a tenth of them copies of others; `largest` is the share that is in one cluster."""

    documents: int
    shards: int
    groups: int
    memory_mib: int = 64
    clusters: int = 0  # 0: one for 500 documents
    largest: float = 0.0

    def count(self) -> int:
        """Return the number of clusters."""
        return self.clusters or max(1, self.documents // 500)

    def shard(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return vectors, clusters and hashes of a shard."""
        draw, n = np.random.default_rng(number + 1), self.documents // self.shards
        centres = np.random.default_rng(0).standard_normal((self.count(), DIM), dtype=np.float32)
        copied = np.random.default_rng(1).standard_normal((_COPIED, DIM), dtype=np.float32)
        cluster = np.where(draw.random(n) < self.largest, 0, draw.integers(0, self.count(), n))
        x = centres[cluster] + draw.standard_normal((n, DIM), dtype=np.float32)
        of, here = draw.integers(0, _COPIED, n), draw.random(n) < 0.1
        cluster[here] = of[here] % self.count()
        x[here] = centres[cluster[here]] + copied[of[here]]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x, cluster.astype(np.int32), draw.integers(0, 2**64, n, dtype=np.uint64)


def rows() -> Iterator[Row]:
    """Speed as a share of the GEMM's for the same pairs, from one giant cluster to tiny ones; the graph's way; peak memory."""
    x = np.concatenate(list(unit_blocks(DOCUMENTS, DIM)))
    some = torch.from_numpy(x[:4096])
    per_pair = best_seconds(lambda: some @ some.T) / 4096**2
    for clusters in (1, 4, 74, 5000):  # 74 is the default for 20,000 documents
        cluster = np.random.default_rng(1).integers(0, clusters, DOCUMENTS)
        ours = best_seconds(lambda c=cluster: semdedup_scores(x, c), 2)
        sizes = np.bincount(cluster).astype(float)
        triangle = (sizes * (sizes - 1) / 2).sum() * per_pair
        note = f"{ours:.3f} s, {ours / clusters * 1e6:,.0f} us a cluster, {ours / DOCUMENTS * 1e6:.1f} us a document"
        yield Row(
            f"semdedup: speed of the triangles' GEMM, {clusters} clusters",
            triangle / ours,
            "ratio",
            None,
            note,
        )
    for documents in (20_000, 100_000):
        yield from measured(Corpus(documents, documents // 1000, documents // 5000, memory_mib=16))


def measured(corpus: Corpus) -> Iterator[Row]:
    """Seconds of each step on such a corpus, peak memory, and whether the scores are those of one process with all in one array."""
    name = f"semdedup: {corpus.documents:,} documents, {corpus.shards:,} shards, {corpus.groups} groups"
    with tempfile.TemporaryDirectory() as folder:
        made = figures("benchmarks.bench_semdedup", "--groups", folder, json.dumps(asdict(corpus)))
        whole = figures("benchmarks.bench_semdedup", "--whole", folder, json.dumps(asdict(corpus)))
    for key in _STEPS:
        yield Row(f"{name}: {key}", made[key], "s")
    yield Row(
        f"{name}: peak memory",
        made["peak_mib"],
        "MiB",
        None,
        f"{made['before']:.0f} MiB before the first step",
    )
    yield Row(
        f"{name}: largest group",
        made["largest_group"],
        "documents",
        None,
        f"cluster: {made['largest_cluster']:,.0f}",
    )
    yield Row(f"{name}: in one array", whole["seconds"], "s", None, f"{whole['peak_mib']:.0f} MiB")
    yield Row(f"{name}: scores that differ from those", whole["different"], "documents")


class _Made:
    """Artifacts as workers make them: of receipts alone, in a store of their own, and nothing else."""

    def __init__(self, folder: Path, corpus: Corpus) -> None:
        text = f'extends = "local"\nname = "bench"\n[execution]\ngroups = {corpus.groups}\n'
        (folder / "bench.toml").write_text(f"{text}group_memory_mib = {corpus.memory_mib}\n", "utf-8")
        os.environ["CURATION_DATA"] = str(folder / "data")
        self.profile, self.corpus = load_profile(folder / "bench.toml"), corpus
        self.shards = tuple(f"{number:05d}.jsonl" for number in range(corpus.shards))
        self.receipts: dict[tuple[str, str], Receipt] = {}

    def workspace(self) -> ResolvedWorkspace:
        """Return a workspace with what was made so far."""
        return ResolvedWorkspace(self.profile, Inputs(self.receipts, self.shards, {}))

    def given(self) -> None:
        """Write what SemDeDup's steps read."""
        with self._published("clusters/centroids", "", {"clusters": self.corpus.count()}):
            pass
        for number, shard in enumerate(self.shards):
            x, cluster, hashes = self.corpus.shard(number)
            row = np.arange(len(x))
            with self._published("corpus/documents", shard) as folder:
                ids = [f"{number}:{row}" for row in row]
                table = {"doc_id": ids, "doc_hash": hashes, "row": row, "text": ["a text"] * len(row)}
                write_table(folder / "documents.parquet", pa.table(table))
            with self._published("corpus/embeddings", shard) as folder:
                np.save(folder / "embeddings.npy", x)
                np.save(folder / "readable.npy", np.ones(len(row), bool))
            with self._published("clusters/assignments", shard) as folder:
                np.save(folder / "clusters.npy", cluster)

    @contextmanager
    def _published(self, key: str, partition: str, about: dict[str, Any] | None = None) -> Iterator[Path]:
        store = self.workspace().store
        with store.staged() as folder:
            yield folder
            draft = Receipt(key, partition, "", "", "", {}, "", {}, about or {})
            self.receipts[key, partition] = store.publish(folder, draft)

    def make(self, key: str) -> float:
        """Make a step, and return the seconds that this took."""
        started, step, workspace = time.perf_counter(), STEPS[key], self.workspace()
        versions = Versions(workspace)
        build = LoadedBuilder(
            next(product.build for product in SCORING if product.key == key), workspace, step
        )
        made = {
            (key, partition): materialize(versions, step, partition, build, silent, "")
            for partition in workspace.partitions(step.by)
        }
        self.receipts |= made
        return time.perf_counter() - started


def _groups(folder: Path, corpus: Corpus) -> None:
    made = _Made(folder, corpus)
    made.given()
    before = _resident()
    seconds = {key: made.make(key) for key in _STEPS}
    groups = [receipt.metadata for (key, _), receipt in made.receipts.items() if key == _STEPS[1]]
    report_peak(
        before=before,
        largest_group=max(about["documents"] for about in groups),
        largest_cluster=max(about["largest_cluster"] for about in groups),
        **seconds,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _whole(folder: Path, corpus: Corpus) -> None:
    shards = range(corpus.shards)
    parts = [corpus.shard(number) for number in shards]
    x, cluster, hashes = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    by_hash = np.argsort(hashes, kind="stable")
    x, started = x[by_hash], time.perf_counter()
    score, duplicate = semdedup_scores(x, cluster[by_hash])
    seconds = time.perf_counter() - started
    each = corpus.documents // corpus.shards
    names = np.array([f"{row // each}:{row % each}" for row in by_hash])
    paths = sorted((folder / "data" / "artifacts" / "semdedup" / "scores").glob("*/*/scores.parquet"))
    scores = pa.concat_tables([pq.read_table(path, columns=["score", "duplicate_of"]) for path in paths])
    expected = pa.array(np.where(duplicate < 0, "", names[duplicate]), pa.string())
    given = scores["duplicate_of"].fill_null("").combine_chunks().take(pa.array(by_hash))
    same = (scores["score"].to_numpy()[by_hash] == score) & (
        given.to_numpy(False) == expected.to_numpy(False)
    )
    report_peak(seconds=seconds, different=float((~same).sum()))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--groups"], ["--whole"]):
        run = _groups if sys.argv[1] == "--groups" else _whole
        run(Path(sys.argv[2]), Corpus(**json.loads(sys.argv[3])))
    elif sys.argv[1:]:
        for row in measured(Corpus(**json.loads(sys.argv[1]))):
            print(row, flush=True)
