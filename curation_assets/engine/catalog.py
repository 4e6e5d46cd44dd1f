"""The catalog: which artifact is current, which it replaced, what is being made, what failed, what is to be learned anew.

Tables beside the store, and the one place where something becomes current. Artifacts are immutable folders with a
manifest, so the catalog can be made again from them; what stands in it alone is attempts and marks.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from curation_assets.config.profile import ProfileError
from curation_assets.engine.attempts import HEARTBEAT, SILENCE, Attempt, dead_for_certain, this_machine
from curation_assets.engine.catalog_tables import (
    ABOUT,
    ARTIFACTS,
    ATTEMPTS,
    CURRENT,
    MARKS,
    TABLES,
    UNANNOUNCED,
    UNLISTED,
    WITHDRAWN,
    WRITERS,
    add_digests,
    all_where,
    current_where,
    delete,
    insert,
    receipts_where,
    row_of,
    row_of_attempt,
)
from curation_assets.engine.database import CatalogDamaged, CatalogUnavailable, Database, damaged
from curation_assets.engine.receipt import Receipt, title

FORMAT = "3"
BEFORE = "2"
"""The format that `upgrade` makes one of this."""
_NAME = ("key", "partition", "folder")  # of an artifact
ALONE = "curation catalog rebuild"  # the role of a writer beside which there is no other one


class LeaseLost(RuntimeError):
    """Somebody else has taken an artifact over, since this writer was silent for too long; what it made is not used."""


@dataclass(frozen=True)
class Collected:
    """What of a key may go: artifacts whose folders nothing refers to any more, and folders that nothing did before.

    In `unreferenced` are also folders of the partitions that are `leased`: of these somebody is making one.
    """

    replaced: list[Receipt]
    unlisted: list[Receipt]
    unreferenced: set[str]
    leased: set[str]


@dataclass(frozen=True)
class Writer:
    """Who makes artifacts: one run of one process, as long as its heart beats."""

    id: str
    host: str
    pid: int


class Catalog:
    """The tables of one store.

    Raises
    ------
    CatalogUnavailable
        From every method: the database cannot be reached, or is damaged.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._database = Database(url)
        self.name = self._database.name

    # Where it belongs

    def about(self) -> dict[str, str]:
        """Return {id, store, format} of the catalog; {} where there is none yet."""
        about = self._database.read(_about)
        if about and not about.keys() >= {"id", "store", "format"}:
            raise CatalogDamaged(damaged(self.name, "it does not say whose it is"))
        return about

    def create(self, store: str, receipts: Iterable[tuple[Receipt, bool]], marks: Mapping[str, float]) -> str:
        """Begin a catalog of a store, with (artifact, whether it is current) of what is there; return its id.

        Where somebody else did it meanwhile, theirs stands; one of another format goes. A mark that is older than the model
        is not taken over: it has been learned anew since.
        """
        there = list(receipts)
        rows = [row_of(receipt, current=current) for receipt, current in there]
        made = {title(one.key, one.partition): one.created for one, current in there if current}

        def create(connection: sa.Connection) -> str:
            about = _about(connection)
            if about.get("format") == FORMAT:
                return about["id"]
            if about:
                TABLES.drop_all(connection)
            TABLES.create_all(connection)
            about = {"id": uuid.uuid4().hex, "store": store, "format": FORMAT}
            connection.execute(ABOUT.insert(), [{"name": n, "value": v} for n, v in about.items()])
            insert(connection, ARTIFACTS, rows)
            asked = {name: when for name, when in marks.items() if when > made.get(name, 0.0)}
            insert(connection, MARKS, [{"title": name, "asked": when} for name, when in asked.items()])
            return about["id"]

        return self._database.write(create)

    def upgrade(self) -> None:
        """Make a catalog of the format before one of this: what it says is believed once more, and has digests from now on.

        Raises
        ------
        RoleTaken
            A run of the version before is at work.
        """

        def upgrade(connection: sa.Connection) -> None:
            if _about(connection).get("format") != BEFORE:
                return  # somebody else did it meanwhile
            now = self._time(connection)
            for row in connection.execute(sa.select(WRITERS)).mappings().all():
                if _lives(row, now):
                    raise RoleTaken(
                        f"the catalog {self.name} is of the version before, and process {row['pid']} of {row['host']} is at work: "
                        "it is brought up to this version when that has ended"
                    )
            add_digests(connection)
            connection.execute(ABOUT.update().where(ABOUT.c.name == "format").values(value=FORMAT))

        self._database.write(upgrade)

    def rebuild(self, key: str, receipts: Iterable[tuple[Receipt, bool]]) -> None:
        """Forget which artifacts there are of a key, and take these instead: (artifact, whether it is current).

        For a writer with the role ALONE.
        """
        rows = [row_of(receipt, current=current) for receipt, current in receipts]

        def rebuild(connection: sa.Connection) -> None:
            connection.execute(ARTIFACTS.delete().where(ARTIFACTS.c.key == key))
            insert(connection, ARTIFACTS, rows)

        self._database.write(rebuild)

    def asset_keys(self) -> set[str]:
        """Return the asset keys of which it knows an artifact."""
        query = sa.select(ARTIFACTS.c.key).distinct()
        return self._column(query)

    def intact(self) -> bool:
        """Tell whether the database is what was written, as far as it can tell itself."""
        with suppress(CatalogDamaged):
            if self.about():
                self._database.read(_read_columns)
            return self._database.intact()
        return False

    def set_aside(self) -> Path:
        """Give a damaged file another name, which is returned: then there is no catalog."""
        return self._database.set_aside()

    def leave_store(self) -> bool:
        """Be no store's any more, so that the one of before is refused; False where there is something in it."""

        def leave(connection: sa.Connection) -> bool:
            for table in (ARTIFACTS, ATTEMPTS, WRITERS):
                if connection.execute(sa.select(table).limit(1)).first() is not None:
                    return False
            for table in (MARKS, UNANNOUNCED, WITHDRAWN, ABOUT):
                connection.execute(table.delete())
            return True

        return self._database.write(leave)

    # What there is

    def current(self, key: str, partition: str) -> Receipt | None:
        """Return the receipt of the current artifact, or None."""
        return self.current_of(key, [partition]).get(partition)

    def replaced(self, key: str, partition: str) -> list[Receipt]:
        """Return the receipts of what was current before and is there still, the latest first."""
        return sorted(self._receipts(_at(key, partition) & ~CURRENT), key=lambda one: -one.created)

    def current_of(
        self, key: str, partitions: list[str] | None = None, known: Mapping[str, Receipt] | None = None
    ) -> dict[str, Receipt]:
        """Return {partition: receipt} of the current artifacts of a key: all, or those of some partitions.

        Of those that are `known`, which were read before, it is only read that they are still current: what is known of an
        artifact does not change.
        """
        of = (ARTIFACTS.c.key == key) & CURRENT
        if partitions is not None:
            of &= ARTIFACTS.c.partition.in_(partitions)
        there = self._database.read(lambda connection: current_where(connection, of, known or {}))
        # A damaged index of SQLite gives rows that were not asked for.
        return {partition: receipt for partition, receipt in there.items() if receipt.key == key}

    def partitions_of(self, key: str) -> set[str]:
        """Return the partitions of a key that have a current artifact."""
        query = sa.select(ARTIFACTS.c.partition).where(ARTIFACTS.c.key == key, CURRENT)
        return self._column(query)

    def all_of(self, key: str) -> list[tuple[Receipt, bool]]:
        """Return (artifact, whether it is current) of all that is known of a key."""
        return self._database.read(lambda connection: all_where(connection, ARTIFACTS.c.key == key))

    def made_by(self, key: str, recipes: Collection[str]) -> dict[str, Receipt]:
        """Return, by recipe, an artifact of a key that was made so: current or replaced, of whichever partition."""
        of = (ARTIFACTS.c.key == key) & ARTIFACTS.c.recipe.in_(list(recipes))
        return {receipt.recipe: receipt for receipt in self._receipts(of)}

    def _receipts(self, which: sa.ColumnElement[bool]) -> list[Receipt]:
        return self._database.read(lambda connection: receipts_where(connection, which))

    def _column(self, query: sa.Select[Any]) -> set[str]:
        return set(self._database.read(lambda connection: connection.scalars(query).all()))

    # Who makes what

    @contextmanager
    def writer(self, role: str = "") -> Iterator[Writer]:
        """Give a writer, whose heart beats as long as it is used; what it has begun and not ended counts as never begun.

        A `role` is one writer's at a time; beside ALONE there is no other writer.

        Raises
        ------
        RoleTaken
            Another one has the role.
        """
        writer = Writer(uuid.uuid4().hex, socket.gethostname(), os.getpid())
        stop = threading.Event()
        heart = threading.Thread(
            target=self._beats, args=(writer, role, stop), daemon=True, name="catalog heartbeat"
        )
        with self._database.kept_open():
            self._database.write(lambda connection: self._enter(connection, writer, role))
            heart.start()
            try:
                yield writer
            finally:
                stop.set()
                with suppress(CatalogUnavailable):  # then its silence ends it
                    self._database.write(lambda connection: self._leave(connection, writer))

    def _enter(self, connection: sa.Connection, writer: Writer, role: str) -> None:
        others, now = WRITERS.c.id != writer.id, self._time(connection)
        for row in connection.execute(sa.select(WRITERS).where(others)).mappings().all():
            if _lives(row, now):
                if (role and row["role"] == role) or ALONE in (role, row["role"]):
                    raise RoleTaken(f"process {row['pid']} of {row['host']}")
            else:  # its attempts stay: that they ended by a sudden death counts
                connection.execute(WRITERS.delete().where(WRITERS.c.id == row["id"]))
        connection.execute(WRITERS.delete().where(WRITERS.c.id == writer.id))
        self._insert_writer(connection, writer, role)

    def _insert_writer(self, connection: sa.Connection, writer: Writer, role: str) -> None:
        # When it was there is of this machine's clock: it is compared with the system's times of its processes.
        values = {**asdict(writer), "machine": this_machine(), "role": role, "started": time.time()}
        connection.execute(WRITERS.insert().values(**values, beat=self._now()))

    def _leave(self, connection: sa.Connection, writer: Writer) -> None:
        _never_began(connection, (ATTEMPTS.c.writer == writer.id) & ATTEMPTS.c.ended.is_(False))
        connection.execute(WRITERS.delete().where(WRITERS.c.id == writer.id))

    def stop_process(self) -> None:
        """Count as never begun what all writers of this process have begun and not ended: it was stopped, and is about to end."""
        mine = sa.select(WRITERS.c.id).where(
            WRITERS.c.machine == this_machine(), WRITERS.c.pid == os.getpid()
        )
        left = ATTEMPTS.c.writer.in_(mine) & ATTEMPTS.c.ended.is_(False)
        self._database.write(lambda connection: _never_began(connection, left))

    def _beats(self, writer: Writer, role: str, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT):
            with suppress(CatalogUnavailable):  # the next one, or silence
                self._database.write(lambda connection: self._beat(connection, writer, role, stop))

    def _beat(self, connection: sa.Connection, writer: Writer, role: str, stop: threading.Event) -> None:
        """Write down that a writer lives; one that was taken to be dead is back, without what others took over."""
        if stop.is_set():
            return
        # The machine's clock may have been put forward: then its process would seem to be younger than the writer.
        times = {"beat": self._now(), "started": time.time()}
        beat = WRITERS.update().where(WRITERS.c.id == writer.id).values(**times)
        if not connection.execute(beat).rowcount:
            self._insert_writer(connection, writer, role)

    def _now(self) -> Any:
        return self._database.now()

    def _time(self, connection: sa.Connection) -> float:
        return float(connection.scalar(sa.select(self._now())) or 0)

    def attempt(self, key: str, partition: str) -> Attempt | None:
        """Return the latest attempt since the last success, or None."""
        at = (ATTEMPTS.c.key == key) & (ATTEMPTS.c.partition == partition)
        return next(iter(self._database.read(lambda c: self._attempts(c, at)).values()), None)

    def attempts(self) -> dict[tuple[str, str], Attempt]:
        """Return {(key, partition): attempt} of all that have not succeeded."""
        return self._database.read(lambda c: self._attempts(c, sa.true()))

    def _attempts(
        self, connection: sa.Connection, which: sa.ColumnElement[bool]
    ) -> dict[tuple[str, str], Attempt]:
        rows = connection.execute(sa.select(ATTEMPTS).where(which)).mappings().all()
        if all(row["ended"] for row in rows):
            return {(row["key"], row["partition"]): Attempt(**row) for row in rows}
        writers = connection.execute(sa.select(WRITERS)).mappings().all()
        alive = self._alive(connection, writers)
        by = {row["id"]: f"process {row['pid']} on {row['host']}" for row in writers}
        return {
            (row["key"], row["partition"]): Attempt(
                **row, alive=row["writer"] in alive, by=by.get(row["writer"], "a run that died")
            )
            for row in rows
        }

    def _alive(self, connection: sa.Connection, writers: Sequence[sa.RowMapping]) -> set[str]:
        """Return the ids of those writers that live."""
        now = self._time(connection)
        return {row["id"] for row in writers if _lives(row, now)}

    def begin(
        self, writer: Writer, key: str, wanted: Mapping[str, tuple[str, str]], run_id: str
    ) -> dict[str, Attempt]:
        """Begin to make partitions of a key: {partition: (what it is to become, folder that is current, or "")}.

        Returns, by partition, the attempt that is this writer's now, or that of another one who is at it. A partition of
        which something else has become current meanwhile is not in it: look again.
        """

        def begin(connection: sa.Connection) -> dict[str, Attempt]:
            among = ATTEMPTS.c.key == key, ATTEMPTS.c.partition.in_(list(wanted))
            before = self._attempts(connection, sa.and_(*among))
            query = sa.select(ARTIFACTS.c.partition, ARTIFACTS.c.folder).where(
                ARTIFACTS.c.key == key, ARTIFACTS.c.partition.in_(list(wanted)), CURRENT
            )
            current = dict(connection.execute(query).tuples().all())
            now, begun, others = self._time(connection), {}, {}
            for partition, (goal, replaces) in wanted.items():
                last = before.get((key, partition))
                if last is not None and last.running() and last.writer != writer.id:
                    others[partition] = last
                elif current.get(partition, "") == replaces:
                    number = _number(last, goal, writer)
                    error = last.error if last is not None else ""
                    begun[partition] = Attempt(
                        key, partition, goal, now, number, writer.id, run_id, replaces, error=error
                    )
            connection.execute(
                ATTEMPTS.delete().where(ATTEMPTS.c.key == key, ATTEMPTS.c.partition.in_(list(begun)))
            )
            insert(connection, ATTEMPTS, [row_of_attempt(attempt) for attempt in begun.values()])
            return begun | others

        return self._database.write(begin)

    def fail(self, attempt: Attempt, error: str) -> None:
        """Write down why an attempt failed, unless somebody else has taken over."""
        values = {"ended": True, "error": error[:2_000]}
        self._database.write(lambda c: c.execute(ATTEMPTS.update().where(_mine(attempt)).values(**values)))

    def end(self, attempts: Iterable[Attempt]) -> None:
        """Forget attempts as if they had not begun, unless somebody else has taken over: a person stopped them."""
        which = sa.or_(sa.false(), *(_mine(attempt) for attempt in attempts))
        self._database.write(lambda connection: _never_began(connection, which))

    # What becomes current

    def commit(self, receipt: Receipt, attempt: Attempt, *, another: bool = False) -> list[Receipt]:
        """Make an artifact the current one; return those that nothing refers to any more, whose folders may go.

        The artifact that it replaces is kept, for who reads it still; the one before that is not. A mark that was there when
        the attempt began is fulfilled. Its writer is to announce it.

        Raises
        ------
        LeaseLost
            The attempt is no longer this writer's, or something else has become current; or the artifact is `another` one's
            as well, of another partition, and that one is gone.
        """
        return self._database.write(lambda connection: self._commit(connection, receipt, attempt, another))

    def _commit(
        self, connection: sa.Connection, receipt: Receipt, attempt: Attempt, another: bool
    ) -> list[Receipt]:
        at = _at(receipt.key, receipt.partition)
        there = all_where(connection, at)
        before = next((one for one, current in there if current), None)
        if before is not None and before.folder == receipt.folder and before.created == receipt.created:
            return []  # the first try took effect, and its answer was lost
        held = connection.scalar(sa.select(sa.func.count()).select_from(ATTEMPTS).where(_mine(attempt)))
        if not held or (before is not None and before.folder != attempt.replaces):
            raise LeaseLost(f"{title(receipt.key, receipt.partition)}: another run has taken it over")
        if another and _unreferenced(connection, [receipt]):
            raise LeaseLost(f"{title(receipt.key, receipt.partition)}: what was to be taken over is gone")
        connection.execute(ARTIFACTS.delete().where(at, ~CURRENT))
        connection.execute(ARTIFACTS.delete().where(_is(receipt)))
        connection.execute(ARTIFACTS.update().where(at).values(current=False))
        insert(connection, ARTIFACTS, [row_of(receipt, current=True)])
        for table in (UNANNOUNCED, WITHDRAWN):
            connection.execute(table.delete().where(_at(receipt.key, receipt.partition, table)))
        whose = {name: getattr(receipt, name) for name in _NAME} | {"writer": attempt.writer}
        connection.execute(UNANNOUNCED.insert().values(**whose))
        name = title(receipt.key, receipt.partition)
        connection.execute(MARKS.delete().where(MARKS.c.title == name, MARKS.c.asked <= attempt.started))
        connection.execute(ATTEMPTS.delete().where(_mine(attempt)))
        return _unreferenced(connection, [one for one, current in there if not current])

    def announce(self, receipt: Receipt) -> None:
        """Write down that who listens has heard of an artifact."""
        announced = UNANNOUNCED.delete().where(_is(receipt, UNANNOUNCED))
        self._database.write(lambda connection: connection.execute(announced))

    def adopt_unannounced(self, writer: Writer, key: str, partitions: Collection[str]) -> set[str]:
        """Return those partitions of a key whose current artifact is this writer's to announce from now on.

        They were committed by a writer that lives no more and did not come to announce them.
        """

        def adopt(connection: sa.Connection) -> set[str]:
            same = sa.and_(*(UNANNOUNCED.c[name] == ARTIFACTS.c[name] for name in _NAME))
            query = sa.select(UNANNOUNCED.c.partition, UNANNOUNCED.c.writer).join(ARTIFACTS, same)
            rows = connection.execute(query.where(UNANNOUNCED.c.key == key, CURRENT)).tuples().all()
            if not rows:
                return set()
            writers = connection.execute(sa.select(WRITERS).where(WRITERS.c.id != writer.id))
            others = self._alive(connection, writers.mappings().all())
            adopted = {p for p, holder in rows if holder not in others}.intersection(partitions)
            which = (UNANNOUNCED.c.key == key) & UNANNOUNCED.c.partition.in_(list(adopted))
            connection.execute(UNANNOUNCED.update().where(which).values(writer=writer.id))
            return adopted

        return self._database.write(adopt)

    def withdraw(self, receipt: Receipt, problem: str) -> bool:
        """Make an artifact count as missing, also where it is other partitions', and say why; tell whether it was there still."""
        of = (ARTIFACTS.c.key == receipt.key) & (ARTIFACTS.c.folder == receipt.folder)

        def withdraw(connection: sa.Connection) -> bool:
            _note_withdrawn(connection, of, problem)
            return connection.execute(ARTIFACTS.delete().where(of)).rowcount > 0

        return self._database.write(withdraw)

    def withdrawn(self) -> dict[tuple[str, str], str]:
        """Return {(key, partition): why} of the artifacts that were withdrawn and have not been made anew."""
        query = sa.select(WITHDRAWN)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return {(key, partition): problem for key, partition, problem in rows}

    def mend(self, damaged: Receipt, manifest: Receipt | None, problem: str) -> bool:
        """Replace an entry that is damaged by what the artifact's manifest says, or withdraw it; tell whether it was there still."""

        def mend(connection: sa.Connection) -> bool:
            its = _is(damaged)
            current = connection.execute(sa.select(ARTIFACTS.c.current).where(its)).first()
            if current is None:
                return False
            if manifest is None:
                _note_withdrawn(connection, its, problem)
            connection.execute(ARTIFACTS.delete().where(its))
            insert(connection, ARTIFACTS, [row_of(manifest, current=current[0])] if manifest else [])
            return True

        return self._database.write(mend)

    def unreferenced(self, receipts: list[Receipt]) -> list[Receipt]:
        """Return those artifacts whose folders nothing refers to."""
        return self._database.read(lambda connection: _unreferenced(connection, receipts))

    # What may go

    def note_listed(self, shards: Collection[str], known: Collection[str]) -> None:
        """Write down which of the `known` corpus files (or amounts) are not among those that are listed: from now on, if they were before."""

        def note(connection: sa.Connection) -> None:
            noted = set(connection.scalars(sa.select(UNLISTED.c.partition)))
            now = self._time(connection)
            gone = [{"partition": p, "since": now} for p in sorted(set(known) - set(shards) - noted)]
            insert(connection, UNLISTED, gone)
            delete(connection, UNLISTED.c.partition, noted & set(shards))

        self._database.write(note)

    def forget_files(self, before: float) -> None:
        """Forget that corpus files were listed once that are not any more since before a time, and what was tried with them."""

        def forget(connection: sa.Connection) -> None:
            shards = _unlisted(connection, before)
            delete(connection, UNLISTED.c.partition, shards)
            for table in (ATTEMPTS, WITHDRAWN):
                delete(connection, table.c.partition, shards)

        self._database.write(forget)

    def time(self) -> float:
        """Return the time by which attempts and heartbeats are dated, in seconds since the epoch."""
        return self._database.read(self._time)

    def collect(
        self, key: str, folders: Collection[str], before: float, *, listed: bool, dry_run: bool
    ) -> Collected:
        """Forget artifacts of a key that were replaced before a time; and where its partitions are `listed`, as corpus files are and
        amounts, those of partitions that are not any more since before then.

        Of `folders`, which were seen in the store before this was called, those are unreferenced that nothing refers to and
        for which nobody holds a lease: who was taken to be dead has none any more after this, so that they stay unreferenced.
        """

        def collect(connection: sa.Connection) -> Collected:
            shards = _unlisted(connection, before) if listed else ()
            leased = {
                p for (_, p), a in self._attempts(connection, ATTEMPTS.c.key == key).items() if a.running()
            }
            there = all_where(connection, ARTIFACTS.c.key == key)
            replaced_at = {one.partition: one.created for one, current in there if current}
            free = [(one, current) for one, current in there if one.partition not in leased]
            replaced = [
                one
                for one, current in free
                if not current and replaced_at.get(one.partition, one.created) < before
            ]
            gone = {(one.partition, one.folder) for one in replaced}
            unlisted = [
                one for one, _ in free if one.partition in shards and (one.partition, one.folder) not in gone
            ]
            gone |= {(one.partition, one.folder) for one in unlisted}
            kept = {one.folder for one, _ in there if (one.partition, one.folder) not in gone}
            referenced = {one.folder for one, _ in there}
            if not dry_run:
                for one in (*replaced, *unlisted):
                    connection.execute(ARTIFACTS.delete().where(_is(one)))
                lost = (
                    ATTEMPTS.c.key == key,
                    ATTEMPTS.c.ended.is_(False),
                    ATTEMPTS.c.partition.not_in(leased),
                )
                connection.execute(ATTEMPTS.update().where(*lost).values(writer=""))
            return Collected(
                replaced=[one for one in replaced if one.folder not in kept],
                unlisted=[one for one in unlisted if one.folder not in kept],
                unreferenced=set(folders) - referenced,
                leased=leased,
            )

        if dry_run:
            return self._database.read(collect)
        return self._database.write(collect)

    # What is to be learned anew

    def marks(self) -> dict[str, float]:
        """Return {artifact's title: when} of the pinned models that somebody asked to learn anew, seconds since the epoch."""
        return self._database.read(
            lambda c: {title: asked for title, asked in c.execute(sa.select(MARKS)) if asked is not None}
        )

    def mark(self, titles: Iterable[str]) -> None:
        """Mark models to be learned anew."""
        names = list(titles)

        def mark(connection: sa.Connection) -> None:
            now = self._time(connection)
            connection.execute(MARKS.delete().where(MARKS.c.title.in_(names)))
            insert(connection, MARKS, [{"title": name, "asked": now} for name in names])

        self._database.write(mark)

    def unmark(self, marks: Mapping[str, float]) -> None:
        """Take away some of what `marks` returned; what was marked again since then stays."""
        if marks:
            which = sa.or_(
                *(sa.and_(MARKS.c.title == name, MARKS.c.asked == when) for name, when in marks.items())
            )
            self._database.write(lambda c: c.execute(MARKS.delete().where(which)))


