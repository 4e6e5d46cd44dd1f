"""Workers on a Ray cluster: actors of one run that carry out a task each.

An actor is one process of one node. It loads what the partitions of a step share once, and says what becomes of each
partition, and how far it is, as it happens. Nothing is ever retried by Ray: an actor that died is replaced here, so that
what it was at is counted, and what one still sends that was given up is not heard.
"""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

from curation_assets.common.progress import Line
from curation_assets.config.profile import ProfileError
from curation_assets.engine.executors import (
    Checked,
    Ended,
    Failed,
    Make,
    Message,
    Task,
    WorkerDied,
)
from curation_assets.engine.executors.ray_cluster import Node, alive, connected, essence, imported
from curation_assets.engine.executors.ray_worker import Begun, RayWorker, Ready, Unable, code_of
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import title
from curation_assets.engine.step import EDGE
from curation_assets.engine.workspace import Workspace

_DEATHS = 2  # of workers at one partition, on nodes that live: then it has failed
_STARTS = 3  # workers in a row that do not get ready, and deaths in a row for each worker with nothing finished: then a run ends
_LOOK = 5.0  # seconds between two looks at which nodes there are
_LONG = 30.0  # seconds after which it is said that a task waits for a worker
_LINES = 3.0  # seconds between two lines of progress of a step, whichever worker they are of
_PATIENCE = 2.0  # seconds for what listens to a worker to hear that it has been ended
# Ends of the names of variables that name a folder, of which each node has its own.
_PLACES = ("_HOME", "_CACHE", "_PATH", "_DIR")

Kind = Literal["here", "cpu", "gpu"]
"""Where an actor works: on the node of the run itself, where the catalog is, or on any node, with a GPU or without one."""


@dataclass(eq=False)
class _Job:
    """A task, and of that the partitions that have not ended, the one at work first."""

    task: Task
    left: tuple[str, ...]
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Actor:
    """An actor, where it is once it is ready, its job and whether it has taken it up, and the asset that it worked on last."""

    kind: Kind
    handle: Any
    tasks: SimpleQueue[Task | None] = field(default_factory=SimpleQueue)
    node: str = ""
    job: _Job | None = None
    begun: bool = False
    last: str = ""

    @property
    def idle(self) -> bool:
        """Whether it is ready and has nothing to do."""
        return bool(self.node) and self.job is None


