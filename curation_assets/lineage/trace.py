"""From a metric, or any artifact, back to the documents and the corpus files behind it.

The tree shows what is there now, and where an artifact was really made from another version of an input, which one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from curation_assets.common.progress import duration
from curation_assets.common.terminal import wrapped
from curation_assets.config.settings import nearest
from curation_assets.corpus.names import key_of
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import UNITS, as_data, named, short
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage.facts import facts, facts_of_all
from curation_assets.lineage.nodes import Node, Record, build, iso

_LISTED = 30  # partitions that an error message lists
_RUN = 8  # characters of a run's id, as Dagster's UI shows it
_SETTINGS = 90  # characters of settings that are shown


def trace(workspace: Workspace, key: str, partition: str = "") -> Node:
    """Follow an artifact back through everything that it is made from.

    Raises
    ------
    ValueError
        There is no such asset or partition: names the nearest one, and the partitions that there are.
    """
    versions = Versions(workspace)
    if key in STEPS and STEPS[key].by == "shard" and partition not in versions.listing:
        partition = key_of(partition)  # a file's name as it is does as well
    return build(versions, checked_step(versions, key, partition), [partition])


def checked_step(versions: Versions, key: str, partition: str) -> Step:
    """Return the step of an artifact that there is or might be; else ValueError."""
    if key not in STEPS:
        raise ValueError(f"there is no asset {key!r}{nearest(key, STEPS)}")
    step = STEPS[key]
    known = versions.listed() if step.by == "shard" else versions.partitions(step.by)
    if partition in known or versions.receipt(key, partition) is not None:
        return step
    if not step.by:
        raise ValueError(f"{key} is one artifact, without partitions: leave {partition!r} out")
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    there = ", ".join(known[:_LISTED]) + more if known else "none: the corpus has not been listed"
    if not partition:
        raise ValueError(f"{key} has one artifact for each {UNITS[step.by]}: name one of {there}")
    raise ValueError(f"{key} has no partition {partition!r}: there are {there}{nearest(partition, known)}")


def json_pieces(node: Node) -> Iterator[str]:
    """Yield the tree as JSON, with a flat record of every artifact (all shards of every step), one record at a time."""
    head = json.dumps(_head(node), default=as_data)
    if node.reference:
        yield head
        return
    yield f'{head[:-1]}, "artifacts": ['
    for number, record in enumerate(node.records()):
        yield (",\n" if number else "\n") + json.dumps(record, default=as_data)
    yield '], "inputs": ['
    for number, need in enumerate(node.inputs):
        yield ",\n" if number else "\n"
        yield from json_pieces(need)
    yield "]}"


def _head(node: Node) -> dict[str, Any]:
    return {
        "key": node.step.key,
        "by": node.step.by,
        "partitions": len(node.partitions),
        "out_of_date": node.out_of_date,
        "missing": node.missing,
        "following": node.following,
        "settings_now": node.settings,
        "edge": node.edge,
        "reference": node.reference,
    }


def to_text(node: Node, shards: int = 3) -> str:
    """Return the tree for people, as wide as the terminal, with the first `shards` artifacts of each step that has many."""
    return "\n".join(_lines(node, None, shards, "", ""))


def _lines(node: Node, reader: Node | None, shards: int, lead: str, rest: str) -> Iterator[str]:
    """Yield a node's lines and those of its inputs; `lead` begins the first, `rest` the others."""
    indent = rest + ("│  " if node.inputs else "   ")
    for number, text in enumerate(_body(node, reader, shards)):
        yield from wrapped(text, indent if number else lead, f"{indent}  ")
    for number, need in enumerate(node.inputs, 1):
        corner, below = ("└─ ", "   ") if number == len(node.inputs) else ("├─ ", "│  ")
        yield from _lines(need, node, shards, rest + corner, rest + below)


