"""What the catalog promises: of two writers one wins, leases end with their writers, nothing goes that something refers to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from curation_assets.engine import catalog as module
from curation_assets.engine.attempts import SILENCE, Attempt
from curation_assets.engine.catalog import ALONE, BEFORE, FORMAT, Catalog, LeaseLost, RoleTaken, Writer
from curation_assets.engine.receipt import Receipt
from curation_assets_tests.engine.conftest import Clock
from curation_assets_tests.engine.stocked import replaced, unlisted

KEY = "corpus/documents"


def _receipt(partition: str = "a", folder: str = "", key: str = KEY, **more: object) -> Receipt:
    folder = folder or f"{key}/{partition}/{uuid.uuid4().hex}"
    made = Receipt(
        key, partition, "v", f"recipe of {folder}", "code", {"corpus/shards": "s"}, folder, {"f": (3, "d")}
    )
    return replace(made, created=time.time(), **more)


def _begin(catalog: Catalog, writer: Writer, partition: str = "a", key: str = KEY) -> Attempt:
    there = catalog.current(key, partition)
    return catalog.begin(writer, key, {partition: ("wanted", there.folder if there else "")}, "run")[
        partition
    ]


def _make(
    catalog: Catalog, writer: Writer, partition: str = "a", **more: object
) -> tuple[Receipt, list[str]]:
    """Make an artifact; return it, and the folders that may go."""
    receipt, lease = _receipt(partition, **more), _begin(catalog, writer, partition)
    return receipt, [one.folder for one in catalog.commit(receipt, lease)]


@contextmanager
def _elsewhere(catalog: Catalog, patch: pytest.MonkeyPatch, role: str = "") -> Iterator[Writer]:
    """Give a writer of another machine, or of another container of this one."""
    with patch.context() as other:
        other.setattr(module, "this_machine", lambda: "another boot/pid:[1]")
        entered = catalog.writer(role)
        writer = entered.__enter__()
    try:
        yield writer
    finally:
        entered.__exit__(None, None, None)


def test_of_several_that_find_a_catalog_of_the_version_before_one_brings_it_up(
    catalog: Catalog, catalog_url: str
) -> None:
    with catalog.writer() as writer:
        made = {partition: _make(catalog, writer, partition)[0] for partition in ("a", "b")}
    about = catalog.about()
    before = (
        "ALTER TABLE artifacts DROP COLUMN digest",
        "DROP TABLE withdrawn",
        f"UPDATE about SET value = '{BEFORE}' WHERE name = 'format'",
    )
    catalog._database.write(lambda connection: [connection.execute(sa.text(line)) for line in before])

    def open_it(_: int) -> dict[str, Receipt]:
        one = Catalog(catalog_url)
        one.upgrade()
        return one.current_of(KEY)

    with ThreadPoolExecutor(6) as pool:
        assert [*pool.map(open_it, range(6))] == [made] * 6
    assert catalog.about() == about and catalog.withdrawn() == {}
    with catalog.writer() as writer:
        second, _ = _make(catalog, writer)
    assert catalog.current_of(KEY) == {"a": second, "b": made["b"]}


# What becomes current


def test_what_is_committed_is_current_and_its_attempt_is_forgotten(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        lease = _begin(catalog, writer)
        assert catalog.attempt(KEY, "a") == replace(lease, by=f"process {os.getpid()} on {writer.host}")
        assert catalog.current(KEY, "a") is None and not catalog.partitions_of(KEY)
        receipt = _receipt(metadata={"rows": 3, "text": 'é"\n'}, seconds=0.125, run_id="run")
        assert catalog.commit(receipt, lease) == []
    assert catalog.current(KEY, "a") == receipt == catalog.current_of(KEY)["a"]
    assert catalog.attempt(KEY, "a") is None and catalog.partitions_of(KEY) == {"a"}


def test_of_two_writers_one_makes_it_and_the_other_hears_who_does(catalog: Catalog) -> None:
    with catalog.writer() as one, catalog.writer() as other:
        lease, refused = _begin(catalog, one), _begin(catalog, other)
        assert lease.writer == one.id and refused.writer == one.id and refused.running()
        with pytest.raises(LeaseLost):
            catalog.commit(_receipt(), replace(refused, writer=other.id))
        catalog.commit(receipt := _receipt(), lease)
    assert catalog.current(KEY, "a") == receipt


def test_who_looked_before_another_one_committed_looks_again(catalog: Catalog) -> None:
    with catalog.writer() as one, catalog.writer() as other:
        receipt, _ = _make(catalog, one)
        assert catalog.begin(other, KEY, {"a": ("wanted", "")}, "run") == {}, "it saw that there was none"
        begun = catalog.begin(other, KEY, {"a": ("wanted", receipt.folder)}, "run")
        assert begun["a"].writer == other.id


def test_a_writer_that_was_silent_for_a_minute_has_lost_its_leases(
    catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one looks before it commits, and after: neither is changed by what the silent one brings."""
    with _elsewhere(catalog, monkeypatch) as silent, ExitStack() as stack:
        lease = _begin(catalog, silent)
        clock.ahead = SILENCE - 5
        writer = stack.enter_context(catalog.writer())
        assert _begin(catalog, writer).writer == silent.id, "a minute has not passed"
        clock.ahead = SILENCE + 5
        taken = _begin(catalog, writer)
        assert taken.writer == writer.id and taken.number == 2, "that its run died counts as a try"
        with pytest.raises(LeaseLost):
            catalog.commit(_receipt(), lease)
        catalog.commit(receipt := _receipt(), taken)
        with pytest.raises(LeaseLost):
            catalog.commit(_receipt(), lease)
        catalog.fail(lease, "too late")
        catalog.end([lease])
    assert catalog.current(KEY, "a") == receipt and catalog.attempt(KEY, "a") is None


