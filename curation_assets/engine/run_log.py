"""The lines of a run's log: what was asked for, why it has to be made, how far it is, what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from curation_assets.common.progress import duration
from curation_assets.engine.reasons import Reason, counted, summary
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import title

_MINUTE = 60.0
_LONG = 10.0  # seconds that are left before that is said


@dataclass
class StepLog:
    """The lines on a step: what is about to be made and why, then a line for each partition that is finished.

    Attributes
    ----------
    count : partitions of the step that are made or current.
    reasons : why partitions are made, {partition: reasons}, once `opening` has looked.
    made, current, failed : partitions that were made now, that already were what they should be, {partition: reason}.
    """

    step: Step
    count: int
    made: int = 0
    current: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, tuple[Reason, ...]] = field(default_factory=dict, init=False)
    _started: float = field(default_factory=time.monotonic, init=False)
    _before: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Remember how many partitions were current before."""
        self._before = self.current

    def opening(self, versions: Versions, partitions: list[str]) -> str:
        """Return the line on what a run is about to do with partitions of the step: how many are to make, and why."""
        several = len(partitions) > 1
        name = (
            f"{self.step.key}, {len(partitions):,} partitions"
            if several
            else title(self.step.key, *partitions)
        )
        self.reasons = {p: why for p in partitions if (why := versions.reasons(self.step, p))}
        if not self.reasons:
            kept = any(versions.behind(self.step, partition) for partition in partitions)
            return f"{name}: {'of an earlier corpus' if kept else 'nothing to make'}"
        count = f"{len(self.reasons):,} " if several else ""
        return f"{name}: {count}to make ({summary(counted(self.reasons.values()))})"

    def finished(self, receipt: Receipt, made: bool) -> str:
        """Return the line for a partition that is current now."""
        self.made, self.current = self.made + made, self.current + (not made)
        label = title(self.step.key, receipt.partition)
        took = f"{receipt.seconds:.1f} s" if receipt.seconds < _MINUTE else duration(receipt.seconds)
        what, when = ("made", f", {took}") if made else ("already current", "")
        if made and (twin := receipt.metadata.get("taken_over_from")):
            what, when = f"taken over from {twin}, whose content it has", ""
        return f"{label}: {what} ({self._number()} of {self.count}){when}{self._left()}"

    def went_wrong(self, partition: str, reason: str) -> str:
        """Return the line for a partition that could not be made."""
        self.failed[partition] = reason
        return f"{title(self.step.key, partition)}: failed ({self._number()} of {self.count}): {reason}"

    def _number(self) -> int:
        return self.made + self.current + len(self.failed)

    def _left(self) -> str:
        """Return ", about N min left" for many partitions, by those that were made so far."""
        left = self.count - self._number()
        seconds = (time.monotonic() - self._started) / (self._number() - self._before) * left
        return f", about {duration(seconds)} left" if self.made and seconds >= _LONG else ""
