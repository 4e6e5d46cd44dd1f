"""What failed, and what waits for that: artifacts that cannot be made for want of one that failed."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from curation_assets.engine.attempts import Attempt
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets
from curation_assets.engine.staleness import At, Versions
from curation_assets.engine.step import EDGE, Step, reads_all, upstream
from curation_assets.engine.workspace import MissingInput

_LACKING = f"{MissingInput.__name__}: "
_MEMOS: WeakKeyDictionary[Versions, dict[At, At | None]] = WeakKeyDictionary()
_DOCUMENTS = EDGE[2]
_NAMED = 4  # assets that a line names


def failed(attempt: Attempt) -> bool:
    """Tell whether an attempt failed, and no other goes on: not that it found nothing to be made from, or was killed."""
    return bool(attempt.error) and not attempt.error.startswith(_LACKING) and not attempt.running()


def waits_for(versions: Versions, step: Step, partition: str) -> At | None:
    """Return the failed artifact for want of which this one cannot be made; None where it could be, or nothing failed.

    Where all that was read of the corpus has no document, that is `corpus/documents`, of all files.

    It may be several steps away. An input that is out of date is there, so nothing waits for it.
    """
    memo = _MEMOS.setdefault(versions, {})
    if (step.key, partition) not in memo:
        memo[step.key, partition] = None
        memo[step.key, partition] = _first_failed(versions, step, partition)
    return memo[step.key, partition]


def _first_failed(versions: Versions, step: Step, partition: str) -> At | None:
    memo = _MEMOS[versions]
    there = _stages_there(versions, step) if step.partial else set()
    for key, only in step.reads(versions.workspace.profile).items():
        need = STEPS[key]
        if key == _DOCUMENTS and _no_document(versions):
            return key, ""
        if _stage(key) in there:  # a report is made of what there is
            continue
        everything = (key, "*") if only is None and reads_all(step.by, need.by) else None
        if everything in memo:
            cause = memo[everything]
        else:
            wanted = upstream(step, partition, need, versions.partitions, only)
            each = (_failed_or_waiting(versions, need, p) for p in _requested(versions, need, wanted, only))
            cause = next(filter(None, each), None) if wanted else _no_shards(versions)
            if everything:
                memo[everything] = cause
        if cause:
            return cause
    return None


def _no_document(versions: Versions) -> bool:
    """Tell whether files were read, as they are now, and none of them has a document."""
    memo, at = _MEMOS[versions], (_DOCUMENTS, "")
    if at not in memo:
        shards, step = versions.partitions("shard"), STEPS[_DOCUMENTS]
        receipts = [receipt for shard in shards if (receipt := versions.receipt(_DOCUMENTS, shard))]
        lost = all(not r.metadata["documents"] and versions.current(step, r.partition) for r in receipts)
        memo[at] = at if receipts and lost else None
    return memo[at] is not None


def _requested(versions: Versions, need: Step, wanted: list[str], only: str | None) -> list[str]:
    """Leave out cells of training that the profile does not ask for: what a job made besides is nobody's cause."""
    if only is not None or need.by not in ("size", "rate|size"):
        return wanted
    requested = targets(versions, need)
    return [p for p in wanted if p in requested]


def _stages_there(versions: Versions, step: Step) -> set[str]:
    """Return the stages (scores, metrics, ...) of which some input of a report is there."""
    needs = [STEPS[key] for key in step.reads(versions.workspace.profile)]
    at = ((need.key, p) for need in needs for p in targets(versions, need))
    return {_stage(key) for key, partition in at if versions.receipt(key, partition) is not None}


def _stage(key: str) -> str:
    return key.rpartition("/")[2]


def _failed_or_waiting(versions: Versions, step: Step, partition: str) -> At | None:
    """Return an artifact that is not there if it failed, or the one that it waits for."""
    if versions.receipt(step.key, partition) is not None:
        return None
    attempt = versions.attempts.get((step.key, partition))
    if attempt is not None and failed(attempt):
        return step.key, partition
    return waits_for(versions, step, partition)


def _no_shards(versions: Versions) -> At | None:
    """Return why there are no shards: the listing failed, or the first file that could not be read."""
    tried = [(key, shard) for shard in versions.listing for key in EDGE[1:]]
    for at in [(EDGE[0], ""), *tried]:
        attempt = versions.attempts.get(at)
        if attempt is not None and failed(attempt):
            return at
    return None


def waiting(causes: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each failed artifact that something waits for: (asset that waits, what it waits for) each."""
    by_cause: dict[str, dict[str, None]] = {}
    for key, cause in causes:
        by_cause.setdefault(cause, {})[key] = None
    lines = []
    for cause, keys in by_cause.items():
        named = ", ".join(list(keys)[:_NAMED]) + (", ..." if len(keys) > _NAMED else "")
        count = "1 asset waits" if len(keys) == 1 else f"{len(keys):,} assets wait"
        lines.append(f"{count} for {cause}: {named}")
    return lines
