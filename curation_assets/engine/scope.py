"""What is to be brought up to date: which steps, and which of their partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import Partitions, cells, targets, wanted_steps
from curation_assets.engine.step import Step, own_partition, reads_all


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
    anew : keys of steps whose partitions are made although they are current.
    """

    steps: tuple[Step, ...]
    profile: Profile
    among: tuple[Step, ...]
    amounts: tuple[str, ...] = ()
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_itself: bool = False
    anew: frozenset[str] = frozenset()

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


def with_inputs(profile: Profile, keys: Iterable[str], partition: str = "", *, anew: bool = False) -> Scope:
    """Return some steps, of one partition or of all, with all that these are made from, directly or not.

    A report is made from what there is, so nothing is made for it. `anew`: the steps themselves, and not what they are made from.
    """
    found: dict[str, set[str] | None] = {}  # partitions; None for all
    todo: list[tuple[Step, set[str] | None]] = [
        (STEPS[key], {partition} if partition else None) for key in keys
    ]
    while todo:
        step, wanted = todo.pop()
        before = found.get(step.key, set())
        if step.key in found and (before is None or (wanted is not None and wanted <= before)):
            continue
        found[step.key] = None if wanted is None or before is None else before | wanted
        for key, only in {} if step.partial else step.reads(profile).items():
            todo.append((STEPS[key], {only} if only else _own(step, wanted, STEPS[key])))
    steps = tuple(step for step in STEPS.values() if step.key in found)
    named = {key: tuple(sorted(some)) for key, some in found.items() if some is not None}
    among = (*wanted_steps(profile), *steps)
    return Scope(steps, profile, among, named=named, anew=frozenset(keys if anew else ()))


def _own(step: Step, partitions: set[str] | None, need: Step) -> set[str] | None:
    """Return the partitions of an input that those of a step read; None for all."""
    if partitions is None or need.by == "" or reads_all(step.by, need.by):
        return None
    return {own_partition(step.by, partition, need.by) for partition in partitions}
