"""Workers that die in the middle of their work, that cannot start, and that make what was planned."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from curation_assets.common.progress import Line
from curation_assets.config.profile import Profile, load_profile
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.driver import Committed, Event, bring_up_to_date
from curation_assets.engine.executors import Failed, WorkerDied
from curation_assets.engine.executors.local import LocalExecutor
from curation_assets.engine.failures import failed
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import everything
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.status import status
from curation_assets_tests.conftest import make_current
from curation_assets_tests.engine import dying_products
from curation_assets_tests.making import attempted

pytestmark = pytest.mark.process

KEY = "corpus/documents"


def _run(profile: Profile, *keys: str, workers: int = 1) -> Iterator[Event]:
    execution = profile.execution.model_copy(update={"workers": workers})
    workspace = Workspace(profile.model_copy(update={"execution": execution}))
    scope = everything(workspace.profile, [STEPS[key] for key in keys or (KEY,)])
    with LocalExecutor(workspace, dying_products.__name__) as executor:
        yield from bring_up_to_date(workspace, scope, executor)


def _deadly(patch: pytest.MonkeyPatch, *partitions: str) -> None:
    patch.setenv(dying_products.DIES, " ".join(f"{KEY}[{partition}]" for partition in partitions))


@pytest.fixture
def listed(tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A corpus of three files of which nothing has been read."""
    _deadly(monkeypatch)
    found = Workspace(tiny)
    make_current(found, "corpus/shards")
    return found


def _made(events: list[Event]) -> list[str]:
    return [event.receipt.partition for event in events if isinstance(event, Committed)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_kills_a_worker_has_failed_and_the_others_are_made(
    listed: Workspace, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    _deadly(monkeypatch, "s1.jsonl")
    events = list(_run(listed.profile, workers=workers))
    assert sorted(_made(events)) == ["s0.jsonl", "s2.jsonl"]
    [failure] = [event for event in events if isinstance(event, Failed)]
    assert (failure.key, failure.partition) == (KEY, "s1.jsonl")
    assert "killed, or out of memory (execution.workers sets how many there are)" in str(failure)
    attempt = listed.catalog.attempt(KEY, "s1.jsonl")
    assert attempt is not None and failed(attempt) and attempt.number == 1
    assert attempt.error == str(failure) and attempt.next_try(3, 60.0) == attempt.started + 60.0
    [(name, said)] = status(Workspace(listed.profile)).failed
    assert name == f"{KEY}[s1.jsonl]" and "out of memory" in said
    _deadly(monkeypatch)
    assert (
        _made(list(_run(listed.profile))) == ["s1.jsonl"] and listed.catalog.attempt(KEY, "s1.jsonl") is None
    )


def test_a_worker_that_is_killed_from_outside_is_replaced(listed: Workspace) -> None:
    """Before it has begun anything: nothing failed, and another worker makes it."""
    scope = everything(listed.profile, [STEPS[KEY]])
    with LocalExecutor(listed, dying_products.__name__) as executor:
        first = executor._start()
        assert first.process.pid
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.join()
        events = list(bring_up_to_date(listed, scope, executor))
    assert sorted(_made(events)) == ["s0.jsonl", "s1.jsonl", "s2.jsonl"]
    assert not [event for event in events if isinstance(event, Failed)]


def test_a_run_in_which_worker_after_worker_dies_ends(
    listed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _deadly(monkeypatch, "s0.jsonl", "s1.jsonl", "s2.jsonl")
    with pytest.raises(WorkerDied, match="3 worker processes died one after the other"):
        list(_run(listed.profile))
    attempts = [listed.catalog.attempt(KEY, f"s{number}.jsonl") for number in range(3)]
    assert all(isinstance(attempt, Attempt) and failed(attempt) for attempt in attempts)


def test_the_end_of_another_run_is_noticed_while_a_worker_is_at_a_long_task(
    listed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, noticed = tmp_path / "held", list[bool]()
    held.mkdir()
    monkeypatch.setenv(dying_products.HOLDS, str(held))
    patience = threading.Timer(30.0, (held / "go").touch)
    with ExitStack() as other:
        other.enter_context(attempted(listed, KEY, "s2.jsonl", run_id="another"))
        for event in _run(listed.profile, workers=2):
            if isinstance(event, str) and "run another is making it" in event:
                other.close()
                patience.start()
            if isinstance(event, Line) and event.when == "begin" and event.partitions == ("s2.jsonl",):
                noticed.append(not (held / "go").exists())
                (held / "go").touch()
    patience.cancel()
    assert noticed == [True], "the other worker is at s0 until this one begins"


def test_who_stops_a_run_leaves_no_attempt(listed: Workspace) -> None:
    events = _run(listed.profile)
    while not isinstance(next(events), Committed):
        pass
    events.close()  # type: ignore[attr-defined]
    assert not listed.catalog.attempts()


def test_a_worker_makes_what_was_planned_whatever_becomes_of_the_file(listed: Workspace) -> None:
    Path(listed.profile.source).write_text("[corpus]\nno such thing", "utf-8")
    assert len(_made(list(_run(listed.profile)))) == 3
    assert not Versions(listed).stale(STEPS[KEY], listed.shards())


def test_a_worker_that_cannot_start_says_why(listed: Workspace) -> None:
    (listed.data / "profile.json").write_text("{", "utf-8")
    message = r"could not start: ProfileError: .*profile\.json is damaged"
    with pytest.raises(WorkerDied, match=message), LocalExecutor(listed, dying_products.__name__) as executor:
        executor._start()


def test_settings_survive_the_way_to_a_worker(tiny: Profile) -> None:
    """Also those of samplers, whose classes are put together when the profile is read."""
    for profile in (tiny, load_profile("local"), load_profile("hub")):
        assert type(profile).model_validate(profile.model_dump()) == profile
