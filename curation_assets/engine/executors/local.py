"""Processes of this machine that carry out a task each.

Small models gain little from a second thread and much from a second process, and a step that waits on one core leaves
the others to the rest of the graph. Workers are forked from a server process that has imported everything they need
once. When the process that asked dies, however suddenly, its workers die too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from curation_assets.common import stopping
from curation_assets.config.profile import profile_type
from curation_assets.engine.executors import (
    Check,
    Checked,
    Ended,
    Failed,
    Made,
    Make,
    Message,
    Task,
    WorkerDied,
)
from curation_assets.engine.executors.work import Worker
from curation_assets.engine.workspace import Workspace

_INHERITED = ("CURATION_", "DAGSTER_", "HF_")
_PATIENCE = 5.0  # seconds for idle workers to end
_AT_MOST = 4  # workers on a CPU that nobody asked for in the profile
_DEATHS = 3  # of workers in a row, with nothing finished between them: then a run ends
_BEGUN = "begun"
_WORKERS = " (execution.workers sets how many there are)"


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Process:
    """A worker process, the line to it, and its device.

    Attributes
    ----------
    task, left : its task if it has one, and of that the partitions that have not ended, the one at work first.
    begun : whether it has taken its task up.
    last : the asset that it worked on last.
    """

    process: BaseProcess
    line: Connection[Any, Any]
    device: str
    task: Task | None = None
    left: tuple[str, ...] = ()
    begun: bool = False
    last: str = ""


class LocalExecutor:
    """Starts workers as tasks come, up to `slots`, and others for those that die.

    Parameters
    ----------
    products : name of the module that says how artifacts are made and checked (see `work.Worker`); what workers are
        forked from imports it, and with it what all steps use.
    """

    def __init__(self, workspace: Workspace, products: str) -> None:
        self._workspace, self._module = workspace, products
        self._processes: list[_Process] = []
        self._inbox: deque[Message] = deque()
        self._slots = self._threads = self._deaths = 0
        self._ended: WorkerDied | None = None

    def __enter__(self) -> LocalExecutor:
        self._context = _context(self._module)
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers and what they started: whole artifacts stay, and nothing else is worth waiting for."""
        self._dismiss()
        workers = []
        for worker in self._processes:
            with suppress(psutil.NoSuchProcess):
                workers.append(psutil.Process(worker.process.pid))
        stopping.end_processes(workers)

    def _dismiss(self) -> None:
        """Let workers that have nothing to do end by themselves, so that they clear away what their libraries hold."""
        idle = [w for w in self._processes if w.task is None and not stopping.requested.is_set()]
        for worker in idle:
            with suppress(OSError):  # it has ended
                worker.line.send(None)
        end = time.monotonic() + _PATIENCE
        for worker in idle:
            worker.process.join(max(0.0, end - time.monotonic()))

    @property
    def slots(self) -> int:
        """As the profile says, or one on an accelerator and up to four on a CPU."""
        if not self._slots:
            execution = self._workspace.profile.execution
            device = execution.device
            if not execution.workers and device == "auto":
                device = self._start().device  # asking torch for it belongs into a worker
            on_cpu = min(cores(), _AT_MOST) if device == "cpu" else 1
            self._slots = execution.workers or on_cpu
            self._threads = max(1, cores() // self._slots) if self._slots > 1 else 0
        return self._slots

    def submit(self, task: Task) -> None:
        """Give a task to a free worker: to the one that has worked on that asset, if it is free."""
        self._give(task, task.partitions if isinstance(task, Make) else ())

    def receive(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message."""
        while not self._inbox:
            if self._ended is not None:
                raise self._ended
            lines = {worker.line: worker for worker in self._processes if worker.task is not None}
            ready = wait(list(lines), timeout)
            if not ready:
                return None
            for line in ready:
                worker = lines[line]  # type: ignore[index]
                try:
                    message = worker.line.recv()
                except (EOFError, OSError):
                    self._died(worker)
                else:
                    if message == _BEGUN:
                        worker.begun = True
                    else:
                        self._inbox.append(self._noted(worker, message))
        return self._inbox.popleft()

    def _noted(self, worker: _Process, message: Message) -> Message:
        """Return a message, having taken note of how far its worker is."""
        if isinstance(message, Made | Failed | Checked):
            self._deaths = 0
        if isinstance(message, Made | Failed):
            worker.left = worker.left[1:]
        if not isinstance(message, Ended):
            return message
        assert worker.task is not None
        task, worker.task = worker.task, None
        return Ended(task)  # all of it, of which this worker may have had what another one left

    def _give(self, task: Task, partitions: tuple[str, ...]) -> None:
        """Give what is left of a task to a free worker."""
        slots = self.slots
        free = [worker for worker in self._processes if worker.task is None]
        worker = next((worker for worker in free if worker.last == task.key), None)
        if worker is None and len(self._processes) < slots:
            worker = self._start()
        worker = worker or free[0]
        first = not worker.last
        worker.task, worker.left, worker.begun, worker.last = task, partitions, False, task.key
        try:
            if first:
                worker.line.send(self._threads)
            worker.line.send(replace(task, partitions=partitions) if isinstance(task, Make) else task)
        except OSError:
            self._died(worker)

    def _died(self, worker: _Process) -> None:
        """Turn a worker's death into a failure of the artifact that it was at, and have another go on with its task."""
        if stopping.requested.is_set():
            threading.Event().wait()  # workers were stopped with this process, which is about to end
        self._processes.remove(worker)
        worker.line.close()
        task, left = worker.task, worker.left
        assert task is not None and worker.process.pid
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)  # what it had started
        worker.process.join()
        if left and worker.begun:
            reason = "the worker process that made it died: killed, or out of memory" + _WORKERS
            self._inbox.append(Failed(task.key, left[0], reason, WorkerDied.__name__))
            left = left[1:]
        self._deaths += 1
        if self._deaths == _DEATHS:
            self._ended = WorkerDied(
                f"{_DEATHS} worker processes died one after the other, the last one at {task.key}, and none finished "
                f"anything: killed, or out of memory{_WORKERS}; the same command continues where this one was"
            )
        elif left or isinstance(task, Check):
            self._give(task, left)
        else:
            self._inbox.append(Ended(task))

    def _start(self) -> _Process:
        """Start a worker; it waits to hear how many threads it has, and for its first task.

        Raises
        ------
        WorkerDied
            It could not start.
        """
        here, there = self._context.Pipe()
        inherited = {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
        settings = self._workspace.profile.model_dump()
        arguments = (there, settings, self._module, inherited, str(Path.cwd()))
        process = self._context.Process(target=_serve, args=arguments)
        process.start()
        there.close()
        try:
            device = here.recv()
        except (EOFError, OSError):
            if stopping.requested.is_set():
                threading.Event().wait()
            device = WorkerDied(f"killed, or out of memory{_WORKERS}")
        if isinstance(device, Exception):
            raise WorkerDied(f"a worker process could not start: {device}") from device
        self._processes.append(_Process(process, here, device))
        return self._processes[-1]


def _context(module: str) -> Any:
    """Return how workers are started: forked from a process that has imported everything, where that is safe."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload([__name__, module])
        with stopping.deaf():
            forkserver.ensure_running()
    return context


# ---- in a worker


def _serve(
    line: Connection[Any, Any],
    settings: dict[str, Any],
    module: str,
    environment: dict[str, str],
    folder: str,
) -> None:
    """Make this process a worker, and carry out tasks until it is ended; says its device, and hears how many threads it has.

    `settings` are those of the run that started it: the profile's file may be other by now.
    """
    for name in [name for name in os.environ if name.startswith(_INHERITED)]:
        del os.environ[name]  # the process it was forked from may be older, and have others
    os.environ.update(environment)
    os.setsid()  # Ctrl-C in a terminal is for who started the workers; that stops them
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        os.chdir(folder)
        workspace = Workspace(profile_type().model_validate(settings))
        line.send(workspace.device)
    except Exception as error:
        line.send(RuntimeError(f"{type(error).__name__}: {error}"))  # which any process can read
        return
    if threads := line.recv():
        import faiss
        import torch

        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
    worker = Worker(workspace, module, line.send)
    while (task := line.recv()) is not None:
        line.send(_BEGUN)
        for message in worker.carry_out(task):
            line.send(message)


def _die_with_parent() -> None:
    """End this process when the one that started it has ended, which may have been killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
