"""`curation run`: everything that the profile asks for brought up to date, as one Dagster run in this process."""

import os
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg

from curation_assets.config.profile import Profile
from curation_assets.defs.dagster_private import leave_output
from curation_assets.defs.instance import instance_for
from curation_assets.defs.materializing import PRODUCTS, RunOutcome, Tell, carry_out, executor_for
from curation_assets.defs.resources import ASKED, COMMAND, HOST, JOB, PID
from curation_assets.defs.webserver.holder import OURS
from curation_assets.engine.executors import Executor
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.scope import Scope, everything
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_graph(
    profile: Profile, tell: Tell, steps: list[Step] | None = None, *, apart: bool = False
) -> RunOutcome:
    """Make everything current that the profile's [run] asks for (or `steps` alone), as `run_scope` does."""
    scope = everything(profile, wanted_steps(profile) if steps is None else steps)
    return run_scope(profile, tell, scope, apart=apart)


def run_scope(profile: Profile, tell: Tell, scope: Scope, *, apart: bool = False) -> RunOutcome:
    """Bring a scope up to date; what already is is not touched.

    Parameters
    ----------
    apart
        Work in processes of its own also where one task is carried out at a time: such work can be stopped whatever it is
        doing.

    Raises
    ------
    KeyboardInterrupt
        The run was stopped by a signal.
    WorkerDied
        A worker was killed, or ran out of memory.
    """
    workspace = Workspace(profile)
    with (
        instance_for(profile) as instance,
        executor_for(workspace, tell, inline=False if apart else None) as executor,
    ):
        leave_output(instance)
        return _DagsterRun(instance, workspace, scope, executor, tell).carried_out(apart)


def run_here(profile: Profile, tell: Tell, scope: Scope) -> RunOutcome:
    """Bring a scope up to date by this process alone, as a run like that of `run_graph`."""
    workspace = Workspace(profile)
    with (
        instance_for(profile) as instance,
        InlineExecutor(workspace, PRODUCTS, tell) as executor,
    ):
        leave_output(instance)
        return _DagsterRun(instance, workspace, scope, executor, tell).carried_out(apart=True)


class _DagsterRun:
    """One Dagster run, of a job that is the engine's run."""

    def __init__(
        self, instance: dg.DagsterInstance, workspace: Workspace, scope: Scope, executor: Executor, tell: Tell
    ) -> None:
        self._instance, self._workspace, self._tell = instance, workspace, tell
        self._outcome: RunOutcome | None = None
        self._error: BaseException | None = None

        @dg.op(out=dg.Out(dg.Nothing))
        def bring_up_to_date(context: dg.OpExecutionContext) -> Iterator[Any]:
            def log(line: str) -> None:
                context.log.info(line)
                tell(line)

            try:
                self._outcome = yield from carry_out(context, workspace, scope, executor, log)
            except BaseException as error:
                self._error = error
                raise
            if failed := self._outcome.failed:
                raise dg.Failure("; ".join(f"{key}: {reason}" for key, reason in failed.items()))
            yield dg.Output(None)

        @dg.job(name="curation_run", description=__doc__)
        def job() -> None:
            bring_up_to_date()

        command = f"{datetime.now():%Y-%m-%d %H:%M:%S} {'ui' if OURS in os.environ else 'run'}"
        tags = {PID: str(os.getpid()), HOST: socket.gethostname(), COMMAND: command, JOB: ASKED}
        self._job, self._tags = job, tags

    def carried_out(self, apart: bool) -> RunOutcome:
        """Return what came of it. A thread executes it, as Dagster would take the signals of the main one."""
        if not apart:
            self._execute()
        else:
            thread = threading.Thread(target=self._execute, daemon=True)
            thread.start()
            try:
                thread.join()
            except KeyboardInterrupt:
                self._stopped()
                raise
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def _execute(self) -> None:
        try:
            self._job.execute_in_process(
                instance=self._instance, tags=self._tags, run_config=_QUIET, raise_on_error=False
            )
        except BaseException as error:
            self._error = self._error or error

    def _stopped(self) -> None:
        self._workspace.catalog.stop_process()  # the thread that works is not heard out
        for run in self._instance.get_runs(dg.RunsFilter(tags=self._tags)):
            if not run.is_finished:
                self._instance.report_run_canceled(run, "Stopped, with the command that started it.")


def register_shards(profile: Profile, tell: Tell) -> None:
    """List the corpus (building the built-in one where the profile asks for it) and register its shards."""
    here = profile.model_copy(
        update={"execution": profile.execution.model_copy(update={"engine": "local", "workers": 1})}
    )
    outcome = run_graph(here, tell, [STEPS["corpus/source"]])
    for reason in outcome.failed.values():
        tell(f"the corpus cannot be listed: {reason}")
