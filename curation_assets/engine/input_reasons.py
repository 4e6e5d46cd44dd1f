"""How what an artifact was made from differs from what it would be made from now, as reasons."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets.common.files import file_states
from curation_assets.engine.reasons import Kind, Reason, about, short
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.store import Store

if TYPE_CHECKING:
    from curation_assets.engine.staleness import Versions
    from curation_assets.engine.step_inputs import Reading

_MANIFEST = "manifest.json"


def input_reasons(versions: Versions, readings: list[Reading], receipt: Receipt) -> Iterator[Reason]:
    """Yield for each input that is missing, or not the one that the artifact was made from, how."""
    for reading in readings:
        key = reading.need.key
        if missing := missing_input(versions, reading):
            yield missing
        elif key not in receipt.inputs:
            yield Reason("input_added", key)
        elif receipt.inputs[key] != (now := versions.version(reading)):
            if reading.several:
                yield from _changed_in_some(versions, reading, receipt)
            else:
                partitions = tuple(filter(None, reading.partitions))
                yield Reason(
                    "input_changed",
                    key,
                    partitions,
                    len(partitions),
                    before=short(receipt.inputs[key]),
                    now=short(now),
                )


def missing_input(versions: Versions, reading: Reading) -> Reason | None:
    """Return what is missing of an input, None where nothing is; of what a partial step reads nothing ever is."""
    if not reading.required:
        return None
    if not reading.partitions:
        return Reason("no_shards", reading.need.key)
    missing = versions.missing(reading)
    return about("input_missing", reading.need.key, missing, len(reading.partitions)) if missing else None


def _changed_in_some(versions: Versions, reading: Reading, receipt: Receipt) -> Iterator[Reason]:
    """Yield in which partitions an input changed: a subset's manifest has that, of others the time is a hint."""
    key = reading.need.key
    made = {p: there for p in reading.partitions if (there := versions.receipt(key, p))}
    before = _score_versions(versions.workspace.store, receipt, key) if key.endswith("/scores") else {}
    differing: dict[Kind, list[str]] = {
        "input_changed_in": [p for p in made if p in before and before[p] != made[p].version],
        "input_new_in": [p for p in made if p not in before],
        "input_gone_from": [p for p in before if p not in made],
    }
    if before and any(differing.values()):
        yield from (about(kind, key, partitions) for kind, partitions in differing.items() if partitions)
    else:
        started = receipt.created - receipt.seconds
        yield about("input_changed_in_some", key, [p for p in made if made[p].created > started])


def _score_versions(store: Store, receipt: Receipt, key: str) -> dict[str, str]:
    """Return {shard: version of the scores `key`} that a subset was drawn from; {} where it does not say so, or is damaged."""
    if _MANIFEST not in receipt.files:
        return {}
    try:
        content = store.read(store.path(receipt, _MANIFEST))
    except FileNotFoundError:
        return {}
    if hashlib.sha256(content).hexdigest() != receipt.files[_MANIFEST][1]:
        return {}
    manifest = json.loads(content)
    first = "then" in manifest and key != f"{manifest['then']}/scores"  # of a hybrid
    return dict(manifest.get("first_score_versions" if first else "score_versions", {}))


def corpus_file_reasons(receipt: Receipt, listed: dict[str, Any] | None) -> Iterator[Reason]:
    """Yield how a corpus file differs from what it was when it was read: by what the listing says of it."""
    then = receipt.metadata
    if listed is None:
        yield Reason("unlisted")
    elif then.get("url") != listed.get("url"):
        yield Reason("file_moved", before=then.get("url"), now=listed.get("url"))
    elif then.get("bytes") != listed.get("bytes"):
        yield Reason("file_changed", before=then.get("bytes"), now=listed.get("bytes"))
    elif then.get("modified") != listed.get("modified"):
        yield Reason("file_rewritten")
    elif then.get("leads_to") != listed.get("leads_to"):
        yield Reason("file_relinked")
    elif "sha256" in listed and then["sha256"] != listed["sha256"]:
        yield Reason("file_rewritten")
    elif any(then.get(name) != listed.get(name) for name in ("source", "read_as")):
        yield Reason("file_read_otherwise")


def outside_reasons(receipt: Receipt) -> Iterator[Reason]:
    """Yield which files outside the graph that an artifact speaks of do not look as they did then."""
    seen = receipt.seen
    changed, unreadable = [], []
    for name in seen:
        try:
            if file_states(Path(receipt.metadata["place"]), [name])[name] != seen[name]:
                changed.append(name)
        except OSError:
            unreadable.append(name)
    if changed:
        yield about("outside_changed", receipt.metadata["place"], changed)
    if unreadable:
        yield about("outside_unreadable", receipt.metadata["place"], unreadable)