class RayExecutor:
    """Starts actors as tasks come, as many as the cluster and `execution.workers` allow, and others for those that die.

    Parameters
    ----------
    products : name of the module that says how artifacts are made and checked (see `work.Worker`).
    tell : hears what happens to the pool.
    """

    def __init__(self, workspace: Workspace, products: str, tell: Callable[[str], object]) -> None:
        self._workspace, self._module, self._tell = workspace, products, tell
        self._settings = workspace.profile.execution
        self._actors: list[_Actor] = []
        self._waiting: deque[_Job] = deque()
        self._events: SimpleQueue[tuple[_Actor, Any]] = SimpleQueue()
        self._inbox: deque[Message] = deque()
        self._nodes: tuple[float, list[Node]] = (-_LOOK, [])
        self._died: dict[tuple[str, str], list[str]] = {}  # nodes on which workers died at a partition
        self._starts = self._deaths = 0
        self._spoken: dict[str, float] = {}  # when a line on the progress of a step was passed on
        self._served: set[Kind] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> RayExecutor:
        with ExitStack() as stack:
            stack.enter_context(connected(self._settings.ray.address))
            self._here = imported().get_runtime_context().get_node_id()
            self._uses_gpus = self._wants_gpus()
            self._mark = _Mark(self._workspace)
            stack.callback(self._mark.remove)
            stack.callback(self._end_actors)
            self._stack = stack.pop_all()
        nodes = self._alive()
        cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        have = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        self._tell(
            f"Ray: {len(nodes)} node{'s' * (len(nodes) > 1)} with {have}, at most {self._room} workers"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end_actors(self) -> None:
        for actor in self._actors:
            self._end(actor)
        self._actors = []
        deadline = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # ---- what the driver calls

    @property
    def slots(self) -> int:
        """As many tasks as there can be workers; those that wait for a worker of their kind keep no other from beginning."""
        return self._room + min(len(self._waiting), self._room)

    def submit(self, task: Task) -> None:
        """Take a task; it begins as soon as there is a worker for it."""
        kind = self._kind(task)
        if kind not in self._served:  # what could be served is waited for, should its nodes go
            self._must_fit(kind, task.key)
            self._served.add(kind)
        self._waiting.append(_Job(task, task.partitions if isinstance(task, Make) else ()))
        self._dispatch()

    def receive(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message."""
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while not self._inbox:
            left = end - time.monotonic()
            if left <= 0:
                return None
            try:
                actor, event = self._events.get(timeout=min(left, _LOOK))
            except Empty:
                self._waits()
            else:
                if actor in self._actors:  # what one that was given up sends is nobody's
                    self._heard(actor, event)
            self._dispatch()
        return self._inbox.popleft()

    # ---- what actors say

    def _heard(self, actor: _Actor, event: Any) -> None:
        if isinstance(event, imported().exceptions.RayError):
            self._lost(actor, event)
        elif isinstance(event, Exception):
            raise event
        elif isinstance(event, Ready):
            self._ready(actor, event)
        elif isinstance(event, Unable):
            self._actors.remove(actor)
            self._end(actor)
            if actor.node:
                raise WorkerDied(f"a worker on {self._name(actor.node)} cannot go on: {event.reason}")
            self._not_started(event.reason)
        elif isinstance(event, Begun):
            actor.begun = True
        elif isinstance(event, Line):
            self._progress(event)
        else:
            self._noted(actor, event)

    def _ready(self, actor: _Actor, ready: Ready) -> None:
        if ready.code != code_of(self._workspace.profile):
            raise ProfileError(
                f"{self._name(ready.node)} has another version of curation-assets, or of a package with samplers, than this "
                "machine: install the same on all nodes"
            )
        actor.node, self._starts = ready.node, 0

    def _noted(self, actor: _Actor, message: Message) -> None:
        """Pass a message on, having taken note of how far its actor is."""
        assert actor.job is not None
        self._deaths = 0
        if isinstance(message, Ended):
            # All of it, of which this actor may have had what another one left.
            message = Ended(actor.job.task)
            actor.job = None
        elif not isinstance(message, Checked):
            actor.job.left = actor.job.left[1:]
        self._inbox.append(message)

    def _progress(self, line: Line) -> None:
        """Pass on one line of a step every few seconds, whichever of its workers it is of."""
        now, key = time.monotonic(), line.keys[0]
        if now - self._spoken.get(key, -_LINES) >= _LINES:
            self._spoken[key] = now
            self._inbox.append(line)

    # ---- actors that die

    def _lost(self, actor: _Actor, error: Exception) -> None:
        """Give up an actor, and have another go on with its task; a death on a node that lives counts against the partition."""
        self._actors.remove(actor)
        self._end(actor)
        job = actor.job
        if not actor.node:
            self._not_started(essence(error))
            return
        node = self._node(actor.node)
        if node is None or not node.responds():
            self._tell(f"Ray: the node of a worker has gone{f': {node.name}' if node else ''}")
            self._nodes = (-_LOOK, [])
        elif job is not None and actor.begun:
            self._count_death(actor, job)
        if job is not None and (job.left or not isinstance(job.task, Make)):
            self._waiting.appendleft(job)
        elif job is not None:
            self._inbox.append(Ended(job.task))

    def _count_death(self, actor: _Actor, job: _Job) -> None:
        task, partition = job.task, job.left[0] if job.left else ""
        self._deaths += 1
        if self._deaths >= _STARTS * (len(self._actors) + 1):
            raise WorkerDied(
                f"{self._deaths} workers died one after the other, the last one at {task.key}, and none finished anything: "
                "killed, or out of memory; the same command continues where this one was"
            )
        nodes = self._died.setdefault((task.key, partition), [])
        nodes.append(actor.node)
        if sum(self._node(one) is not None for one in nodes) < _DEATHS:
            self._tell(
                f"Ray: the worker at {title(task.key, partition)} on {self._name(actor.node)} died; another one tries it"
            )
            return
        reason = f"{len(nodes)} workers that were at it died: killed, or out of memory (execution.ray says what each has)"
        if not isinstance(task, Make):
            raise WorkerDied(f"checks of {task.key}: {reason}")
        if job.left:
            self._inbox.append(Failed(task.key, partition, reason, WorkerDied.__name__))
            job.left = job.left[1:]

    def _not_started(self, reason: str) -> None:
        self._starts += 1
        if self._starts == _STARTS:
            raise WorkerDied(f"{_STARTS} workers in a row could not start: {reason}")
        self._tell(f"Ray: a worker could not start: {reason}")

    # ---- the pool

    def _dispatch(self) -> None:
        """Give what waits to workers that are ready, in order, and start workers for the rest."""
        starting = Counter(actor.kind for actor in self._actors if not actor.node)
        for job in list(self._waiting):
            kind = self._kind(job.task)
            idle = [actor for actor in self._actors if actor.idle and actor.kind == kind]
            if idle:
                actor = next((a for a in idle if a.last == job.task.key), idle[0])
                self._waiting.remove(job)
                actor.job, actor.begun, actor.last = job, False, job.task.key
                task = job.task
                actor.tasks.put(replace(task, partitions=job.left) if isinstance(task, Make) else task)
            elif starting[kind] > 0:
                starting[kind] -= 1  # which is for this one
            elif self._make_room(kind):
                self._start(kind)

    def _make_room(self, kind: Kind) -> bool:
        """Tell whether another worker fits in; idle ones of other kinds give way."""
        while not self._fits(kind):
            other = next((a for a in self._actors if a.idle and a.kind not in (kind, "here")), None)
            if other is None:
                return False
            self._actors.remove(other)
            self._end(other)
        return True

    def _fits(self, kind: Kind) -> bool:
        counts = Counter(actor.kind for actor in self._actors)
        if kind == "here":
            return not counts["here"]
        if counts["cpu"] + counts["gpu"] >= self._room:
            return False
        settings, nodes = self._settings.ray, self._alive()
        gpus, cpus = sum(n.gpus for n in nodes), sum(n.cpus for n in nodes)
        enough = cpus - settings.cpus * (counts["cpu"] + counts["gpu"] + 1) >= 0
        return enough and (kind == "cpu" or gpus - settings.gpus * (counts["gpu"] + 1) >= 0)

    @property
    def _room(self) -> int:
        """How many workers there can be at a time beside the one of this node."""
        settings = self._settings.ray
        most = sum(int(node.cpus / settings.cpus) for node in self._alive())
        return max(1, min(most, self._settings.workers or most))

    def _start(self, kind: Kind) -> None:
        ray, settings = imported(), self._settings.ray
        options: dict[str, Any] = {"num_cpus": settings.cpus, "num_gpus": 0, "scheduling_strategy": "SPREAD"}
        if kind == "here":
            affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._here, soft=False)
            options |= {"num_cpus": 0, "scheduling_strategy": affinity}
        elif kind == "gpu":
            options["num_gpus"] = settings.gpus
        remote = ray.remote(RayWorker).options(max_restarts=0, max_task_retries=0, **options)
        handle = remote.remote(
            self._profile(kind),
            self._module,
            _environment(),
            int(settings.cpus),
            kind != "here",
            self._mark.proof,
        )
        actor = _Actor(kind, handle)
        self._actors.append(actor)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=self._listen, args=(actor,), daemon=True))
        self._threads[-1].start()

    def _listen(self, actor: _Actor) -> None:
        """Pass on all that an actor says, until it is ended; a thread for each does that."""
        ray = imported()
        try:
            self._events.put((actor, ray.get(actor.handle.ready.remote())))
            while (task := actor.tasks.get()) is not None:
                for message in actor.handle.carry_out.remote(task):
                    self._events.put((actor, ray.get(message)))
        except Exception as error:
            self._events.put((actor, error))

    def _end(self, actor: _Actor) -> None:
        actor.tasks.put(None)
        with suppress(Exception):  # it, its node or the cluster has gone
            imported().kill(actor.handle)

    def _waits(self) -> None:
        """Say of what waits for long that nothing is free for it, once."""
        for job in self._waiting:
            if time.monotonic() - job.since > _LONG:
                job.since = float("inf")
                kind = self._kind(job.task)
                if not any(a.kind == kind and a.node for a in self._actors):
                    self._tell(
                        f"Ray: {job.task.key} waits for a worker: {self._demand(kind)} is free on no node"
                    )

    # ---- what the cluster has

    def _kind(self, task: Task) -> Kind:
        if not isinstance(task, Make) or task.key == EDGE[0] or task.inputs is None:
            return "here"
        return "gpu" if STEPS[task.key].accelerated and self._uses_gpus else "cpu"

    def _wants_gpus(self) -> bool:
        device = self._settings.device
        return device.startswith("cuda") or (device == "auto" and any(node.gpus for node in self._alive()))

    def _must_fit(self, kind: Kind, key: str) -> None:
        """Refuse what no node can ever serve."""
        settings, nodes = self._settings.ray, self._alive()
        gpus = settings.gpus if kind == "gpu" else 0
        if kind == "here" or any(n.cpus >= settings.cpus and n.gpus >= gpus for n in nodes):
            return
        have = "; ".join(f"{n.name}: {n.cpus:g} CPU, {n.gpus:g} GPU" for n in nodes[:4])
        more = f"; and {len(nodes) - 4:,} more" if len(nodes) > 4 else ""
        raise ProfileError(
            f"{key} needs a node with {self._demand(kind)} (execution.ray), and the Ray cluster has none: {have}{more}"
        )

    def _demand(self, kind: Kind) -> str:
        settings = self._settings.ray
        return f"{settings.cpus:g} CPU" + (f" and {settings.gpus:g} GPU" if kind == "gpu" else "")

    def _alive(self) -> list[Node]:
        """Return the nodes, as they were a few seconds ago."""
        since, nodes = self._nodes
        if time.monotonic() - since >= _LOOK:
            nodes = alive()
            self._nodes = (time.monotonic(), nodes)
        return nodes

    def _node(self, id: str) -> Node | None:
        return next((node for node in self._alive() if node.id == id), None)

    def _name(self, id: str) -> str:
        node = self._node(id)
        return node.name if node else "a node that has gone"

    def _profile(self, kind: Kind) -> dict[str, Any]:
        """Return the settings for workers of a kind, in which nothing counts from this process's folder."""
        workspace, execution = self._workspace, self._settings
        device = execution.device if kind == "here" else {"cpu": "cpu", "gpu": "cuda"}[kind]
        data = "" if kind != "here" and not workspace.store.local else str(workspace.data)
        if kind != "here" and execution.ray.scratch:
            data = execution.ray.scratch
        store = execution.store or str(workspace.data / "artifacts")
        update = {"data": data, "store": store, "device": device}
        if kind != "here":
            update["catalog"] = ""  # only who drives the run and what looks at all of it needs that
        execution = execution.model_copy(update=update)
        return workspace.profile.model_copy(update={"execution": execution}).model_dump()


def _environment() -> dict[str, str]:
    """Return the variables that workers have as well: all of ours, and of the hub's those that name no folder."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("CURATION_")}
    hub = {n: v for n, v in os.environ.items() if n.startswith("HF_") and not n.endswith(_PLACES)}
    return ours | hub


class _Mark:
    """Shows whether nodes see what this machine sees: a file in the store for the time of a run, and the corpus."""

    def __init__(self, workspace: Workspace) -> None:
        self._store = workspace.store
        self._path = f"{self._store.root}/.seen-{uuid.uuid4().hex[:12]}"
        if self._store.local:
            Path(self._store.root).mkdir(parents=True, exist_ok=True)
        self._store.write(self._path, b"A run on a cluster looks whether all its nodes see this.")
        urls = workspace.profile.corpus.urls.values()
        there = [url for url in urls if "://" not in url and Path(url).exists()]
        self.proof = (self._path, there)

    def remove(self) -> None:
        with suppress(OSError):  # it is small, and nobody reads it any more
            self._store.fs.rm_file(self._path)
