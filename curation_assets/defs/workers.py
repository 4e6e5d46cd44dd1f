"""Who carries out the runs of the graph: this process, or several that each carry out one run at a time.

Small models gain little from a second thread and much from a second process, and a step that waits on one core leaves
the others to the rest of the graph. A worker is an ordinary process that executes ordinary Dagster runs; when the
process that asked dies, however suddenly, its workers die too.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._utils.error import SerializableErrorInfo

from curation_assets.common.stopping import deaf, end_processes
from curation_assets.config.profile import Profile, load_profile
from curation_assets.definitions import definitions
from curation_assets.defs.resources import COMMAND, HOST, PID, Curation
from curation_assets.defs.webserver.holder import OURS
from curation_assets.engine.planner import Job
from curation_assets.engine.workspace import MissingInput

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_COMMAND = "CURATION_COMMAND"  # names, in the environment, the command whose runs these are
_PATIENCE = 20.0  # seconds for the last lines of workers to arrive
_INHERITED = ("CURATION_", "DAGSTER_", "HF_")
_HEAVY = [  # imported once, in the process that all workers are forked from
    "curation_assets.defs.workers",
    "curation_assets.judges.build",
    "curation_assets.evaluation.perplexity",
]

Tell = Callable[[str], object]


@dataclass
class Report:
    """What came of a job: {asset key: reason} of what failed, and of what had nothing to be made from; `interrupted` if it was stopped."""

    failed: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Carries out jobs, at most `count` at a time; one at a time in this process, when they are submitted, unless `apart`."""

    def __init__(self, profile: Profile, count: int, tell: Tell, *, apart: bool = False) -> None:
        self._profile, self.count, self._tell, self._apart = profile, count, tell, apart or count > 1
        self._pool: ProcessPoolExecutor | None = None
        self._here: _Executor | None = None

    def __enter__(self) -> Workers:
        command = "ui" if OURS in os.environ else "run"
        os.environ[_COMMAND] = f"{datetime.now():%Y-%m-%d %H:%M:%S} {command}"
        if not self._apart:
            Curation.listener = self._tell
            self._here = _Executor(self._profile)
            return self
        context = _context()
        self._lines = context.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threads = max(1, cores() // self.count) if self.count > 1 else 0
        inherited = {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
        arguments = (self._profile.source, threads, self._lines, inherited, str(Path.cwd()))
        self._pool = ProcessPoolExecutor(self.count, context, _begin, arguments)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._here:
            Curation.listener = None
            self._here.close()
        if self._pool:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)
            if kind is not None:
                _end_workers()
            else:
                self._lines.put(None)
                self._listener.join(_PATIENCE)

    def submit(self, job: Job) -> Future[Report]:
        """Hand a job over."""
        if self._pool:
            return self._pool.submit(_work, job)
        assert self._here is not None
        done: Future[Report] = Future()
        done.set_result(self._here.execute(job))
        return done

    def _listen(self) -> None:
        while (line := self._lines.get()) is not None:
            self._tell(line)


class _Executor:
    """Executes jobs in this process."""

    def __init__(self, profile: Profile) -> None:
        self._job = definitions(profile).resolve_implicit_global_asset_job_def()
        self._instance = dg.DagsterInstance.get()

    def close(self) -> None:
        self._instance.dispose()

    def execute(self, job: Job) -> Report:
        tags = {PID: str(os.getpid()), HOST: socket.gethostname()}
        if command := os.environ.get(_COMMAND):
            tags[COMMAND] = command
        if len(job.partitions) > 1:
            tags |= dict(zip(_RANGE, (job.partitions[0], job.partitions[-1]), strict=True))
        result = self._job.execute_in_process(
            instance=self._instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in job.keys],
            partition_key=job.partitions[0] if len(job.partitions) == 1 and job.partitions[0] else None,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        return self._report(result, job)

    def _report(self, result: dg.ExecuteInProcessResult, job: Job) -> Report:
        """Say which steps failed and why; an interrupt is what Dagster turns into a failed or cancelled run."""
        run, report = self._instance.get_run_by_id(result.run_id), Report()
        report.interrupted = bool(
            run and run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING)
        )
        for failure in result.filter_events(lambda event: event.is_step_failure):
            error = failure.step_failure_data.error
            cause = (error.cause or error) if error else None
            report.interrupted |= _interrupted(error)
            key = next((k for k in job.keys if k.replace("/", "__") == failure.step_key), failure.step_key)
            kind = report.lacking if cause and cause.cls_name == MissingInput.__name__ else report.failed
            kind[str(key)] = cause.message.strip() if cause else "failed"
        return report


def _interrupted(error: SerializableErrorInfo | None) -> bool:
    """Tell whether an interrupt stands anywhere in an error's chain of causes."""
    while error:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause or error.context
    return False


def _context() -> Any:
    """Return how workers are started: forked from a process that has imported everything, where that is safe."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(_HEAVY)
        with deaf():
            forkserver.ensure_running()
    return context


def _end_workers() -> None:
    """End the workers and what they started; whole artifacts stay, and nothing else is worth waiting for."""
    workers = []
    for child in multiprocessing.active_children():
        with suppress(psutil.NoSuchProcess):
            workers.append(psutil.Process(child.pid))
    end_processes(workers)


# ---- in a worker

_executor: _Executor | None = None


def _begin(source: str, threads: int, lines: Any, environment: dict[str, str], folder: str) -> None:
    """Make this process a worker: its threads (0: as many as libraries take), its Dagster job, its line to whoever listens."""
    global _executor
    for name in [name for name in os.environ if name.startswith(_INHERITED)]:
        del os.environ[name]  # the process it was forked from may be older, and have others
    os.environ.update(environment)
    os.chdir(folder)
    os.setsid()  # Ctrl-C in a terminal is for who started the workers; that stops them
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if threads:
        import faiss
        import torch

        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
    Curation.listener = lines.put
    _executor = _Executor(load_profile(source))


def _die_with_parent() -> None:
    """End this process when the one that started it has ended, which may have been killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(job: Job) -> Report:
    assert _executor is not None
    return _executor.execute(job)
