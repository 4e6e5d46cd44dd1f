"""The one way in which artifacts are made: steps and partitions are brought up to date, in order, by an executor.

`curation run`, an asset that a person materializes, the jobs of the UI, the sensor and the schedules all call
`bring_up_to_date`. It decides what is made when; the executor makes it; who called hears what happened, as it happens.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from curation_assets.common.progress import Line
from curation_assets.engine.catalog import LeaseLost, Writer
from curation_assets.engine.commits import Commits
from curation_assets.engine.executors import Check, Checked, Ended, Executor, Failed, Made, Make, Message
from curation_assets.engine.follow import Follow, Refusal, never
from curation_assets.engine.forecast import Plan
from curation_assets.engine.garbage import remove_abandoned
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.receipt import Receipt, title
from curation_assets.engine.refresh import prune_marks
from curation_assets.engine.resolved import resolve
from curation_assets.engine.run_log import StepLog
from curation_assets.engine.scope import Scope
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.workspace import MissingInput, Workspace

_NAMED = 4  # steps that a line names
_MOST = 64  # partitions of a task, so that a worker is not kept from what is more urgent
_LOOK_AGAIN = 0.5  # seconds between two looks at what another run is making


@dataclass(frozen=True)
class Committed:
    """An artifact is current.

    Attributes
    ----------
    made : whether it was made now, and not by another run meanwhile.
    unannounced : whether nobody was told of it, as the run that made it died.
    """

    key: str
    receipt: Receipt
    made: bool
    unannounced: bool = False


@dataclass(frozen=True)
class Current:
    """Partitions of a step that are what they should be; of some of them nobody has been told, as their run died."""

    step: Step
    partitions: tuple[str, ...]
    unannounced: frozenset[str] = frozenset()


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
    remove_abandoned(workspace)
    with workspace.catalog.writer() as writer:
        yield from _Run(workspace, scope, executor, writer, run_id, relearn, checks, refusal).events()
    prune_marks(workspace, Versions(workspace))


@dataclass(frozen=True)
class _Chunk:
    """Partitions of a step that are made in one task; not before `when` those that another run is making."""

    key: str
    partitions: tuple[str, ...]
    when: float = 0.0


@dataclass
class _Run:
    """One pass over the graph."""

    workspace: Workspace
    scope: Scope
    executor: Executor
    writer: Writer
    run_id: str
    relearn: bool
    checks: bool
    refusal: Refusal
    _logs: dict[str, StepLog] = field(default_factory=dict)
    _settled: dict[tuple[str, str], bool] = field(default_factory=dict)
    _versions: dict[str, Versions] = field(default_factory=dict)
    _queue: list[_Chunk] = field(default_factory=list)
    _others: dict[str, str] = field(default_factory=dict)  # who makes what this run waits for
    _checks: deque[Check] = field(default_factory=deque)
    _at_work: int = 0
    _refused: str | None = None
    _waiting: list[Waiting] = field(default_factory=list)
    _told: bool = False  # that it is refused
    _look: Follow | None = None

    def events(self) -> Iterator[Event]:
        """Begin what is ready, wait for the next thing to happen, and so on."""
        self._plan, foreseen = Plan(self.workspace, self.scope), False
        self._commits = Commits(self.workspace, self.writer, self.run_id, self.relearn, self.scope.anew)
        while True:
            while ready := self._plan.ready():
                for step in ready:
                    yield from self._begin(step)
            yield from self._submit()
            if self._plan.ready():  # what was begun last took no work
                continue
            if not self._at_work:
                if self._queue:  # another run is at all of it
                    time.sleep(_LOOK_AGAIN)
                    continue
                yield from self._held()
                return
            if not foreseen and self._plan.done(EDGE[:2]) and self._plan.unfinished():
                self._plan.forecast(self._look or self._new_look())  # while the first ones are at work
                foreseen = True
            message = self.executor.receive(self._next_look())
            if message is not None:  # until then, what was read holds
                self._look = None
                yield from self._heard(message)

    def _new_look(self) -> Follow:
        return Follow(self.workspace, settled=self._settled)

    def _begin(self, step: Step) -> Iterator[Event]:
        """Queue the tasks that make a step current; a step that has none is done."""
        self._look = self._look or self._new_look()
        asked = self.scope.partitions(self._look.versions, step)
        yield from self._vanished(step, asked)
        self._look = self._look or self._new_look()
        versions = self._look.versions
        stale = self._stale(self._look, step, asked)
        made = set(stale)
        current = tuple(p for p in asked if p not in made and versions.current(step, p))
        if current:
            yield from self._current(versions, step, current)
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
        chunks = [_Chunk(step.key, chunk) for chunk in self._chunks(step, todo)]
        self._plan.begin(step, todo, len(chunks))
        if not chunks:
            if self.relearn and self.checks and not blocked:
                self._checks.append(Check(step.key))  # a person named these: what is there is checked
            return
        self._queue += chunks
        self._versions[step.key] = versions
        log = self._logs[step.key] = StepLog(step, len(current) + len(todo), current=len(current))
        opening = log.opening(versions, todo)
        yield Started(step, tuple(todo), log.reasons)
        yield opening

    def _stale(self, look: Follow, step: Step, asked: list[str]) -> list[str]:
        """Return what is to be made now."""
        if step.key in self.scope.anew:
            return asked
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

    def _vanished(self, step: Step, asked: list[str]) -> Iterator[str]:
        """Withdraw artifacts of which objects are gone from a remote store, by one listing; yield a line for each."""
        store = self.workspace.store
        if store.local:  # there each look sees it
            return
        receipts = self.workspace.catalog.current_of(step.key, asked if len(asked) <= _MOST else None)
        intact = {receipt.partition for receipt in store.intact(receipts.values(), listed=True)}
        for receipt in [receipt for partition, receipt in receipts.items() if partition not in intact]:
            problem = store.problem(receipt) or "its entry in the catalog is damaged"
            self.workspace.withdraw(receipt, problem)
            self._look = None
            yield f"{title(step.key, receipt.partition)}: {problem} ({store.path(receipt)}); it is made anew"

    def _current(self, versions: Versions, step: Step, current: tuple[str, ...]) -> Iterator[Event]:
        """Tell what is current; and note that it was announced, of what was committed by a run that died then."""
        unannounced = self.workspace.catalog.adopt_unannounced(self.writer, step.key, current)
        yield Current(step, current, frozenset(unannounced))
        for receipt in filter(None, (versions.receipt(step.key, partition) for partition in unannounced)):
            self.workspace.catalog.announce(receipt)

    def _submit(self) -> Iterator[Event]:
        """Hand over what is most urgent, as long as there is a slot."""
        if self._at_work < self.executor.slots:
            self._queue.sort(key=lambda chunk: self._plan.urgency(chunk.key, chunk.partitions))
        now = time.monotonic()
        while self._at_work < self.executor.slots:
            ready = [number for number, chunk in enumerate(self._queue) if chunk.when <= now]
            if ready:
                yield from self._start(self._queue.pop(ready[-1]))
            elif self._checks:
                self.executor.submit(self._checks.popleft())
                self._at_work += 1
            else:
                return

    def _next_look(self) -> float | None:
        """Return in how many seconds to look at what another run is making; None where there is no such thing, or no slot for it."""
        if not self._queue or self._at_work >= self.executor.slots:
            return None
        return max(0.0, min(chunk.when for chunk in self._queue) - time.monotonic())

    def _start(self, chunk: _Chunk) -> Iterator[Event]:
        """Begin a chunk of work, and hand over what of it is to be made here; what another run makes is looked at again."""
        step = STEPS[chunk.key]
        begun = self._commits.begin(self._versions[chunk.key], step, chunk.partitions)
        self._versions[chunk.key] = begun.versions
        self._look = None  # something may be current now that was not
        there = [receipt.partition for receipt in begun.current]
        unannounced = self.workspace.catalog.adopt_unannounced(self.writer, step.key, there) if there else ()
        for receipt in begun.current:
            yield from self._committed(Committed(step.key, receipt, False, receipt.partition in unannounced))
        for receipt in begun.taken_over:
            yield from self._committed(Committed(step.key, receipt, True))
        for partition, reason in begun.missing.items():
            yield from self._failed(Failed(step.key, partition, reason, missing=True))
        for partition, attempt in begun.others.items():
            name = title(step.key, partition)
            who = f"run {attempt.run_id}" if attempt.run_id else "another run"
            if self._others.get(name) != who:
                self._others[name] = who
                yield f"{name}: {who} is making it; this waits for that"
        if begun.others:
            self._look_again(step, tuple(begun.others))
        if not begun.to_make:
            self._ended(step)
            return
        inputs = resolve(begun.versions, step, begun.to_make)
        task = Make(step.key, tuple(begun.to_make), inputs, self.run_id)
        yield self._line(task, "begin")
        self.executor.submit(task)
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
        match message:
            case Ended(Make() as task):
                self._at_work -= 1
                yield self._line(task, "end")
                self._ended(STEPS[task.key])
            case Ended():
                self._at_work -= 1
            case Made(key, receipt):
                yield from self._made(key, receipt)
            case Failed():
                self._note(message)
                yield from self._failed(message)
            case _:
                yield message

    def _made(self, key: str, receipt: Receipt) -> Iterator[Event]:
        """Commit what a worker made. Where another run has taken over meanwhile, see what came of that, or comes."""
        try:
            self._commits.commit(receipt)
        except LeaseLost:
            self._look_again(STEPS[key], (receipt.partition,))
            return
        yield from self._committed(Committed(key, receipt, True))

    def _look_again(self, step: Step, partitions: tuple[str, ...]) -> None:
        """Queue what another run is making, or has made."""
        self._queue.insert(0, _Chunk(step.key, partitions, time.monotonic() + _LOOK_AGAIN))
        self._plan.add_task(step)

    def _note(self, failure: Failed) -> None:
        """Write down that an attempt failed; where its input is damaged, that one has to be made anew."""
        if failure.damaged is None:
            self._commits.fail(failure.key, failure.partition, str(failure))
        else:
            self.workspace.withdraw(*failure.damaged)
            self._commits.give_up(failure.key, failure.partition)

    def _committed(self, event: Committed) -> Iterator[Event]:
        step, receipt = STEPS[event.key], event.receipt
        self._plan.finish(step, receipt.partition, receipt)
        line = self._logs[event.key].finished(receipt, event.made)
        yield event
        if event.made or event.unannounced:
            self.workspace.catalog.announce(receipt)
        yield line

    def _failed(self, failure: Failed) -> Iterator[Event]:
        self._plan.finish(STEPS[failure.key], failure.partition, None)
        line = self._logs[failure.key].went_wrong(failure.partition, failure.reason)
        yield Blocked(failure.key, failure.partition, failure.reason) if failure.missing else failure
        yield line

    def _ended(self, step: Step) -> None:
        """Count a task of a step as ended; after the last one the step is checked."""
        if not self._plan.end(step):
            return
        del self._versions[step.key]
        if self.checks or self._logs[step.key].failed:
            self._checks.append(Check(step.key))


def _lacking(versions: Versions, step: Step, partitions: list[str]) -> dict[str, str]:
    """Return which partitions cannot be made, and for want of what."""
    lacking = {}
    for partition in partitions:
        try:
            versions.inputs(step, partition)
        except MissingInput as error:
            lacking[partition] = str(error)
    return lacking
