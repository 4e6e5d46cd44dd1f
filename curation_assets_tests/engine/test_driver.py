"""What a run does by itself, what it leaves, and what it says of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.driver import Blocked, Committed, Current, Event, Waiting, bring_up_to_date
from curation_assets.engine.executors import Failed
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import Scope, everything, following
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current
from curation_assets_tests.making import fail

KEY = "corpus/documents"


@pytest.fixture
def listed(tiny: Profile) -> Workspace:
    """Three corpus files that have not been read."""
    found = Workspace(tiny)
    make_current(found, "corpus/shards")
    return found


def _run(workspace: Workspace, scope: Scope, refusal: Callable[[Workspace, Step], str]) -> list[Event]:
    with InlineExecutor(workspace, "curation_assets.products", lambda line: None) as executor:
        return list(bring_up_to_date(workspace, scope, executor, checks=False, refusal=refusal))


def _by_itself(workspace: Workspace, *keys: str) -> Scope:
    return replace(following(workspace.profile, listing=False), steps=tuple(STEPS[key] for key in keys))


def _of(events: list[Event], kind: type) -> list[object]:
    return [event for event in events if isinstance(event, kind)]


def test_what_waits_is_not_current_and_a_line_says_what_for(listed: Workspace) -> None:
    wanted = Versions(listed).wanted(STEPS[KEY], "s1.jsonl")
    fail(listed, KEY, "s1.jsonl", OSError("gone"), wanted)
    scope = _by_itself(listed, "corpus/shards", KEY, "random/checkpoint", "random/metrics")
    events = _run(listed, scope, lambda *_: "")
    assert _of(events, Current) == [Current(STEPS["corpus/shards"], ("s0.jsonl", "s1.jsonl", "s2.jsonl"))]
    waiting = {event.step.key: event for event in events if isinstance(event, Waiting)}
    documents, checkpoint, metrics = (waiting[key] for key in (KEY, "random/checkpoint", "random/metrics"))
    assert documents.partitions == ("s1.jsonl",)
    assert documents.reason.startswith("failed (OSError: gone), tried again at ")
    assert checkpoint.reason == "waits for somebody who asks for it, or for automation.training"
    lines = [event for event in events if isinstance(event, str)]
    assert f"{KEY}: 1 out of date: {documents.reason}" in lines
    counts = f"random/checkpoint: {len(checkpoint.partitions)}, random/metrics: {len(metrics.partitions)}"
    assert f"{counts} out of date: {checkpoint.reason}" in lines
    made = [line for line in lines if ": made (" in line]
    assert ["(1 of 2)" in made[0], "(2 of 2)" in made[1]] == [True, True], "what waits is not counted"
    events = _run(listed, scope, lambda *_: "")
    assert Current(STEPS[KEY], ("s0.jsonl", "s2.jsonl")) in events and not _of(events, Committed)


def test_whether_there_is_something_to_read_is_asked_once(listed: Workspace) -> None:
    make_current(listed, KEY)
    asked: list[str] = []

    def refusal(workspace: Workspace, step: Step) -> str:
        asked.append(step.key)
        return "no document"

    steps = [STEPS[key] for key in ("corpus/tokenizer", "corpus/index", "random/scores")]
    events = _run(listed, everything(listed.profile, steps), refusal)
    assert len(asked) == 1 and [str(failure) for failure in _of(events, Failed)] == ["no document"]
    assert {blocked.key for blocked in _of(events, Blocked)} == {step.key for step in steps}  # type: ignore[attr-defined]
