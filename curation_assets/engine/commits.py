"""What a run begins and what of it becomes current: leases, artifacts that are taken over, commits.

Only here and in `Workspace.withdraw` does anything become or cease to be current. Workers make folders; who drives the run
commits them, as long as it holds the lease.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from curation_assets.engine.attempts import Attempt
from curation_assets.engine.catalog import LeaseLost, Writer
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import At, Versions
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.workspace import MissingInput, Workspace


@dataclass
class Begun:
    """What came of partitions that a run wants to make.

    Attributes
    ----------
    versions : by which that was told.
    current : artifacts that are what they should be already.
    taken_over : artifacts of another partition with the same inputs, which are this one's as well now.
    to_make : partitions that are this run's to make.
    others : {partition: attempt} of those that another run is making.
    missing : {partition: why} of those that have nothing to be made from.
    """

    versions: Versions
    current: list[Receipt] = field(default_factory=list)
    taken_over: list[Receipt] = field(default_factory=list)
    to_make: list[str] = field(default_factory=list)
    others: dict[str, Attempt] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Commits:
    """One run's leases and commits; `relearn` makes pinned models that are behind as well, `anew` what is current of some steps."""

    def __init__(
        self,
        workspace: Workspace,
        writer: Writer,
        run_id: str,
        relearn: bool = False,
        anew: frozenset[str] = frozenset(),
    ) -> None:
        self._workspace, self._catalog, self._writer = workspace, workspace.catalog, writer
        self._run_id, self._relearn, self._anew = run_id, relearn, anew
        self._leases: dict[At, Attempt] = {}

    def begin(self, versions: Versions, step: Step, partitions: Iterable[str]) -> Begun:
        """Look at partitions as they stand now, and begin those that are to be made."""
        begun, left = Begun(versions), list(partitions)
        while left:
            begun.versions = versions = begun.versions.read_again(step.key, left)
            wanted = self._wanted(versions, step, left, begun)
            attempts = self._catalog.begin(self._writer, step.key, wanted, self._run_id)
            for partition, attempt in attempts.items():
                if attempt.writer == self._writer.id:
                    self._leases[step.key, partition] = attempt
                    begun.to_make.append(partition)
                else:
                    begun.others[partition] = attempt
            left = [partition for partition in wanted if partition not in attempts]
            left += self._take_over(versions, step, begun)
        return begun

    def _wanted(
        self, versions: Versions, step: Step, partitions: list[str], begun: Begun
    ) -> dict[str, tuple[str, str]]:
        """Return {partition: (what it is to become, what it replaces)} of what is to be made; the rest goes to `begun`."""
        wanted = {}
        for partition in partitions:
            there = versions.receipt(step.key, partition)
            anew = step.key in self._anew or (self._relearn and versions.behind(step, partition))
            if there is not None and not anew and versions.current(step, partition):
                begun.current.append(there)
                continue
            try:
                goal = versions.wanted(step, partition)
            except MissingInput as error:
                begun.missing[partition] = str(error)
                continue
            replaced = there or versions.damaged(step.key, partition)
            wanted[partition] = goal, replaced.folder if replaced else ""
        return wanted

    def _take_over(self, versions: Versions, step: Step, begun: Begun) -> list[str]:
        """Take over what was made from inputs of the same versions, as of a corpus file that was renamed or copied.

        Return the partitions at which somebody else was faster: to be looked at again.

        The versions of a shard's own inputs say what its documents are. Where a step reads nothing of its own shard, its
        recipe is equal for all of them and says nothing.
        """
        if (
            step.by != "shard"
            or step.key in EDGE
            or step.key in self._anew
            or not begun.to_make
            or not _reads_its_shard(versions, step)
        ):
            return []
        recipes = {partition: versions.recipe(step, partition) for partition in begun.to_make}
        known = self._catalog.made_by(step.key, set(recipes.values()))
        intact = {r.recipe for r in self._workspace.store.intact(known.values(), listed=True)}
        again = []
        for partition in [p for p, recipe in recipes.items() if recipe in intact]:
            other = known[recipes[partition]]
            taken = replace(
                other,
                partition=partition,
                inputs=versions.inputs(step, partition),
                metadata=other.metadata | {"taken_over_from": other.partition},
                created=time.time(),
                seconds=0.0,
                run_id=self._run_id,
            )
            begun.to_make.remove(partition)
            lease = self._leases.pop((step.key, partition))
            try:
                self._workspace.store.remove(self._catalog.commit(taken, lease, another=True))
                begun.taken_over.append(taken)
            except LeaseLost:
                self._catalog.end([lease])
                again.append(partition)
        return again

    def commit(self, receipt: Receipt) -> None:
        """Make an artifact current; what it replaced stays for who reads it still, and what that replaced goes.

        Raises
        ------
        LeaseLost
            Another run has taken over; the folder is removed, unless it is another artifact's as well.
        """
        lease = self._leases.pop((receipt.key, receipt.partition))
        if receipt.key == EDGE[0]:  # before it is current: what is listed again is kept from now on
            listed = self._workspace.listing_of(receipt)
            self._catalog.note_listed(listed, self._catalog.partitions_of(EDGE[1]))
        try:
            self._workspace.store.remove(self._catalog.commit(receipt, lease))
        except LeaseLost:
            self._workspace.store.remove(self._catalog.unreferenced([receipt]))
            raise

    def fail(self, key: str, partition: str, error: str) -> None:
        """Write down that an artifact could not be made, and why."""
        self._catalog.fail(self._leases.pop((key, partition)), error)

    def give_up(self, key: str, partition: str) -> None:
        """Forget an attempt that came to nothing through no fault of its own: it is tried again at once."""
        self._catalog.end([self._leases.pop((key, partition))])


def _reads_its_shard(versions: Versions, step: Step) -> bool:
    reads = step.reads(versions.workspace.profile).items()
    return any(STEPS[key].by == "shard" and not only for key, only in reads)
