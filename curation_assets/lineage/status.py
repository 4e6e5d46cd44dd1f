"""How the graph stands: what is current, out of date, failed and running, and what an update would cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from curation_assets.common.progress import duration
from curation_assets.common.terminal import columns, shortened, wrapped
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.names import decoded, visible
from curation_assets.embeddings.checks import unread_text
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.failures import failed, waiting, waits_for
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.reasons import Counted, Reason, counted, summary
from curation_assets.engine.snapshot import Snapshot
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.step_inputs import LISTING
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
    """A step, how many of the partitions that the profile asks for are in which state, and why they are not current."""

    key: str
    group: str
    counts: dict[State, int]
    reasons: list[Counted] = field(default_factory=list)

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

    `running`, `failed`, `stopped`, `set_aside` and `warned` give (artifact or shard, what is to be said of it), `behind`
    (artifact, how far), `blocked` (artifact, the failed one that it waits for); `train` counts the training runs of an update. `notices` are
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
    behind: list[tuple[str, Reason]] = field(default_factory=list)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    warned: list[tuple[str, str]] = field(default_factory=list)


def status(workspace: Workspace) -> Status:
    """Return how everything stands that the profile asks for, as of the last listing of the corpus. Nothing is changed."""
    versions = Versions(workspace)
    steps = wanted_steps(workspace.profile)
    asked = {step.key: targets(versions, step) for step in steps}
    listing = versions.receipt(LISTING, "")
    read = (versions.receipt("corpus/documents", shard) for shard in versions.partitions("shard"))
    index = versions.receipt("corpus/index", "")
    counted = index.metadata if index and versions.current(STEPS["corpus/index"], "") else {}
    documents = counted.get("documents", sum(receipt.metadata["documents"] for receipt in read if receipt))
    unread = unread_text(Snapshot(versions))
    result = Status(
        workspace.profile.name,
        iso(listing.created) if listing else "",
        len(versions.listing),
        documents,
        [],
        list(_costs(versions, steps, asked)),
        sum(_to_do(versions, s, p) for s in steps if _is_training(s) for p in asked[s.key]),
        set_aside=[(visible(decoded(shard)), why) for shard, why in versions.set_aside.items()],
        warned=[(key, outcome.description) for key, outcome in unread if not outcome.passed],
        notices=notices(versions),
    )
    for step in steps:
        result.rows.append(_row(versions, step, asked[step.key], result))
    return result


def _row(versions: Versions, step: Step, partitions: list[str], status: Status) -> Row:
    """Count the states of a step's partitions, and why they are not current; what single ones need goes into `status`."""
    counts = dict.fromkeys(STATES, 0)
    for partition in partitions:
        if versions.outdated(step, partition) or step.key == LISTING:
            counts[_needs_work(versions, step, partition, status)] += 1
        else:
            counts["following" if versions.follows(step, partition) else "current"] += 1
        if step.pinned and (behind := versions.kept(step, partition)):
            status.behind.append((title(step.key, partition), behind))
    reasons = counted(versions.reasons(step, p) for p in partitions if versions.outdated(step, p))
    return Row(step.key, step.group, counts, reasons)


def _needs_work(versions: Versions, step: Step, partition: str, status: Status) -> State:
    """Return the state of an artifact that is missing or out of date, or always listed again; what it needs goes into `status`."""
    name, attempt = title(step.key, partition), versions.attempts.get((step.key, partition))
    if attempt is not None and attempt.running():
        status.running.append((name, _going_on(attempt)))
        return "running"
    if attempt is not None and not attempt.error:
        status.stopped.append((name, ended(attempt)))
        return "stopped"
    if attempt is not None and failed(attempt):
        status.failed.append((name, ended(attempt)))
        return "failed"
    outdated = versions.outdated(step, partition)
    if outdated and (cause := waits_for(versions, step, partition)):
        status.blocked.append((name, title(*cause)))
        return "blocked"
    if versions.receipt(step.key, partition) is None:
        return "missing"
    if outdated:
        return "out_of_date"
    return "following" if versions.follows(step, partition) else "current"


def _going_on(attempt: Attempt) -> str:
    since = duration(max(time.time() - attempt.started, 0.0))
    again = f", attempt {attempt.number} after: {attempt.error}" if attempt.error else ""
    return f"for {since} in {attempt.by}{again}"


def _is_training(step: Step) -> bool:
    return step.trains and step.key.endswith("/checkpoint")


def _to_do(versions: Versions, step: Step, partition: str) -> bool:
    return versions.outdated(step, partition) or versions.follows(step, partition)


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
            any(not versions.outdated(s, p) for s in members for p in to_do[s.key]),
        )


def to_text(status: Status) -> str:
    """Return the status for people: a table with a line for each group, and for each step that is not all current."""
    corpus = (
        f"{status.shards:,} shard{_s(status.shards)}, {status.documents:,} documents, listed {status.listed}"
    )
    lines = [
        *wrapped(
            f"profile {status.profile}: {corpus if status.listed else 'the corpus has not been listed yet'}"
        ),
        "",
        *_table(status.rows),
        "",
    ]
    lines += [line for sentence in _update(status) for line in wrapped(sentence)]
    lines += _lines("OUT OF DATE", list(_outdated(status.rows)))
    lines += _listed("RUNNING", status.running)
    lines += _listed("FAILED", status.failed)
    lines += _lines("BLOCKED", waiting((name.partition("[")[0], cause) for name, cause in status.blocked))
    lines += _listed("STOPPED", status.stopped)
    lines += _listed("SET ASIDE", status.set_aside)
    lines += _listed("BEHIND", status.behind)
    lines += _listed("WARNING", status.warned)
    lines += _lines("NOTE", status.notices)
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


def _update(status: Status) -> Iterator[str]:
    if not status.listed:
        return
    for cost in status.costs:
        unread = f" and those of {cost.unread:,} shard{_s(cost.unread)} not read yet" if cost.unread else ""
        scores = f", {cost.scores:,} scores" if cost.samplers > 1 else ""
        yield (
            f"an update scores {'at most ' if cost.at_most else ''}{cost.shards:,} shard{_s(cost.shards)}, "
            f"{cost.documents:,} documents{unread} with {cost.samplers} {cost.family} sampler{_s(cost.samplers)}{scores}"
        )
    if status.train:
        yield f"an update trains at most {status.train:,} model{_s(status.train)}"
    if not status.costs and not status.train:
        yield "an update scores and trains nothing"


def _outdated(rows: list[Row]) -> Iterator[str]:
    """Yield for each step why what has been made is to be made anew."""
    for row in rows:
        if reasons := [each for each in row.reasons if each.reason.kind != "missing"]:
            count = max(each.artifacts for each in reasons)
            yield f"{row.key}: {f'{count:,} of {row.partitions:,}, ' if row.partitions > 1 else ''}{summary(reasons)}"


def _listed(word: str, entries: Iterable[tuple[str, str | Reason]]) -> list[str]:
    return _lines(word, [f"{name}: {text}" for name, text in entries])


def _lines(word: str, sentences: list[str]) -> list[str]:
    """Return the first few sentences of a kind, each begun with its word."""
    more = [f"{len(sentences) - _LISTED:,} more"] if len(sentences) > _LISTED else []
    return [line for each in sentences[:_LISTED] + more for line in wrapped(each, f"{word}  ")]


def _s(number: int) -> str:
    return "" if number == 1 else "s"
