"""What a run of the graph has to make, in which order, and how long that may take. Nothing is made here."""

from __future__ import annotations

import time
from dataclasses import dataclass

from curation_assets.common.progress import duration
from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.workspace import Workspace

# Seconds of one core for one partition in the local profile, roughly: what matters is which chain of steps is longest.
_EFFORT = {
    "corpus/source": 30.0,
    "corpus/tokenizer": 8.0,
    "corpus/embeddings": 10.0,
    "judge/labels": 250.0,
    "full_data/checkpoint": 12.0,
    "judge/checkpoint": 15.0,
    "checkpoint": 12.0,
    "metrics": 13.0,
    "scores": 0.3,
    "ask_llm": 3.0,
    "perplexity": 2.0,
}
_LEAST = 0.2
_ENOUGH = 60.0  # effort spent before the time left is told
_BY_SIZE = {"small": 1.0, "base": 1.5, "large": 2.5, "xl": 4.0, "xxl": 7.0}


@dataclass(frozen=True)
class Job:
    """One Dagster run: some assets on the same partitions, which are one, or a contiguous range of the definition's."""

    keys: tuple[str, ...]
    partitions: tuple[str, ...]


def effort(step: Step, partition: str = "") -> float:
    """Return about how many seconds of a core it takes to make a partition of a step."""
    family, _, stage = step.key.partition("/")
    size = partition.rpartition("|")[2]
    if stage == "scores" and family in SAMPLERS and SAMPLERS[family].model:
        spec = SAMPLERS[family]
        which = spec.model.rpartition(".")[2]
        return _EFFORT.get(spec.family, _EFFORT["perplexity"]) * _BY_SIZE.get(which, _BY_SIZE["large"])
    return _EFFORT.get(step.key, _EFFORT.get(stage, _LEAST)) * _BY_SIZE.get(size, 1.0)


def targets(workspace: Workspace, step: Step, among: list[Step] | None = None) -> list[str]:
    """Return the partitions of a step that the profile's [run] asks for, where these steps are made (None: all that are wanted)."""
    if step.by in ("size", "rate|size"):
        return cells(workspace.profile, step, among)
    if step.key in EDGE and step.by == "shard":
        return workspace.listed()
    return workspace.partitions(step.by)


def cells(profile: Profile, step: Step, among: list[Step] | None = None) -> list[str]:
    """Return those of `targets` of a step that is made for model sizes: the profile alone says them."""
    if step.by == "rate|size":
        return [f"{rate}|{size}" for rate in profile.run.rates for size in profile.run.sizes]
    wanted = _sizes(profile, step, wanted_steps(profile) if among is None else among)
    return [size for size in profile.sizes if size in wanted]


def _sizes(profile: Profile, step: Step, readers: list[Step]) -> set[str]:
    """Return the ladder sizes of a step that its readers ask for: those to compare, and those that scorers and judges are made of."""
    if step.key == "full_data/metrics":
        return _sizes(profile, STEPS["full_data/checkpoint"], readers)
    sizes: set[str] = set()
    for reader in readers:
        if reader.key == "full_data/metrics":
            sizes |= set(profile.run.sizes) if step.key == "full_data/checkpoint" else set()
            continue
        only = reader.reads(profile).get(step.key, "")
        if only is None:
            sizes |= _sizes(profile, reader, readers) if reader.by == "size" else set()
        elif only:
            sizes.add(only)
    return sizes


def wanted_steps(profile: Profile) -> list[Step]:
    """Return the steps that the profile's samplers need, each after what it needs."""
    chains = ("subset", "metrics")
    roots = [f"{name}/{end}" for name in profile.chosen_samplers for end in chains]
    reports = [key for key in STEPS if key.startswith("report/")]
    keys, todo = set(), ["full_data/metrics", "evaluation/contamination", *reports, *roots]
    while todo:
        key = todo.pop()
        if key in keys:
            continue
        keys.add(key)
        if not STEPS[key].partial:
            todo.extend(STEPS[key].reads(profile))
    return [step for step in STEPS.values() if step.key in keys]


class Plan:
    """The steps of a run: which are ready, which come first, and how long it may take."""

    def __init__(self, workspace: Workspace, steps: list[Step]) -> None:
        self._waiting = {step.key: step for step in steps}
        self._open: dict[str, int] = {}  # jobs of begun steps that have not ended
        self._needs = {step.key: set(step.reads(workspace.profile)) & set(self._waiting) for step in steps}
        self._left = {s.key: sum(effort(s, p) for p in targets(workspace, s)) or effort(s) for s in steps}
        self._tail = self._tails(steps)
        self._spent, self._started = 0.0, time.monotonic()

    def _tails(self, steps: list[Step]) -> dict[str, float]:
        """Return the effort of the longest chain of steps from each on: the critical path."""
        tail: dict[str, float] = {}
        for step in reversed(steps):  # steps come after what they need
            after = [tail[s.key] for s in steps if step.key in self._needs[s.key]]
            tail[step.key] = self._left[step.key] + max(after, default=0.0)
        return tail

    def ready(self) -> list[Step]:
        """Return the steps that have not begun and whose inputs are all as current as they get."""
        unfinished = self._waiting.keys() | self._open.keys()
        return [step for key, step in self._waiting.items() if not self._needs[key] & unfinished]

    def urgency(self, job: Job) -> float:
        """Return how much work hangs on a job at most, in seconds of a core."""
        return max(self._tail[key] for key in job.keys)

    def begin(self, step: Step, chunks: list[tuple[str, ...]]) -> None:
        """Count a step as begun, with a job for each chunk of partitions; as done, if there is none."""
        del self._waiting[step.key]
        if chunks:
            self._open[step.key] = len(chunks)
        self._left[step.key] = sum(effort(step, partition) for chunk in chunks for partition in chunk)

    def end(self, step: Step, partitions: tuple[str, ...]) -> None:
        """Count a job of a step as ended."""
        self._open[step.key] -= 1
        if not self._open[step.key]:
            del self._open[step.key]
        spent = sum(effort(step, partition) for partition in partitions)
        self._spent, self._left[step.key] = self._spent + spent, self._left[step.key] - spent

    def left(self) -> str:
        """Return ", about N min left", or "" while too little is known."""
        if self._spent < _ENOUGH:
            return ""
        seconds = (time.monotonic() - self._started) / self._spent * sum(self._left.values())
        return f", about {duration(seconds)} left"
