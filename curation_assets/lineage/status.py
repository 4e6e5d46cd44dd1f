"""How the graph stands: what is current, out of date, failed and running, and what an update would cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from curation_assets.common.progress import duration
from curation_assets.common.terminal import columns, shortened, wrapped
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.names import decoded, visible
from curation_assets.embeddings.checks import unread_text
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.failures import failed, waiting, waits_for
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.reasons import behind, follows, out_of_date
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage.nodes import ended, iso
from curation_assets.lineage.notices import notices

State = Literal["current", "following", "out_of_date", "missing", "blocked", "failed", "stopped", "running"]
STATES: dict[State, str] = {
    "current": "current",
    "following": "follows",
    "out_of_date": "outdated",
    "missing": "missing",
    "blocked": "blocked",
    "failed": "failed",
    "stopped": "stopped",
    "running": "running",
}
"""What a partition is, exactly one of these, and the head of its column.

`following`: current with what is there, but something that it is made from is out of date. `blocked`: missing or out of
date, and cannot be made for want of something that failed. `failed`: the last attempt failed; `stopped`: its process died
in the middle. None of the three says whether an older artifact is still there.
"""

_LISTED = 10  # lines of a kind that the text has
_DIGITS, _LEAST = 6, 8  # characters of a count (99,999), and of a name in a narrow terminal


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
    """How the graph stands. `listed` is when the corpus was listed (ISO, UTC), "" for never; `documents` those to choose from.

    Before `corpus/index` is current these are all that were read so far.

    `running`, `failed`, `stopped`, `behind`, `set_aside` and `warned` give (artifact or shard, what is to be said of it),
    `blocked` (artifact, the failed one that it waits for); `train` counts the training runs of an update. `notices` are
    lines about the corpus (`lineage.notices`).
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
    blocked: list[tuple[str, str]] = field(default_factory=list)
    stopped: list[tuple[str, str]] = field(default_factory=list)
    behind: list[tuple[str, str]] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    warned: list[tuple[str, str]] = field(default_factory=list)


def status(workspace: Workspace) -> Status:
    """Return how everything stands that the profile asks for, as of the last listing of the corpus. Nothing is changed."""
    versions = Versions(workspace)
    steps = wanted_steps(workspace.profile)
    asked = {step.key: targets(workspace, step) for step in steps}
    listing = versions.receipt("corpus/source", "")
    read = (versions.receipt("corpus/documents", shard) for shard in versions.partitions("shard"))
    index = versions.receipt("corpus/index", "")
    counted = index.metadata if index and versions.current(STEPS["corpus/index"], "") else {}
    documents = counted.get("documents", sum(receipt.metadata["documents"] for receipt in read if receipt))
    found = Status(
        workspace.profile.name,
        iso(listing.created) if listing else "",
        len(versions.listing),
        documents,
        [],
        list(_costs(versions, steps, asked)),
        sum(_to_do(versions, s, p) for s in steps if _is_training(s) for p in asked[s.key]),
        set_aside=[(visible(decoded(shard)), why) for shard, why in workspace.set_aside().items()],
        warned=[(key, outcome.description) for key, outcome in unread_text(workspace) if not outcome.passed],
        notices=notices(versions),
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
        cause = waits_for(versions, step, partition) if _wanting(versions, step, partition, attempt) else None
        state = _state(versions, step, partition, attempt, cause)
        counts[state] += 1
        if cause:
            found.blocked.append((name, title(*cause)))
        elif attempt is not None and state == "running":
            found.running.append((name, _going_on(attempt)))
        elif attempt is not None:
            (found.failed if state == "failed" else found.stopped).append((name, ended(attempt)))
        late = behind(versions, step, partition) if step.pinned else None
        if late:
            found.behind.append((name, late))
    return Row(step.key, step.group, counts)


def _attempt(versions: Versions, step: Step, partition: str) -> Attempt | None:
    """Return the attempt at an artifact that did not succeed; of one that is current none is looked for."""
    if out_of_date(versions, step, partition) or step.key == "corpus/source":
        return versions.workspace.attempts.read(step.key, partition)
    return None


def _wanting(versions: Versions, step: Step, partition: str, attempt: Attempt | None) -> bool:
    """Tell whether an artifact may be waiting: not there or not current, and no attempt at it failed by itself."""
    if attempt is not None and (attempt.running() or not attempt.error or failed(attempt)):
        return False
    return out_of_date(versions, step, partition)


def _state(
    versions: Versions, step: Step, partition: str, attempt: Attempt | None, cause: tuple[str, str] | None
) -> State:
    if cause is not None:
        return "blocked"
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


def to_json(found: Status) -> dict[str, Any]:
    """Return the status as plain data for JSON; its keys are the attributes' names."""
    return asdict(found)


def to_text(found: Status) -> str:
    """Return the status for people: a table with a line for each group, and for each step that is not all current."""
    corpus = f"{found.shards:,} shard{_s(found.shards)}, {found.documents:,} documents, listed {found.listed}"
    lines = [
        *wrapped(
            f"profile {found.profile}: {corpus if found.listed else 'the corpus has not been listed yet'}"
        ),
        "",
        *_table(found.rows),
        "",
    ]
    lines += [line for said in _update(found) for line in wrapped(said)]
    lines += _listed("RUNNING", found.running)
    lines += _listed("FAILED", found.failed)
    lines += _lines("BLOCKED", waiting((name.partition("[")[0], cause) for name, cause in found.blocked))
    lines += _listed("STOPPED", found.stopped)
    lines += _listed("SET ASIDE", found.set_aside)
    lines += _listed("BEHIND", found.behind)
    lines += _listed("WARNING", found.warned)
    lines += _lines("NOTE", found.notices)
    return "\n".join(lines).rstrip()


def _table(rows: list[Row]) -> Iterator[str]:
    """Yield the table; columns in which nothing stands are left out, and names that are too long for it are shortened."""
    used: list[State] = [s for s in STATES if s == "current" or any(row.counts[s] for row in rows)]
    longest = max((len(row.key) + 2 for row in rows), default=0)
    for gap in (3, 2, 1):  # between columns: as much as the names leave
        cells = {state: gap + max(len(STATES[state]), _DIGITS) for state in used}
        if (names := columns() - sum(cells.values())) >= longest:
            break
    names = max(min(names, longest), _LEAST)
    yield " " * names + "".join(f"{STATES[state]:>{width}}" for state, width in cells.items())
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        yield _line(group, members, cells, names)
        yield from (
            _line(f"  {row.key}", [row], cells, names)
            for row in members
            if row.counts["current"] != row.partitions
        )
    if "following" in used:
        yield from wrapped(
            "follows: current with what is there, but something that it is made from is out of date"
        )


def _line(name: str, rows: list[Row], cells: dict[State, int], names: int) -> str:
    counts = {state: sum(row.counts[state] for row in rows) for state in cells}
    numbers = (f"{f'{counts[state]:,}' if counts[state] else '·':>{width}}" for state, width in cells.items())
    return f"{shortened(name, names):<{names}}" + "".join(numbers)


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


def _listed(word: str, found: Iterable[tuple[str, str]]) -> list[str]:
    return _lines(word, [f"{name}: {said}" for name, said in found])


def _lines(word: str, said: list[str]) -> list[str]:
    """Return the first few sentences of a kind, each begun with its word."""
    more = [f"{len(said) - _LISTED:,} more"] if len(said) > _LISTED else []
    return [line for each in said[:_LISTED] + more for line in wrapped(each, f"{word}  ")]


def _s(number: int) -> str:
    return "" if number == 1 else "s"
