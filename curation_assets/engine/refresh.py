"""Learning pinned models anew: which are behind the corpus, what follows from learning them, and the marks that ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from curation_assets.common.progress import duration
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace, title


@dataclass
class Work:
    """Artifacts of a step to make, and the seconds that those of them took last time which were made before."""

    artifacts: int = 0
    seconds: float = 0.0


@dataclass
class Refresh:
    """What asking for new models comes to.

    Attributes
    ----------
    marked : {asset key: artifacts to learn anew}, because they are behind or are made from such.
    kept : asset keys that were asked for and are not behind: they stay as they are, now and at the next change.
    follows : {asset key: artifacts that are made again after that}, of those that the profile asks for.
    """

    marked: dict[str, Work] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    follows: dict[str, Work] = field(default_factory=dict)


def learned_steps() -> list[Step]:
    """Return the steps whose artifacts are models learned from the corpus."""
    return [step for step in STEPS.values() if step.learned()]


def ask_refresh(workspace: Workspace, keys: list[str]) -> Refresh:
    """Mark pinned models to be learned anew by the next run or by the automation, where they are behind the corpus now.

    What is not behind gets no mark, so that a later change of the corpus does not relearn it unasked. Without keys, all such
    models are asked for.

    Raises
    ------
    ValueError
        A key is of no model learned from the corpus.
    """
    known = [step.key for step in learned_steps()]
    for key in keys:
        if key not in known:
            raise ValueError(f"{key} is no model learned from the corpus: those are {', '.join(known)}")
    versions, wanted = Versions(workspace), wanted_steps(workspace.profile)
    found, marks = Refresh(), []
    for step in learned_steps():
        if step.key not in (keys or known):
            continue
        partitions = list(_to_learn(versions, step, found))
        if partitions:
            marks += [title(step.key, p) for p in partitions]
            found.marked[step.key] = _work(versions, step, partitions)
        elif keys or step in wanted:
            found.kept.append(step.key)
    prune_marks(workspace, versions)
    workspace.catalog.mark(marks)
    found.follows = dict(_follows(versions, wanted, found))
    return found


def prune_marks(workspace: Workspace, versions: Versions) -> None:
    """Take marks away from what is not behind (any more), and is made from no model that is: they would arm a later change."""
    marks, kept, waiting = versions.refresh_asked, set[str](), set[str]()
    for step in learned_steps() if marks else ():
        above = any(need in waiting for need in step.reads(workspace.profile))
        for partition in targets(versions, step):
            name = title(step.key, partition)
            if versions.marked(step, partition) and (above or versions.behind(step, partition)):
                kept.add(name)
                waiting.add(step.key)
    workspace.catalog.unmark({name: when for name, when in marks.items() if name not in kept})


def _to_learn(versions: Versions, step: Step, found: Refresh) -> Iterator[str]:
    """Yield the partitions of a step that are there and behind, or made from a model that is learned anew as well."""
    above = any(need in found.marked for need in step.reads(versions.workspace.profile))
    for partition in targets(versions, step):
        there = versions.receipt(step.key, partition) is not None
        if there and (above or versions.behind(step, partition)):
            yield partition


def _work(versions: Versions, step: Step, partitions: list[str]) -> Work:
    receipts = [versions.receipt(step.key, p) for p in partitions]
    return Work(len(partitions), sum(receipt.seconds for receipt in receipts if receipt))


def _follows(versions: Versions, wanted: list[Step], found: Refresh) -> Iterator[tuple[str, Work]]:
    """Yield what is made again: what reads a model that is new, and what reads that; pinned models follow pinned ones alone."""
    changed = set(found.marked)
    for step in wanted:
        reads = step.reads(versions.workspace.profile)
        if step.key in changed or not any(
            need in changed and (not step.pinned or STEPS[need].pinned) for need in reads
        ):
            continue
        changed.add(step.key)
        if partitions := targets(versions, step):
            yield step.key, _work(versions, step, partitions)


def to_text(found: Refresh) -> str:
    """Return for people what is learned anew, what follows, and how long that took when it was done last."""
    lines = [f"{key}: not behind the corpus as last listed; stays as it is" for key in found.kept]
    for key, work in found.marked.items():
        lines.append(f"{key}: behind the corpus; {_counted(work)} to learn anew")
    if not found.marked:
        return "\n".join([*lines, "nothing is marked: no model is behind"])
    stages: Counter[str] = Counter()
    for key, work in found.follows.items():
        stages[key.rpartition("/")[2]] += work.artifacts
    if stages:
        parts = ", ".join(f"{count:,} {stage}" for stage, count in stages.most_common())
        lines.append(f"then made again: {parts}")
    seconds = sum(work.seconds for work in (*found.marked.values(), *found.follows.values()))
    lines.append(f"all of it took {duration(seconds)} of work when it was made last")
    lines.append("`curation run`, or the automation of `curation ui`, does it")
    return "\n".join(lines)


def _counted(work: Work) -> str:
    return f"{work.artifacts:,} artifact{'' if work.artifacts == 1 else 's'} ({duration(work.seconds)} last time)"
