"""One database, SQLite on this machine or Postgres for several: connections, and transactions one writer at a time.

A transaction that writes has the database for itself (SQLite's write lock, a lock of the same meaning in Postgres), so
that what it compares cannot change before it writes. A server that is away for a while delays a transaction. A SQLite
file that this process may not write can be read.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from curation_assets.config.profile import ProfileError

_WAIT = 60.0  # seconds for which a server may be away, or another writer at it
_FIRST = 5.0  # seconds for which it may be away before it has been reached once: as a restart, not as long as a person waits
_PAUSE = 0.5
# Autocommit of sqlite3's own: `_begin` says what a transaction is. A pool may close a connection in another thread.
_OPTIONS: dict[str, Any] = {"timeout": _WAIT, "isolation_level": None, "check_same_thread": False}
# A machine that goes in the middle of a transaction holds the lock of all others until the server ends its session.
_POSTGRES: dict[str, Any] = {
    "connect_timeout": 10,
    "options": "-c idle_in_transaction_session_timeout=60s",
    **{"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
}
_ONE_WRITER = 7_238_114  # the lock's number among Postgres's advisory locks: any, but always this
Result = TypeVar("Result")


class CatalogUnavailable(ProfileError):
    """The catalog's database cannot be reached or written: one line that says which, why and what to do."""


class CatalogDamaged(CatalogUnavailable):
    """The catalog's database is there and is not what was written."""


class Database:
    """A database by its URL (`sqlite:///path`, `postgresql+psycopg://user@host/name`); nothing is opened before it is used."""

    def __init__(self, url: str | URL) -> None:
        self.url = _parsed(url)
        self._engine_of: tuple[int, sa.Engine | None] = -1, None
        self._reached = False
        self.sqlite = self.url.get_backend_name() == "sqlite"

    @property
    def name(self) -> str:
        """Which database, for people: no password is in it."""
        return self.url.database or "" if self.sqlite else self.url.render_as_string(hide_password=True)

    def now(self) -> Any:
        """Return the time, in seconds since the epoch, as an expression: of the server, whatever the clocks of its clients."""
        return sa.literal(time.time()) if self.sqlite else sa.func.extract("epoch", sa.func.clock_timestamp())

    def read(self, query: Callable[[sa.Connection], Result]) -> Result:
        """Return what `query` makes of a connection; it may be called again, where the server was away."""
        end = time.monotonic() + _WAIT
        while True:
            before = self._unlocked()
            try:
                result = self._try(query, write=False)
            except CatalogUnavailable:
                if before == self._unlocked() or time.monotonic() > end:
                    raise
            else:
                if before == self._unlocked():
                    return result
                if time.monotonic() > end:
                    raise CatalogUnavailable(f"the catalog {self.name} changes all the time: try again later")
            time.sleep(_PAUSE)

    def write(self, change: Callable[[sa.Connection], Result]) -> Result:
        """Return what `change` makes of a connection, in a transaction that has the database for itself.

        Where the connection broke it is called again, also when nobody knows whether the first call took effect: write it so
        that a second one does no harm.
        """
        return self._try(change, write=True)

    def _try(self, function: Callable[[sa.Connection], Result], *, write: bool) -> Result:
        end = time.monotonic() + (_WAIT if self._reached else min(_FIRST, _WAIT))
        while True:
            try:
                with self._engine.connect().execution_options(write=write) as connection, connection.begin():
                    self._reached = True
                    if write and not self.sqlite:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_WRITER)))
                    return function(connection)
            except UnicodeDecodeError as error:  # of names in the schema, as SQLite tells of them
                raise CatalogDamaged(damaged(self.name, "a name in it is no text")) from error
            except DBAPIError as error:
                away = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
                if self.sqlite:
                    raise _of_sqlite(self.name, error) from error
                if not away or _refused(error) or time.monotonic() > end:
                    raise CatalogUnavailable(
                        f"the catalog {self.name} cannot be used ({_line(error)}): {_advice(error)}"
                    ) from error
                time.sleep(_PAUSE)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep connections to a SQLite file open meanwhile: to open one takes longer than most queries."""
        if not self.sqlite:
            yield
            return
        engine = self._open(sa.QueuePool)
        sa.event.listen(engine, "connect", lambda _, record: record.info.update(file=self._file()))
        sa.event.listen(engine, "checkout", self._must_be_the_file)
        self._engine_of = os.getpid(), engine
        try:
            yield
        finally:
            self._engine_of = -1, None
            engine.dispose()

    def _must_be_the_file(self, _: Any, record: sa.pool.ConnectionPoolEntry, __: Any) -> None:
        """Have another connection opened where the file was removed or replaced: what is written to the old one is lost."""
        if record.info["file"] != self._file():
            raise sa.exc.DisconnectionError

    def _file(self) -> tuple[int, int] | None:
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return None
        return state.st_dev, state.st_ino

    @property
    def _engine(self) -> sa.Engine:
        """The pool of this process: a forked one opens its own."""
        process, engine = self._engine_of
        if engine is None or process != os.getpid():
            engine = self._open()
            self._engine_of = (os.getpid(), engine)
        return engine

    def _open(self, pool: type[sa.Pool] = sa.NullPool) -> sa.Engine:
        if not self.sqlite:
            engine = sa.create_engine(self.url, pool_pre_ping=True, pool_size=2, connect_args=_POSTGRES)
        else:
            # No pool but while a run writes: a data folder may be removed and made anew under a process that goes on.
            engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=pool)
            sa.event.listen(engine, "begin", _begin)
        return engine

    def _connect(self) -> sqlite3.Connection:
        if self._for_reading():
            # Where no lock can be had, `read` sees to it that nobody wrote meanwhile.
            how = "mode=ro" if self._unlocked() is None else "immutable=1"
            return sqlite3.connect(f"{self._path.absolute().as_uri()}?{how}", uri=True, **_OPTIONS)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, **_OPTIONS)
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last commits, never the database.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @property
    def _path(self) -> Path:
        return Path(self.url.database or "")

    def _for_reading(self) -> bool:
        """Tell whether the file is there and may not be written by this process."""
        path = self._path
        return (
            self.sqlite
            and path.exists()
            and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        )

    def _unlocked(self) -> tuple[int, int] | None:
        """Return the state of a file that is read without a lock: one that may not be written and has no log beside it."""
        if not self._for_reading() or self._path.with_name(f"{self._path.name}-wal").exists():
            return None
        state = self._path.stat()
        return state.st_mtime_ns, state.st_size

    def intact(self) -> bool:
        """Tell whether a SQLite file is in order; a server sees to that itself."""
        if not self.sqlite:
            return True
        try:
            return self.read(lambda c: c.exec_driver_sql("PRAGMA integrity_check(1)").scalar()) == "ok"
        except CatalogDamaged:
            return False

    def set_aside(self) -> Path:
        """Give a damaged SQLite file another name, which is returned; the next one to use it begins anew."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self._path.rename(aside)
        for end in ("-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{end}").unlink(missing_ok=True)
        return aside


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options()["write"] else "BEGIN")


