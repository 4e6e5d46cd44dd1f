"""What is out of date, and why: artifacts compared with what their code, settings and inputs would make now.

`Versions.reasons` is the one answer. An artifact is current where it gives none; plans, the status, traces, logs, the
page and Dagster's UI show what it gives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cached_property
from operator import attrgetter
from typing import Any

from curation_assets.common.collector import paused
from curation_assets.common.files import fingerprint
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.graph import STEPS
from curation_assets.engine.input_reasons import (
    corpus_file_reasons,
    input_reasons,
    missing_input,
    outside_reasons,
)
from curation_assets.engine.reasons import Reason
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.step import EDGE, By, Step, own_partition
from curation_assets.engine.step_inputs import (
    CORPUS_FILE,
    LISTING,
    Reading,
    StepInputs,
    followed,
    follows_input,
)
from curation_assets.engine.workspace import MissingInput, Workspace, title

At = tuple[str, str]
"""An artifact: (asset key, partition)."""

_COUNTED = "corpus/index"  # has the number of documents that there are to choose from
_NEXT_CODE = 3  # later numbers of code that are tried as well: what another version of the product made


class Versions:
    """Versions of artifacts as they stand; the receipts of a key are read at once, and once: make one, ask it, throw it away.

    Receipts that are current still are taken from an `earlier` look, which is spent by that; all else is asked for anew.
    """

    def __init__(self, workspace: Workspace, earlier: Versions | None = None) -> None:
        self._known = earlier._read() if earlier else {}
        self.workspace, self.profile = workspace, workspace.profile
        self._receipts: dict[str, dict[str, Receipt]] = {}
        self._damaged: dict[str, dict[str, Receipt]] = {}
        self._partitions: dict[By, list[str]] = {}
        self._inputs: dict[str, StepInputs] = {}
        self._code: dict[str, str] = {}
        self._missing: dict[str, list[str]] = {}
        self._all: dict[str, str] = {}
        self._reasons: dict[At, tuple[Reason, ...]] = {}
        self._current: dict[str, set[str]] = {}
        self._follows: dict[At, bool] = {}
        self._clean: dict[str, bool] = {}
        self._any_outdated: dict[tuple[str, bool], bool] = {}

    def receipt(self, key: str, partition: str) -> Receipt | None:
        """Return an artifact's receipt; None where there is none, or a file of it is missing or resized."""
        return self.receipts(key).get(partition)

    def receipts(self, key: str) -> dict[str, Receipt]:
        """Return {partition: receipt} of the artifacts of a key that are there and intact."""
        if key not in self._receipts:
            if known := self._known.pop(key, None):
                self._take(key, self.workspace.catalog.current_of(key, known=known))
            else:
                self._take(key, self.workspace.receipts(key))
        return self._receipts[key]

    def _read(self) -> dict[str, dict[str, Receipt]]:
        """Return all receipts that were read, intact or not."""
        return {key: there | self._damaged[key] for key, there in self._receipts.items()}

    def damaged(self, key: str, partition: str) -> Receipt | None:
        """Return the receipt of an artifact of which a file is missing or resized, or None."""
        self.receipts(key)
        return self._damaged[key].get(partition)

    def read_again(self, key: str, partitions: list[str]) -> Versions:
        """Read some artifacts as they stand now, and forget what followed for them alone.

        Where one was made anew meanwhile, what it was made of may be newer than what was read: then others are returned, that
        read everything again.
        """
        self.receipts(key)
        now, renewed = self.workspace.catalog.current_of(key, partitions), False
        for partition in partitions:
            before = self._receipts[key].pop(partition, None) or self._damaged[key].pop(partition, None)
            renewed |= partition in now and now[partition] != before
            self._reasons.pop((key, partition), None)
        if renewed:
            return Versions(self.workspace)
        self._take(key, now)
        if key in self._current:
            self._current[key].difference_update(partitions)
            again = [receipt for p in partitions if (receipt := self.receipt(key, p))]
            self._current[key] |= self._find_current(STEPS[key], again)
        return self

    def _take(self, key: str, receipts: dict[str, Receipt]) -> None:
        with paused():
            intact = self.workspace.store.intact(receipts.values(), listed=False)
        there = self._receipts.setdefault(key, {})
        there.update((receipt.partition, receipt) for receipt in intact)
        damaged = self._damaged.setdefault(key, {})
        damaged.update((p, receipt) for p, receipt in receipts.items() if p not in there)

    @cached_property
    def attempts(self) -> dict[At, Attempt]:
        """{artifact: latest attempt to make it since the last success}."""
        return self.workspace.catalog.attempts()

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""
        if by not in self._partitions:
            self._partitions[by] = self.workspace.partitions(by)
        return self._partitions[by]

    def listed(self) -> list[str]:
        """Return the shard keys of the corpus's last listing, sorted."""
        return self._listed

    @cached_property
    def _listed(self) -> list[str]:
        return sorted(self.listing)

    @cached_property
    def set_aside(self) -> dict[str, str]:
        """What `Workspace.set_aside` gave."""
        return self.workspace.set_aside()

    @cached_property
    def refresh_asked(self) -> dict[str, float]:
        """What `Catalog.marks` gave."""
        return self.workspace.catalog.marks()

    @cached_property
    def _withdrawn(self) -> dict[At, str]:
        """What `Catalog.withdrawn` gave."""
        return self.workspace.catalog.withdrawn()

    @cached_property
    def listing(self) -> dict[str, dict[str, Any]]:
        """What `Workspace.listing` gave."""
        return self.workspace.listing()

    # What an artifact reads

    def readings(self, step: Step, partition: str) -> list[Reading]:
        """Return what an artifact reads: of each input the partitions, for a partial step those that there are."""
        return [
            each
            if isinstance(each, Reading)
            else Reading(each, [own_partition(step.by, partition, each.by)], False, not step.partial)
            for each in self._inputs_of(step).all
        ]

    def _inputs_of(self, step: Step) -> StepInputs:
        if step.key not in self._inputs:
            self._inputs[step.key] = StepInputs(self, step)
        return self._inputs[step.key]

    def there(self, key: str) -> list[str]:
        """Return those partitions of a step that have been made."""
        missing = set(self._all_missing(key))
        return [p for p in self.partitions(STEPS[key].by) if p not in missing]

    def missing(self, reading: Reading) -> list[str]:
        """Return those partitions of an input that have not been made."""
        if reading.several and reading.required:
            return self._all_missing(reading.need.key)
        receipts = self.receipts(reading.need.key)
        return [p for p in reading.partitions if p not in receipts]

    def _all_missing(self, key: str) -> list[str]:
        if key not in self._missing:
            receipts = self.receipts(key)
            self._missing[key] = [p for p in self.partitions(STEPS[key].by) if p not in receipts]
        return self._missing[key]

    def version(self, reading: Reading) -> str:
        """Return the version of an input; of several partitions the fingerprint of {partition: version}, of those that there are."""
        key = reading.need.key
        if reading.several and key in self._all:
            return self._all[key]
        receipts = self.receipts(key)
        versions = {p: receipts[p].version for p in reading.partitions if p in receipts}
        if versions and not reading.several:
            return next(iter(versions.values()))
        # Groups are parts of one whole: in how many it was made changes nothing.
        parts = sorted(set(versions.values())) if reading.need.by == "group" else versions
        combined = fingerprint(parts)
        if reading.several:  # all partitions, whoever reads them
            self._all[key] = combined
        return combined

    def inputs(self, step: Step, partition: str) -> dict[str, str]:
        """Return the version of each input.

        Raises
        ------
        MissingInput
            When something that the step needs has not been materialized (partial steps need nothing).
        """
        if (versions := self._versions_of_inputs(step, partition)) is not None:
            return versions
        missing = self._missing_input(step, partition)
        assert missing is not None
        there_are_shards = bool(missing.partitions)
        what = (
            title(missing.subject, missing.partitions[0])
            if there_are_shards
            else f"{missing.subject} (the corpus has no shards)"
        )
        raise MissingInput(f"{title(step.key, partition)} needs {what}, which has not been materialized")

    def _versions_of_inputs(self, step: Step, partition: str) -> dict[str, str] | None:
        """Return the version of each input; None where something that the step needs is missing."""
        inputs = self._inputs_of(step)
        if inputs.missing is not None:
            return None
        versions = inputs.versions.copy()
        for need in inputs.own:
            receipt = self.receipt(need.key, own_partition(step.by, partition, need.by))
            if receipt is None:
                return None
            versions[need.key] = receipt.version
        return versions

    def _missing_input(self, step: Step, partition: str) -> Reason | None:
        readings = self.readings(step, partition)
        return next(filter(None, (missing_input(self, reading) for reading in readings)), None)

    def input_versions(self, step: Step, partition: str) -> dict[str, str]:
        """Return the version of each input as `inputs` does, but of what there is where something is missing."""
        return {reading.need.key: self.version(reading) for reading in self.readings(step, partition)}

    def recipe(self, step: Step, partition: str) -> str:
        """Return the version that an artifact has when made from what there is now; MissingInput as `inputs`."""
        return step.recipe_of(self.code_version(step), self.inputs(step, partition), partition)

    def wanted(self, step: Step, partition: str) -> str:
        """Return what an attempt at the artifact is an attempt at: a recipe, or what the listing says of a corpus file."""
        if step.key == CORPUS_FILE:
            return fingerprint(self.listing.get(partition))
        return self.recipe(step, partition)

    # What is out of date

    def reasons(self, step: Step, partition: str) -> tuple[Reason, ...]:
        """Return why an artifact is missing or out of date: not what its code, settings and inputs would make now."""
        at = (step.key, partition)
        reasons = self._reasons.get(at)
        if reasons is None:
            reasons = self._reasons[at] = tuple(self._differences(step, partition))
        return reasons

    def current(self, step: Step, partition: str) -> bool:
        """Tell whether the artifact is there and there is no reason to make it anew."""
        return partition in self._all_current(step)

    def stale(self, step: Step, partitions: list[str]) -> list[str]:
        """Return those of `partitions` whose artifact is missing or out of date."""
        current = self._all_current(step)
        return [p for p in partitions if p not in current]

    def outdated(self, step: Step, partition: str) -> bool:
        """Tell whether an artifact is missing or out of date, other than that the corpus is always listed again."""
        if step.key == LISTING:
            return any(reason.kind != "listed_again" for reason in self.reasons(step, partition))
        return not self.current(step, partition)

    def _all_current(self, step: Step) -> set[str]:
        """Return the partitions of a step that are current."""
        if step.key not in self._current:
            receipts = self.receipts(step.key)
            with paused():
                self._current[step.key] = self._find_current(step, receipts.values())
        return self._current[step.key]

    def _find_current(self, step: Step, receipts: Collection[Receipt]) -> set[str]:
        """Return the partitions of those artifacts of a step for which there are no `reasons`, without looking for these."""
        if step.pinned or step.key in (LISTING, CORPUS_FILE):
            return {r.partition for r in receipts if not self.reasons(step, r.partition)}
        code, made_so = self.code_version(step), self._made_from(step, receipts)
        return {r.partition for r in made_so if r.code == code and not (r.seen and any(outside_reasons(r)))}

    def _differences(self, step: Step, partition: str) -> Iterator[Reason]:
        receipt = self.receipt(step.key, partition)
        if receipt is None:
            yield self._absence(step.key, partition)
            return
        if step.key == CORPUS_FILE:
            yield from corpus_file_reasons(receipt, self.listing.get(partition))
            return
        if receipt.code != self.code_version(step):
            yield self._other_code(step, receipt)
        elif step.key == LISTING:  # a change is noticed by listing the corpus
            yield Reason("listed_again")
        if step.key == LISTING:
            return
        different = self._pinned_differences if step.pinned else self._input_differences
        yield from different(step, partition, receipt)
        yield from outside_reasons(receipt)

    def _absence(self, key: str, partition: str) -> Reason:
        """Tell why there is no artifact that can be used."""
        if self.damaged(key, partition):
            return Reason("damaged")
        problem = self._withdrawn.get((key, partition))
        return Reason("missing") if problem is None else Reason("withdrawn", now=problem)

    def code_version(self, step: Step) -> str:
        """Return the code version that artifacts of a step would have now."""
        if step.key not in self._code:
            self._code[step.key] = step.code_version(self.profile)
        return self._code[step.key]

    def _other_code(self, step: Step, receipt: Receipt) -> Reason:
        """Tell whether the code changed alone: then the settings give the receipt's fingerprint with another number of it."""
        for number in range(1, step.code + _NEXT_CODE):
            if receipt.code == replace(step, code=number).code_version(self.profile):
                return Reason("code", before=number, now=step.code)
        return Reason("settings_or_code")

    def _input_differences(self, step: Step, partition: str, receipt: Receipt) -> Iterator[Reason]:
        """Yield how the inputs differ of an artifact that follows all of them."""
        if self._made_from(step, [receipt]):
            return
        readings = self.readings(step, partition)
        differing = [*input_reasons(self, readings, receipt)]
        dropped = sorted(receipt.inputs.keys() - {reading.need.key for reading in readings})
        differing += [Reason("input_dropped", key) for key in dropped]
        yield from differing
        if not differing and receipt.code == self.code_version(step):
            yield Reason("inconsistent")

    def _made_from(self, step: Step, receipts: Collection[Receipt]) -> list[Receipt]:
        """Return those of these artifacts of a step that were made from what is there now."""
        inputs = self._inputs_of(step)
        if inputs.missing is not None:
            return []
        made_so, recipe = [], inputs.recipes.recipe
        needs = [(self.receipts(need.key), need.by) for need in inputs.own]
        for receipt in receipts:
            partition = receipt.partition
            own = [there.get(own_partition(step.by, partition, by)) for there, by in needs]
            versions = [each.version for each in own if each is not None]
            if len(versions) == len(needs) and receipt.recipe == recipe(versions, partition):
                made_so.append(receipt)
        return made_so

    # What is pinned: a model learned from the corpus, which may move on under it

    def _pinned_differences(self, step: Step, partition: str, receipt: Receipt) -> Iterator[Reason]:
        """Yield why a pinned artifact is not kept: the corpus drifted too far, another model that it is made from, a request."""
        if step.drift and (drifted := self._drifted(step, receipt)):
            yield drifted
        pinned = [reading for reading in self.readings(step, partition) if reading.need.pinned]
        yield from input_reasons(self, pinned, receipt)
        if self.marked(step, partition) and self.behind(step, partition):
            yield Reason("refresh_asked")

    def _drifted(self, step: Step, receipt: Receipt) -> Reason | None:
        """Return that the number of documents moved by more than the step's limit, if it did."""
        index = self.receipt(_COUNTED, "")
        if index is None:
            return None
        limit = attrgetter(step.drift)(self.profile)
        before, now = receipt.metadata["documents"], index.metadata["documents"]
        moved = abs(now - before) > limit * before
        return Reason("drifted", step.drift, before=before, now=now, limit=limit) if moved else None

    def behind(self, step: Step, partition: str) -> bool:
        """Tell whether a pinned artifact is kept although it would be another one, made now."""
        receipt = self.receipt(step.key, partition) if step.pinned else None
        return receipt is not None and not self._made_from(step, [receipt])

    def marked(self, step: Step, partition: str) -> bool:
        """Tell whether somebody asked to learn a pinned artifact anew, and it has not been since."""
        return title(step.key, partition) in self.refresh_asked

    def kept(self, step: Step, partition: str) -> Reason | None:
        """Return how far a pinned artifact that is current is behind the corpus; None where it is not."""
        receipt = self.receipt(step.key, partition)
        if receipt is None or not self.behind(step, partition) or not self.current(step, partition):
            return None
        if missing := self._missing_input(step, partition):
            return replace(missing, kind="incomparable")
        index = self.receipt(_COUNTED, "")
        if _COUNTED in step.needs and index is not None:  # then its documents are those of the whole corpus
            return Reason("behind", before=receipt.metadata["documents"], now=index.metadata["documents"])
        return Reason("behind")

    # What will follow from that

    def follows(self, step: Step, partition: str) -> bool:
        """Tell whether an ancestor is out of date, so that the artifact may have to follow."""
        if self._inputs_of(step).clean and (step.by != "shard" or partition in self.listing):
            return False
        at = (step.key, partition)
        if at not in self._follows:
            self._follows[at] = self._find_follows(step, partition)
        return self._follows[at]

    def _find_follows(self, step: Step, partition: str) -> bool:
        inputs = self._inputs_of(step)
        return inputs.outdated or any(
            self._out(need, own_partition(step.by, partition, need.by))
            for need in inputs.own
            if follows_input(step, need)
        )

    def clean(self, step: Step) -> bool:
        """Tell whether no artifact of a step, and of what it follows, is missing or out of date."""
        if step.key not in self._clean:
            partitions = (
                self.listed() if step.key in EDGE and step.by == "shard" else self.partitions(step.by)
            )
            self._clean[step.key] = self._inputs_of(step).clean and not any(
                self.outdated(step, partition) for partition in partitions
            )
        return self._clean[step.key]

    def inherited(self, step: Step, partition: str) -> list[At]:
        """Return the ancestors that are missing or out of date and that the artifact follows, nearest first.

        Pinned artifacts do not follow the corpus: of what is above them, only what is pinned itself counts.
        """
        ancestors: list[At] = []
        seen: set[At] = set()
        level = [(step, partition)]
        while level:
            above: list[tuple[Step, str]] = []
            for reader, at in level:
                if not self.follows(reader, at):
                    continue
                for need, partitions, *_ in followed(reader, self.readings(reader, at)):
                    fresh = [p for p in partitions if (need.key, p) not in seen]
                    seen.update((need.key, p) for p in fresh)
                    above += [(need, p) for p in fresh]
            ancestors += [(need.key, p) for need, p in above if self.outdated(need, p)]
            level = above
        return ancestors

    def any_outdated(self, reading: Reading) -> bool:
        """Tell whether one of the partitions is out of date or follows one that is; of all partitions of a step only once."""
        need, at = reading.need, (reading.need.key, reading.required)
        if not reading.several:
            return any(self._out(need, p) for p in reading.partitions)
        if self.clean(need):
            return False
        if at not in self._any_outdated:
            self._any_outdated[at] = any(self._out(need, p) for p in reading.partitions)
        return self._any_outdated[at]

    def _out(self, step: Step, partition: str) -> bool:
        return self.outdated(step, partition) or self.follows(step, partition)
