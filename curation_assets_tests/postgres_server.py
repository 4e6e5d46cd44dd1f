"""A Postgres server on loopback, from Debian's package, in a folder of its own: with a password, and to be stopped at will."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER, PASSWORD = "curation", "s3cret/with:odd@signs"
_WITHIN = 60.0
_QUICK = ("fsync=off", "full_page_writes=off", "unix_socket_directories=", "listen_addresses=127.0.0.1")


def programs() -> Path | None:
    """Return the folder with Postgres's programs; None where there is none, or no user who may run them."""
    beside = shutil.which("initdb")
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *([Path(beside).parent] if beside else [])]
    present = [folder for folder in folders if (folder / "initdb").exists()]
    return present[-1] if present and (os.getuid() != 0 or _account() is not None) else None


def _account() -> pwd.struct_passwd | None:
    """Return who runs it where the tests are run by root, whom Postgres refuses."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


class PostgresServer:
    """A server that is running, and its databases."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self.port = programs, folder, port
        self._process: subprocess.Popen[bytes] | None = None
        account = _account() if os.getuid() == 0 else None
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._as: dict[str, Any] = (
            {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        )

    def initialize(self) -> None:
        """Make the server's files."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = [
            "--auth=scram-sha-256",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--no-sync",
            "--locale=C",
        ]
        command = [str(self._programs / "initdb"), *options, "--encoding=UTF8", str(self._folder / "data")]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._as)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [part for setting in (*_QUICK, f"port={self.port}") for part in ("-c", setting)]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *settings]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._as)
        log.close()
        until = time.monotonic() + _WITHIN
        while self._process.poll() is None and time.monotonic() < until:
            try:
                self.execute("SELECT 1")
            except Exception:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"Postgres did not start: {(self._folder / 'log').read_text()[-500:]}")

    def stop(self) -> None:
        """Stop it as an administrator's restart does: whoever is connected is thrown out."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_WITHIN)
            self._process = None

    def database(self) -> str:
        """Make a new database and return its name."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, driver: str = "postgresql+psycopg") -> str:
        """Return the URL of a database; its password is PASSWORD, in PGPASSWORD."""
        return f"{driver}://{USER}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Carry out one statement and return its rows."""
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user={USER} password={PASSWORD} dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres_server(programs: Path) -> Iterator[PostgresServer]:
    """Start a server on a free port, and remove it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Not in pytest's folder, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory(prefix="curation-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs, Path(folder), port)
        server.initialize()
        server.start()
        try:
            yield server
        finally:
            server.stop()