def _parsed(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
        driver = parsed.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ProfileError(
            "execution.catalog is no URL of a database: write postgresql+psycopg://user@host/name, or leave it empty"
        ) from None
    except ImportError as error:
        raise ProfileError(f"execution.catalog: {error}: install curation-assets[postgres]") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql") or driver is None:
        raise ProfileError(
            "execution.catalog may be Postgres (postgresql+psycopg://...) or empty for SQLite, nothing else"
        )
    return parsed


def _refused(error: DBAPIError) -> bool:
    """Tell whether the server is there and will not have us: waiting does not help."""
    text = str(error.orig)
    return any(
        words in text
        for words in (
            "authentication failed",
            "no password supplied",
            "does not exist",
            "no pg_hba.conf",
            "permission denied",
        )
    )


def _advice(error: DBAPIError) -> str:
    text = str(error.orig)
    if any(words in text for words in ("authentication failed", "no pg_hba.conf", "no password supplied")):
        return "mend execution.catalog in the profile, or the password (PGPASSWORD, or ~/.pgpass)"
    if _refused(error):
        return "make it and let this user write there, or mend execution.catalog in the profile"
    return "start the server, or mend execution.catalog in the profile; what is finished is kept, and the same command continues"


def _of_sqlite(name: str, error: DBAPIError) -> CatalogUnavailable:
    """Return what to say of an error of SQLite's, with what to do."""
    what, home = _line(error), Path(name).parent
    if "full" in what or "disk I/O" in what:
        return CatalogUnavailable(
            f"the catalog {name} cannot be written ({what}): free some space; what is finished is kept, and the same "
            "command continues"
        )
    if "locked" in what:
        return CatalogUnavailable(f"the catalog {name} is in use ({what}): call the same command again")
    if any(words in what for words in ("readonly", "unable to open", "denied")):
        return CatalogUnavailable(
            f"the catalog {name} cannot be used ({what}): make {home} and what is in it writable, or name another folder "
            "(execution.data in the profile, or CURATION_DATA)"
        )
    # A page, a text, a name in the schema; or an index, since one writer at a time breaks no constraint.
    return CatalogDamaged(damaged(name, what))


def damaged(name: str, what: str) -> str:
    """Return what to say of a catalog that is not what was written."""
    return f"the catalog {name} is damaged ({what}): `curation catalog rebuild` makes it anew of what lies in the store"


def _line(error: DBAPIError) -> str:
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip() and line[0] != "\t"]
    return lines[-1] if lines else type(error.orig).__name__
