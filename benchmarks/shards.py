"""Many small corpus files, end to end up to the subsets: what each step costs a file, and what it holds, against fewer files.

    python -m benchmarks.shards --shards 2000 --fewer 200 --corpus FOLDER

Files have equally many documents, since a corpus that grows has more files: what a file costs is to stay as it is. Each
step is made in a process of its own, checks included, forked from one that has imported everything: so its processor time
and its peak are its own. Models are tiny, and come from folders: nothing is trained. `--made-up` draws the embeddings, `--dagster`
makes each step as `curation run` does, with its events, `--profiled STEP,...` says where the time of the larger one goes.
"""

from __future__ import annotations

import argparse
import cProfile
import importlib
import json
import multiprocessing
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq

from benchmarks.bench_embeddings import _texts
from benchmarks.harness import peak
from curation_assets.common.progress import Progress
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.discover import find_files
from curation_assets.corpus.documents import parse_shard
from curation_assets.corpus.reading import open_documents
from curation_assets.defs import materializing
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.context import Context
from curation_assets.engine.driver import Blocked, bring_up_to_date
from curation_assets.engine.executors import Failed
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import everything
from curation_assets.engine.workspace import BuildOne, Metadata, Workspace
from curation_assets.models import t5
from curation_assets.models.tokenizer import train_tokenizer
from curation_assets.products import CHECKED_WITH as CHECKED_WITH
from curation_assets.products import CHECKS as CHECKS
from curation_assets.products import PRODUCTS as ALL
from curation_assets_tests.models.small_models import save_teacher

_PROFILE = """
extends = "local"
name = "shards"
[corpus]
url = "{corpus}"
hq_url = ""
id_field = ""
keep_fields = []
[tokenizer]
vocab_size = 800
training_documents = 500
[embeddings]
max_tokens = 16
windows = 1
[run]
samplers = {samplers}
[execution]
device = "cpu"
workers = 1
[samplers.perplexity.models]
{perplexity}
[samplers.ask_llm.models]
{ask_llm}
"""
_DEFAULT = "random,density,semdedup,prototypes,perplexity_small,ask_llm_small"
_DIMENSIONS = 64
_IMPORTED = ("curation_assets.products", "faiss", "polars", "sentence_transformers", "torch", "transformers")


@dataclass(frozen=True)
class Cost:
    """What a step took: seconds of processor time, and the peak of its process's memory in MiB."""

    cpu: float
    peak: float


def _embeddings(context: Context) -> BuildOne:
    """Draw unit vectors."""

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        with pq.ParquetFile(open_documents(context, shard)) as file:
            n = file.metadata.num_rows
        x = np.random.default_rng([*shard.encode()]).standard_normal((n, _DIMENSIONS), np.float32)
        np.save(folder / "embeddings.npy", x / np.linalg.norm(x, axis=1, keepdims=True))
        np.save(folder / "readable.npy", np.ones(n, bool))
        return {"documents": n, "unreadable_documents": 0, "dimensions": _DIMENSIONS}

    return build


PRODUCTS = [
    replace(product, build=_embeddings) if product.key == "corpus/embeddings" else product for product in ALL
]
"""The products, with embeddings that are made up."""


