"""Running the graph: only what is missing or out of date, each step when those it needs have ended, as Dagster runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from curation_assets.common.files import write_bytes
from curation_assets.common.progress import Line
from curation_assets.config.profile import Profile, absolute
from curation_assets.corpus.rejected_rows import no_documents
from curation_assets.defs import partitions
from curation_assets.defs.resources import HOST, PID
from curation_assets.defs.workers import Tell, Workers, cores
from curation_assets.engine.attempts import alive, lives_since
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import Job, Plan, targets, wanted_steps
from curation_assets.engine.refresh import prune_marks
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import MissingInput, Workspace

_ALONE = (
    "/source",
    "/model",
    "/teacher",
)  # may take long for reasons outside the graph: a listing, a download
_OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_SUBMITTED = 600.0  # seconds in which a run that was created is queued or started, or never


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of its job."""


@dataclass
class Outcome:
    """What a run of the graph did: artifacts made by asset key, and what failed with its reason."""

    made: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)


def dagster_home(profile: Profile) -> Path:
    """Return DAGSTER_HOME (default: `dagster_home` in the data folder), made ready with the packaged dagster.yaml."""
    home = absolute(os.environ.get("DAGSTER_HOME") or profile.data / "dagster_home")
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster takes no relative one, and its processes run elsewhere
    settings = home / "dagster.yaml"
    if not settings.exists():
        write_bytes(settings, files("curation_assets.defs").joinpath("dagster.yaml").read_bytes())
    return home


