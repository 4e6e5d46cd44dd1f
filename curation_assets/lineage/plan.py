"""What a run would make now, step by step, and what that took last time. Nothing is made or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curation_assets.common.progress import duration
from curation_assets.common.terminal import columns, plain, shortened
from curation_assets.engine.failures import failed, waits_for
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace, title

_NAME = 34  # characters of an asset's key that are shown, at most


@dataclass(frozen=True)
class Planned:
    """A step that a run would work on.

    Attributes
    ----------
    to_make, asked : partitions that are missing or out of date, of those that the profile asks for.
    follows : whether it may have to be made anew because of what comes before it.
    seconds : about how long `to_make` takes one worker, by what its artifacts took before; None where none was made before.
    failure : why the last attempt at one of them failed, "" if none did: a run tries again.
    waits_for : the failed artifact that one of them waits for, "" if none does.
    """

    asset: str
    to_make: int
    asked: int
    follows: bool
    seconds: float | None
    failure: str
    waits_for: str


def planned(workspace: Workspace) -> list[Planned]:
    """Return the steps that a run would work on, in their order, as far as the last listing of the corpus goes."""
    versions, found = Versions(workspace), list[Planned]()
    remade: set[str] = set()
    for step in wanted_steps(workspace.profile):
        asked = targets(workspace, step)
        listing = step.key == "corpus/source"
        stale = (
            [p for p in asked if versions.receipt(step.key, p) is None]
            if listing
            else versions.stale(step, asked)
        )
        behind = not step.pinned and any(need in remade for need in step.reads(workspace.profile))
        failure = _failure(versions, step, asked if listing else stale)
        if stale or behind or failure or not asked:
            remade.add(step.key)
            cause = next(filter(None, (waits_for(versions, step, p) for p in stale)), None)
            found.append(
                Planned(
                    step.key,
                    len(stale),
                    len(asked),
                    behind or not asked,
                    _seconds(versions, step, asked, len(stale)),
                    failure,
                    title(*cause) if cause else "",
                )
            )
    return found


def _failure(versions: Versions, step: Step, partitions: list[str]) -> str:
    for partition in partitions:
        attempt = versions.workspace.attempts.read(step.key, partition)
        if attempt is not None and failed(attempt):
            return attempt.error
    return ""


def _seconds(versions: Versions, step: Step, partitions: list[str], count: int) -> float | None:
    """Return the mean that the artifacts took which are there, for `count` of them."""
    receipts = (versions.receipt(step.key, partition) for partition in partitions)
    took = [receipt.seconds for receipt in receipts if receipt and "taken_over_from" not in receipt.metadata]
    return round(count * sum(took) / len(took), 1) if took else None


def to_json(found: Sequence[Planned]) -> list[dict[str, Any]]:
    """Return a plan as plain data for JSON; its keys are the attributes' names."""
    return [asdict(step) for step in found]


def to_text(found: Sequence[Planned]) -> str:
    """Return a plan for people, a line for each step."""
    if not found:
        return "everything is current, as far as the last listing of the corpus goes"
    name = min(max(len(step.asset) for step in found), _NAME)
    lines = [f"{shortened(step.asset, name):<{name}}  {_said(step)}" for step in found]
    known = [step.seconds for step in found if step.seconds is not None and step.to_make]
    total = [f"what was made before takes one worker about {duration(sum(known))}"] if known else []
    return "\n".join(line[: columns() - 1] + "…" if len(line) > columns() else line for line in lines + total)


def _said(step: Planned) -> str:
    many = f"{step.to_make:,} of {step.asked:,}" if step.to_make else "follows from what is above"
    if step.failure:
        return f"{many}  FAILED, tried again: {plain(step.failure)}"
    if step.waits_for:
        return f"{many}  BLOCKED: waits for {plain(step.waits_for)}"
    return f"{many}  about {duration(step.seconds)}" if step.to_make and step.seconds is not None else many
