"""Processes of this machine that carry out a task each.

Small models gain little from a second thread and much from a second process, and a step that waits on one core leaves
the others to the rest of the graph. Workers are forked from a server process that has imported everything they need
once. When the process that asked dies, however suddenly, its workers die too.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from curation_assets.common import stopping
from curation_assets.config.profile import load_profile
from curation_assets.engine.attempts import alive
from curation_assets.engine.executors import Ended, Make, Message, Task, WorkerDied
from curation_assets.engine.executors.work import Worker
from curation_assets.engine.workspace import Workspace

_INHERITED = ("CURATION_", "DAGSTER_", "HF_")
_AT_MOST = 4  # workers on a CPU that nobody asked for in the profile


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Process:
    """A worker process, the line to it, its task if it has one, and the asset that it worked on last."""

    process: BaseProcess
    line: Connection[Any, Any]
    task: Task | None = None
    last: str = ""


class LocalExecutor:
    """Starts workers as tasks come, up to `slots`.

    Parameters
    ----------
    products : name of the module that says how artifacts are made and checked (see `work.Worker`); what workers are
        forked from imports it, and with it what all steps use.
    """

    def __init__(self, workspace: Workspace, products: str) -> None:
        self._workspace, self._module = workspace, products
        self._processes: list[_Process] = []
        self._inbox: deque[Message] = deque()
        self._slots = self._threads = 0

    def __enter__(self) -> LocalExecutor:
        self._context = _context(self._module)
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers and what they started: whole artifacts stay, and nothing else is worth waiting for."""
        workers = []
        for worker in self._processes:
            with suppress(psutil.NoSuchProcess):
                workers.append(psutil.Process(worker.process.pid))
        stopping.end_processes(workers)
        self._forget_attempts()

    @property
    def slots(self) -> int:
        """As the profile says, or one on an accelerator and up to four on a CPU."""
        if not self._slots:
            execution = self._workspace.profile.execution
            device = execution.device
            if not execution.workers and device == "auto":
                device = self._start().line.recv()  # asking torch for it belongs into a worker
            on_cpu = min(cores(), _AT_MOST) if device == "cpu" else 1
            self._slots = execution.workers or on_cpu
            self._threads = max(1, cores() // self._slots) if self._slots > 1 else 0
            for worker in self._processes:
                worker.line.send(self._threads)
        return self._slots

    def submit(self, task: Task) -> None:
        """Give a task to a free worker: to the one that has worked on that asset, if it is free."""
        slots = self.slots
        free = [worker for worker in self._processes if worker.task is None]
        worker = next((worker for worker in free if worker.last == task.key), None)
        if worker is None and len(self._processes) < slots:
            worker = self._start()
            with death_told(task):
                worker.line.recv()
                worker.line.send(self._threads)
        worker = worker or free[0]
        worker.task, worker.last = task, task.key
        with death_told(task):
            worker.line.send(task)

    def receive(self) -> Message:
        """Wait for the next message."""
        while not self._inbox:
            lines = {worker.line: worker for worker in self._processes if worker.task is not None}
            for line in wait(list(lines)):
                worker = lines[line]  # type: ignore[index]
                assert worker.task is not None
                with death_told(worker.task):
                    message = worker.line.recv()
                if isinstance(message, Ended):
                    worker.task = None
                self._inbox.append(message)
        return self._inbox.popleft()

    def _start(self) -> _Process:
        here, there = self._context.Pipe()
        inherited = {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
        arguments = (there, self._workspace.profile.source, self._module, inherited, str(Path.cwd()))
        process = self._context.Process(target=_serve, args=arguments)
        process.start()
        there.close()
        self._processes.append(_Process(process, here))
        return self._processes[-1]

    def _forget_attempts(self) -> None:
        """Forget the attempts of workers that were stopped: the next run need not wait for them, and none of them failed."""
        attempts = self._workspace.attempts
        for task in [worker.task for worker in self._processes if isinstance(worker.task, Make)]:
            for partition in task.partitions:
                attempt = attempts.read(task.key, partition)
                here = attempt is not None and attempt.host == socket.gethostname()
                if attempt and here and not attempt.ended and not alive(attempt.pid):
                    attempts.end(task.key, partition)


@contextmanager
def death_told(task: Task) -> Iterator[None]:
    """Turn a broken line to a worker into an error that says what it was at."""
    try:
        yield
    except (EOFError, OSError):
        if stopping.requested.is_set():
            threading.Event().wait()  # workers were stopped with this process, which is about to end
        raise WorkerDied(
            f"a worker process died while it made {task.key}: killed, or out of memory (execution.workers "
            "sets how many there are); the same command continues where this one was"
        ) from None


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
    line: Connection[Any, Any], source: str, module: str, environment: dict[str, str], folder: str
) -> None:
    """Make this process a worker, and carry out tasks until it is ended; says its device, and hears how many threads it has."""
    for name in [name for name in os.environ if name.startswith(_INHERITED)]:
        del os.environ[name]  # the process it was forked from may be older, and have others
    os.environ.update(environment)
    os.chdir(folder)
    os.setsid()  # Ctrl-C in a terminal is for who started the workers; that stops them
    threading.Thread(target=_die_with_parent, daemon=True).start()
    workspace = Workspace(load_profile(source))
    line.send(workspace.device)
    if threads := line.recv():
        import faiss
        import torch

        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
    worker = Worker(workspace, module, line.send)
    while True:
        for message in worker.carry_out(line.recv()):
            line.send(message)


def _die_with_parent() -> None:
    """End this process when the one that started it has ended, which may have been killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
