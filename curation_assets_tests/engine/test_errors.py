"""What a person can mend is one line that says what to do; of anything else nothing is hidden."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from curation_assets.config.profile import ProfileError
from curation_assets.engine.errors import one_line
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.store import DamagedArtifact

DATA = Path("/home/me/data")


def _os_error(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ProfileError("mine.toml: a mistake"), "mine.toml: a mistake"),
        (
            DamagedArtifact("c changed", Receipt("a", "b", "", "", "", {}, "", {})),
            "a[b]: c changed; it will be made anew: call `curation run`",
        ),
        (_os_error(errno.EACCES, "/home/me/data/x"), "the data folder cannot be used: make it one"),
        (_os_error(errno.EROFS, "/home/me"), "the data folder cannot be used: make it one"),
        (_os_error(errno.EACCES, "/elsewhere/out.json"), "/elsewhere/out.json: Permission denied"),
        (
            _os_error(errno.ENOSPC, "/home/me/data/x"),
            "/home/me/data/x: No space left on device: free some space; what",
        ),
        (_os_error(errno.EDQUOT), "free some space; what is finished is kept"),
        (_os_error(errno.EIO, "/mnt/x"), "/mnt/x: Input/output error"),
        (_os_error(errno.ESTALE, "/mnt/x"), "/mnt/x: Stale file handle"),
    ],
)
def test_what_can_be_mended_is_told(error: Exception, said: str) -> None:
    told = one_line(error, DATA)
    assert told is not None and said in told and "\n" not in told
    assert ("data folder" in told) == ("data folder" in said), "only of what lies there"


@pytest.mark.parametrize(
    "error", [KeyError("documents"), TypeError("bug"), OSError("no number"), ValueError("x")]
)
def test_what_nobody_foresaw_is_not_made_a_line(error: Exception) -> None:
    assert one_line(error, DATA) is None


def test_a_wrapper_does_not_hide_what_is_below() -> None:
    try:
        try:
            raise _os_error(errno.ENOSPC, "/x")
        except OSError as error:
            raise RuntimeError("a step failed") from error
    except RuntimeError as error:
        assert "free some space" in (one_line(error) or "")
    circle = RuntimeError("a")
    circle.__cause__ = RuntimeError("b")
    circle.__cause__.__cause__ = circle
    assert one_line(circle) is None


def _real_database_error(path: Path, statement: str) -> Exception:
    """Return what SQLAlchemy makes of an error of SQLite, as Dagster gets it."""
    engine = create_engine(f"sqlite:///{path}")
    with pytest.raises(Exception) as caught, engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
    return caught.value


def test_dagsters_database_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/home/me/data/dagster_home")
    (tmp_path / "runs.db").write_bytes(os.urandom(9_000))
    damaged = one_line(_real_database_error(tmp_path / "runs.db", "select * from runs"), DATA)
    assert damaged == (
        "Dagster's database in /home/me/data/dagster_home is damaged (file is not a database): move that folder away; "
        "artifacts do not depend on it, only the history of runs begins anew"
    )
    gone = one_line(_real_database_error(tmp_path / "nowhere" / "runs.db", "select 1"), DATA)
    assert gone is not None and "cannot be written (unable to open database file)" in gone
    for said, advice in (
        ("database disk image is malformed", "move that folder away"),
        ("database or disk is full", "free some space"),
        ("disk I/O error", "free some space"),
        ("database is locked", "call the same command again"),
        ("attempt to write a readonly database", "make the folder one that can be"),
    ):
        assert advice in (one_line(sqlite3.OperationalError(said), DATA) or "")


def test_a_postgres_that_cannot_be_reached_says_which_file_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    kind = type("OperationalError", (Exception,), {"__module__": "psycopg2"})
    refused = kind(
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused\n\tIs it running?\n'
    )
    assert one_line(refused, DATA) == (
        'Dagster\'s database cannot be reached (connection to server at "127.0.0.1", port 5432 failed: Connection refused): '
        "start it, or mend execution.dagster_storage in the profile (or /home/me/data/dagster_home/dagster.yaml), "
        "or the password (PGPASSWORD, or ~/.pgpass)"
    )
