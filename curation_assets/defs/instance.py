"""Dagster's instance: where its state lies, and which of its runs are nobody's any more."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from curation_assets.common.files import write_bytes
from curation_assets.config.profile import Profile, ProfileError, absolute
from curation_assets.defs.resources import ASKED, FOLLOWING, HOST, JOB, PID
from curation_assets.engine.attempts import lives_since

_OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_SUBMITTED = 600.0  # seconds in which a run that was created is queued, started or signed, or never
_STORAGE = "# From here on: execution.dagster_storage of the profile, written anew when that changes.\n"
_DRIVER = "postgresql+psycopg2"
_REPEAT_WARNING = 60.0
_warned = [0.0]
_BELIEVED = 24 * 3600.0  # seconds for which a silent run of another machine, or a daemon, is taken to go on
_YIELD = "OMP_WAIT_POLICY=PASSIVE"


def dagster_home(profile: Profile) -> Path:
    """Return DAGSTER_HOME (default: `dagster_home` in the data folder), made ready with the packaged dagster.yaml."""
    home = absolute(os.environ.get("DAGSTER_HOME") or profile.data / "dagster_home")
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster takes no relative one, and its processes run elsewhere
    _write_settings(home / "dagster.yaml", profile)
    return home


def _write_settings(settings: Path, profile: Profile) -> None:
    """Write the packaged settings where there are none; their storage is what the profile says now."""
    url = profile.execution.dagster_storage
    present = settings.read_text("utf-8", errors="replace") if settings.exists() else ""
    own = present.partition(_STORAGE)[0] or files("curation_assets.defs").joinpath("dagster.yaml").read_text()
    if "storage" in _parsed(settings, own) and url:
        raise ProfileError(
            f"{settings} names a storage itself: remove that there, or execution.dagster_storage in {profile.source}"
        )
    wanted = own + (_STORAGE + yaml.safe_dump(_postgres(url)) if url else "")
    if wanted != present:
        write_bytes(settings, wanted.encode())


def _parsed(settings: Path, text: str) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _unusable(settings, str(error)) from None
    if not isinstance(parsed, dict):
        raise _unusable(settings, "it has no settings, but something else")
    return parsed


def _unusable(settings: Path, why: str) -> ProfileError:
    return ProfileError(
        f"{settings} cannot be used ({' '.join(why.split())}): mend it, or remove it and it is written anew"
    )


def _postgres(url: str) -> dict[str, Any]:
    """Return Dagster's storage on Postgres; it speaks psycopg2, and that finds the password."""
    from sqlalchemy import make_url

    return {"storage": {"postgres": {"postgres_url": str(make_url(url).set(drivername=_DRIVER))}}}


def prepare(profile: Profile) -> None:
    """Make the home ready, and write .env so that `dagster dev` finds it, where the working folder has workspace.yaml."""
    home = dagster_home(profile)
    if Path("workspace.yaml").exists() and not Path(".env").exists():
        write_bytes(Path(".env"), f"DAGSTER_HOME={home}\n{_YIELD}\n".encode())


@contextmanager
def instance_for(profile: Profile) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, with the runs of dead processes reported as failed."""
    home = dagster_home(profile)
    _try_database(profile)
    with _opened(home / "dagster.yaml") as instance:
        bury_orphans(instance)
        yield instance


def _opened(settings: Path) -> dg.DagsterInstance:
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterInvalidConfigError as error:
        what, _, _ = error.errors[0].message.partition(" Expected: ")  # all that could be there, at length
        raise _unusable(settings, what) from None


def _try_database(profile: Profile) -> None:
    """Connect to Dagster's Postgres once, where the profile names one: Dagster would try for a while also with a wrong password."""
    logging.getLogger().addFilter(_one_warning)
    if url := profile.execution.dagster_storage:
        from sqlalchemy import create_engine, make_url

        try:
            create_engine(make_url(url).set(drivername=_DRIVER)).connect().close()
        except ImportError as error:
            raise ProfileError(
                f"execution.dagster_storage: {error}: pip install 'curation-assets[postgres]'"
            ) from None


def _one_warning(record: logging.LogRecord) -> bool:
    """Make one line a minute of what Dagster logs, in five, each time that it tries to connect."""
    if not str(record.msg).startswith("Retrying failed database connection"):
        return True
    record.msg, record.args = "Dagster's database does not answer: trying again for some seconds", ()
    said_again = record.created - _warned[0] > _REPEAT_WARNING
    if said_again:
        _warned[0] = record.created
    return said_again


def bury_orphans(instance: dg.DagsterInstance) -> None:
    """Report the runs of dead processes as failed."""
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=_OPEN)):
        if _orphan(instance, record):
            instance.report_run_failed(record.dagster_run, "The process of this run died.")


def _orphan(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Tell whether nobody is at work on a run or will be: its process died, or who created or started it did before it was there.

    What is queued is the daemon's, also after a restart, unless for a day none was there that could have started it. A
    process of another machine (or of a container before its restart) is believed as long as its run tells something within a day.
    """
    run, created, now = record.dagster_run, record.create_timestamp.timestamp(), time.time()
    host, pid = _signature(instance, run)
    if host == socket.gethostname():
        return not lives_since(int(pid), created)
    if host:
        return now - created > _BELIEVED and now - _last_event(instance, run, created) > _BELIEVED
    if run.status == dg.DagsterRunStatus.STARTED:
        return JOB in run.tags and now - (record.start_time or created) > _SUBMITTED
    if run.status == dg.DagsterRunStatus.QUEUED:
        beats = (beat.timestamp for beat in instance.get_daemon_heartbeats().values())
        return now - max(record.update_timestamp.timestamp(), *beats, 0.0) > _BELIEVED
    return now - record.update_timestamp.timestamp() > _SUBMITTED


def _signature(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str, str]:
    """Return the host and the process that signed a run, ("", "") if none did yet: a re-execution begins with its parent's tags."""
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    signature, parents = (
        (tags.get(HOST, ""), tags.get(PID, "")) for tags in (run.tags, parent.tags if parent else {})
    )
    return ("", "") if signature == parents else signature


def _last_event(instance: dg.DagsterInstance, run: dg.DagsterRun, created: float) -> float:
    last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    return last[0].timestamp if last else created


def jobs_at_work(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the runs of jobs, and of `curation run`, that go on or whose turn comes; runs of dead processes are buried."""
    jobs = dg.RunsFilter(statuses=_OPEN, tags={JOB: [ASKED, FOLLOWING]})
    if instance.get_runs_count(jobs):
        bury_orphans(instance)
    return list(instance.get_runs(jobs))