class RoleTaken(ProfileError):
    """Another writer has the role, or is there where there may be none; the message says which process of which host."""


def _about(connection: sa.Connection) -> dict[str, str]:
    if not sa.inspect(connection).has_table(ABOUT.name):
        return {}
    return dict(connection.execute(sa.select(ABOUT)).tuples().all())


def _read_columns(connection: sa.Connection) -> None:
    """Ask for nothing of each table: a name in the schema may have been damaged, of which SQLite's own check knows nothing."""
    for table in TABLES.sorted_tables:
        connection.execute(sa.select(table).limit(0))


def _lives(writer: sa.RowMapping, now: float) -> bool:
    """Tell whether a writer's heart beat not long ago, and its process is not gone for certain."""
    silent = abs(now - writer["beat"]) > SILENCE  # one from the future: the clock was put back
    return not silent and not dead_for_certain(writer["machine"], writer["pid"], writer["started"])


def _at(key: str, partition: str, table: sa.Table = ARTIFACTS) -> sa.ColumnElement[bool]:
    return (table.c.key == key) & (table.c.partition == partition)


def _is(receipt: Receipt, table: sa.Table = ARTIFACTS) -> sa.ColumnElement[bool]:
    """Return whether an artifact's row is that of a receipt, and not of another of its key and partition."""
    return sa.and_(*(table.c[name] == getattr(receipt, name) for name in _NAME))


