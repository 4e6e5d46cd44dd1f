"""What is to be brought up to date: which steps, and which of their partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from curation_assets.config.profile import Profile
from curation_assets.engine.planner import Partitions, cells, targets, wanted_steps
from curation_assets.engine.step import Step


@dataclass(frozen=True)
class Scope:
    """A choice of steps and partitions; nothing of it says what is out of date.

    Attributes
    ----------
    steps : each after what it needs.
    profile : whose [run] names the amounts and sizes to train at; it may be narrower than the workspace's.
    among : the steps whose needs decide which sizes are made of a model.
    amounts : keys of those of subsets; () for all.
    named : {asset key: partitions} of steps whose partitions are named one by one.
    by_itself : only what follows from a change without anybody asking for it (see `follow.Follow`).
    """

    steps: tuple[Step, ...]
    profile: Profile
    among: tuple[Step, ...]
    amounts: tuple[str, ...] = ()
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_itself: bool = False

    def partitions(self, there: Partitions, step: Step) -> list[str]:
        """Return the partitions of a step that are meant, as the corpus was listed last."""
        if step.key in self.named:
            return list(self.named[step.key])
        if step.by in ("size", "rate|size"):
            return cells(self.profile, step, list(self.among))
        return [p for p in targets(there, step) if step.by != "rate" or not self.amounts or p in self.amounts]


def everything(profile: Profile, steps: Iterable[Step] | None = None) -> Scope:
    """Return what a profile's [run] asks for, or of that some steps alone."""
    wanted = tuple(wanted_steps(profile))
    return Scope(wanted if steps is None else tuple(steps), profile, wanted)


def following(profile: Profile, *, listing: bool) -> Scope:
    """Return what follows from a change by itself; with the listing of the corpus, or of the last one."""
    wanted = tuple(wanted_steps(profile))
    steps = tuple(step for step in wanted if listing or step.key != "corpus/source")
    return Scope(steps, profile, wanted, by_itself=True)


def only(profile: Profile, step: Step, partitions: Iterable[str]) -> Scope:
    """Return some partitions of one step."""
    return Scope((step,), profile, (step,), named={step.key: tuple(partitions)})
