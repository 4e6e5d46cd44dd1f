"""In which order a run's steps go, and how long it may take: by what artifacts took that were made before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from curation_assets.common.progress import duration
from curation_assets.engine.follow import Follow
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import Scope
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import EDGE, Step, reads_all
from curation_assets.engine.workspace import Workspace

_WORTH = 10.0  # seconds left that are worth a word
_UNKNOWN = 0.1  # share of the artifacts left of which nothing is known, at most, for that word


@dataclass
class _Mean:
    """The mean of numbers that come one by one."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Take a number."""
        self.total, self.count = self.total + value, self.count + 1

    @property
    def value(self) -> float:
        """The mean so far."""
        return self.total / self.count


class Durations:
    """How long artifacts took: the same one before, others of its step, others like it."""

    def __init__(self) -> None:
        self._same: dict[tuple[str, str], float] = {}
        self._of_step: dict[tuple[str, str], _Mean] = defaultdict(_Mean)
        self._alike: dict[tuple[str, str, str], _Mean] = defaultdict(_Mean)

    def add(self, step: Step, receipt: Receipt) -> None:
        """Take note of an artifact; one that was taken over from a renamed file says nothing."""
        if "taken_over_from" not in receipt.metadata:
            size = _size(step, receipt.partition)
            self._same[step.key, receipt.partition] = receipt.seconds
            self._of_step[step.key, size].add(receipt.seconds)
            self._alike[step.group, _stage(step), size].add(receipt.seconds)

    def same(self, step: Step, partition: str) -> float | None:
        """Return how long the artifact took before; None where it was not made yet."""
        return self._same.get((step.key, partition))

    def others(self, step: Step, size: str) -> float | None:
        """Return how long artifacts like it took: of its step, or else of its family and stage; None where there is none."""
        known = self._of_step.get((step.key, size)) or self._alike.get((step.group, _stage(step), size))
        return known.value if known else None

    def seconds(self, step: Step, partition: str) -> float | None:
        """Return about how long an artifact takes; None where nothing like it was made yet."""
        same = self.same(step, partition)
        return self.others(step, _size(step, partition)) if same is None else same


class _Left:
    """The partitions of a step that are left to make, and sums over them, kept as they are finished."""

    def __init__(self, step: Step, partitions: Iterable[str], durations: Durations) -> None:
        self._step, self._durations = step, durations
        self._same = {p: durations.same(step, p) for p in partitions}
        self._measured = sum(seconds for seconds in self._same.values() if seconds is not None)
        self._others = Counter(_size(step, p) for p, seconds in self._same.items() if seconds is None)

    def __len__(self) -> int:
        """Return how many are left."""
        return len(self._same)

    def __iter__(self) -> Iterator[str]:
        """Iterate over them."""
        return iter(self._same)

    def finish(self, partition: str) -> None:
        """Leave a partition out from now on."""
        if partition in self._same:
            seconds = self._same.pop(partition)
            if seconds is None:
                self._others[_size(self._step, partition)] -= 1
            else:
                self._measured -= seconds

    def estimate(self) -> tuple[float, int]:
        """Return about how many seconds they take as far as that is known, and of how many it is not."""
        seconds, unknown = self._measured, 0
        for size, count in self._others.items():
            each = self._durations.others(self._step, size)
            if each is None:
                unknown += count
            else:
                seconds += count * each
        return seconds, unknown


def _size(step: Step, partition: str) -> str:
    return partition.rpartition("|")[2] if step.by in ("size", "rate|size") else ""


def _stage(step: Step) -> str:
    return step.key.rpartition("/")[2]


