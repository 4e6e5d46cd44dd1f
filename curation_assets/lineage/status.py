"""How the graph stands: what is current, out of date, failed and running, and what an update would cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from curation_assets.attempts import Attempt
from curation_assets.embeddings.unread import unread_text
from curation_assets.lineage.nodes import iso
from curation_assets.lineage.stale import behind, follows, out_of_date
from curation_assets.plan import targets, wanted_steps
from curation_assets.progress import duration
from curation_assets.registry import SAMPLERS
from curation_assets.step import Step
from curation_assets.versions import Versions
from curation_assets.workspace import Workspace, title

State = Literal["current", "following", "out_of_date", "missing", "failed", "stopped", "running"]
STATES: dict[State, str] = {
    "current": "current",
    "following": "follows",
    "out_of_date": "out of date",
    "missing": "missing",
    "failed": "failed",
    "stopped": "stopped",
    "running": "running",
}
"""What a partition is, exactly one of these, and the head of its column.

`following`: current with what is there, but something that it is made from is out of date. `failed`: the last attempt
failed; `stopped`: its process died in the middle. Neither says whether an older artifact is still there.
"""

_LISTED = 10  # lines of a kind that the text has


@dataclass(frozen=True)
class Row:
    """A step, and how many of the partitions that the profile asks for are in which state."""

    key: str
    group: str
    counts: dict[State, int]

    @property
    def partitions(self) -> int:
        """How many partitions the profile asks for."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Cost:
    """What an update would score of a family: distinct shards and documents, with how many samplers, scores in all.

    `unread` shards are among `shards`, but how many documents they have is not known yet. `at_most`: some of it is only
    done if what comes before it comes out other than it was.
    """

    family: str
    samplers: int
    shards: int
    documents: int
    scores: int
    unread: int
    at_most: bool


@dataclass(frozen=True)
class Status:
    """How the graph stands. `listed` is when the corpus was listed (ISO, UTC), "" for never; `documents` those read so far.

    `running`, `failed`, `behind`, `set_aside` and `warned` give (artifact or shard, what is to be said of it); `train`
    counts the training runs of an update.
    """

    profile: str
    listed: str
    shards: int
    documents: int
    rows: list[Row]
    costs: list[Cost]
    train: int
    running: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    behind: list[tuple[str, str]] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    warned: list[tuple[str, str]] = field(default_factory=list)


def status(workspace: Workspace) -> Status:
    """Return how everything stands that the profile asks for, as of the last listing of the corpus. Nothing is changed."""
    versions = Versions(workspace)
    steps = wanted_steps(workspace.profile)
    asked = {step.key: targets(workspace, step) for step in steps}
    listing = versions.receipt("corpus/source", "")
    read = (versions.receipt("corpus/documents", shard) for shard in versions.partitions("shard"))
    found = Status(
        workspace.profile.name,
        iso(listing.created) if listing else "",
        len(versions.listing),
        sum(receipt.metadata["documents"] for receipt in read if receipt),
        [],
        list(_costs(versions, steps, asked)),
        sum(_to_do(versions, s, p) for s in steps if _is_training(s) for p in asked[s.key]),
        set_aside=list(workspace.set_aside().items()),
        warned=[(key, outcome.description) for key, outcome in unread_text(workspace) if not outcome.passed],
    )
    for step in steps:
        found.rows.append(_row(versions, step, asked[step.key], found))
    return found


def _row(versions: Versions, step: Step, partitions: list[str], found: Status) -> Row:
    """Count the states of a step's partitions; what is to be said of single ones goes into `found`."""
    counts = dict.fromkeys(STATES, 0)
    for partition in partitions:
        name = title(step.key, partition)
        attempt = _attempt(versions, step, partition)
        state = _state(versions, step, partition, attempt)
        counts[state] += 1
        if attempt is not None and state == "running":
            found.running.append((name, _going_on(attempt)))
        elif attempt is not None:
            found.failed.append((name, _ended(attempt)))
        late = behind(versions, step, partition) if step.pinned else None
        if late:
            found.behind.append((name, late))
    return Row(step.key, step.group, counts)


def _attempt(versions: Versions, step: Step, partition: str) -> Attempt | None:
    """Return the attempt at an artifact that did not succeed; of one that is current none is looked for."""
    if out_of_date(versions, step, partition) or step.key == "corpus/source":
        return versions.workspace.attempts.read(step.key, partition)
    return None


