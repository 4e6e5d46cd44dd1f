"""What follows by itself from a change: which artifacts should be made now. Told from the artifacts alone, like make does.

An artifact is due when it is out of date and everything that it reads has settled: is what it will be for now. So a
change moves through the graph step by step, nothing is made twice, and where a look begins does not matter: after a
kill, a missed change or a change during a run the next look finds what is left to do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from curation_assets.common.files import fingerprint
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.workspace import MissingInput, Workspace, title

_SHOWN = 4  # steps that are named


Refusal = Callable[[Workspace, Step], str]
"""Says why a step that reads documents has none to read although its inputs are there; "" where it has."""


def never(workspace: Workspace, step: Step) -> str:
    """Refuse nothing."""
    return ""


class Follow:
    """One look at the graph, `versions`: make one, ask it, throw it away. `next_try` is when the next failure may be tried again.

    `settled` is what earlier looks of the same run found of steps that have ended. `refusal` is the driver's: it says why
    a step has nothing to read although its inputs are there. The driver tells that once; for a look such a step is not due.
    `earlier` are the versions of an earlier look, of which what is current still is not read again.
    """

    def __init__(
        self,
        workspace: Workspace,
        now: float | None = None,
        settled: dict[tuple[str, str], bool] | None = None,
        refusal: Refusal = never,
        earlier: Versions | None = None,
    ) -> None:
        self._workspace, self.versions = workspace, Versions(workspace, earlier)
        self._automation = workspace.profile.automation
        self._now = time.time() if now is None else now
        self._wanted = {step.key for step in wanted_steps(workspace.profile)}
        self._settled = {} if settled is None else settled
        self._refusal = refusal
        self._due: dict[str, list[str]] = {}
        self._follows: dict[str, bool] = {}
        self._all_settled: dict[str, bool] = {}
        self.next_try = math.inf

    def follows(self, step: Step) -> bool:
        """Tell whether a step is made by itself: scores and subsets are, training and reports if the profile says so.

        A model learned from the corpus is where it is missing (unless it takes training) or somebody asked to refresh it.
        """
        if step.key not in self._follows:
            self._follows[step.key] = self._find_follows(step)
        return self._follows[step.key]

    def _find_follows(self, step: Step) -> bool:
        if step.key not in self._wanted or step.key == "corpus/source":
            return False
        if step.pinned and any(self.versions.marked(step, p) for p in targets(self.versions, step)):
            return True
        return self._automation.training or not (step.trains or step.partial)

    def due(self, step: Step) -> list[str]:
        """Return the partitions of a step to make now."""
        if step.key not in self._due:
            asked = targets(self.versions, step) if self.follows(step) else []
            due = [p for p in self.versions.stale(step, asked) if self._is_due(step, p)]
            self._due[step.key] = [] if due and self._refusal(self._workspace, step) else due
        return self._due[step.key]

    def all_due(self) -> dict[str, list[str]]:
        """Return {asset key: partitions} of what is due."""
        return {key: due for key, step in STEPS.items() if (due := self.due(step))}

    def fingerprint(self) -> str:
        """Return a hash of what is due and of what each is to become; "" where nothing is due."""
        due = {
            title(key, p): self.versions.wanted(STEPS[key], p)
            for key, partitions in self.all_due().items()
            for p in partitions
        }
        return fingerprint(due) if due else ""

    def reasons(self, most: int = _SHOWN) -> list[str]:
        """Return a sentence for the first few steps of which something is due: how much, and why."""
        due = list(self.all_due().items())
        more = [f"and {len(due) - most:,} assets more"] if len(due) > most else []
        return [self._why(STEPS[key], partitions) for key, partitions in due[:most]] + more

    def _why(self, step: Step, partitions: list[str]) -> str:
        count = f"{step.key}: {len(partitions):,}" if step.by else step.key
        reasons = self.versions.reasons(step, partitions[0])
        return f"{count} ({'; '.join(map(str, reasons))})"

    def waiting(self, most: int = _SHOWN) -> list[str]:
        """Return a sentence for the first few steps of which something is out of date but not due: what it waits for."""
        found = []
        for step in STEPS.values():
            asked = targets(self.versions, step) if self.follows(step) else []
            due = set(self.due(step))
            held = [p for p in self.versions.stale(step, asked) if p not in due]
            if held:
                count = f"{step.key}: {len(held):,}" if step.by else step.key
                found.append(f"{count} out of date: {self.held_by(step, held[0])}")
        more = [f"and {len(found) - most:,} assets more"] if len(found) > most else []
        return found[:most] + more

    def held_by(self, step: Step, partition: str) -> str:
        """Return what an artifact waits for that is out of date and not due."""
        if not self.follows(step):
            return "waits for somebody who asks for it, or for automation.training"
        for need, wanted, _ in self._reads(step, partition):
            if not wanted and not step.partial:
                return f"waits for {need.key}: no file of the corpus has been read"
            for p in wanted:
                if not self._is_settled(need, p):
                    return f"waits for {title(need.key, p)}"
        if why := self._refusal(self._workspace, step):
            return f"waits for corpus/documents: {why}"
        attempt = self.versions.attempts.get((step.key, partition))
        if attempt is None or attempt.running():
            return "is being made"
        when = attempt.next_try(self._automation.retries, self._automation.retry_seconds)
        again = (
            f"tried again at {datetime.fromtimestamp(when):%H:%M:%S}" if when else "not tried again by itself"
        )
        return f"failed ({attempt.error}), {again}"

    def _is_due(self, step: Step, partition: str) -> bool:
        """Tell whether an artifact that is missing or out of date is to be made now."""
        return self._inputs_settled(step, partition) and self._may_try(step, partition)

    def _inputs_settled(self, step: Step, partition: str) -> bool:
        return all(
            (wanted or step.partial) and self._are_settled(need, wanted, several)
            for need, wanted, several in self._reads(step, partition)
        )

    def _reads(self, step: Step, partition: str) -> Iterator[tuple[Step, list[str], bool]]:
        """Yield what an artifact reads, and whether those are all partitions that there are; of a report, what there will be."""
        if not step.partial:
            for need, wanted, several, _ in self.versions.readings(step, partition):
                yield need, wanted, several
            return
        for key in step.reads(self._workspace.profile):
            yield STEPS[key], targets(self.versions, STEPS[key]) if key in self._wanted else [], False

    def _are_settled(self, step: Step, partitions: list[str], several: bool) -> bool:
        """Tell whether partitions of a step have settled; of all that there are only once."""
        if not several:
            return all(self._is_settled(step, p) for p in partitions)
        if step.key not in self._all_settled:
            self._all_settled[step.key] = all(self._is_settled(step, p) for p in partitions)
        return self._all_settled[step.key]

    def _is_settled(self, step: Step, partition: str) -> bool:
        at = (step.key, partition)
        settled = self._settled.get(at)
        if settled is None:
            settled = self._settled[at] = self._find_settled(step, partition)
        return settled

    def _find_settled(self, step: Step, partition: str) -> bool:
        there = self.versions.receipt(step.key, partition) is not None
        if not self.follows(step):
            # It will not change by itself. A model that reads with other pieces than there are now is waited for.
            return there and (not step.pinned or self.versions.current(step, partition))
        if not self.versions.current(step, partition):
            return there and self._unreadable(step, partition)
        if step.pinned:  # the corpus may move on under it; how far, only a step with a limit looks
            return not step.drift or self._is_settled(STEPS["corpus/index"], "")
        return self._inputs_settled(step, partition)

    def _unreadable(self, step: Step, partition: str) -> bool:
        """Tell whether a corpus file changed into something that cannot be read: what was read last stays in use."""
        attempt = self.versions.attempts.get((step.key, partition)) if step.key in EDGE else None
        return attempt is not None and bool(attempt.error) and self._is_at(step, partition, attempt.wanted)

    def _may_try(self, step: Step, partition: str) -> bool:
        attempt = self.versions.attempts.get((step.key, partition))
        if attempt is None:
            return True
        if attempt.running():
            return False
        if not self._is_at(step, partition, attempt.wanted):
            return True
        when = attempt.next_try(self._automation.retries, self._automation.retry_seconds)
        if when is None:
            return False
        if when > self._now:
            self.next_try = min(self.next_try, when)
        return when <= self._now

    def _is_at(self, step: Step, partition: str, wanted: str) -> bool:
        try:
            return wanted == self.versions.wanted(step, partition)
        except MissingInput:
            return False
