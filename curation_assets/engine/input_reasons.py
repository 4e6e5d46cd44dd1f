"""What an artifact reads, and sentences on how that differs from what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import By, Step, reads_all, upstream
from curation_assets.engine.store import Receipt, Store
from curation_assets.engine.workspace import title

UNITS: dict[By, str] = {"": "artifact", "shard": "shard", "rate": "rate", "size": "size", "rate|size": "run"}
"""What a partition of a kind is called."""

_MANIFEST = "manifest.json"
_NAMED = 3  # partitions that a sentence names


class Reading(NamedTuple):
    """What an artifact reads of one input: these partitions; `several` where their versions count as one fingerprint.

    `required`: without it the artifact cannot be made.
    """

    need: Step
    partitions: list[str]
    several: bool
    required: bool


def readings(versions: Versions, step: Step, partition: str) -> Iterator[Reading]:
    """Yield what an artifact reads: of each input the partitions, for a partial step those that there are."""
    for key, only in step.reads(versions.workspace.profile).items():
        need = STEPS[key]
        wanted = upstream(step, partition, need, versions.partitions, only)
        if step.partial:
            wanted = [p for p in wanted if versions.receipt(key, p) is not None]
        yield Reading(need, wanted, only is None and reads_all(step.by, need.by), not step.partial)


def input_versions(versions: Versions, step: Step, partition: str) -> dict[str, str]:
    """Return the version of each input as `Versions.inputs` does, but of what there is where something is missing."""
    return versions.inputs(replace(step, partial=True), partition)


def input_reasons(versions: Versions, step: Step, partition: str, receipt: Receipt) -> Iterator[str]:
    """Tell which inputs are missing, or not those that the artifact was made from."""
    now = input_versions(versions, step, partition)
    for reading in readings(versions, step, partition):
        key = reading.need.key
        if missing := _missing(versions, reading):
            yield missing
        elif receipt.inputs.get(key) != now[key]:
            yield _changed(versions, reading, receipt, now[key])
    for key in sorted(receipt.inputs.keys() - now.keys()):
        yield f"it does not read {key} any more"


def missing_inputs(versions: Versions, step: Step, partition: str) -> list[str]:
    """Tell which inputs are missing."""
    return [said for reading in readings(versions, step, partition) if (said := _missing(versions, reading))]


def pinned_reasons(versions: Versions, step: Step, partition: str, receipt: Receipt) -> Iterator[str]:
    """Tell which pinned inputs of a pinned artifact are missing or others: those that follow the corpus may change."""
    for reading in readings(versions, step, partition):
        if not reading.need.pinned:
            continue
        key = reading.need.key
        made = [versions.receipt(key, p) for p in reading.partitions]
        there = [found.version if found else None for found in made]
        if there != [receipt.inputs.get(key)]:
            yield _missing(versions, reading) or _changed(versions, reading, receipt, str(there[0]))


def _missing(versions: Versions, reading: Reading) -> str:
    """Tell what is missing of an input; "" where nothing is. A partial step's readings have nothing that is missing."""
    key, of = reading.need.key, len(reading.partitions)
    missing = [p for p in reading.partitions if versions.receipt(key, p) is None]
    if of == 1 and missing:
        return f"{title(key, missing[0])} is missing"
    if missing:
        return f"{key} is missing for {_count(len(missing), reading.need.by)} of {of:,} ({named(missing)})"
    return "" if of or not reading.required else f"{key} is missing: the corpus has no shards"


def _changed(versions: Versions, reading: Reading, receipt: Receipt, now: str) -> str:
    key = reading.need.key
    if key not in receipt.inputs:
        return f"it now reads {key}, too"
    if reading.several:
        return _changed_in_some(versions, reading, receipt)
    partition = reading.partitions[0] if len(reading.partitions) == 1 else ""
    return f"{title(key, partition)} changed ({short(receipt.inputs[key])} -> {short(now)})"


def _changed_in_some(versions: Versions, reading: Reading, receipt: Receipt) -> str:
    """Tell that an input of many partitions changed, and in which: a subset's manifest has it, of others the time is a hint."""
    key, by = reading.need.key, reading.need.by
    made = {p: found for p in reading.partitions if (found := versions.receipt(key, p))}
    before = _score_versions(versions.workspace.store, receipt) if key.endswith("/scores") else {}
    if before:
        parts = {
            "changed in": [p for p in made if p in before and before[p] != made[p].version],
            "is new in": [p for p in made if p not in before],
            "is gone from": [p for p in before if p not in made],
        }
        told = [f"{verb} {_count(len(p), by)} ({named(p)})" for verb, p in parts.items() if p]
        if told:
            return f"{key} {', '.join(told)}"
    since = [p for p, found in made.items() if found.created > receipt.created - receipt.seconds]
    return f"{key} changed in some {UNITS[by]}" + (f" (made since: {named(since)})" if since else "")


def _score_versions(store: Store, receipt: Receipt) -> dict[str, str]:
    """Return {shard: version of its scores} that a subset was drawn from; {} where it does not say so, or is damaged."""
    if _MANIFEST not in receipt.files:
        return {}
    try:
        content = store.read(f"{store.place(receipt.key, receipt.partition)}/{receipt.folder}/{_MANIFEST}")
    except FileNotFoundError:
        return {}
    if hashlib.sha256(content).hexdigest() != receipt.files[_MANIFEST][1]:
        return {}
    return dict(json.loads(content).get("score_versions", {}))


def short(version: str) -> str:
    """Return as much of a version as tells it from others."""
    return version[:10]


def named(partitions: list[str]) -> str:
    """Return the first few partitions, and how many more there are."""
    more = len(partitions) - _NAMED
    return ", ".join(partitions[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _count(number: int, by: By) -> str:
    return f"{number:,} {UNITS[by]}{'' if number == 1 else 's'}"
