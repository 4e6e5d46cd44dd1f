"""Why an artifact is missing or out of date, as data; a reason's sentence is made last, from its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Literal

from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import By
from curation_assets.engine.workspace import title

Kind = Literal[
    "missing",
    "damaged",
    "withdrawn",
    "settings_or_code",
    "code",
    "listed_again",
    "unlisted",
    "file_moved",
    "file_changed",
    "file_rewritten",
    "file_relinked",
    "file_read_otherwise",
    "input_missing",
    "no_shards",
    "input_changed",
    "input_changed_in",
    "input_new_in",
    "input_gone_from",
    "input_changed_in_some",
    "input_added",
    "input_dropped",
    "inconsistent",
    "drifted",
    "refresh_asked",
    "outside_changed",
    "outside_unreadable",
    "behind",
    "incomparable",
]

UNITS: dict[By, str] = {
    "": "artifact",
    "shard": "shard",
    "group": "group",
    "rate": "amount",
    "size": "size",
    "rate|size": "run",
}
"""What a partition of a kind is called."""

_NAMED = 3  # partitions that a sentence names
_SUMMARY = 2  # reasons that a summary names


@dataclass(frozen=True)
class Reason:
    """One reason why an artifact is missing or out of date; `str` gives its sentence.

    `behind` and `incomparable` are no reasons to make anything: a pinned model is kept although the corpus moved on, or
    although what it would be learned from is not all there. A value that a reason does not have is left out of its sentence.

    Attributes
    ----------
    subject : an input's asset key, a setting's path or a folder outside the graph; "" for the artifact itself.
    partitions : partitions of the input (or files of the folder), the first few.
    count, of : how many partitions those are in all, of how many.
    before, now : version, code number, bytes, documents or address: what the artifact was made from, and what is there.
    limit : the setting's value.
    """

    kind: Kind
    subject: str = ""
    partitions: tuple[str, ...] = ()
    count: int = 0
    of: int = 0
    before: str | int | None = None
    now: str | int | None = None
    limit: float | None = None

    def __str__(self) -> str:
        """Return the sentence."""
        return _SENTENCES[self.kind](self)

    def to_json(self) -> dict[str, Any]:
        """Return kind, the values that it has, and the sentence as `text`."""
        values = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}
        return {**values, "text": str(self)}


def about(kind: Kind, subject: str, partitions: Sequence[str], of: int = 0) -> Reason:
    """Return a reason that speaks of some partitions ("" for a single artifact) of an input, or of some files of a folder."""
    return Reason(kind, subject, tuple(filter(None, partitions[:_NAMED])), len(partitions), of)


def short(version: str) -> str:
    """Return as much of a version as tells it from others."""
    return version[:10]


def named(names: Sequence[str], count: int = 0) -> str:
    """Return the first few names, and how many more there are (of `count`, where not all are given)."""
    more = max(count, len(names)) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _names(reason: Reason) -> str:
    return named(reason.partitions, reason.count)


def _counted(reason: Reason) -> str:
    return f"{reason.count:,} {UNITS[STEPS[reason.subject].by]}{'' if reason.count == 1 else 's'}"


def _versions(reason: Reason) -> str:
    return "" if reason.before is None else f" ({reason.before} -> {reason.now})"


def _then_and_now(reason: Reason, unit: str = "") -> str:
    then, now = (f"{v:,}" if isinstance(v, int) else v for v in (reason.before, reason.now))
    return "" if reason.before is None else f": {then}{unit} then, {now} now"


def _input(reason: Reason) -> str:
    return title(reason.subject, reason.partitions[0] if reason.partitions else "")


def _input_missing(reason: Reason) -> str:
    if reason.of > 1:
        return f"{reason.subject} is missing for {_counted(reason)} of {reason.of:,} ({_names(reason)})"
    return f"{_input(reason)} is missing"


def _files(reason: Reason) -> str:
    return f": {_names(reason)}" if reason.partitions else ""


def _in_partitions(reason: Reason, verb: str) -> str:
    where = f"{_counted(reason)} ({_names(reason)})" if reason.count else "some partitions"
    return f"{reason.subject} {verb} {where}"


def _changed_in_some(reason: Reason) -> str:
    since = f" (made since: {_names(reason)})" if reason.partitions else ""
    return f"{reason.subject} changed in some {UNITS[STEPS[reason.subject].by]}{since}"


_SENTENCES: dict[Kind, Callable[[Reason], str]] = {
    "missing": lambda r: "not made yet",
    "damaged": lambda r: (
        "damaged: its receipt was changed, or a file is missing or not as long as the receipt says"
    ),
    "withdrawn": lambda r: f"damaged, and withdrawn: {r.now}",
    "settings_or_code": lambda r: "settings or code changed",
    "code": lambda r: f"code changed{_versions(r)}",
    "listed_again": lambda r: "every run lists the corpus again",
    "unlisted": lambda r: "not in the corpus any more",
    "file_moved": lambda r: f"its file is another one{_then_and_now(r)}",
    "file_changed": lambda r: f"its file changed{_then_and_now(r, ' bytes')}",
    "file_rewritten": lambda r: "its file was written again, as long as before",
    "file_relinked": lambda r: "its link leads to another file",
    "file_read_otherwise": lambda r: "its source is read otherwise, or has another name",
    "input_missing": _input_missing,
    "no_shards": lambda r: f"{r.subject} is missing: the corpus has no shards",
    "input_changed": lambda r: f"{_input(r)} changed{_versions(r)}",
    "input_changed_in": lambda r: _in_partitions(r, "changed in"),
    "input_new_in": lambda r: _in_partitions(r, "is new in"),
    "input_gone_from": lambda r: _in_partitions(r, "is gone from"),
    "input_changed_in_some": _changed_in_some,
    "input_added": lambda r: f"it now reads {r.subject}, too",
    "input_dropped": lambda r: f"it does not read {r.subject} any more",
    "inconsistent": lambda r: "its receipt does not add up: its recipe is not that of its inputs",
    "drifted": lambda r: f"the corpus drifted{_then_and_now(r, ' documents')} ({r.subject} = {r.limit:g})",
    "refresh_asked": lambda r: "asked to be learned anew, and the corpus moved on since it was",
    "outside_changed": lambda r: f"files in {r.subject} changed{_files(r)}",
    "outside_unreadable": lambda r: f"files in {r.subject} cannot be read{_files(r)}",
    "behind": lambda r: (
        f"learned from an earlier corpus{_then_and_now(r, ' documents') or ', which changed since'}"
    ),
    "incomparable": lambda r: f"cannot be compared with the corpus now: {_input_missing(r)}",
}


@dataclass(frozen=True)
class Counted:
    """A reason, and how many artifacts of a step have it."""

    reason: Reason
    artifacts: int


def counted(reasons: Iterable[Sequence[Reason]]) -> list[Counted]:
    """Count the reasons of some artifacts of a step, most common first; those that differ in their values alone are one."""
    alike: dict[tuple[Kind, str], list[Reason]] = {}
    for reason in chain.from_iterable(reasons):
        alike.setdefault((reason.kind, reason.subject), []).append(reason)
    found = [
        Counted(same[0] if len(set(same)) == 1 else Reason(*at, limit=same[0].limit), len(same))
        for at, same in alike.items()
    ]
    return sorted(found, key=lambda each: -each.artifacts)


def summary(found: Sequence[Counted]) -> str:
    """Return the most common reasons in one line."""
    more = f"; and {len(found) - _SUMMARY:,} more" if len(found) > _SUMMARY else ""
    return "; ".join(str(each.reason) for each in found[:_SUMMARY]) + more


def as_data(value: Any) -> dict[str, Any]:
    """Return a dataclass as plain data, a reason with its sentence: the `default` of `json.dumps`."""
    if isinstance(value, Reason):
        return value.to_json()
    return {field.name: getattr(value, field.name) for field in fields(value)}
