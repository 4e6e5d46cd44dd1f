"""Workers on a Ray cluster of two nodes: what dies, what is made in spite of it, and that the same is made."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.engine.driver import Committed, Event, bring_up_to_date
from curation_assets.engine.executors import Failed, WorkerDied
from curation_assets.engine.executors.ray import RayExecutor
from curation_assets.engine.executors.ray_cluster import imported
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import everything
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current
from curation_assets_tests.engine import dying_products
from curation_assets_tests.ray_nodes import ENVIRONMENT, TwoNodes

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

KEY = "corpus/documents"


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    """One cluster for all tests: starting it takes longer than they do."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        imported()
        nodes = TwoNodes()
        yield nodes
        nodes.shutdown()


@pytest.fixture
def listed(tiny: Profile, cluster: TwoNodes) -> Workspace:
    """A corpus of three files of which nothing has been read, to be made on the cluster."""
    ray = tiny.execution.ray.model_copy(update={"address": cluster.address})
    execution = tiny.execution.model_copy(update={"engine": "ray", "workers": 2, "device": "cpu", "ray": ray})
    workspace = Workspace(tiny.model_copy(update={"execution": execution}))
    make_current(workspace, "corpus/shards")
    return workspace


def _run(workspace: Workspace, *keys: str, told: list[str] | None = None) -> Iterator[Event]:
    scope = everything(workspace.profile, [STEPS[key] for key in keys or (KEY,)])
    tell = (told if told is not None else []).append
    with RayExecutor(workspace, dying_products.__name__, tell) as executor:
        yield from bring_up_to_date(workspace, scope, executor)


def _made(events: list[Event]) -> list[str]:
    return sorted(event.receipt.partition for event in events if isinstance(event, Committed))


def _failed(events: list[Event]) -> dict[str, str]:
    return {event.partition: str(event) for event in events if isinstance(event, Failed)}


def _actors() -> list[psutil.Process]:
    """Return the workers of the clusters of this process: other tests have their own."""
    below = {process.pid for process in psutil.Process().children(recursive=True)}
    seen = [process for process in psutil.process_iter(["cmdline"]) if process.pid in below]
    return [process for process in seen if "ray::RayWorker" in " ".join(process.info["cmdline"] or [])]


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that shows who is at what, in which everybody waits for the file `go`."""
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setenv(dying_products.HOLDS, str(folder))
    return folder


def _once_at_work(folder: Path, count: int, act: Callable[[list[int]], object]) -> None:
    """Act, on processes that make something, as soon as there are `count`, and let all go on."""

    def watch() -> None:
        while len(notes := sorted(folder.glob("make-*"))) < count:
            time.sleep(0.05)
        act([int(note.name.rsplit("-", 2)[1]) for note in notes])
        (folder / "go").touch()

    threading.Thread(target=watch, daemon=True).start()


def test_a_raising_and_a_poison_shard_fail_and_the_others_are_made(
    listed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dying_products.DIES, f"{KEY}[s0.jsonl]")
    monkeypatch.setenv(dying_products.RAISES, f"{KEY}[s1.jsonl]")
    events = list(_run(listed))
    assert _made(events) == ["s2.jsonl"]
    failures = _failed(events)
    assert failures["s1.jsonl"] == "ValueError: this one cannot be made"
    assert failures["s0.jsonl"].startswith("WorkerDied: 2 workers that were at it died")
    assert not psutil.wait_procs(_actors(), timeout=20.0)[1], "it left workers behind"


def test_a_killed_actor_costs_the_run_nothing_that_was_finished(listed: Workspace, held: Path) -> None:
    told: list[str] = []
    _once_at_work(held, 2, lambda pids: os.kill(pids[0], signal.SIGKILL))
    events = list(_run(listed, told=told))
    assert _made(events) == ["s0.jsonl", "s1.jsonl", "s2.jsonl"] and not _failed(events)
    assert sum("died; another one tries it" in line for line in told) == 1


def test_a_node_that_goes_is_not_held_against_a_shard(
    listed: Workspace, held: Path, cluster: TwoNodes
) -> None:
    told: list[str] = []
    gone = cluster.nodes[0]

    def remove(pids: list[int]) -> None:
        cluster.remove(gone)
        while all(map(psutil.pid_exists, pids)):  # its worker notices by itself
            time.sleep(0.1)

    _once_at_work(held, 2, remove)
    events = list(_run(listed, told=told))
    assert _made(events) == ["s0.jsonl", "s1.jsonl", "s2.jsonl"] and not _failed(events)
    assert any("node of a worker has gone" in line for line in told), told
    cluster.nodes.append(cluster.add())


def test_a_step_is_loaded_once_by_each_actor_and_the_same_is_made(
    listed: Workspace, held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (held / "go").touch()
    keys = (KEY, "corpus/embeddings", "density/bits", "density/shard_sketch", "density/sketch")
    events = list(_run(listed, *keys))
    assert not _failed(events)
    loads = [note.name.split("-") for note in held.glob("load-*")]
    embeddings = [parts for parts in loads if "embeddings" in "-".join(parts)]
    assert 1 <= len(embeddings) <= 2 and len({parts[-2] for parts in embeddings}) == len(embeddings)
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "other"))
    alone = Workspace(load_profile())
    assert alone.data != listed.data
    make_current(alone, *keys)
    for event in events:
        if isinstance(event, Committed):
            receipt = alone.receipt(event.key, event.receipt.partition)
            assert receipt is not None and receipt.files == event.receipt.files, event.key


def test_who_waits_for_another_run_hears_that_no_worker_said_anything(listed: Workspace) -> None:
    with RayExecutor(listed, dying_products.__name__, lambda line: None) as executor:
        started = time.monotonic()
        assert executor.receive(0.2) is None and time.monotonic() - started < 5


def test_what_no_node_has_is_named_at_once(listed: Workspace) -> None:
    execution = listed.profile.execution.model_copy(update={"device": "cuda"})
    workspace = Workspace(listed.profile.model_copy(update={"execution": execution}))
    with pytest.raises(
        ProfileError, match=r"corpus/embeddings needs a node with 1 CPU and 1 GPU .* has none: .*0 GPU"
    ):
        list(_run(workspace, KEY, "corpus/embeddings"))


def test_workers_that_do_not_see_the_store_are_refused(
    listed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that has another folder of that name: here the mark in it goes before anybody looks."""
    with RayExecutor(listed, dying_products.__name__, lambda line: None) as executor:
        executor._mark.remove()
        scope = everything(listed.profile, [STEPS[KEY]])
        with pytest.raises(
            WorkerDied, match=r"3 workers in a row could not start: .* does not see the store of this run"
        ):
            list(bring_up_to_date(listed, scope, executor))


def test_a_cluster_that_is_not_there_is_said_soon(listed: Workspace) -> None:
    ray = listed.profile.execution.ray.model_copy(update={"address": "127.0.0.1:1"})
    execution = listed.profile.execution.model_copy(update={"ray": ray})
    workspace = Workspace(listed.profile.model_copy(update={"execution": execution}))
    started = time.monotonic()
    with pytest.raises(
        ProfileError,
        match=r"no Ray cluster at 127\.0\.0\.1:1 \(execution\.ray\.address\): Connection refused",
    ):
        list(_run(workspace))
    assert time.monotonic() - started < 15
