"""What a run would make now, step by step, and what that took last time. Nothing is made or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation_assets.common.progress import duration
from curation_assets.common.terminal import columns, plain, shortened
from curation_assets.engine.failures import failed, waits_for
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.reasons import Counted, counted, summary
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.step_inputs import LISTING
from curation_assets.engine.workspace import Workspace, title

_NAME = 34  # characters of an asset's key that are shown, at most


@dataclass(frozen=True)
class Planned:
    """A step that a run would work on.

    Attributes
    ----------
    to_make, asked : partitions that are missing or out of date, of those that the profile asks for.
    reasons : why those are, most common first.
    follows : whether it may have to be made anew because of what comes before it.
    seconds : about how long `to_make` takes one worker, by what its artifacts took before; None where none was made before.
    failure : why the last attempt at one of them failed, "" if none did: a run tries again.
    waits_for : the failed artifact that one of them waits for, "" if none does.
    """

    asset: str
    to_make: int
    asked: int
    reasons: list[Counted]
    follows: bool
    seconds: float | None
    failure: str
    waits_for: str


def planned(workspace: Workspace) -> list[Planned]:
    """Return the steps that a run would work on, in their order, as far as the last listing of the corpus goes."""
    versions, plan = Versions(workspace), list[Planned]()
    remade: set[str] = set()
    for step in wanted_steps(workspace.profile):
        asked = targets(versions, step)
        outdated = [p for p in asked if versions.outdated(step, p)]
        follows = not step.pinned and any(need in remade for need in step.reads(workspace.profile))
        failure = _failure(versions, step, asked if step.key == LISTING else outdated)
        if outdated or follows or failure or not asked:
            remade.add(step.key)
            cause = next(filter(None, (waits_for(versions, step, p) for p in outdated)), None)
            plan.append(
                Planned(
                    step.key,
                    len(outdated),
                    len(asked),
                    counted(versions.reasons(step, p) for p in outdated),
                    follows or not asked,
                    _seconds(versions, step, asked, len(outdated)),
                    failure,
                    title(*cause) if cause else "",
                )
            )
    return plan


def _failure(versions: Versions, step: Step, partitions: list[str]) -> str:
    for partition in partitions:
        attempt = versions.attempts.get((step.key, partition))
        if attempt is not None and failed(attempt):
            return attempt.error
    return ""


def _seconds(versions: Versions, step: Step, partitions: list[str], count: int) -> float | None:
    """Return the mean that the artifacts took which are there, for `count` of them."""
    receipts = (versions.receipt(step.key, partition) for partition in partitions)
    took = [receipt.seconds for receipt in receipts if receipt and "taken_over_from" not in receipt.metadata]
    return round(count * sum(took) / len(took), 1) if took else None


def to_text(plan: Sequence[Planned]) -> str:
    """Return a plan for people, a line for each step."""
    if not plan:
        return "everything is current, as far as the last listing of the corpus goes"
    name = min(max(len(step.asset) for step in plan), _NAME)
    lines = [f"{shortened(step.asset, name):<{name}}  {_line(step)}" for step in plan]
    known = [step.seconds for step in plan if step.seconds is not None and step.to_make]
    total = [f"what was made before takes one worker about {duration(sum(known))}"] if known else []
    return "\n".join(line[: columns() - 1] + "…" if len(line) > columns() else line for line in lines + total)


def _line(step: Planned) -> str:
    count = f"{step.to_make:,} of {step.asked:,}" if step.to_make else "follows from what is above"
    if step.failure:
        return f"{count}  FAILED, tried again: {plain(step.failure)}"
    if step.waits_for:
        return f"{count}  BLOCKED: waits for {plain(step.waits_for)}"
    if not step.to_make:
        return count
    time = f"  about {duration(step.seconds)}" if step.seconds is not None else ""
    return f"{count}{time}  ({plain(summary(step.reasons))})"