def _body(node: Node, reader: Node | None, shards: int) -> Iterator[str]:
    one = len(node.partitions) == 1
    name = title(node.step.key, node.partitions[0]) if one else _group_name(node)
    if node.reference:
        about = iter([f"{name}, see above"])
    else:
        about = _about_one(node, name) if one else _about_many(node, name, shards)
    yield next(about)
    yield from _history(node, reader) if reader else ()
    yield from about
    if node.settings and not node.reference:
        text = json.dumps(node.settings, ensure_ascii=False)
        yield "settings now: " + (text if len(text) <= _SETTINGS else f"{text[: _SETTINGS - 1]}…")


def _about_one(node: Node, name: str) -> Iterator[str]:
    [record] = node.records()
    yield f"{name}  {_made(record)}"
    yield from _state(record)
    if record.follows:
        above = node.versions.inherited(node.step, record.partition)
        yield f"current with what is there, but out of date: {named([title(*at) for at in above])}"
    if figures := facts(node.step.key, record.metadata):
        yield figures


def _about_many(node: Node, name: str, shards: int) -> Iterator[str]:
    receipts = [r for p in node.partitions if (r := node.versions.receipt(node.step.key, p)) is not None]
    if receipts:
        times = sorted({iso(min(r.created for r in receipts)), iso(max(r.created for r in receipts))})
        name += f"  made {' to '.join(times)} in {duration(sum(r.seconds for r in receipts))}"
    late = _counts(node)
    yield name if late else f"{name}; all current"
    if late:
        yield late
    if figures := facts_of_all(node.step.key, (r.metadata for r in receipts)):
        yield figures
    out = (record for record in node.records() if record.reasons) if node.out_of_date else iter(())
    others = (record for record in node.records() if not record.reasons)
    for record in islice(chain(out, others), shards):
        about = facts(node.step.key, record.metadata)
        yield "; ".join(
            [f"· {record.partition}  {_made(record)}", *([about] if about else []), *_state(record)]
        )
    if len(node.partitions) > shards:
        yield (
            f"· and {len(node.partitions) - shards:,} more"
            if shards
            else f"· {len(node.partitions):,} in all"
        )


def _group_name(node: Node) -> str:
    unit = UNITS[node.step.by]
    return f"{node.step.key}: {len(node.partitions):,} {unit}s"


def _counts(node: Node) -> str:
    missing = f" ({node.missing:,} of them missing)" if node.missing else ""
    parts = [f"{node.out_of_date:,} out of date{missing}"] if node.out_of_date else []
    if node.following:
        parts.append(f"{node.following:,} made from what is out of date")
    return ", ".join(parts)


def _made(record: Record) -> str:
    if not record.version:
        return "not there"
    run = f", run {record.run_id[:_RUN]}" if record.run_id else ""
    return f"version {short(record.version)}, made {record.created} in {record.seconds:.1f} s{run}"


def _state(record: Record) -> Iterator[str]:
    word = "OUT OF DATE" if record.version else "MISSING"
    yield from (f"{word}: {reason}" for reason in record.reasons if reason.kind != "listed_again")
    if record.failure:
        yield f"FAILED: {record.failure}"
    if record.waits_for:
        yield f"BLOCKED: waits for {record.waits_for}, which failed"
    if record.behind:
        yield f"BEHIND, and kept: {record.behind}"


def _history(node: Node, reader: Node) -> Iterator[str]:
    """Tell where the reader was made from something else than what is shown here."""
    edge = node.edge
    if edge is None or not edge.others:
        return
    these = "this" if len(node.partitions) == 1 else "these"
    if edge.readers > 1:
        yield (
            f"NOT WHAT WAS READ: {edge.others:,} of {edge.readers:,} partitions of {reader.step.key} were made from "
            f"other versions of {these} than are here now"
        )
        return
    who = title(reader.step.key, reader.partitions[0])
    read = f"NOT WHAT WAS READ: {who} was made"
    if not edge.made_from:
        yield f"{read} without {these}"
    elif node.missing:
        now = "which is not here any more" if len(node.partitions) == 1 else "and here some are missing"
        yield f"{read} from version {short(edge.made_from)} of {these}, {now}"
    else:
        yield f"{read} from version {short(edge.made_from)} of {these}; here is {short(edge.now)}"
