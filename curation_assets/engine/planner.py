"""Which steps and partitions a profile's [run] asks for. Nothing is made here."""

from __future__ import annotations

from typing import Protocol

from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import EDGE, By, Step


class Partitions(Protocol):
    """What knows which partitions there are: a workspace, or a look at it, which reads the corpus's listing once."""

    profile: Profile

    def listed(self) -> list[str]:
        """Return the shard keys of the corpus's last listing."""
        ...

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""
        ...


def targets(there: Partitions, step: Step, among: list[Step] | None = None) -> list[str]:
    """Return the partitions of a step that the profile's [run] asks for, where these steps are made (None: all that are wanted)."""
    if step.by in ("size", "rate|size"):
        return cells(there.profile, step, among)
    if step.key in EDGE and step.by == "shard":
        return there.listed()
    if step.key.endswith("/export"):
        return list(there.profile.trained_amounts)
    return there.partitions(step.by)


def cells(profile: Profile, step: Step, among: list[Step] | None = None) -> list[str]:
    """Return those of `targets` of a step that is made for model sizes: the profile alone says them."""
    if step.by == "rate|size":
        return [f"{rate}|{size}" for rate in profile.trained_amounts for size in profile.run.sizes]
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
    roots += [f"{name}/export" for name in profile.export.samplers]
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
