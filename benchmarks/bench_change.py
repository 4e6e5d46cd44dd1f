"""What a change of the corpus costs: one shard of twenty against all of them, a look at 10,000 files, a commit."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Row, best_seconds
from curation_assets.config.profile import Profile, load_profile
from curation_assets.corpus.demo import build as builtin
from curation_assets.corpus.watch import check_listing
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.follow import Follow
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace

_SHARDS, _EACH, _FILES = 20, 100, 10_000
_PROFILE = """
extends = "local"
name = "change"
[corpus]
url = "shards"
hq_url = ""
[judge]
documents = 12
[pretraining]
tokens = 20_000
[run]
samplers = ["random", "density", "semdedup", "prototypes", "perplexity_small", "perplexity_xxl", "ask_llm_small", "ask_llm_xxl"]
[execution]
workers = 1
"""


def rows() -> Iterator[Row]:
    """Yield the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _change(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _look(Path(folder))
        yield _commit(Path(folder))


def _profile(folder: Path) -> Profile:
    (folder / "change.toml").write_text(_PROFILE, "utf-8")
    told = {"CURATION_PROFILE": "change.toml", "CURATION_DATA": "data", "DAGSTER_HOME": "data/home"}
    os.environ.update({name: str(folder / value) for name, value in told.items()})
    return load_profile()


def _write(path: Path, texts: list[str]) -> None:
    lines = [json.dumps({"id": f"{path.stem}-{i}", "text": text}) + "\n" for i, text in enumerate(texts)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines), "utf-8")


def _texts(folder: Path) -> list[str]:
    builtin.build(folder)
    lines = [
        line
        for path in sorted((folder / "shards").iterdir())
        for line in path.read_text("utf-8").splitlines()
    ]
    return [json.loads(line)["text"] for line in lines]


def _seconds(profile: Profile, steps: list[Step]) -> float:
    started = time.perf_counter()
    outcome = run_graph(profile, lambda line: None, steps)
    if outcome.failed or outcome.blocked:
        raise RuntimeError(f"{outcome}")
    return time.perf_counter() - started


def _change(folder: Path) -> Iterator[Row]:
    texts = _texts(folder / "built")[: _SHARDS * _EACH + 1]
    for number in range(_SHARDS):
        _write(folder / "shards" / f"s{number:02}.jsonl", texts[number : _SHARDS * _EACH : _SHARDS])
    profile = _profile(folder)
    follow = Follow(Workspace(profile))
    following = [s for s in wanted_steps(profile) if follow.follows(s) or s.key == "corpus/source"]
    ladder = [s for s in wanted_steps(profile) if s.learned() or s.key.endswith("/teacher")]
    first = [s for s in wanted_steps(profile) if s in following or s in ladder]
    _seconds(profile, first)  # with the models that are learned from the corpus
    workspace = Workspace(profile)
    made = [(s.key, p) for s in following if not s.pinned for p in workspace.partitions(s.by)]
    for key, partition in made:
        workspace.withdraw(workspace.artifact(key, partition), "to measure what makes it again")
    whole = _seconds(profile, following)
    constant = _seconds(profile, following)
    _write(folder / "shards" / "s07.jsonl", [*texts[7 : _SHARDS * _EACH : _SHARDS][:-1], texts[-1]])
    change = _seconds(profile, following)
    note = f"{_SHARDS} shards of {_EACH} documents, 8 samplers, one process"
    yield Row("score and select everything", whole, "s", note=note)
    yield Row("the same when nothing changed", constant, "s")
    yield Row("one shard changed", change, "s")
    allowed = 1.5 / _SHARDS * (whole - constant)
    yield Row(
        "  of which beyond 1.5/20 of the whole: the constant",
        change - allowed,
        "s",
        note="Dagster's events, loading models",
    )


def _look(folder: Path) -> Iterator[Row]:
    for number in range(_FILES):
        path = folder / "shards" / f"{number % 100:02}" / f"{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a line of text\n", "utf-8")
    profile = _profile(folder)
    seconds = _seconds(profile, [STEPS["corpus/source"]])
    yield Row(f"listing {_FILES:,} files, with Dagster's bookkeeping", seconds, "s")
    workspace = Workspace(profile)
    looked = best_seconds(lambda: check_listing(workspace, None), 3)
    yield Row(
        f"a sensor's look at {_FILES:,} unchanged files, under 2 s", 2.0 / looked, "x", 1.0, f"{looked:.2f} s"
    )
    graph = best_seconds(lambda: Follow(Workspace(profile)).all_due(), 1)
    yield Row(f"a look at the graph of {_FILES:,} new shards", graph, "s", note="all of them due")


def _commit(folder: Path) -> Row:
    workspace = Workspace(load_profile())

    with workspace.catalog.writer() as writer:

        def one() -> None:
            versions = Versions(workspace)
            there = versions.receipt("random/scores", "s")
            wanted = {"s": ("recipe", there.folder if there else "")}
            [attempt] = workspace.catalog.begin(writer, "random/scores", wanted, "").values()
            with workspace.store.staged() as staged:
                (staged / "scores.parquet").write_bytes(b"0" * 10_000)
                draft = Receipt("random/scores", "s", attempt.wanted, "r", "c", {}, "", {})
                made = workspace.store.publish(staged, draft)
            workspace.store.remove(workspace.catalog.commit(made, attempt))

        seconds = best_seconds(one, 20)
    return Row("committing an artifact of one file", 1e3 * seconds, "ms")