@contextmanager
def instance_for(profile: Profile) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, with the runs of dead processes reported as failed and their pool slots freed."""
    dagster_home(profile)
    with dg.DagsterInstance.get() as instance:
        _bury_orphans(instance)
        try:
            yield instance
        except BaseException as error:
            _bury_orphans(instance, stopped=isinstance(error, KeyboardInterrupt))
            raise


def worker_count(profile: Profile) -> int:
    """Return how many runs may go on at a time: as the profile says, or one on an accelerator and up to four on a CPU."""
    if profile.execution.workers:
        return profile.execution.workers
    if Workspace(profile).device != "cpu":
        return 1
    return min(cores(), 4)


def _bury_orphans(instance: dg.DagsterInstance, *, stopped: bool = False) -> None:
    """Report the runs of dead processes as failed, or as canceled where somebody stopped them, and free their slots."""
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=_OPEN)):
        run = record.dagster_run
        if not _orphan(run, record.create_timestamp.timestamp()):
            continue
        if stopped:
            instance.report_run_canceled(run, "Stopped, with the command that started it.")
        else:
            instance.report_run_failed(run, "The process of this run died.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _orphan(run: dg.DagsterRun, created: float) -> bool:
    """Tell whether nobody is at work on a run or will be: its process died, or who created it did before it was queued.

    What the UI has queued or is starting is its daemon's, also after a restart; it bears no process until it has started.
    """
    if HOST in run.tags:
        return run.tags[HOST] == socket.gethostname() and not lives_since(int(run.tags[PID]), created)
    return run.status == dg.DagsterRunStatus.NOT_STARTED and time.time() - created > _SUBMITTED


def run_graph(
    profile: Profile, tell: Tell, steps: list[Step] | None = None, *, apart: bool = False
) -> Outcome:
    """Make everything current that the profile's [run] asks for (or `steps` alone); what already is is not touched.

    Parameters
    ----------
    apart
        Work in processes of its own also where one job runs at a time: such work can be stopped whatever it is doing.

    Raises
    ------
    KeyboardInterrupt
        The run was stopped, by a signal to this process or to a worker.
    """
    workspace = Workspace(profile)
    workspace.store.remove_abandoned()
    with instance_for(profile) as instance:
        count = worker_count(profile)
        storage = instance.event_log_storage
        if count > 1 and storage.get_concurrency_info("accelerator").slot_count < count:
            storage.set_concurrency_slots("accelerator", count)  # on a CPU, as many jobs as workers
        workers = Workers(profile, count, tell, apart=apart)
        run = _Run(workspace, instance, workers, steps or wanted_steps(profile), tell)
        try:
            with workers:
                run.to_the_end()
                prune_marks(workspace, Versions(workspace))
        except KeyboardInterrupt:
            run.forget_attempts()
            raise
        partitions.sync_shards(instance, workspace.listed())
    return run.outcome


class _Run:
    """One pass over the graph."""

    def __init__(
        self,
        workspace: Workspace,
        instance: dg.DagsterInstance,
        workers: Workers,
        steps: list[Step],
        tell: Tell,
    ) -> None:
        self.outcome = Outcome()
        self._workspace, self._instance, self._workers, self._tell = workspace, instance, workers, tell
        self._plan = Plan(workspace, steps)
        self._lacking: dict[str, str] = {}
        self._queue: list[Job] = []
        self._running: dict[Future[Any], tuple[Job, dict[tuple[str, str], str]]] = {}

    def to_the_end(self) -> None:
        """Start what is ready, wait for the next job to end, and so on."""
        while True:
            while ready := self._plan.ready():
                self._queue += self._jobs(ready)
            self._queue.sort(key=self._plan.urgency, reverse=True)
            while self._queue and len(self._running) < self._workers.count:
                self._start(self._queue.pop(0))
            if not self._running:
                self._tell_what_lacked()
                return
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                self._finish(future)

    def _tell_what_lacked(self) -> None:
        """Where something failed, what had nothing to be made from waits for that; otherwise it has failed itself."""
        if self.outcome.failed or self.outcome.blocked:
            self.outcome.blocked += self._lacking
        else:
            self.outcome.failed |= self._lacking

    def _jobs(self, ready: list[Step]) -> Iterator[Job]:
        """Yield the jobs that make steps current; steps that have none are done. Light ones on equal partitions share a job."""
        versions = Versions(self._workspace)
        together: dict[tuple[str, ...], list[str]] = {}
        for step in ready:
            asked = targets(self._workspace, step)
            stale = versions.stale(step, asked)
            chunks = []
            if stale and self._nothing_to_read(step):
                self.outcome.blocked.append(step.key)
            elif stale and _inputs_there(versions, step, stale):
                chunks = list(_chunks(step, stale, self._workspace, self._instance))
            elif stale:
                self.outcome.blocked.append(step.key)
            self._plan.begin(step, chunks)
            for chunk in chunks:
                if step.accelerated or step.key.endswith(_ALONE):
                    yield Job((step.key,), chunk)
                else:
                    together.setdefault(chunk, []).append(step.key)
        for chunk, keys in together.items():
            yield Job(tuple(keys), chunk)

    def _nothing_to_read(self, step: Step) -> bool:
        """Tell whether a step reads documents and there are none, which is a failure of reading them."""
        if "corpus/documents" not in step.reads(self._workspace.profile):
            return False
        if why := no_documents(self._workspace):
            self.outcome.failed["corpus/documents"] = why
        return bool(why)

    def _start(self, job: Job) -> None:
        one = f"[{job.partitions[0]}]" if len(job.partitions) == 1 and job.partitions[0] else ""
        many = f": {len(job.partitions)} to make" if len(job.partitions) > 1 else ""
        self._tell_of(job, f"--- {', '.join(job.keys)}{one}{many}{self._plan.left()}", "begin")
        before = {(key, p): self._version(key, p) for key in job.keys for p in job.partitions}
        self._running[self._workers.submit(job)] = (job, before)

    def _finish(self, future: Future[Any]) -> None:
        job, before = self._running.pop(future)
        self._tell_of(job, f"{', '.join(job.keys)}: ended", "end")
        try:
            report = future.result()
        except BrokenProcessPool:
            raise WorkerDied(
                f"a worker process died while it made {', '.join(job.keys)}: killed, or out of memory (execution.workers "
                "sets how many there are); the same command continues where this one was"
            ) from None
        if report.interrupted:
            raise KeyboardInterrupt
        self.outcome.failed |= report.failed
        self._lacking |= report.lacking
        for key in job.keys:
            made = [p for p in job.partitions if self._version(key, p) != before[key, p]]
            if made and key != "corpus/source":
                self.outcome.made[key] = self.outcome.made.get(key, 0) + len(made)
            self._plan.end(STEPS[key], job.partitions)

    def _tell_of(self, job: Job, line: str, when: Literal["begin", "end"]) -> None:
        if job.keys != ("corpus/source",):
            self._tell(Line.about(line, job.keys, job.partitions, when))

    def forget_attempts(self) -> None:
        """Forget the attempts of workers that were stopped: the next run need not wait for them, and none of them failed."""
        attempts = self._workspace.attempts
        for job, _ in self._running.values():
            for key, partition in ((key, p) for key in job.keys for p in job.partitions):
                attempt = attempts.read(key, partition)
                if (
                    attempt
                    and not attempt.ended
                    and attempt.host == socket.gethostname()
                    and not alive(attempt.pid)
                ):
                    attempts.end(key, partition)

    def _version(self, key: str, partition: str) -> str:
        receipt = self._workspace.store.receipt(key, partition)
        return f"{receipt.version}@{receipt.created}" if receipt else ""


def _inputs_there(versions: Versions, step: Step, stale: list[str]) -> bool:
    """Tell whether at least one stale partition could be made: the rest will say for itself what it lacks."""
    for partition in stale:
        try:
            versions.inputs(step, partition)
        except MissingInput:
            continue
        return True
    return False


def _chunks(
    step: Step, stale: list[str], workspace: Workspace, instance: dg.DagsterInstance
) -> Iterator[tuple[str, ...]]:
    """Split stale partitions into what one Dagster run takes: a contiguous range in the definition's own order."""
    if step.by in ("", "rate|size") or step.trains:
        yield from ((partition,) for partition in stale)
        return
    order = (
        instance.get_dynamic_partitions(partitions.SHARD) if step.by == "shard" else targets(workspace, step)
    )
    at = sorted(order.index(partition) for partition in stale)
    start = 0
    for i in range(1, len(at) + 1):
        if i == len(at) or at[i] != at[i - 1] + 1:
            yield tuple(order[j] for j in at[start:i])
            start = i


def register_shards(profile: Profile, tell: Tell) -> None:
    """List the corpus (building the built-in one where the profile asks for it) and register its shards."""
    here = profile.model_copy(update={"execution": profile.execution.model_copy(update={"workers": 1})})
    outcome = run_graph(here, tell, [STEPS["corpus/source"]])
    for reason in outcome.failed.values():
        tell(f"the corpus cannot be listed: {reason}")
