"""Corpus and artifacts on an S3 server, and the catalog on Postgres: what is asked of both, and what their failures cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.engine.driver import Blocked, bring_up_to_date
from curation_assets.engine.executors import Failed
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import everything
from curation_assets.engine.store import Store
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.postgres_server import PASSWORD, PostgresServer
from curation_assets_tests.s3_server import S3Server

pytestmark = pytest.mark.process

KEYS = ("corpus/source", "corpus/shards", "corpus/documents", "random/scores")
SHARDS = 8
ARTIFACTS = 1 + 3 * SHARDS


@dataclass
class Bucket:
    """A bucket with a corpus in it, and profiles of machines that share it."""

    server: S3Server
    name: str
    folder: Path
    catalog: str = ""

    @cached_property
    def fs(self) -> Any:
        """Looks at the objects."""
        return self.server.file_system()

    def profile(self, machine: str, more: str = "") -> Path:
        """Write the profile of a machine with a data folder of its own."""
        path = self.folder / f"{machine}.toml"
        path.write_text(
            f'extends = "local"\nname = "shared"\n[corpus]\nurl = "s3://{self.name}/corpus"\nhq_url = ""\nkeep_fields = []\n'
            f"{self.server.toml('corpus.storage_options')}"
            f'[execution]\ndata = "{self.folder / machine}"\nstore = "s3://{self.name}/artifacts"\n'
            f'catalog = "{self.catalog}"\nworkers = 1\n{more}\n{self.server.toml("execution.store_options")}'
        )
        return path

    def load(self, machine: str, more: str = "") -> Profile:
        return load_profile(self.profile(machine, more))

    def lost(self, workspace: Workspace) -> list[str]:
        """Return the objects that current artifacts name and that are not there."""
        there = set(self.fs.find(f"{self.name}/artifacts"))
        return [
            path
            for receipt, current in known(workspace)
            for path in (workspace.store.path(receipt, name) for name in receipt.files)
            if current and path not in there
        ]


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name in ("CURATION_DATA", "CURATION_PROFILE", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    made = Bucket(s3, f"graph-{uuid.uuid4().hex[:8]}", tmp_path)
    s3.bucket(made.name)
    rows = stdlib_texts()
    for number in range(SHARDS):
        lines = [json.dumps({"id": i, "text": text}) for i, text in rows[number * 8 : number * 8 + 8]]
        made.fs.pipe_file(f"{made.name}/corpus/s{number}.jsonl", "\n".join(lines).encode())
    return made


@pytest.fixture
def shared(bucket: Bucket, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket, with a catalog on Postgres for several machines."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    bucket.catalog = postgres.url(postgres.database())
    return bucket


def run(profile: Profile) -> Iterator[Any]:
    """Bring the steps of KEYS up to date in this process; yield what happens."""
    workspace = Workspace(profile)
    scope = everything(profile, [STEPS[key] for key in KEYS])
    with InlineExecutor(workspace, "curation_assets.products", lambda line: None) as executor:
        yield from bring_up_to_date(workspace, scope, executor, checks=False)


def known(workspace: Workspace) -> list[tuple[Receipt, bool]]:
    """Return (artifact, whether it is current) of all that the catalog knows."""
    keys = workspace.catalog.asset_keys()
    return [one for key in keys for one in workspace.catalog.all_of(key)]


def made(events: list[Any]) -> Counter[str]:
    """Return how many artifacts were made of each step; nothing may have failed."""
    assert not [event for event in events if isinstance(event, Failed | Blocked)]
    return Counter(event.key for event in events if getattr(event, "made", False))


def test_a_run_with_nothing_to_do_asks_the_store_twice_a_step_and_reads_no_file_of_the_corpus(
    bucket: Bucket,
) -> None:
    profile = bucket.load("one")
    assert made(list(run(profile))).total() == ARTIFACTS
    bucket.server.requests()
    assert made(list(run(profile))) == {"corpus/source": 1}  # the listing is what is done each time
    lines = bucket.server.request_lines()
    print("\n".join(lines))
    again = [line for line in lines if "corpus/source" not in line and not line.startswith("PUT")]
    assert not [line for line in again if line.startswith("GET") and "/corpus/s" in line], (
        "a shard is read again"
    )
    assert len(again) <= 2 * len(KEYS) + 3, again


def test_a_server_that_is_away_or_busy_delays_a_run_and_nothing_is_lost(bucket: Bucket) -> None:
    profile, faults = (
        bucket.load("one"),
        [lambda: bucket.server.away(3), lambda: bucket.server.busy(seconds=3)],
    )
    events, started = [], time.monotonic()
    for event in run(profile):
        events.append(event)
        if faults and getattr(event, "made", False) and event.key in KEYS[1:]:
            faults.pop()()
    assert made(events).total() == ARTIFACTS and not faults
    assert time.monotonic() - started > 5
    assert not bucket.lost(Workspace(profile))


def test_a_restart_of_the_catalogs_server_delays_a_run(shared: Bucket, postgres: PostgresServer) -> None:
    profile, events, restarts = shared.load("one"), [], 0
    for event in run(profile):
        events.append(event)
        if getattr(event, "made", False) and event.key in ("corpus/shards", "random/scores") and restarts < 4:
            restarts += 1
            postgres.stop()
            threading.Timer(0.5, postgres.start).start()
    assert made(events).total() == ARTIFACTS and restarts == 4


@pytest.mark.parametrize("gone", ["documents.parquet", "receipt.json"])
def test_an_object_that_vanished_is_noticed_and_made_again_on_a_machine_without_a_copy(
    shared: Bucket, gone: str
) -> None:
    assert made(list(run(shared.load("one")))).total() == ARTIFACTS
    (path,) = shared.fs.glob(f"{shared.name}/artifacts/corpus/documents/s3.jsonl/*/{gone}")
    shared.fs.rm_file(path)
    events = list(run(shared.load("two")))
    if gone == "documents.parquet":
        assert made(events)["corpus/documents"] == 1
        assert [event for event in events if isinstance(event, str) and "corpus/documents[s3.jsonl]" in event]
    workspace = Workspace(shared.load("three"))
    assert not shared.lost(workspace)
    assert (workspace.open("corpus/documents", "s3.jsonl") / "documents.parquet").exists()


_MACHINE = """
import sys, time
from curation_assets_tests.stories.test_object_store import made, run
from curation_assets.config.profile import load_profile
print("ready", flush=True)
sys.stdin.readline()
for event in run(load_profile(sys.argv[1])):
    if getattr(event, "made", False):
        print(event.key, event.receipt.partition, flush=True)
    elif type(event).__name__ in ("Failed", "Blocked"):
        print("WRONG", event, flush=True)
