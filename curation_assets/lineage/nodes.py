"""The tree behind an artifact: nodes, what each was made from, and flat records of the artifacts in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from curation_assets.engine.attempts import Attempt
from curation_assets.engine.failures import failed, waits_for
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step, reads_all, upstream
from curation_assets.engine.workspace import title


@dataclass(frozen=True)
class Record:
    """One artifact, flat: `version` is "" where there is none, `created` is ISO 8601 in UTC, `seconds` what making it took.

    `reasons` say why it is missing or out of date, `failure` why the last attempt to make it failed, `waits_for` for want of
    which failed artifact it cannot be made ("" for none), `behind` that it is pinned and the corpus moved on. `follows`
    tells that it is current with what is there, but something that it is made from is not.
    """

    key: str
    partition: str
    version: str
    created: str
    seconds: float
    run_id: str
    reasons: tuple[Reason, ...]
    failure: str
    waits_for: str
    behind: Reason | None
    follows: bool
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Edge:
    """An input as its readers found it, beside what it is now.

    Attributes
    ----------
    made_from : version that the readers were made from; "" where none is known, or each was made from its own.
    now : version now, of several partitions their fingerprint; "" where each reader reads its own.
    readers, others : how many artifacts read it, and how many of them were made from another version than there is now.
    """

    made_from: str
    now: str
    readers: int
    others: int


@dataclass(frozen=True)
class Node:
    """A step of the tree: one artifact, or all partitions that its readers read, and what they are made from.

    What several nodes read has its artifacts and inputs where it comes first; elsewhere it is a `reference`. Of the
    partitions `out_of_date` counts those missing or out of date, `missing` the former alone, and `following` those
    that are current with what is there, but not with what that would be.
    """

    step: Step
    partitions: list[str]
    edge: Edge | None
    settings: Any
    reference: bool
    out_of_date: int
    missing: int
    following: int
    inputs: list[Node]
    versions: Versions = field(repr=False, compare=False)

    def records(self) -> Iterator[Record]:
        """Yield a record of every artifact; none is kept."""
        return (record(self.versions, self.step, partition) for partition in self.partitions)


def record(versions: Versions, step: Step, partition: str) -> Record:
    """Return what is known of one artifact."""
    receipt, outdated = versions.receipt(step.key, partition), versions.outdated(step, partition)
    failure, blocked_by = _failure(versions, step, partition) if outdated else ("", "")
    return Record(
        step.key,
        partition,
        receipt.version if receipt else "",
        iso(receipt.created) if receipt else "",
        receipt.seconds if receipt else 0.0,
        receipt.run_id if receipt else "",
        versions.reasons(step, partition),
        failure,
        blocked_by,
        versions.kept(step, partition),
        not outdated and versions.follows(step, partition),
        receipt.metadata if receipt else {},
    )


def _failure(versions: Versions, step: Step, partition: str) -> tuple[str, str]:
    """Return how the last attempt failed, or what failed artifact is waited for; one of the two, if any."""
    attempt = versions.attempts.get((step.key, partition))
    if attempt is not None and failed(attempt):
        return ended(attempt), ""
    cause = waits_for(versions, step, partition)
    return "", title(*cause) if cause else ""


def ended(attempt: Attempt) -> str:
    """Say how an attempt ended that did not succeed."""
    why = attempt.error or "its process died in the middle of it"
    return f"{why} (attempt {attempt.number}, {iso(attempt.started)})"


def iso(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build(
    versions: Versions,
    step: Step,
    partitions: list[str],
    edge: Edge | None = None,
    seen: set[tuple[str, tuple[str, ...]]] | None = None,
) -> Node:
    """Return the tree behind some partitions of a step; `seen` has what stands in full in it already."""
    seen = set() if seen is None else seen
    at = (step.key, tuple(partitions))
    reference = at in seen
    seen.add(at)
    out = {p for p in partitions if versions.outdated(step, p)}
    return Node(
        step,
        partitions,
        edge,
        step.identity(versions.workspace.profile),
        reference,
        len(out),
        sum(versions.receipt(step.key, p) is None for p in out),
        sum(versions.follows(step, p) for p in partitions if p not in out),
        [] if reference else _inputs(versions, step, partitions, seen),
        versions,
    )


def _inputs(
    versions: Versions, step: Step, partitions: list[str], seen: set[tuple[str, tuple[str, ...]]]
) -> list[Node]:
    edges = _edges(versions, step, partitions)
    return [
        build(versions, need, wanted, edges[need.key], seen)
        for need, wanted in _needs(versions, step, partitions)
    ]


def _needs(versions: Versions, step: Step, partitions: list[str]) -> Iterator[tuple[Step, list[str]]]:
    """Yield the inputs of some partitions of a step, each with all partitions of it that they read."""
    for key, only in step.reads(versions.workspace.profile).items():
        need = STEPS[key]
        same = only is not None or not need.by or reads_all(step.by, need.by)
        read = [
            upstream(step, p, need, versions.partitions, only)
            for p in (partitions[:1] or [""] if same else partitions)
        ]
        wanted = list(dict.fromkeys(partition for part in read for partition in part))
        if step.partial:
            wanted = [p for p in wanted if versions.receipt(key, p) is not None]
        if wanted or not step.partial:
            yield need, wanted


def _edges(versions: Versions, step: Step, partitions: list[str]) -> dict[str, Edge]:
    """Compare the versions that artifacts were made from with those that are there, by input."""
    keys = step.reads(versions.workspace.profile)
    before: dict[str, set[str]] = {key: set() for key in keys}
    after: dict[str, set[str]] = {key: set() for key in keys}
    others = dict.fromkeys(keys, 0)
    for partition in partitions:
        receipt = versions.receipt(step.key, partition)
        now = versions.input_versions(step, partition)
        for key in keys:
            after[key].add(now[key])
            if receipt is not None:
                before[key].add(receipt.inputs.get(key, ""))
                others[key] += receipt.inputs.get(key) != now[key]
    return {key: Edge(_only(before[key]), _only(after[key]), len(partitions), others[key]) for key in keys}


def _only(versions: set[str]) -> str:
    return next(iter(versions)) if len(versions) == 1 else ""
