"""What nothing refers to any more: folders in the store, artifacts that were replaced, artifacts of deleted corpus files.

The catalog forgets first, then the files go: a kill in between leaves folders that nothing refers to, which the next time finds.
What a run may still commit or read is kept, however old: its lease says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from curation_assets.common.progress import Progress, silent
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.step import EDGE, By
from curation_assets.engine.store import ABANDONED_AFTER, MANIFEST, Folder
from curation_assets.engine.workspace import Workspace

_AMOUNTS: tuple[By, ...] = ("rate", "rate|size")


@dataclass
class Removed:
    """Folders of one kind that went, and their bytes."""

    folders: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count a folder."""
        self.folders += 1
        self.bytes += size


@dataclass
class Garbage:
    """What was removed, or would be.

    Attributes
    ----------
    staged : what killed processes were writing.
    unreferenced : folders of runs that were killed before they committed, and of artifacts that were damaged.
    replaced : artifacts in whose place others are current.
    unlisted : artifacts of corpus files that are not listed any more, and of amounts and sizes that the profile names no more.
    """

    staged: Removed = field(default_factory=Removed)
    unreferenced: Removed = field(default_factory=Removed)
    replaced: Removed = field(default_factory=Removed)
    unlisted: Removed = field(default_factory=Removed)


def collect_garbage(
    workspace: Workspace, older_than: float, *, dry_run: bool = False, progress: Progress = silent
) -> Garbage:
    """Remove what nothing refers to and what was replaced or deleted from the corpus, if that is `older_than` seconds ago."""
    catalog, store, garbage = workspace.catalog, workspace.store, Garbage()
    for size in remove_abandoned(workspace, dry_run=dry_run):
        garbage.staged.add(size)
    if not dry_run and workspace.receipt(EDGE[0]) is not None:
        catalog.note_listed(workspace.listed(), catalog.partitions_of(EDGE[1]))
    if not dry_run:
        _note_amounts(workspace)
    before = min(
        catalog.time() - older_than, _oldest_lease(catalog)
    )  # what a run began with, it may read until it ends
    keys = sorted({*store.asset_keys(), *catalog.asset_keys()})
    for number, key in enumerate(keys):
        _of_key(workspace, key, before, garbage, dry_run=dry_run)
        progress(number + 1, len(keys), "assets")
    if not dry_run:
        catalog.forget_files(before)
    return garbage


def remove_abandoned(workspace: Workspace, *, dry_run: bool = False) -> list[int]:
    """Remove what killed processes left of what they were writing; return the bytes of each folder.

    What another machine left in a folder that is shared goes a day after it was last written, if no lease is as old.
    """
    catalog = workspace.catalog
    before = min(catalog.time() - ABANDONED_AFTER, _oldest_lease(catalog))
    return workspace.store.remove_abandoned(before, dry_run=dry_run)


def _oldest_lease(catalog: Catalog) -> float:
    return min((one.started for one in catalog.attempts().values() if one.running()), default=math.inf)


def _note_amounts(workspace: Workspace) -> None:
    """Note which partitions of subsets and trainings the profile names no more: since now, if that is new."""
    steps = [step for step in STEPS.values() if step.by in _AMOUNTS]
    made = {partition for step in steps for partition in workspace.catalog.partitions_of(step.key)}
    named = [partition for by in _AMOUNTS for partition in workspace.partitions(by)]
    workspace.catalog.note_listed(named, made)


def _of_key(workspace: Workspace, key: str, before: float, garbage: Garbage, *, dry_run: bool) -> None:
    store = workspace.store
    old = {folder.path: folder for folder in store.folders(key) if folder.written < before}
    listed = key in STEPS and STEPS[key].by in ("shard", *_AMOUNTS)
    found = workspace.catalog.collect(key, old, before, listed=listed, dry_run=dry_run)
    at_work = {store.place(key, partition) for partition in found.leased}
    for receipts, removed in ((found.replaced, garbage.replaced), (found.unlisted, garbage.unlisted)):
        for receipt in _once(receipts):
            removed.add(receipt.bytes)
            if not dry_run:
                store.remove_folder(receipt.folder, (*receipt.files, MANIFEST))
    for folder in (old[path] for path in sorted(found.unreferenced)):
        if _place(folder) not in at_work:
            garbage.unreferenced.add(sum(folder.files.values()))
            if not dry_run:
                store.remove_folder(folder.path, folder.files)


def _once(receipts: Iterable[Receipt]) -> Iterable[Receipt]:
    """Return the artifacts, but of those that share a folder one."""
    return {receipt.folder: receipt for receipt in receipts}.values()


def _place(folder: Folder) -> str:
    return folder.path.rpartition("/")[0]