"""


def _machine(profile: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _MACHINE, str(profile)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_two_machines_at_once_lose_nothing_and_make_nothing_twice(shared: Bucket) -> None:
    machines = [_machine(shared.profile(name)) for name in ("one", "two")]
    for machine in machines:
        assert machine.stdin is not None
        machine.stdin.write("\n")
        machine.stdin.flush()
    outputs = [machine.communicate(timeout=150)[0].splitlines() for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0]
    lines = Counter(line for output in outputs for line in output if not line.startswith("corpus/source"))
    assert lines.total() == ARTIFACTS - 1 and set(lines.values()) == {1}, lines
    workspace = Workspace(shared.load("three"))
    assert sum(current for _, current in known(workspace)) == ARTIFACTS
    assert not shared.lost(workspace)
    assert set(made(list(run(shared.load("three"))))) <= {"corpus/source"}


def test_what_a_killed_machine_finished_is_not_made_again(shared: Bucket) -> None:
    machine = _machine(shared.profile("one"))
    assert machine.stdin is not None and machine.stdout is not None
    machine.stdin.write("\n")
    machine.stdin.flush()
    finished = [machine.stdout.readline().strip() for _ in range(12)]
    os.kill(machine.pid, signal.SIGKILL)
    rest = machine.communicate()[0].splitlines()
    events = list(run(shared.load("one")))
    again = {f"{e.key} {e.receipt.partition}" for e in events if getattr(e, "made", False)}
    assert not again & set(finished[1:]) and made(events).total() >= ARTIFACTS - len(finished) - len(rest) - 1
    assert not shared.lost(Workspace(shared.load("one")))


def test_of_two_machines_with_a_catalog_each_one_has_the_store_and_the_other_is_refused(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would replace one another's artifacts and know nothing of it."""
    with monkeypatch.context() as together:  # both looked before one of them had it
        together.setattr(Store, "owner", property(lambda store: ""))
        first = Workspace(bucket.load("one"))
        assert not first.catalog.asset_keys()
        with pytest.raises(ProfileError, match="the store of another catalog"):
            list(run(bucket.load("two")))
    for _ in range(2):
        with pytest.raises(ProfileError, match="give each store a catalog of its own"):
            list(run(bucket.load("two")))
    assert made(list(run(bucket.load("one")))).total() == ARTIFACTS
    assert not bucket.lost(Workspace(bucket.load("one")))


def test_copies_on_this_machine_are_bounded(bucket: Bucket) -> None:
    profile = bucket.load("one", "cache_gb = 0.000_02")
    assert made(list(run(profile))).total() == ARTIFACTS
    cached = list((profile.data / "scratch" / "fetched").rglob("*.parquet"))
    assert 0 < sum(path.stat().st_size for path in cached) <= 20_000
    assert len({path.parent for path in cached}) < SHARDS