def _number(last: Attempt | None, goal: str, writer: Writer) -> int:
    """Return which attempt at a goal this is; the same again where the answer to who began it was lost."""
    if last is None or last.wanted != goal:
        return 1
    return last.number if last.writer == writer.id and not last.ended else last.number + 1


def _mine(attempt: Attempt) -> sa.ColumnElement[bool]:
    """Return whether an attempt's row is the attempt itself, and not somebody's who took over."""
    names = ("key", "partition", "writer", "started")
    return sa.and_(
        *(ATTEMPTS.c[name] == getattr(attempt, name) for name in names), ATTEMPTS.c.ended.is_(False)
    )


def _never_began(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    """Have attempts count as never begun; that the one before failed, and why, goes on to hold."""
    failed = ATTEMPTS.c.error != ""
    before = {"ended": True, "number": ATTEMPTS.c.number - 1}
    connection.execute(ATTEMPTS.update().where(which, failed).values(**before))
    connection.execute(ATTEMPTS.delete().where(which, ~failed))


def _note_withdrawn(connection: sa.Connection, which: sa.ColumnElement[bool], problem: str) -> None:
    """Write down why artifacts count as missing, of those that are current."""
    query = sa.select(ARTIFACTS.c.key, ARTIFACTS.c.partition).where(which, CURRENT)
    for key, partition in connection.execute(query).tuples().all():
        connection.execute(WITHDRAWN.delete().where(_at(key, partition, WITHDRAWN)))
        connection.execute(WITHDRAWN.insert().values(key=key, partition=partition, problem=problem))


def _unlisted(connection: sa.Connection, before: float) -> set[str]:
    """Return the corpus files that are not listed any more since before a time."""
    return set(connection.scalars(sa.select(UNLISTED.c.partition).where(UNLISTED.c.since < before)))


def _unreferenced(connection: sa.Connection, receipts: list[Receipt]) -> list[Receipt]:
    folders = [receipt.folder for receipt in receipts]
    query = sa.select(ARTIFACTS.c.folder).where(ARTIFACTS.c.folder.in_(folders))
    used = set(connection.scalars(query)) if folders else set()
    return [receipt for receipt in receipts if receipt.folder not in used]
