"""The one way in which artifacts are made: steps and partitions are brought up to date, in order, by an executor.

`curation run`, an asset that a person materializes, the jobs of the UI, the sensor and the schedules all call
`bring_up_to_date`. It decides what is made when; the executor makes it; who called hears what happened, as it happens.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from curation_assets.common.progress import Line
from curation_assets.engine.executors import Check, Checked, Committed, Ended, Executor, Failed, Make, Message
from curation_assets.engine.follow import Follow, Refusal, never
from curation_assets.engine.forecast import Plan
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.refresh import prune_marks
from curation_assets.engine.run_log import StepLog
from curation_assets.engine.scope import Scope
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.workspace import MissingInput, Workspace

_NAMED = 4  # steps that a line names
_MOST = 64  # partitions of a task, so that a worker is not kept from what is more urgent


@dataclass(frozen=True)
class Current:
    """Partitions of a step that are what they should be."""

    step: Step
    partitions: tuple[str, ...]


@dataclass(frozen=True)
class Waiting:
    """Partitions of a step that are out of date and not made by itself now, and what the first of them waits for."""

    step: Step
    partitions: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Started:
    """A step begins: these partitions of it are made, and why."""

    step: Step
    partitions: tuple[str, ...]
    reasons: Mapping[str, tuple[Reason, ...]]


@dataclass(frozen=True)
class Blocked:
    """A partition of a step has nothing to be made from."""

    key: str
    partition: str
    reason: str

    def __str__(self) -> str:
        return self.reason


Event = str | Current | Waiting | Started | Committed | Failed | Blocked | Checked
"""What a run tells of: lines for people, and what happened to artifacts."""


def bring_up_to_date(
    workspace: Workspace,
    scope: Scope,
    executor: Executor,
    *,
    run_id: str = "",
    relearn: bool = False,
    checks: bool = True,
    refusal: Refusal = never,
) -> Iterator[Event]:
    """Make what is missing or out of date of a scope, each step when those that it needs have ended; yield what happens.

    One bad partition keeps neither the others nor other steps waiting. What is committed stays, however the run ends.

    Parameters
    ----------
    relearn : learn anew what is pinned and behind the corpus, as where a person names artifacts.
    checks : evaluate the checks of what was made; where false, the caller does, unless something failed.
    refusal : asked once a run.
    """
    workspace.store.remove_abandoned()
    yield from _Run(workspace, scope, executor, run_id, relearn, checks, refusal).events()
    prune_marks(workspace, Versions(workspace))


@dataclass
class _Run:
    """One pass over the graph."""

    workspace: Workspace
    scope: Scope
    executor: Executor
    run_id: str
    relearn: bool
    checks: bool
    refusal: Refusal
    _logs: dict[str, StepLog] = field(default_factory=dict)
    _settled: dict[tuple[str, str], bool] = field(default_factory=dict)
    _queue: list[Make] = field(default_factory=list)
    _checks: deque[Check] = field(default_factory=deque)
    _at_work: int = 0
    _refused: str | None = None
    _waiting: list[Waiting] = field(default_factory=list)
    _told: bool = False  # that it is refused
    _look: Follow | None = None

    def events(self) -> Iterator[Event]:
        """Begin what is ready, wait for the next thing to happen, and so on."""
        self._plan, foreseen = Plan(self.workspace, self.scope), False
        while True:
            while ready := self._plan.ready():
                for step in ready:
                    yield from self._begin(step)
            yield from self._submit()
            if not self._at_work:
                yield from self._held()
                return
            if not foreseen and self._plan.done(EDGE[:2]):
                self._plan.forecast()  # while the first ones are at work
                foreseen = True
            message = self.executor.receive()
            self._look = None  # until something happens, what was read holds
            yield from self._heard(message)

    def _begin(self, step: Step) -> Iterator[Event]:
        """Queue the tasks that make a step current; a step that has none is done."""
        asked = self.scope.partitions(self.workspace, step)
        self._look = self._look or Follow(self.workspace, settled=self._settled)
        versions = self._look.versions
        stale = self._stale(self._look, step, asked)
        made = set(stale)
        current = tuple(p for p in asked if p not in made and versions.current(step, p))
        if current:
            yield Current(step, current)
        others = {*current, *stale}
        if held := tuple(p for p in asked if p not in others):
            self._waiting.append(Waiting(step, held, self._look.held_by(step, held[0])))
            yield self._waiting[-1]
        blocked = self._blocked(versions, step, stale)
        if self._refused and not self._told:
            self._told = True
            yield Failed(EDGE[2], "", self._refused)
        yield from (Blocked(step.key, partition, reason) for partition, reason in blocked.items())
        todo = [p for p in stale if p not in blocked]
        tasks = [Make(step.key, chunk, self.run_id, self.relearn) for chunk in self._chunks(step, todo)]
        self._plan.begin(step, todo, len(tasks))
        if not tasks:
            if self.relearn and self.checks and not blocked:
                self._checks.append(Check(step.key))  # a person named these: what is there is checked
            return
        self._queue += tasks
        log = self._logs[step.key] = StepLog(step, len(current) + len(todo), current=len(current))
        opening = log.opening(versions, todo)
        yield Started(step, tuple(todo), log.reasons)
        yield opening

    def _stale(self, look: Follow, step: Step, asked: list[str]) -> list[str]:
        """Return what is to be made now."""
        if self.scope.by_itself and step.key != EDGE[0]:
            meant = set(asked)
            return [p for p in look.due(step) if p in meant]
        stale = look.versions.stale(step, asked)
        if self.relearn and step.pinned:
            made = set(stale)
            stale = [p for p in asked if p in made or look.versions.behind(step, p)]
        return stale

    def _blocked(self, versions: Versions, step: Step, stale: list[str]) -> dict[str, str]:
        """Return which partitions cannot be made, and for want of what."""
        blocked = _lacking(versions, step, stale)
        if len(blocked) < len(stale) and EDGE[2] in step.reads(self.workspace.profile):
            if self._refused is None:  # what reads documents begins when all are read
                self._refused = self.refusal(self.workspace, step)
            if self._refused:
                return dict.fromkeys(stale, self._refused)
        return blocked

    def _held(self) -> Iterator[str]:
        """Yield a line for each reason why something is not made now."""
        by_reason: dict[str, list[Waiting]] = {}
        for each in self._waiting:
            by_reason.setdefault(each.reason, []).append(each)
        for reason, held in by_reason.items():
            named = ", ".join(f"{w.step.key}: {len(w.partitions):,}" for w in held[:_NAMED])
            more = f" and {len(held) - _NAMED:,} assets more" if len(held) > _NAMED else ""
            yield f"{named}{more} out of date: {reason}"

    def _chunks(self, step: Step, partitions: list[str]) -> Iterator[tuple[str, ...]]:
        """Split partitions into tasks: what shares a model or scores goes together, as far as all workers have their part."""
        size = 1
        if step.by == "rate":
            size = len(partitions) or 1
        elif step.by in ("shard", "group") and partitions:
            size = min(math.ceil(len(partitions) / self.executor.slots), _MOST)
        for start in range(0, len(partitions), size):
            yield tuple(partitions[start : start + size])

    def _submit(self) -> Iterator[Event]:
        """Hand over what is most urgent, as long as there is a slot."""
        if self._at_work < self.executor.slots:
            self._queue.sort(key=lambda task: self._plan.urgency(task.key, task.partitions))
        while (self._queue or self._checks) and self._at_work < self.executor.slots:
            if self._queue:
                task = self._queue.pop()
                yield self._line(task, "begin")
                self.executor.submit(task)
            else:
                self.executor.submit(self._checks.popleft())
            self._at_work += 1

    def _line(self, task: Make, when: Literal["begin", "end"]) -> Line:
        one = f"[{task.partitions[0]}]" if len(task.partitions) == 1 and task.partitions[0] else ""
        many = f": {len(task.partitions):,} to make" if len(task.partitions) > 1 else ""
        text = (
            f"--- {task.key}{one}{many}{self._plan.left(self.executor.slots)}"
            if when == "begin"
            else f"{task.key}: ended"
        )
        return Line.about(text, (task.key,), task.partitions, when)

    def _heard(self, message: Message) -> Iterator[Event]:
        if isinstance(message, Ended):
            self._at_work -= 1
            if isinstance(message.task, Make):
                yield from self._ended(message.task)
        elif isinstance(message, Committed | Failed):
            yield from self._finished(message)
        else:
            yield message

    def _finished(self, message: Committed | Failed) -> Iterator[Event]:
        step, log = STEPS[message.key], self._logs[message.key]
        if isinstance(message, Committed):
            self._plan.finish(step, message.receipt.partition, message.receipt)
            line = log.finished(message.receipt, message.made)
            yield message
            yield line
            return
        self._plan.finish(step, message.partition, None)
        line = log.went_wrong(message.partition, message.reason)
        yield Blocked(message.key, message.partition, message.reason) if message.missing else message
        yield line

    def _ended(self, task: Make) -> Iterator[Event]:
        yield self._line(task, "end")
        if not self._plan.end(STEPS[task.key]):
            return
        if self.checks or self._logs[task.key].failed:
            self._checks.append(Check(task.key))


def _lacking(versions: Versions, step: Step, partitions: list[str]) -> dict[str, str]:
    """Return which partitions cannot be made, and for want of what."""
    lacking = {}
    for partition in partitions:
        try:
            versions.inputs(step, partition)
        except MissingInput as error:
            lacking[partition] = str(error)
    return lacking