def test_a_writer_that_was_silent_and_that_nobody_missed_goes_on(
    catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that slept: its row is gone when somebody else came, and with the next beat it is back."""
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    with _elsewhere(catalog, monkeypatch) as writer:
        lease = _begin(catalog, writer)
        clock.ahead = SILENCE + 5
        with catalog.writer():
            _until(lambda: catalog.attempt(KEY, "a").running())
        catalog.commit(receipt := _receipt(), lease)
    assert catalog.current(KEY, "a") == receipt


def test_a_heart_beats_on(catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    with _elsewhere(catalog, monkeypatch) as writer:
        _begin(catalog, writer)
        for minute in range(3):
            clock.ahead = minute * (SILENCE + 5)
            _until(lambda: catalog.attempt(KEY, "a").running())
    assert catalog.attempt(KEY, "a") is None, "what it did not end was never begun"
    assert not any(thread.name == "catalog heartbeat" for thread in _threads_after(0.2))


def _until(true: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it never was"
        time.sleep(0.01)


def _threads_after(seconds: float) -> list[threading.Thread]:
    time.sleep(seconds)
    return threading.enumerate()


def test_a_commit_that_is_repeated_since_its_answer_was_lost_does_no_harm(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        before, _ = _make(catalog, writer)
        lease = _begin(catalog, writer)
        receipt = _receipt()
        for _ in range(2):
            assert catalog.commit(receipt, lease) == []
        assert catalog.current(KEY, "a") == receipt and replaced(catalog, KEY, "a") == [before]


def test_what_was_replaced_is_kept_until_it_is_replaced_as_well(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        made = [_make(catalog, writer) for _ in range(4)]
    folders = [receipt.folder for receipt, _ in made]
    assert [gone for _, gone in made] == [[], [], [folders[0]], [folders[1]]]
    assert [one.folder for one in replaced(catalog, KEY, "a")] == [folders[2]]
    assert catalog.current(KEY, "a") == made[3][0]


def test_a_folder_that_several_artifacts_share_goes_with_the_last(catalog: Catalog) -> None:
    """A corpus file that was renamed: its artifact is the one that was made under the old name."""
    with catalog.writer() as writer:
        first, _ = _make(catalog, writer, "a")
        lease = _begin(catalog, writer, "b")
        shared = replace(first, partition="b", created=first.created + 1)
        assert catalog.commit(shared, lease, another=True) == []
        assert catalog.made_by(KEY, [first.recipe]).keys() == {first.recipe}
        gone = [folder for _ in range(3) for folder in _make(catalog, writer, "a")[1]]
        assert first.folder not in gone
        assert _make(catalog, writer, "b")[1] == [], "kept, for who reads it still"
        assert _make(catalog, writer, "b")[1] == [first.folder]


def test_nothing_is_taken_over_that_went_meanwhile(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        first, _ = _make(catalog, writer, "a")
        lease = _begin(catalog, writer, "b")
        for _ in range(2):
            _, gone = _make(catalog, writer, "a")
        assert gone == [first.folder], "its files may be gone"
        with pytest.raises(LeaseLost, match="is gone"):
            catalog.commit(replace(first, partition="b"), lease, another=True)
    assert catalog.current(KEY, "b") is None


def test_what_is_withdrawn_is_missing_wherever_it_is_used_unless_it_was_made_anew(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        first, _ = _make(catalog, writer, "a")
        catalog.commit(replace(first, partition="b"), _begin(catalog, writer, "b"), another=True)
        assert catalog.withdraw(first, "gone") and not catalog.withdraw(first, "gone")
        assert not catalog.partitions_of(KEY), "one folder is damaged for both"
        second, _ = _make(catalog, writer, "a")
        assert not catalog.withdraw(first, "gone") and catalog.current(KEY, "a") == second


def test_what_was_not_announced_is_its_writers_to_announce_and_anothers_once_that_has_ended(
    catalog: Catalog,
) -> None:
    """Two others come at once: one of them has it. A catalog that is made anew of the manifests knows it still."""
    with catalog.writer() as one, catalog.writer() as other:
        with catalog.writer() as writer:
            receipt, _ = _make(catalog, writer)
            catalog.announce(receipt)
            newer, _ = _make(catalog, writer)
            catalog.announce(receipt)  # which is not the current one any more
            assert not catalog.adopt_unannounced(one, KEY, ["a"]), "its own run is about to"
        catalog.rebuild(KEY, [(receipt, False), (newer, True)])
        assert not catalog.adopt_unannounced(one, KEY, ["b"])
        assert catalog.adopt_unannounced(one, KEY, ["a", "b"]) == {"a"}
        assert catalog.adopt_unannounced(one, KEY, ["a"]) == {"a"}, "where the first answer was lost"
        assert not catalog.adopt_unannounced(other, KEY, ["a"])
        catalog.announce(newer)
        assert not catalog.adopt_unannounced(one, KEY, ["a"])


def test_what_was_not_announced_and_is_not_current_any_more_is_nobodys_to_announce(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        first, _ = _make(catalog, writer)
    catalog.withdraw(first, "gone")
    with catalog.writer() as writer:
        assert not catalog.adopt_unannounced(writer, KEY, ["a"])
        second, _ = _make(catalog, writer)
    with catalog.writer() as writer:
        catalog.announce(first)
        assert catalog.adopt_unannounced(writer, KEY, ["a"]) == {"a"}
        catalog.announce(second)
        assert not catalog.adopt_unannounced(writer, KEY, ["a"])


def test_what_a_silent_writer_did_not_announce_is_anothers(
    catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _elsewhere(catalog, monkeypatch) as silent:
        _make(catalog, silent)
        clock.ahead = SILENCE + 5
        with catalog.writer() as writer:
            assert catalog.adopt_unannounced(writer, KEY, ["a"]) == {"a"}


# Attempts


def test_failures_are_counted_until_something_else_is_wanted(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        for number in range(1, 4):
            lease = _begin(catalog, writer)
            assert lease.number == number
            catalog.fail(lease, f"ValueError: {number}" + "x" * 3_000)
        failed = catalog.attempt(KEY, "a")
        assert (
            failed.ended
            and not failed.running()
            and failed.error.startswith("ValueError: 3")
            and len(failed.error) == 2_000
        )
        assert _begin(catalog, writer).error == failed.error, "known while the next try goes on"
        other = catalog.begin(writer, KEY, {"a": ("another recipe", "")}, "run")["a"]
        assert other.number == 1 and other.error == failed.error, "counted anew"
    stopped = catalog.attempt(KEY, "a")
    assert stopped.ended and stopped.number == 0 and stopped.error == failed.error, (
        "only the last one never began"
    )


def test_an_attempt_whose_beginning_is_repeated_since_its_answer_was_lost_is_one_attempt(
    catalog: Catalog,
) -> None:
    with catalog.writer() as writer:
        catalog.fail(_begin(catalog, writer), "ValueError: no")
        begun = [_begin(catalog, writer) for _ in range(2)]
        assert [attempt.number for attempt in begun] == [2, 2]
        catalog.fail(begun[1], "ValueError: again no")
        assert _begin(catalog, writer).number == 3


def test_what_failed_stays_when_its_run_has_ended(catalog: Catalog) -> None:
    with catalog.writer() as writer:
        catalog.fail(_begin(catalog, writer), "ValueError: no")
        _begin(catalog, writer, "b")
    assert catalog.attempts().keys() == {(KEY, "a")}, "b was stopped, and that is no failure"


def test_a_clock_that_is_put_back_keeps_nobody_waiting_for_the_dead(
    catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.ahead = 3_600
    with _elsewhere(catalog, monkeypatch) as dead:
        _begin(catalog, dead)
        clock.ahead = 0
        with catalog.writer() as writer:
            assert _begin(catalog, writer).writer == writer.id


_WRITER = f"""
import sys
from curation_assets.engine.catalog import Catalog
catalog = Catalog(sys.argv[1])
with catalog.writer("role") as writer:
    catalog.begin(writer, "{KEY}", {{"a": ("wanted", "")}}, "run")
    print(writer.pid, flush=True)
    input()
"""


@pytest.mark.process
@pytest.mark.parametrize("same_machine", [True, False])
def test_a_killed_process_of_this_machine_is_not_waited_for_and_one_of_another_is(
    catalog: Catalog, catalog_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, same_machine: bool
) -> None:
    """Whether it is this machine is said by the boot and the process namespace, which a container has of its own."""
    command = [sys.executable, "-c", _WRITER, catalog_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == str(process.pid)
        with catalog.writer() as writer:
            assert _begin(catalog, writer).by == f"process {process.pid} on {writer.host}"
        with pytest.raises(RoleTaken, match=str(process.pid)), catalog.writer("role"):
            pass
        process.send_signal(signal.SIGKILL)
    if not same_machine:
        monkeypatch.setattr("curation_assets.engine.attempts.this_machine", lambda: "a container/pid:[1]")
        with pytest.raises(RoleTaken, match=str(process.pid)), catalog.writer("role"):
            pass
        with catalog.writer() as writer:
            assert _begin(catalog, writer).writer != writer.id
        clock.ahead = SILENCE + 1
    with catalog.writer("role") as writer:
        assert _begin(catalog, writer).writer == writer.id


def test_a_role_is_one_writers_at_a_time_and_nobody_is_beside_who_is_alone(catalog: Catalog) -> None:
    with catalog.writer("role"), catalog.writer("another"), catalog.writer(), catalog.writer():
        for role in ("role", ALONE):
            with pytest.raises(RoleTaken, match=str(os.getpid())), catalog.writer(role):
                pass
    with catalog.writer(ALONE):
        for role in ("", "role", ALONE):
            with pytest.raises(RoleTaken), catalog.writer(role):
                pass
    with catalog.writer("role"):
        pass


# Marks, listings, formats


def test_a_mark_that_was_set_again_meanwhile_stays(catalog: Catalog, clock: Clock) -> None:
    catalog.mark(["a", "b"])
    before = catalog.marks()
    clock.ahead = 1
    catalog.mark(["b"])
    catalog.unmark(before)
    assert catalog.marks().keys() == {"b"} and catalog.marks()["b"] > before["b"]
    catalog.unmark({})
    catalog.unmark(catalog.marks())
    assert not catalog.marks()


def test_a_commit_fulfils_the_mark_that_was_there_when_its_attempt_began(
    catalog: Catalog, clock: Clock
) -> None:
    """By the database's clock alone: that of the machine where the artifact was made may be wrong."""
    for wrong in (-3_600.0, 3_600.0):
        catalog.mark([KEY + "[a]", KEY + "[b]"])
        with catalog.writer() as writer:
            lease = _begin(catalog, writer)
            catalog.commit(replace(_receipt(), created=time.time() + wrong), lease)
            assert catalog.marks().keys() == {KEY + "[b]"}
            lease = _begin(catalog, writer)
            clock.ahead += 1
            catalog.mark([KEY + "[a]"])
            catalog.commit(replace(_receipt(), created=time.time() + wrong), lease)
            assert catalog.marks().keys() == {KEY + "[a]", KEY + "[b]"}, "asked while it was made"
            with pytest.raises(LeaseLost):
                catalog.commit(_receipt(), lease)
            catalog.fail(_begin(catalog, writer), "ValueError: no")
        assert catalog.marks().keys() == {KEY + "[a]", KEY + "[b]"}


def test_marks_of_the_version_before_are_taken_over_that_nothing_came_of(catalog_url: str) -> None:
    new, made = Catalog(catalog_url), replace(_receipt(), created=10.0)
    older = replace(_receipt(), created=100.0)
    new.create("store", [(made, True), (older, False)], {KEY + "[a]": 9.0, KEY + "[b]": 9.0})
    assert new.marks() == {KEY + "[b]": 9.0}


def test_since_when_a_file_is_not_listed_is_known_until_it_is_again(catalog: Catalog, clock: Clock) -> None:
    catalog.note_listed({"a", "b"}, {"a", "b"})
    assert not unlisted(catalog)
    catalog.note_listed({"b"}, {"a", "b"})
    since = unlisted(catalog)
    clock.ahead = 10
    catalog.note_listed({"c"}, {"a", "b", "c"})
    assert unlisted(catalog)["a"] == since["a"] and unlisted(catalog)["b"] > since["a"]
    catalog.note_listed({"a", "c"}, {"a", "b", "c"})
    assert unlisted(catalog).keys() == {"b"}
    catalog.forget_files(unlisted(catalog)["b"])
    assert unlisted(catalog), "not before then"
    catalog.forget_files(unlisted(catalog)["b"] + 1)
    assert not unlisted(catalog)


def test_a_catalog_is_begun_once_and_one_of_another_format_goes(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = catalog.about()
    assert about["format"] == FORMAT and about["store"] == "memory://store"
    assert catalog.create("elsewhere", [(_receipt(), True)], {"a": 1.0}) == about["id"]
    assert catalog.about() == about and not catalog.asset_keys() and not catalog.marks()
    monkeypatch.setattr(module, "FORMAT", "next")
    assert catalog.create("memory://store", [(_receipt(), True)], {"a": 1.0}) != about["id"]
    assert (
        catalog.about()["format"] == "next"
        and catalog.asset_keys() == {KEY}
        and catalog.marks() == {"a": 1.0}
    )


def test_many_partitions_are_asked_for_at_once(catalog: Catalog) -> None:
    many = [f"s{number}" for number in range(5_000)]
    catalog.rebuild(KEY, [(_receipt(partition), True) for partition in many])
    assert catalog.current_of(KEY, many[1:]).keys() == set(many[1:])
    catalog.note_listed([], many)
    catalog.forget_files(catalog.time() + 1)
    assert catalog.asset_keys() == {KEY} and not unlisted(catalog)


# Everything at once


class _Life(RuleBasedStateMachine):
    """Two writers, one of which is taken to be dead now and then, beside what should come of it."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        super().__init__()
        self.catalog, self.clock, self.key = catalog, clock, f"room/{uuid.uuid4().hex}"
        self.stack = ExitStack()
        self.writers = [self.stack.enter_context(catalog.writer()) for _ in range(2)]
        self.leases: list[dict[str, Attempt]] = [{}, {}]  # what each believes to hold
        self.owner: dict[str, int] = {}  # who holds it
        self.current: dict[str, Receipt] = {}
        self.disk: set[str] = set()
        self.written: list[dict[str, Receipt]] = [
            {},
            {},
        ]  # what their workers have made, and they not committed
        self.seen: dict[str, Receipt] = {}  # what somebody looked at, and may be gone

    writer, partition = st.integers(0, 1), st.sampled_from(["a", "b"])

    @rule(writer=writer, partition=partition)
    def begin(self, writer: int, partition: str) -> None:
        attempt = _begin(self.catalog, self.writers[writer], partition, self.key)
        holder = self.owner.get(partition, writer)
        assert attempt.writer == self.writers[holder].id
        if holder == writer:
            self._lease(writer, partition, attempt)

    @rule(writer=writer, partition=partition)
    def write(self, writer: int, partition: str) -> None:
        if partition in self.leases[writer] and partition not in self.written[writer]:
            receipt = self.written[writer][partition] = _receipt(partition, key=self.key)
            self.disk.add(receipt.folder)

    @rule(writer=writer, partition=partition)
    def commit(self, writer: int, partition: str) -> None:
        self.write(writer, partition)
        if lease := self.leases[writer].pop(partition, None):
            self._commit(writer, self.written[writer].pop(partition), lease, False)

    @rule(writer=writer, partition=partition, times=st.integers(1, 3))
    def make(self, writer: int, partition: str, times: int) -> None:
        for _ in range(times):
            self.begin(writer, partition)
            self.commit(writer, partition)

    @rule(partition=partition)
    def look(self, partition: str) -> None:
        known = [self.catalog.current(self.key, partition), *replaced(self.catalog, self.key, partition)]
        if known[-1] is not None:
            self.seen[partition] = known[-1]

    @rule(writer=writer, partition=partition, of=partition)
    def take_over(self, writer: int, partition: str, of: str) -> None:
        if of in self.seen and (lease := self.leases[writer].pop(partition, None)):
            self.written[writer].pop(partition, None)
            taken = replace(self.seen[of], partition=partition, created=time.time())
            self._commit(writer, taken, lease, True)

    def _commit(self, writer: int, receipt: Receipt, lease: Attempt, another: bool) -> None:
        current = self.current.get(receipt.partition)
        gone_before = another and all(
            one.folder != receipt.folder for one, _ in self.catalog.all_of(self.key)
        )
        holds = (
            not gone_before
            and self.owner.get(receipt.partition) == writer
            and (current is None or current.folder == lease.replaces)  # withdrawn meanwhile: still wanted
        )
        try:
            gone = self.catalog.commit(receipt, lease, another=another)
            assert holds
            self.current[receipt.partition] = receipt
            del self.owner[receipt.partition]
        except LeaseLost:
            assert not holds
            if gone_before and self.owner.get(receipt.partition) == writer:
                self.catalog.end([lease])
                del self.owner[receipt.partition]
            gone = self.catalog.unreferenced([receipt])
        self.disk -= {one.folder for one in gone}

    @rule(writer=writer, partition=partition, failed=st.booleans())
    def stop(self, writer: int, partition: str, failed: bool) -> None:
        if lease := self.leases[writer].pop(partition, None):
            self.written[writer].pop(partition, None)
            if failed:
                self.catalog.fail(lease, "ValueError: no")
            else:
                self.catalog.end([lease])
            if self.owner.get(partition) == writer:
                del self.owner[partition]

    @rule(partition=partition)
    def withdraw(self, partition: str) -> None:
        if receipt := self.current.get(partition):
            self.catalog.withdraw(receipt, "gone")
            self.current = {p: one for p, one in self.current.items() if one.folder != receipt.folder}

    @rule(writer=writer)
    def silence(self, writer: int) -> None:
        """A minute without a heartbeat of one, whose leases may be taken from then on; it lives again with the next."""
        self.clock.ahead += SILENCE + 1
        self._beat(1 - writer)
        for partition in [p for p, holder in self.owner.items() if holder == writer]:
            begun = _begin(self.catalog, self.writers[1 - writer], partition, self.key)
            assert begun.writer == self.writers[1 - writer].id
            self._lease(1 - writer, partition, begun)
        self._beat(writer)

    @rule(dead=st.none() | writer, dry_run=st.booleans())
    def collect_garbage(self, dead: int | None, dry_run: bool) -> None:
        if dead is not None:
            self.clock.ahead += SILENCE + 1
            self._beat(1 - dead)
        found = self.catalog.collect(self.key, self.disk, time.time() + 1e9, listed=False, dry_run=dry_run)
        if not dry_run:
            self.disk -= {one.folder for one in found.replaced}
            self.disk -= {f for f in found.unreferenced if f.split("/")[2] not in found.leased}
            self.owner = {p: holder for p, holder in self.owner.items() if holder != dead}
        if dead is not None:
            self._beat(dead)

    def _lease(self, writer: int, partition: str, attempt: Attempt) -> None:
        """What was made under another lease is not committed under this one: its folder may be gone."""
        before = self.leases[writer].get(partition)
        if before is None or (before.number, before.started) != (attempt.number, attempt.started):
            self.written[writer].pop(partition, None)
        self.owner[partition], self.leases[writer][partition] = writer, attempt

    def _beat(self, writer: int) -> None:
        who = self.writers[writer]
        self.catalog._database.write(lambda c: self.catalog._beat(c, who, "", threading.Event()))

    @invariant()
    def one_is_current_and_nothing_that_is_known_is_gone(self) -> None:
        known = self.catalog.all_of(self.key)
        assert {one.partition: one for one, current in known if current} == self.current
        assert sum(current for _, current in known) == len(self.current)
        assert {one.folder for one, _ in known} <= self.disk

    def teardown(self) -> None:
        self.stack.close()


@pytest.mark.slow
def test_whatever_happens_one_artifact_is_current_and_nothing_is_removed_that_is_referred_to(
    catalog: Catalog, clock: Clock
) -> None:
    run_state_machine_as_test(
        lambda: _Life(catalog, clock),
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
    )


_COUNTER = f"""
import sys, time, uuid
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.receipt import Receipt
catalog, left = Catalog(sys.argv[1]), int(sys.argv[2])
with catalog.writer() as writer:
    while left:
        there = catalog.current("{KEY}", "a")
        folder, count = (there.folder, there.metadata["count"]) if there else ("", 0)
        attempt = catalog.begin(writer, "{KEY}", {{"a": ("wanted", folder)}}, "run").get("a")
        if attempt is not None and attempt.writer == writer.id:
            made = Receipt("{KEY}", "a", "v", "r", "c", {{}}, uuid.uuid4().hex, {{}}, {{"count": count + 1}}, time.time())
            catalog.commit(made, attempt)
            left -= 1
"""


@pytest.mark.process
def test_two_processes_that_commit_at_once_lose_nothing(catalog: Catalog, catalog_url: str) -> None:
    command = [sys.executable, "-c", _COUNTER, catalog_url, "40"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert catalog.current(KEY, "a").metadata == {"count": 80}
    assert len(replaced(catalog, KEY, "a")) == 1 and not catalog.attempts()


@pytest.mark.process
def test_of_processes_that_begin_a_catalog_at_once_one_does(catalog_url: str) -> None:
    script = "import sys; from curation_assets.engine.catalog import Catalog; print(Catalog(sys.argv[1]).create('s', [], {}))"
    command = [sys.executable, "-c", script, catalog_url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = {process.communicate()[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes) and told == {
        Catalog(catalog_url).about()["id"]
    }
