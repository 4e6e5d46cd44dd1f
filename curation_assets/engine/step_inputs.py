"""What the artifacts of a step read: what is the same for all of them is answered once, whatever the number of partitions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from weakref import proxy

from curation_assets.engine.graph import STEPS
from curation_assets.engine.input_reasons import missing_input
from curation_assets.engine.reasons import Reason
from curation_assets.engine.step import EDGE, Recipes, Step, reads_all

if TYPE_CHECKING:
    from curation_assets.engine.staleness import Versions

LISTING, CORPUS_FILE = EDGE[:2]
"""Steps at the edge of the graph, whose inputs are files and not artifacts."""


class Reading(NamedTuple):
    """What an artifact reads of one input: these partitions; `several` where their versions count as one fingerprint.

    `required`: without it the artifact cannot be made.
    """

    need: Step
    partitions: list[str]
    several: bool
    required: bool


class StepInputs:
    """What the artifacts of a step read: inputs that are the same for all of them, and those that are each one's own.

    What is asked of the former is answered once a step, whatever the number of its partitions.
    """

    def __init__(self, versions: Versions, step: Step) -> None:
        # A proxy, as they have this one: their memory is large, and no cycle's.
        self._versions, self._step = proxy(versions), step
        self.all: list[Reading | Step] = [
            self._shared(STEPS[key], only) for key, only in step.reads(versions.profile).items()
        ]
        self.shared = [each for each in self.all if isinstance(each, Reading)]
        self.own = sorted((each for each in self.all if isinstance(each, Step)), key=lambda need: need.key)

    def _shared(self, need: Step, only: str | None) -> Reading | Step:
        """Return what all partitions read of an input; the input itself where each reads its own partition."""
        step, several = self._step, only is None and reads_all(self._step.by, need.by)
        if several:
            wanted = self._versions.there(need.key) if step.partial else self._versions.partitions(need.by)
        elif only is not None or need.by == "":
            wanted = [only or ""]
            if step.partial:
                wanted = [p for p in wanted if self._versions.receipt(need.key, p) is not None]
        else:
            return need
        return Reading(need, wanted, several, not step.partial)

    @cached_property
    def missing(self) -> Reason | None:
        """What is missing of the shared inputs."""
        return next(filter(None, (missing_input(self._versions, reading) for reading in self.shared)), None)

    @cached_property
    def versions(self) -> dict[str, str]:
        """The versions of the shared inputs."""
        return {reading.need.key: self._versions.version(reading) for reading in self.shared}

    @cached_property
    def recipes(self) -> Recipes:
        """The recipes that the artifacts would have now."""
        code = self._versions.code_version(self._step)
        return Recipes(self._step, code, self.versions, [need.key for need in self.own])

    @cached_property
    def clean(self) -> bool:
        """Whether nothing above is out of date, of all that is listed: then nobody need look for what one artifact follows."""
        needs = [STEPS[key] for key in self._step.reads(self._versions.profile)]
        return all(self._versions.clean(need) for need in needs if follows_input(self._step, need))

    @cached_property
    def outdated(self) -> bool:
        """Whether something of the shared inputs that the artifacts follow is out of date, or follows what is."""
        return any(self._versions.any_outdated(reading) for reading in followed(self._step, self.shared))


def follows_input(step: Step, need: Step) -> bool:
    """Tell whether artifacts of a step follow an input.

    A corpus file follows the listed files, not the listing's version; a pinned artifact what is pinned itself, and not the corpus.
    """
    return step.key != CORPUS_FILE and (not step.pinned or need.pinned)


def followed(step: Step, readings: Iterable[Reading]) -> list[Reading]:
    """Return those of the readings that artifacts of a step follow."""
    return [reading for reading in readings if follows_input(step, reading.need)]
