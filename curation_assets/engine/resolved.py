"""What a worker is given to make artifacts: the receipts of their inputs. It sees the store and the profile, and no catalog."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.engine.borrowed import nothing
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import At, Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace


@dataclass(frozen=True)
class Inputs:
    """The inputs of some partitions of a step, as they are when the work is given out.

    Attributes
    ----------
    receipts : {(asset key, partition): receipt} of all that the partitions read.
    shards, set_aside : what `Workspace.shards` and `Workspace.set_aside` gave.
    """

    receipts: dict[At, Receipt]
    shards: tuple[str, ...]
    set_aside: dict[str, str]


def resolve(versions: Versions, step: Step, partitions: list[str]) -> Inputs | None:
    """Return the inputs of partitions of a step; None for a step that shows what is current, which takes the catalog.

    A note of which model is meant stands for files of another artifact: that one is an input as well.
    """
    if step.partial or step.versions_of:
        return None
    receipts: dict[At, Receipt] = {}
    for partition in partitions:
        for reading in versions.readings(step, partition):
            _add(versions, receipts, reading.need.key, reading.partitions)
            if reading.need.borrows is not nothing and not reading.several:
                for lent in versions.readings(reading.need, *reading.partitions):
                    _add(versions, receipts, lent.need.key, lent.partitions)
    return Inputs(receipts, tuple(versions.partitions("shard")), versions.set_aside)


def _add(versions: Versions, receipts: dict[At, Receipt], key: str, partitions: list[str]) -> None:
    there = versions.receipts(key)
    receipts.update(((key, p), there[p]) for p in partitions if p in there)


class ResolvedWorkspace(Workspace):
    """A workspace whose artifacts are the inputs of one task."""

    def __init__(self, workspace: Workspace, inputs: Inputs) -> None:
        super().__init__(workspace.profile)
        self.store = workspace.store  # it knows whose digests were checked
        self._inputs = inputs
        self._by_key: dict[str, dict[str, Receipt]] = {}
        for (key, partition), receipt in inputs.receipts.items():
            self._by_key.setdefault(key, {})[partition] = receipt

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return the receipt of an input, or None."""
        return self._inputs.receipts.get((key, partition))

    def receipts(self, key: str) -> dict[str, Receipt]:
        """Return {partition: receipt} of the inputs of a key."""
        return self._by_key.get(key, {})

    def shards(self) -> list[str]:
        """Return the shards that the graph works on."""
        return list(self._inputs.shards)

    def set_aside(self) -> dict[str, str]:
        """Return {shard: reason} of listed files that never could be read."""
        return self._inputs.set_aside

    def withdraw(self, receipt: Receipt, problem: str = "withdrawn") -> None:
        """Leave that to who gave the task out, and hears of the damage."""