class Plan:
    """The steps of a run: which are ready, which come first, and how long what is left may take."""

    def __init__(self, workspace: Workspace, scope: Scope) -> None:
        self._workspace, self._scope = workspace, scope
        self._waiting = {step.key: step for step in scope.steps}
        self._open: dict[str, int] = {}  # tasks of begun steps that have not ended
        self._needs = {s.key: set(s.reads(workspace.profile)) & set(self._waiting) for s in scope.steps}
        self._readers: dict[str, list[str]] = defaultdict(list)
        for key, needs in self._needs.items():
            for need in needs:
                self._readers[need].append(key)
        self._left: dict[str, _Left] = {}
        self._most: dict[str, float] = {}  # seconds that hung at most on a step of many tasks
        self.durations = Durations()

    def ready(self) -> list[Step]:
        """Return the steps that have not begun and whose inputs are all as current as they get."""
        unfinished = self._waiting.keys() | self._open.keys()
        return [step for key, step in self._waiting.items() if not self._needs[key] & unfinished]

    def done(self, keys: Iterable[str]) -> bool:
        """Tell whether these steps have ended, as far as they are steps of this run."""
        return not set(keys) & (self._waiting.keys() | self._open.keys())

    def begin(self, step: Step, partitions: Iterable[str], tasks: int) -> None:
        """Count a step as begun, with partitions to make in so many tasks; as done, if there are none."""
        del self._waiting[step.key]
        if tasks:
            self._open[step.key] = tasks
        self._left[step.key] = _Left(step, partitions, self.durations)

    def add_task(self, step: Step) -> None:
        """Count one task more of a step that has begun."""
        self._open[step.key] += 1

    def finish(self, step: Step, partition: str, receipt: Receipt | None) -> None:
        """Count a partition of a step as finished, with the artifact if it was made."""
        self._left[step.key].finish(partition)
        if receipt is not None:
            self.durations.add(step, receipt)

    def end(self, step: Step) -> bool:
        """Count a task of a step as ended; return whether it was the last."""
        self._open[step.key] -= 1
        if self._open[step.key]:
            return False
        del self._open[step.key]
        return True

    def unfinished(self) -> bool:
        """Tell whether some step has not ended."""
        return bool(self._waiting or self._open)

    def forecast(self, look: Follow) -> None:
        """Tell from a look what will probably have to be made: what is out of date, and what follows from that."""
        versions = look.versions
        for step in self._scope.steps:
            asked = self._scope.partitions(versions, step)
            for receipt in (versions.receipt(step.key, p) for p in asked):
                if receipt is not None:
                    self.durations.add(step, receipt)
            probable: Iterable[str] = self._left.get(step.key, ())
            if step.key in self._waiting and (look.follows(step) or not self._scope.by_itself):
                probable = self._probable(versions, step, asked)
            self._left[step.key] = _Left(step, probable, self.durations)

    def _probable(self, versions: Versions, step: Step, asked: list[str]) -> dict[str, None]:
        found, among = dict.fromkeys(versions.stale(step, asked)), set(asked)
        for need in self._needs[step.key] - {EDGE[0]} if not step.pinned else ():
            remade = self._left.get(need, ())
            if remade and (STEPS[need].by != step.by or reads_all(step.by, STEPS[need].by)):
                return dict.fromkeys(asked)
            found |= dict.fromkeys(p for p in remade if p in among)
        return found

    def urgency(self, key: str, partitions: tuple[str, ...]) -> tuple[float, int, int, int]:
        """Return what hangs on a task, to sort by.

        The seconds of the longest chain of steps from it on, as far as they are known; how many of a chain train, how many
        there are; the size of its own model. What hangs on a step of many files does not fall as these are made: else workers
        would go from step to step with each task, and load anew what all files share.
        """
        sizes = self._workspace.profile.sizes
        size = _size(STEPS[key], partitions[0])
        seconds, trains, length = self._tails[key]
        if STEPS[key].by in ("shard", "group"):
            seconds = self._most[key] = max(seconds, self._most.get(key, 0.0))
        return seconds, trains, length, sizes.index(size) if size in sizes else 0

    @cached_property
    def _tails(self) -> dict[str, tuple[float, int, int]]:
        tails: dict[str, tuple[float, int, int]] = {}
        for step in reversed(self._scope.steps):  # steps come after what they need
            after = [tails[reader] for reader in self._readers[step.key]] or [(0.0, 0, 0)]
            seconds, trains, length = (max(values) for values in zip(*after, strict=True))
            own = self._left[step.key].estimate()[0] if step.key in self._left else 0.0
            tails[step.key] = seconds + own, trains + step.trains, length + 1
        return tails

    def left(self, slots: int) -> str:
        """Return ", about N min left" with so many tasks at a time; "" where that is short, or too little is known."""
        self.__dict__.pop("_tails", None)  # by what has become known
        estimates = [left.estimate() for left in self._left.values()]
        if sum(unknown for _, unknown in estimates) > _UNKNOWN * sum(map(len, self._left.values())):
            return ""
        longest = max((tail[0] for key, tail in self._tails.items()), default=0.0)
        seconds = max(sum(seconds for seconds, _ in estimates) / slots, longest)
        return f", about {duration(seconds)} left" if seconds >= _WORTH else ""
