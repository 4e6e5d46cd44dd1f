"""Which of Dagster's runs are nobody's, and what is said of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from curation_assets.defs import instance as home
from curation_assets.defs.instance import bury_orphans
from curation_assets.defs.resources import ASKED, HOST, JOB, PID

pytestmark = pytest.mark.process

_Status = dg.DagsterRunStatus
_HERE = socket.gethostname()
_SERVER = ManagedGrpcPythonEnvCodeLocationOrigin(
    LoadableTargetOrigin(module_name="curation_assets.definitions")
)
_ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(_SERVER, "__repository__"), "nothing")


@dg.job
def nothing() -> None:
    """Stands for any job."""


@pytest.fixture(scope="module")
def dead() -> str:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return str(process.pid)


@pytest.mark.parametrize(
    "status", [_Status.NOT_STARTED, _Status.STARTING, _Status.STARTED, _Status.CANCELING]
)
def test_runs_of_dead_processes_end_and_those_of_others_go_on(dead: str, status: dg.DagsterRunStatus) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def run(pid: str, host: str) -> str:
            return instance.create_run_for_job(nothing, tags={PID: pid, HOST: host}, status=status).run_id

        orphan, living, elsewhere = (
            run(dead, _HERE),
            run(str(os.getpid()), _HERE),
            run(dead, "another-machine"),
        )
        bury_orphans(instance)
        found = {one.run_id: one.status for one in instance.get_runs()}
    assert found == {orphan: _Status.FAILURE, living: status, elsewhere: status}


def test_what_the_ui_has_queued_or_is_starting_is_left_to_it_as_long_as_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such runs bear no process. One that was created, or is starting, and came no further is nobody's after a while."""
    statuses = (_Status.QUEUED, _Status.STARTING, _Status.NOT_STARTED, _Status.CANCELING)
    with dg.DagsterInstance.ephemeral() as instance:
        runs = {
            status: instance.create_run_for_job(nothing, status=status, remote_job_origin=_ORIGIN).run_id
            for status in statuses
        }

        def left(hours: float) -> set[_Status]:
            monkeypatch.setattr(home.time, "time", lambda: began + hours * 3600)
            bury_orphans(instance)
            failed = [one.run_id for one in instance.get_runs(dg.RunsFilter(statuses=[_Status.FAILURE]))]
            return {status for status, run in runs.items() if run not in failed}

        began = time.time()
        assert left(0) == left(0.1) == set(statuses)
        assert left(0.2) == left(23) == {_Status.QUEUED}
        beat = DaemonHeartbeat(began + 20 * 3600, "QUEUED_RUN_COORDINATOR", "a daemon")
        instance.add_daemon_heartbeat(beat)
        assert left(25) == left(43) == {_Status.QUEUED}, "it had more to do, or was started again"
        assert left(45) == set()


def test_a_number_that_another_process_has_now_is_not_taken_for_the_one_that_ran_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {PID: str(os.getpid()), HOST: _HERE}
        run = instance.create_run_for_job(nothing, tags=tags, status=_Status.STARTED)
        monkeypatch.setattr("psutil.Process.create_time", lambda process: float("inf"))
        bury_orphans(instance)
        assert instance.get_run_by_id(run.run_id).status == _Status.FAILURE


def test_a_job_that_has_started_and_was_never_signed_is_nobodys_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(nothing, tags={JOB: ASKED}, status=_Status.STARTED)
        bury_orphans(instance)
        assert instance.get_run_by_id(run.run_id).status == _Status.STARTED
        monkeypatch.setattr(home, "_SUBMITTED", -1.0)
        bury_orphans(instance)
        assert instance.get_run_by_id(run.run_id).status == _Status.FAILURE


def test_another_machine_is_believed_for_a_day_after_it_told_something_last(
    dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So are the runs of a container that was restarted: it has another name."""
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {PID: dead, HOST: "another-machine"}
        silent, telling = (
            instance.create_run_for_job(nothing, tags=tags, status=_Status.STARTED).run_id for _ in range(2)
        )
        later = time.time() + 30 * 3600
        monkeypatch.setattr(home.time, "time", lambda: later)
        instance.report_engine_event("made", instance.get_run_by_id(telling))
        bury_orphans(instance)
        assert instance.get_run_by_id(silent).status == _Status.FAILURE
        assert instance.get_run_by_id(telling).status == _Status.STARTED


def test_a_re_execution_is_not_taken_for_the_process_of_its_parent(dead: str) -> None:
    """The UI gives it the parent's tags."""
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {PID: dead, HOST: _HERE, JOB: ASKED}
        parent = instance.create_run_for_job(nothing, tags=tags, status=_Status.FAILURE).run_id
        started = instance.create_run_for_job(
            nothing, tags=tags, status=_Status.STARTED, parent_run_id=parent, root_run_id=parent
        ).run_id
        bury_orphans(instance)
        assert instance.get_run_by_id(started).status == _Status.STARTED
