"""Why an artifact is missing or out of date, in sentences; what is pinned and behind; what will follow from what.

`Versions.current` decides whether an artifact is current. This says why it is not: there is a reason exactly where that
says no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from curation_assets.common.files import file_states
from curation_assets.engine.input_reasons import (
    Reading,
    input_reasons,
    missing_inputs,
    named,
    pinned_reasons,
    readings,
    short,
)
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.store import RECEIPT, Receipt, Store
from curation_assets.engine.workspace import MissingInput

LISTED_AGAIN = "every run lists the corpus again"
"""The reason that the corpus's listing always has: it does not mean that anything changed."""

_COUNTS_THE_CORPUS = ("full_data/checkpoint", "clusters/centroids")  # "documents": of the whole corpus, then


@dataclass
class _Memo:
    """What has been found with one `Versions`, so that a walk over the graph costs one look at each artifact."""

    reasons: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    follows: dict[tuple[str, str], bool] = field(default_factory=dict)
    any_out: dict[tuple[str, bool], bool] = field(default_factory=dict)


_MEMOS: WeakKeyDictionary[Versions, _Memo] = WeakKeyDictionary()


def _memo(versions: Versions) -> _Memo:
    if versions not in _MEMOS:
        _MEMOS[versions] = _Memo()
    return _MEMOS[versions]


def reasons(versions: Versions, step: Step, partition: str) -> list[str]:
    """Tell why an artifact is missing or out of date; [] where it is current, as `Versions.current` has it.

    Parameters
    ----------
    versions
        Receipts as they stand; what is found is remembered for as long as this object lives.
    partition
        "" for a step that is not partitioned.
    """
    memo, at = _memo(versions).reasons, (step.key, partition)
    if at not in memo:
        memo[at] = tuple(_reasons(versions, step, partition))
    return list(memo[at])


def out_of_date(versions: Versions, step: Step, partition: str) -> bool:
    """Tell whether an artifact is missing or out of date, other than that the corpus is always listed again."""
    return any(reason != LISTED_AGAIN for reason in reasons(versions, step, partition))


def _reasons(versions: Versions, step: Step, partition: str) -> Iterator[str]:
    receipt = versions.receipt(step.key, partition)
    if receipt is None:
        yield _absent(versions.workspace.store, step.key, partition)
    elif step.key == "corpus/shards":
        yield from _shard_reasons(versions, partition, receipt)
    else:
        if receipt.code != step.code_version(versions.workspace.profile):
            yield "settings or code changed"
        if step.key == "corpus/source":
            yield LISTED_AGAIN
        elif step.pinned:
            yield from _pinned_reasons(versions, step, partition, receipt)
            yield from _files_outside(receipt)
        else:
            yield from _following_reasons(versions, step, partition, receipt)
            yield from _files_outside(receipt)


def _absent(store: Store, key: str, partition: str) -> str:
    if store.fs.exists(f"{store.place(key, partition)}/{RECEIPT}"):
        return "damaged: its receipt was changed, or a file is missing or not as long as the receipt says"
    return "not made yet"


def _shard_reasons(versions: Versions, shard: str, receipt: Receipt) -> Iterator[str]:
    listed, then = versions.listing.get(shard), receipt.metadata
    if listed is None:
        yield "not in the corpus any more"
    elif then.get("url") != listed["url"]:
        yield f"its file is another one: {then.get('url')} then, {listed['url']} now"
    elif then.get("bytes") != listed["bytes"]:
        yield f"its file changed: {then.get('bytes', 0):,} bytes then, {listed['bytes']:,} now"
    elif then.get("modified") != listed["modified"]:
        yield "its file was written again, as long as before"
    elif then.get("leads_to") != listed.get("leads_to"):
        yield "its link leads to another file"


def _following_reasons(versions: Versions, step: Step, partition: str, receipt: Receipt) -> Iterator[str]:
    """Tell what is wrong with the inputs of an artifact that follows all of them."""
    profile = versions.workspace.profile
    try:
        recipe = step.recipe(profile, versions.inputs(step, partition), partition)
    except MissingInput:
        recipe = ""
    if receipt.recipe == recipe:
        return
    told = list(input_reasons(versions, step, partition, receipt))
    yield from told
    if not told and receipt.code == step.code_version(profile):
        yield f"its receipt does not add up: recipe {short(receipt.recipe)}, by its inputs {short(recipe)}"