def _state(versions: Versions, step: Step, partition: str, attempt: Attempt | None) -> State:
    if attempt is not None:
        return "running" if attempt.running() else "failed" if attempt.error else "stopped"
    if versions.receipt(step.key, partition) is None:
        return "missing"
    if out_of_date(versions, step, partition):
        return "out_of_date"
    return "following" if follows(versions, step, partition) else "current"


def _going_on(attempt: Attempt) -> str:
    since = duration(max(time.time() - attempt.started, 0.0))
    again = f", attempt {attempt.number} after: {attempt.error}" if attempt.error else ""
    return f"for {since} in process {attempt.pid} on {attempt.host}{again}"


def _ended(attempt: Attempt) -> str:
    why = attempt.error or "its process died in the middle of it"
    return f"{why} (attempt {attempt.number}, {iso(attempt.started)})"


def _is_training(step: Step) -> bool:
    return step.trains and step.key.endswith("/checkpoint")


def _to_do(versions: Versions, step: Step, partition: str) -> bool:
    return out_of_date(versions, step, partition) or follows(versions, step, partition)


def _costs(versions: Versions, steps: list[Step], asked: dict[str, list[str]]) -> Iterator[Cost]:
    """Yield what each family of samplers would score."""
    families: dict[str, list[Step]] = {}
    for step in steps:
        sampler, _, stage = step.key.partition("/")
        if stage == "scores":
            families.setdefault(SAMPLERS[sampler].family, []).append(step)
    for family, members in families.items():
        to_do = {s.key: [p for p in asked[s.key] if _to_do(versions, s, p)] for s in members}
        shards = sorted({shard for partitions in to_do.values() for shard in partitions})
        if not shards:
            continue
        sizes = {s: r.metadata["documents"] for s in shards if (r := versions.receipt("corpus/documents", s))}
        yield Cost(
            family,
            sum(map(bool, to_do.values())),
            len(shards),
            sum(sizes.values()),
            sum(sizes.get(shard, 0) for partitions in to_do.values() for shard in partitions),
            len(shards) - len(sizes),
            any(not out_of_date(versions, s, p) for s in members for p in to_do[s.key]),
        )


def to_text(found: Status) -> str:
    """Return the status for people: a table with a line for each group, and for each step that is not all current."""
    corpus = f"{found.shards:,} shards, {found.documents:,} documents, listed {found.listed}"
    lines = [
        f"profile {found.profile}: {corpus if found.listed else 'the corpus has not been listed yet'}",
        "",
    ]
    lines += [*_table(found.rows), ""]
    lines += _update(found)
    lines += _listed("RUNNING", found.running)
    lines += _listed("FAILED", found.failed)
    lines += _listed("SET ASIDE", found.set_aside)
    lines += _listed("BEHIND", found.behind)
    lines += _listed("WARNING", found.warned)
    return "\n".join(lines).rstrip()


def _table(rows: list[Row]) -> Iterator[str]:
    """Yield the table; columns in which nothing stands are left out."""
    used: list[State] = [s for s in STATES if s == "current" or any(row.counts[s] for row in rows)]
    yield f"{'':<32}" + "".join(f"{STATES[state]:>12}" for state in used)
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        yield _line(group, members, used)
        yield from (
            _line(f"  {row.key}", [row], used) for row in members if row.counts["current"] != row.partitions
        )
    if "following" in used:
        yield "follows: current with what is there, but something that it is made from is out of date"


def _line(name: str, rows: list[Row], used: list[State]) -> str:
    counts = [sum(row.counts[state] for row in rows) for state in used]
    return f"{name:<32}" + "".join(f"{f'{n:,}' if n else '·':>12}" for n in counts)


def _update(found: Status) -> Iterator[str]:
    if not found.listed:
        return
    for cost in found.costs:
        unread = f" and those of {cost.unread:,} shard{_s(cost.unread)} not read yet" if cost.unread else ""
        scores = f", {cost.scores:,} scores" if cost.samplers > 1 else ""
        yield (
            f"an update scores {'at most ' if cost.at_most else ''}{cost.shards:,} shard{_s(cost.shards)}, "
            f"{cost.documents:,} documents{unread} with {cost.samplers} {cost.family} sampler{_s(cost.samplers)}{scores}"
        )
    if found.train:
        yield f"an update trains at most {found.train:,} model{_s(found.train)}"
    if not found.costs and not found.train:
        yield "an update scores and trains nothing"


def _listed(word: str, found: Iterable[tuple[str, str]]) -> Iterator[str]:
    all_ = list(found)
    yield from (f"{word}  {name}: {said}" for name, said in all_[:_LISTED])
    if len(all_) > _LISTED:
        yield f"{word}  {len(all_) - _LISTED:,} more"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
