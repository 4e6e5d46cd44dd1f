"""Dagster's instance: where its state lies, and which of its runs are nobody's any more."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg

from curation_assets.common.files import write_bytes
from curation_assets.config.profile import Profile, absolute
from curation_assets.defs.resources import HOST, JOB, PID
from curation_assets.engine.attempts import lives_since

OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_SUBMITTED = 600.0  # seconds in which a run that was created is queued or started, or never
_YIELD = "OMP_WAIT_POLICY=PASSIVE"


def dagster_home(profile: Profile) -> Path:
    """Return DAGSTER_HOME (default: `dagster_home` in the data folder), made ready with the packaged dagster.yaml."""
    home = absolute(os.environ.get("DAGSTER_HOME") or profile.data / "dagster_home")
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster takes no relative one, and its processes run elsewhere
    settings = home / "dagster.yaml"
    if not settings.exists():
        write_bytes(settings, files("curation_assets.defs").joinpath("dagster.yaml").read_bytes())
    return home


def prepare(profile: Profile) -> None:
    """Make the home ready, and write .env so that `dagster dev` finds it, where the working folder has workspace.yaml."""
    home = dagster_home(profile)
    if Path("workspace.yaml").exists() and not Path(".env").exists():
        write_bytes(Path(".env"), f"DAGSTER_HOME={home}\n{_YIELD}\n".encode())


@contextmanager
def instance_for(profile: Profile) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, with the runs of dead processes reported as failed."""
    dagster_home(profile)
    with dg.DagsterInstance.get() as instance:
        bury_orphans(instance)
        yield instance


def bury_orphans(instance: dg.DagsterInstance) -> None:
    """Report the runs of dead processes as failed."""
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=OPEN)):
        if _orphan(record.dagster_run, record.create_timestamp.timestamp()):
            instance.report_run_failed(record.dagster_run, "The process of this run died.")


def _orphan(run: dg.DagsterRun, created: float) -> bool:
    """Tell whether nobody is at work on a run or will be: its process died, or who created it did before it was queued.

    What the UI has queued or is starting is its daemon's, also after a restart; it bears no process until it has started.
    """
    if HOST in run.tags:
        return run.tags[HOST] == socket.gethostname() and not lives_since(int(run.tags[PID]), created)
    return run.status == dg.DagsterRunStatus.NOT_STARTED and time.time() - created > _SUBMITTED


def job_at_work(instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """Return a run of a job, or of `curation run`, that goes on or whose turn comes; runs of dead processes are buried."""
    if instance.get_runs_count(dg.RunsFilter(statuses=OPEN, tags={JOB: "true"})):
        bury_orphans(instance)
    return next(iter(instance.get_runs(dg.RunsFilter(statuses=OPEN, tags={JOB: "true"}), limit=1)), None)
