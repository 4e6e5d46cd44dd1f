"""Errors that a person can mend, each as one line that says what is wrong and what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from curation_assets.common.terminal import plain
from curation_assets.config.profile import ProfileError
from curation_assets.engine.store import DamagedArtifact

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_ELSEWHERE = (
    "the data folder cannot be used: make it one that can be written, or name another (execution.data in the profile, "
    "or CURATION_DATA)"
)
_FREE = "free some space; what is finished is kept, and the same command continues"
_PLACES = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_HARDWARE = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT)


def one_line(error: BaseException, data: Path | None = None) -> str | None:
    """Return what to say of an error that comes from the profile, the disk or Dagster's database; None of any other.

    Parameters
    ----------
    data
        The profile's data folder, where it is known.
    """
    if isinstance(error, ProfileError):
        return plain(str(error))
    if isinstance(error, DamagedArtifact):
        return plain(f"{error}: call `curation run`")
    for cause in _causes(error):
        if _of_a_database(cause):
            return _database(_first(cause), data)
        if isinstance(cause, OSError) and (said := _file(cause, data)):
            return plain(said)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, so that a wrapper does not hide a full disk."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _file(error: OSError, data: Path | None) -> str | None:
    name = str(error.filename) if error.filename is not None else ""
    what = f"{name}: {error.strerror}" if name else str(error.strerror)
    if error.errno in _FULL:
        return f"{what}: {_FREE}"
    if error.errno in _FORBIDDEN:
        return f"{what}{f': {_ELSEWHERE}' if _inside(name, data) else ''}"
    if error.errno in _PLACES and _inside(name, data):
        return f"{what}: {_ELSEWHERE}"
    return what if error.errno in _PLACES + _HARDWARE and name else None


def _inside(name: str, data: Path | None) -> bool:
    """Tell whether a path is the data folder, or lies in it or above it."""
    if data is None or not name:
        return False
    path = Path(os.path.abspath(name))  # noqa: PTH100 - links that cannot be followed stay
    return path == data or data in path.parents or path in data.parents


def _of_a_database(error: BaseException) -> bool:
    kind = type(error)
    return isinstance(error, sqlite3.Error) or kind.__module__.split(".")[0] in (
        "psycopg2",
        "dagster_postgres",
    )


def _first(error: BaseException) -> BaseException:
    """Return what the driver said, and not that somebody tried it several times."""
    return [cause for cause in _causes(error) if _of_a_database(cause)][-1]


def _database(error: BaseException, data: Path | None) -> str:
    """Tell of Dagster's database, which holds the history of runs: artifacts do not depend on it."""
    home = os.environ.get("DAGSTER_HOME") or (str(data / "dagster_home") if data else "DAGSTER_HOME")
    what = plain((str(error).strip().splitlines() or [type(error).__name__])[0])
    if not isinstance(error, sqlite3.Error):
        return (
            f"Dagster's database cannot be reached ({what}): start it, or mend execution.dagster_storage in the profile "
            f"(or {home}/dagster.yaml), or the password (PGPASSWORD, or ~/.pgpass)"
        )
    if "full" in what or "disk I/O" in what:
        return f"Dagster's database in {home} cannot be written ({what}): {_FREE}"
    if "locked" in what:
        return f"Dagster's database in {home} is in use ({what}): call the same command again"
    if "readonly" in what or "unable to open" in what:
        return f"Dagster's database in {home} cannot be written ({what}): make the folder one that can be, or set DAGSTER_HOME"
    return (
        f"Dagster's database in {home} is damaged ({what}): move that folder away; artifacts do not depend on it, "
        "only the history of runs begins anew"
    )
