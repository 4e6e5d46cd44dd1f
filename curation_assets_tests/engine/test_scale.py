"""A look at the graph takes a few queries a step, whatever the number of shards, and work in proportion to it; so does making."""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from curation_assets.common.collector import paused
from curation_assets.common.progress import Progress
from curation_assets.embeddings.checks import unread_text
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.context import Context
from curation_assets.engine.driver import Committed, bring_up_to_date
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.follow import Follow
from curation_assets.engine.forecast import Plan
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.product import Product
from curation_assets.engine.scope import everything
from curation_assets.engine.snapshot import Snapshot
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import BuildOne, Metadata, Workspace
from curation_assets.lineage import status
from curation_assets_tests.conftest import work_in, write_tiny
from curation_assets_tests.lineage.imagined import imagine

SAMPLERS = ["random", "density"]
SHARDS = (8, 16, 32)
_LOOK = 12  # queries of a look besides one a step
_TWICE = 2.3  # how much more work twice as many shards may add: twice as much, and 4 times where something is quadratic

_EXACTLY_TWICE = 2.05  # the same of calls that are the same each time: three for each pair of files are more


@contextmanager
def _queries() -> Iterator[list[str]]:
    """Give the SQL that is executed meanwhile."""
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        if not arguments[2].startswith("BEGIN"):
            seen.append(arguments[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def _lay_out(workspace: Workspace, shards: int) -> None:
    """Lay out artifacts of so many shards, all of them current."""
    names = [f"s{number:04}.jsonl" for number in range(shards)]
    imagined = imagine(workspace, names, [step.key for step in wanted_steps(workspace.profile)])
    source = replace(imagined.made["corpus/source", ""], folder="corpus/source/_/1-0")
    for name, content in {"shards.json": imagined.listing, "hq.json": {}}.items():
        path = Path(workspace.store.path(source, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data := json.dumps(content).encode())
        source.files[name] = (len(data), sha256(data).hexdigest())
    receipts = (imagined.made | {("corpus/source", ""): source}).values()
    for key in {receipt.key for receipt in receipts}:
        workspace.catalog.rebuild(key, ((receipt, True) for receipt in receipts if receipt.key == key))


def _fail_all(catalog: Catalog) -> None:
    """Take the documents away, and say that every attempt to read them failed."""
    shards = catalog.partitions_of("corpus/documents")
    catalog.rebuild("corpus/documents", [])
    with catalog.writer() as writer:
        attempts = catalog.begin(writer, "corpus/documents", dict.fromkeys(shards, ("x", "")), "run")
        for attempt in attempts.values():
            catalog.fail(attempt, "OSError: gone")


def _due(workspace: Workspace) -> object:
    follow = Follow(workspace)
    return follow.fingerprint(), follow.reasons(), follow.waiting()


def _forecast(workspace: Workspace) -> object:
    forecast = Plan(workspace, everything(workspace.profile))
    forecast.forecast(Follow(workspace))
    return forecast.left(1)


LOOKS: dict[str, Callable[[Workspace], object]] = {
    "status": lambda workspace: status.to_text(status.status(workspace)),
    "due": _due,
    "forecast": _forecast,
    "checks": lambda workspace: [*unread_text(Snapshot(Versions(workspace)))],
}


@pytest.mark.parametrize("state", ["current", "failed"])
def test_a_look_is_linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    queries: dict[str, list[int]] = defaultdict(list)
    calls: dict[str, list[int]] = defaultdict(list)
    for number, shards in enumerate((SHARDS[0], *SHARDS)):  # the first time much is imported and compiled
        folder = tmp_path / str(number)
        write_tiny(folder, tmp_path, f"[run]\nsamplers = {json.dumps(SAMPLERS)}\n")
        workspace = Workspace(work_in(folder, monkeypatch))
        _lay_out(workspace, shards)
        if state == "failed":
            _fail_all(workspace.catalog)
        for name, look in LOOKS.items():
            profiler = cProfile.Profile()
            gc.collect()  # what other tests left, so that its end is not counted here
            with _queries() as seen, paused():
                profiler.runcall(look, workspace)
            queries[name].append(len(seen))
            calls[name].append(pstats.Stats(profiler).total_calls)  # type: ignore[attr-defined]
    for name in LOOKS:
        assert len(set(queries[name])) == 1 and queries[name][0] <= len(STEPS) + _LOOK, (name, queries[name])
        _, few, some, many = calls[name]
        assert 0 < many - some < _TWICE * (some - few), (name, calls[name])


def _build(context: Context) -> BuildOne:
    """Read of all groups what semdedup's scores read, and write something."""
    groups = [context.artifact("semdedup/neighbours", group) for group in context.partitions("group")]

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        context.metadata("corpus/documents", shard)
        (folder / "scores").write_bytes(b"x")
        return {"groups": len([context.artifact(one.key, one.partition).files for one in groups])}

    return build


PRODUCTS = [Product("semdedup/scores", _build, "Scores.", files="`scores`")]
CHECKS: dict[str, Any] = {}
CHECKED_WITH: dict[str, Any] = {}


def test_what_a_file_costs_to_make_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, counts = STEPS["semdedup/scores"], []
    parsed: list[int] = []
    decode = json.JSONDecoder().raw_decode

    def counted(text: str) -> tuple[Any, int]:
        parsed.append(len(text))
        return decode(text)

    monkeypatch.setattr("curation_assets.engine.receipt._decode", counted)
    for number, shards in enumerate((SHARDS[0], *SHARDS)):
        folder = tmp_path / str(number)
        write_tiny(folder, tmp_path, '[run]\nsamplers = ["semdedup"]\n')
        workspace = Workspace(work_in(folder, monkeypatch))
        _lay_out(workspace, shards)
        workspace.catalog.rebuild(step.key, [])
        parsed.clear()
        profiler = cProfile.Profile()
        with _queries() as seen, paused(), InlineExecutor(workspace, __name__, lambda line: None) as executor:
            run = bring_up_to_date(workspace, everything(workspace.profile, [step]), executor, checks=False)
            events = profiler.runcall(list, run)
        assert sum(isinstance(event, Committed) for event in events) == shards
        counts.append((pstats.Stats(profiler).total_calls, len(seen), sum(parsed)))  # type: ignore[attr-defined]
    _, few, some, many = map(np.array, counts)
    assert (many - some < _EXACTLY_TWICE * (some - few)).all(), counts
