"""What a run does by itself, what it leaves, and what it says of that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from curation_assets.common.progress import Line
from curation_assets.config.profile import Profile
from curation_assets.engine import catalog, driver
from curation_assets.engine.driver import Blocked, Committed, Current, Event, Waiting, bring_up_to_date
from curation_assets.engine.executors import Failed
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import Scope, everything, following, only
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current, write_shard
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


# Other runs


def test_what_another_run_took_over_is_waited_for_and_what_was_current_before_is_not_taken_for_it(
    listed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run falls silent; another one takes a lease of it over, and gives up in the end."""
    make_current(listed, KEY)
    write_shard(tmp_path / "shards" / "s0.jsonl", [("new", "Another text.")])
    make_current(listed, "corpus/shards")
    events, taken = list[Event](), False
    with (
        InlineExecutor(listed, "curation_assets.products", lambda line: None) as executor,
        ExitStack() as stack,
    ):
        run = bring_up_to_date(
            listed, everything(listed.profile, [STEPS[KEY]]), executor, run_id="one", checks=False
        )
        for event in run:
            events.append(event)
            if isinstance(event, Line) and event.when == "begin" and not taken:
                taken = _take_over(listed, stack, monkeypatch)
            if isinstance(event, str) and "run another is making it" in event:
                stack.close()
    made = [event for event in _of(events, Committed) if isinstance(event, Committed)]
    assert [event.receipt.partition for event in made] == ["s0.jsonl"] and made[0].made
    assert not _of(events, Failed) and Versions(listed).current(STEPS[KEY], "s0.jsonl")


def test_what_another_run_is_about_to_announce_is_left_to_it(listed: Workspace) -> None:
    """A run that is between a commit and its event, beside one that goes through; and one that is stopped there."""
    scope = everything(listed.profile, [STEPS[KEY]])
    with InlineExecutor(listed, "curation_assets.products", lambda line: None) as executor:
        run = bring_up_to_date(listed, scope, executor, checks=False)
        partition = next(event.receipt.partition for event in run if isinstance(event, Committed))
        beside = _current_and_unannounced(listed, partition)
        run.close()
    assert beside == [(True, False)]
    assert _current_and_unannounced(listed, partition) == [(True, True)], "nobody else announces it any more"
    assert _current_and_unannounced(listed, partition) == [(True, False)]


def test_who_waits_for_a_run_that_ends_before_it_announces_what_it_made_does_that(listed: Workspace) -> None:
    scope, made, events = everything(listed.profile, [STEPS[KEY]]), "", list[Event]()
    with ExitStack() as stack:
        executors = [
            stack.enter_context(InlineExecutor(listed, "curation_assets.products", lambda line: None))
            for _ in range(2)
        ]
        runs = [
            bring_up_to_date(listed, scope, executor, run_id="one", checks=False) for executor in executors
        ]
        next(event for event in runs[0] if isinstance(event, Line) and event.when == "begin")
        for event in runs[1]:
            events.append(event)
            if isinstance(event, str) and "run one is making it" in event and not made:
                made = next(event.receipt.partition for event in runs[0] if isinstance(event, Committed))
                runs[0].close()
    committed = [event for event in _of(events, Committed) if isinstance(event, Committed)]
    assert {event.receipt.partition: (event.made, event.unannounced) for event in committed} == {
        shard: (shard != made, shard == made) for shard in ("s0.jsonl", "s1.jsonl", "s2.jsonl")
    }
    assert _current_and_unannounced(listed, made) == [(True, False)]


def _current_and_unannounced(workspace: Workspace, partition: str) -> list[tuple[bool, bool]]:
    scope = only(workspace.profile, STEPS[KEY], [partition])
    events = _of(_run(workspace, scope, lambda *_: ""), Current)
    return [(partition in event.partitions, partition in event.unannounced) for event in events]


def _take_over(workspace: Workspace, stack: ExitStack, patch: pytest.MonkeyPatch) -> bool:
    """Have another writer take the lease of a silent one, as long as the stack is open; tell whether it did."""
    with patch.context() as silence:
        silence.setattr(catalog, "SILENCE", -1.0)
        writer = stack.enter_context(workspace.catalog.writer())
        current = workspace.catalog.current(KEY, "s0.jsonl")
        goal = {"s0.jsonl": ("wanted", current.folder if current else "")}
        return workspace.catalog.begin(writer, KEY, goal, "another")["s0.jsonl"].writer == writer.id


def test_what_another_run_made_of_newer_inputs_stays(
    listed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run looked at what there is; then files change, and another run goes through before this one goes on."""
    monkeypatch.setattr(driver, "_MOST", 1)
    events, overtaken = list[Event](), False
    with InlineExecutor(listed, "curation_assets.products", lambda line: None) as executor:
        for event in bring_up_to_date(
            listed, everything(listed.profile, [STEPS[KEY]]), executor, checks=False
        ):
            events.append(event)
            if isinstance(event, Line) and event.when == "end" and not overtaken:
                overtaken = True
                for shard in ("s0", "s1", "s2"):
                    write_shard(
                        tmp_path / "shards" / f"{shard}.jsonl", [(shard, f"Another text of {shard}.")]
                    )
                make_current(listed, KEY)
                newer = listed.receipts(KEY)
    assert not _of(events, Failed) and listed.receipts(KEY) == newer
    made = [event.made for event in _of(events, Committed) if isinstance(event, Committed)]
    assert made == [True, False, False]
