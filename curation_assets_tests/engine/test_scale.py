"""A look at the graph takes a few queries a step, whatever the number of shards, and work in proportion to it."""

from __future__ import annotations

import cProfile
import json
import pstats
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from curation_assets.config.profile import Profile
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.executors import Check, Checked
from curation_assets.engine.executors.work import Worker
from curation_assets.engine.follow import Follow
from curation_assets.engine.forecast import Plan
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.scope import everything
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage import plan, status
from curation_assets_tests.lineage.imagined import imagine

SHARDS = (20, 40, 80)
_LOOK = 12  # queries of a look besides one a step
_TWICE = 2.3  # how much more work twice as many shards may add: twice as much, and 4 times where something is quadratic


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


def _laid_out(profile: Profile, shards: int, folder: Path) -> Profile:
    """Return the profile of a data folder in which everything is current, of so many shards."""
    execution = profile.execution.model_copy(update={"data": str(folder)})
    profile = profile.model_copy(update={"execution": execution})
    workspace = Workspace(profile)
    names = [f"s{number:04}.jsonl" for number in range(shards)]
    imagined = imagine(workspace, names, [step.key for step in wanted_steps(profile)])
    source = replace(imagined.made["corpus/source", ""], folder="corpus/source/_/1-0")
    for name, content in {"shards.json": imagined.listing, "hq.json": {}}.items():
        path = Path(workspace.store.path(source, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data := json.dumps(content).encode())
        source.files[name] = (len(data), sha256(data).hexdigest())
    receipts = [*(imagined.made | {("corpus/source", ""): source}).values()]
    workspace.catalog.rebuild((receipt, True) for receipt in receipts)
    return profile


def _fail_all(profile: Profile) -> None:
    """Take the documents away, and say that every attempt to read them failed."""
    catalog = Workspace(profile).catalog
    receipts = [(receipt, current) for receipt, current in catalog.all() if receipt.key != "corpus/documents"]
    shards = [receipt.partition for receipt, _ in receipts if receipt.key == "corpus/shards"]
    catalog.rebuild(receipts)
    with catalog.writer() as writer:
        attempts = catalog.begin(writer, "corpus/documents", dict.fromkeys(shards, ("x", "")), "run")
        for attempt in attempts.values():
            assert isinstance(attempt, Attempt)
            catalog.fail(attempt, "OSError: gone")


def _due(workspace: Workspace) -> object:
    follow = Follow(workspace)
    return follow.fingerprint(), follow.reasons(), follow.waiting()


def _forecast(workspace: Workspace) -> object:
    forecast = Plan(workspace, everything(workspace.profile))
    forecast.forecast()
    return forecast.left(1)


def _check(workspace: Workspace) -> object:
    """Evaluate the checks that look at the metadata of all shards."""
    messages = [
        *Worker(workspace, "curation_assets.products", lambda line: None).carry_out(Check("corpus/tokens"))
    ]
    [unknown] = [m for m in messages if isinstance(m, Checked) and m.name == "unknown_tokens"]
    assert unknown.outcome.passed, unknown.outcome.description
    return messages


LOOKS: dict[str, Callable[[Workspace], object]] = {
    "status": lambda workspace: status.to_text(status.status(workspace)),
    "plan": lambda workspace: plan.to_text(plan.planned(workspace)),
    "due": _due,
    "forecast": _forecast,
    "check": _check,
}


@pytest.fixture(scope="module")
def _graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Profile]:
    return {}


@pytest.mark.parametrize("state", ["current", "failed"])
@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_linear(
    tiny: Profile,
    _graphs: dict[tuple[int, str], Profile],
    tmp_path_factory: pytest.TempPathFactory,
    look: str,
    state: str,
) -> None:
    if (look, state) == ("check", "failed"):
        return
    run = tiny.run.model_copy(update={"samplers": ("random", "density", "prototypes")})
    queries, calls = [], []
    for shards in SHARDS:
        if (shards, state) not in _graphs:
            folder = tmp_path_factory.mktemp("scale")
            _graphs[shards, state] = _laid_out(tiny.model_copy(update={"run": run}), shards, folder)
            if state == "failed":
                _fail_all(_graphs[shards, state])
        workspace = Workspace(_graphs[shards, state])
        assert workspace.catalog.any()
        profiler = cProfile.Profile()
        with _queries() as seen:
            profiler.runcall(LOOKS[look], workspace)
        queries.append(len(seen))
        calls.append(pstats.Stats(profiler).total_calls)  # type: ignore[attr-defined]
    assert len(set(queries)) == 1 and queries[0] <= len(STEPS) + _LOOK
    print(look, state, calls, queries)
    assert calls[2] - calls[1] < _TWICE * (calls[1] - calls[0])