def _pinned_reasons(versions: Versions, step: Step, partition: str, receipt: Receipt) -> Iterator[str]:
    if versions.drifted(step, receipt):
        index = versions.receipt("corpus/index", "")
        then, now = receipt.metadata["documents"], index.metadata["documents"] if index else 0
        limit = versions.workspace.profile.samplers.clusters.drift
        yield f"the corpus drifted: {then:,} documents then, {now:,} now (samplers.clusters.drift = {limit:g})"
    yield from pinned_reasons(versions, step, partition, receipt)
    if versions.marked(step, partition) and versions.behind(step, partition):
        yield "asked to be learned anew, and the corpus moved on since it was"


def _files_outside(receipt: Receipt) -> Iterator[str]:
    """Tell which files outside the graph that an artifact speaks of do not look as they did then."""
    seen = receipt.metadata.get("seen", {})
    changed, gone = [], []
    for name in seen:
        try:
            if file_states(Path(receipt.metadata["place"]), [name])[name] != seen[name]:
                changed.append(name)
        except OSError:
            gone.append(name)
    for what, names in (("changed", changed), ("cannot be read", gone)):
        if names:
            yield f"files in {receipt.metadata['place']} {what}: {named(names)}"


def behind(versions: Versions, step: Step, partition: str) -> str | None:
    """Tell of a pinned artifact that is kept although the corpus moved on; None where it did not, or it is not kept."""
    receipt = versions.receipt(step.key, partition)
    if receipt is None or not versions.behind(step, partition) or reasons(versions, step, partition):
        return None
    if missing := missing_inputs(versions, step, partition):
        return f"cannot be compared with the corpus now: {'; '.join(missing)}"
    index = versions.receipt("corpus/index", "")
    if step.key in _COUNTS_THE_CORPUS and index is not None:
        then, now = receipt.metadata["documents"], index.metadata["documents"]
        return f"learned from an earlier corpus: {then:,} documents then, {now:,} now"
    return "learned from an earlier corpus, which changed since"


def follows(versions: Versions, step: Step, partition: str) -> bool:
    """Tell whether an ancestor is out of date, so that the artifact may have to follow."""
    memo, at = _memo(versions).follows, (step.key, partition)
    if at not in memo:
        memo[at] = any(_any_out(versions, r, step.partial) for r in _followed(versions, step, partition))
    return memo[at]


def inherited(versions: Versions, step: Step, partition: str) -> list[tuple[str, str]]:
    """Return (key, partition) of the ancestors that are missing or out of date and that the artifact follows, nearest first.

    Pinned artifacts do not follow the corpus: of what is above them, only what is pinned itself counts.
    """
    found: list[tuple[str, str]] = []
    seen: set[tuple[str, str]] = set()
    level = [(step, partition)]
    while level:
        above: list[tuple[Step, str]] = []
        for reader, at in level:
            if not follows(versions, reader, at):
                continue
            for need, partitions, *_ in _followed(versions, reader, at):
                fresh = [p for p in partitions if (need.key, p) not in seen]
                seen.update((need.key, p) for p in fresh)
                above += [(need, p) for p in fresh]
        found += [(need.key, p) for need, p in above if out_of_date(versions, need, p)]
        level = above
    return found


def _followed(versions: Versions, step: Step, partition: str) -> Iterator[Reading]:
    if step.key == "corpus/shards":  # follows the listed files, not the listing's version
        return
    for reading in readings(versions, step, partition):
        if not step.pinned or reading.need.pinned:
            yield reading


def _any_out(versions: Versions, reading: Reading, partial: bool) -> bool:
    """Tell whether one of the partitions is out of date or follows one that is; of all partitions of a step only once."""
    need, memo = reading.need, _memo(versions).any_out
    if not reading.several:
        return any(_out(versions, need, p) for p in reading.partitions)
    if (need.key, partial) not in memo:
        memo[need.key, partial] = any(_out(versions, need, p) for p in reading.partitions)
    return memo[need.key, partial]


def _out(versions: Versions, step: Step, partition: str) -> bool:
    return out_of_date(versions, step, partition) or follows(versions, step, partition)