def main() -> None:
    """Measure both, and print one line a step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=2_000)
    parser.add_argument("--fewer", type=int, default=200)
    parser.add_argument("--documents", type=int, default=8, help="of a file")
    parser.add_argument(
        "--corpus", default="", help="where documents are taken from; empty for Python's manual"
    )
    parser.add_argument("--samplers", default=_DEFAULT, help='separated by commas; "all" for all of them')
    parser.add_argument("--made-up", action="store_true", help="draw embeddings")
    parser.add_argument("--dagster", action="store_true", help="with Dagster's events")
    parser.add_argument("--profiled", default="", help="steps to profile, separated by commas")
    options = parser.parse_args()
    samplers = [*SAMPLERS] if options.samplers == "all" else options.samplers.split(",")
    for module in _IMPORTED:
        importlib.import_module(module)
    costs = []
    for count in (options.fewer, options.shards):
        with tempfile.TemporaryDirectory() as name:
            profile = _written(Path(name), count, options.documents, options.corpus, samplers)
            costs.append({key: _cost(key, options) for key in _keys(profile)})
    few, many = costs
    print(
        f"{'':<28} ms of CPU a file: {options.fewer:,} files, {options.shards:,}, ratio; MiB at most: of both"
    )
    for key in few:
        _print(key, few[key], many[key], options)
    _print("all", _all(few), _all(many), options)


def _all(costs: dict[str, Cost]) -> Cost:
    return Cost(sum(cost.cpu for cost in costs.values()), max(cost.peak for cost in costs.values()))


def _print(name: str, few: Cost, many: Cost, options: argparse.Namespace) -> None:
    before, after = 1000 * few.cpu / options.fewer, 1000 * many.cpu / options.shards
    print(
        f"{name:<28} {before:9.1f} {after:9.1f} {after / before:7.2f}   {few.peak:7.0f} {many.peak:7.0f}",
        flush=True,
    )


def _written(folder: Path, shards: int, documents: int, corpus: str, samplers: list[str]) -> Profile:
    """Write so many files of so many documents, and the models; return the profile over them."""
    texts = _documents(corpus) if corpus else _texts(longest=60)
    (folder / "corpus").mkdir()
    for number in range(shards):
        lines = [json.dumps({"text": text}) + "\n" for text in islice(texts, documents)]
        if len(lines) < documents:
            raise SystemExit(f"{corpus} has too few documents for {shards:,} files of {documents}")
        (folder / "corpus" / f"part-{number:05}.jsonl").write_text("".join(lines), "utf-8")
    some = list(islice(_texts(longest=60), 400))
    tokenizer = train_tokenizer(some, 800, folder / "t5")
    t5.save(t5.build(t5.Shape(32, 8, 64, 1, 4), tokenizer.vocab_size, seed=0), folder / "t5")
    save_teacher(folder / "chat", some)
    by_section = {"perplexity": "t5", "ask_llm": "chat"}
    models = {
        section: "\n".join(
            f'{name.removeprefix(f"{section}_")} = "path:{folder / model}"'
            for name, sampler in SAMPLERS.items()
            if sampler.section == section
        )
        for section, model in by_section.items()
    }
    text = _PROFILE.format(corpus=folder / "corpus", samplers=json.dumps(samplers), **models)
    (folder / "shards.toml").write_text(text, "utf-8")
    os.environ |= {
        "CURATION_PROFILE": str(folder / "shards.toml"),
        "CURATION_DATA": str(folder / "data"),
        "DAGSTER_HOME": str(folder / "data" / "dagster_home"),
    }
    return load_profile()


def _documents(corpus: str) -> Iterator[str]:
    for file in find_files(corpus).files:
        for batch in parse_shard(file.url, DocumentSettings()):
            yield from batch.documents["text"].to_pylist()


def _keys(profile: Profile) -> list[str]:
    """Return all steps up to the subsets, each after what it needs."""
    keys, todo = set[str](), [f"{name}/subset" for name in profile.chosen_samplers]
    while todo:
        keys.add(key := todo.pop())
        todo += STEPS[key].reads(profile)
    return [key for key in STEPS if key in keys]


def _cost(key: str, options: argparse.Namespace) -> Cost:
    """Make a step of all partitions by a process of its own."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_made, args=(key, options, theirs))
    started = time.perf_counter()
    process.start()
    theirs.close()
    try:
        cost = ours.recv()
    except EOFError:
        raise SystemExit(f"{key} was not made") from None
    process.join()
    seconds = time.perf_counter() - started
    print(
        f"{key}: {cost.cpu:.1f} s of CPU, {seconds:.1f} s, {cost.peak:.0f} MiB", file=sys.stderr, flush=True
    )
    return cost


def _made(key: str, options: argparse.Namespace, result: Connection) -> None:
    """Make a step of all partitions, and say what it took."""
    products = "benchmarks.shards" if options.made_up else materializing.PRODUCTS
    materializing.PRODUCTS = products
    make = _make_with_events if options.dagster else _make
    profiler, spent = cProfile.Profile(), time.process_time()
    if key in options.profiled.split(","):
        profiler.runcall(make, key, products)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)
    else:
        make(key, products)
    result.send(Cost(time.process_time() - spent, peak()))


def _make(key: str, products: str) -> None:
    workspace = Workspace(load_profile())
    scope = everything(workspace.profile, [STEPS[key]])
    with InlineExecutor(workspace, products, lambda line: None) as executor:
        for event in bring_up_to_date(workspace, scope, executor):
            if isinstance(event, Failed | Blocked):
                raise SystemExit(f"{event.key} {event.partition}: {event}")


def _make_with_events(key: str, products: str) -> None:
    outcome = run_graph(load_profile(), lambda line: None, [STEPS[key]])
    if outcome.failed:
        raise SystemExit(f"{key}: {outcome.failed}")


if __name__ == "__main__":
    main()
