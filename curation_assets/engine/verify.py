"""Whether catalog and store agree: every artifact has its files, and on demand every byte is as it was written.

What is damaged is withdrawn, so that the next run makes it anew. The receipt of an artifact is there twice, each with a digest of
itself: one of the two that is damaged, the catalog's entry or the manifest, is written anew from the other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from curation_assets.common.progress import Progress, silent
from curation_assets.engine.database import CatalogDamaged, damaged
from curation_assets.engine.receipt import Receipt, title
from curation_assets.engine.store import MANIFEST, Folder, Store
from curation_assets.engine.workspace import Workspace

_THREADS = 8
_MEGABYTE = 1e6


@dataclass
class Verdict:
    """What was compared, and what is wrong.

    Attributes
    ----------
    artifacts, bytes : what was looked at; with digests these bytes were read.
    damaged : {artifact's title: what is wrong with it}; these are withdrawn.
    entries : titles of artifacts whose entry in the catalog was damaged; it is written anew from the manifest.
    manifests : titles of artifacts whose manifest was damaged or gone; it is written anew from the catalog.
    unreferenced : bytes of each folder that nothing refers to. That is no damage.
    """

    artifacts: int = 0
    bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    manifests: list[str] = field(default_factory=list)
    unreferenced: list[int] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not (self.damaged or self.entries or self.manifests)


class _Finding(NamedTuple):
    receipt: Receipt
    problem: str  # "" for none
    manifest: bool  # whether it is as it was written


def verify(workspace: Workspace, *, digests: bool, progress: Progress = silent) -> Verdict:
    """Compare the catalog with the store: names and sizes; with `digests` every file's content, and every manifest."""
    catalog, store = workspace.catalog, workspace.store
    if digests and not catalog.intact():
        raise CatalogDamaged(damaged(catalog.name, "SQLite finds it inconsistent"))
    keys = sorted({*store.asset_keys(), *catalog.asset_keys()})
    verdict = Verdict()
    for key in keys:
        _mend_entries(workspace, key, verdict)
    sizes = [shared[0].bytes for key in keys for shared in _by_folder(workspace, key).values()]
    reader = _Reader(store, digests, sum(sizes) if digests else len(sizes), progress)
    for key in keys:
        folders = {folder.path: folder for folder in store.folders(key)}
        # Read after the listing: what was committed meanwhile is in both, or here alone.
        known = _by_folder(workspace, key)
        verdict.unreferenced += [sum(f.files.values()) for path, f in folders.items() if path not in known]
        for receipt, problem, manifest in reader.findings([shared[0] for shared in known.values()], folders):
            verdict.artifacts += 1
            verdict.bytes += receipt.bytes
            original = _original(store, known[receipt.folder])
            if not problem and not manifest and original is None:
                problem = "its manifest is damaged"
            if problem and catalog.withdraw(receipt, problem):  # else it was replaced meanwhile
                store.disown(receipt)
                names = [title(key, one.partition) for one in known[receipt.folder]]
                verdict.damaged |= dict.fromkeys(names, problem)
            elif not problem and not manifest and original is not None:
                store.write_manifest(original)
                verdict.manifests.append(title(key, receipt.partition))
    return verdict


def _mend_entries(workspace: Workspace, key: str, verdict: Verdict) -> None:
    """Write the catalog's entries of a key that are damaged anew from manifests; what has none that holds is withdrawn."""
    catalog, problem = workspace.catalog, "its entry in the catalog is damaged"
    for entry in [receipt for receipt, _ in catalog.all_of(key) if not receipt.sound]:
        manifest = None
        with suppress(OSError, ValueError):  # its folder may have any name
            manifest = workspace.store.manifest(entry.folder)
        at = None if manifest is None else (manifest.key, manifest.partition)
        whose = manifest if at == (entry.key, entry.partition) else None
        if catalog.mend(entry, whose, problem):
            name = title(entry.key, entry.partition)
            verdict.entries.append(name) if whose else verdict.damaged.update({name: problem})


def _by_folder(workspace: Workspace, key: str) -> dict[str, list[Receipt]]:
    """Return the artifacts of a key by their folder, which several share where one was taken over."""
    by_folder: dict[str, list[Receipt]] = {}
    for receipt, _ in workspace.catalog.all_of(key):
        by_folder.setdefault(receipt.folder, []).append(receipt)
    return by_folder


def _original(store: Store, shared: list[Receipt]) -> Receipt | None:
    """Return of the artifacts that share a folder the one that was made there; None where the catalog has it no more."""
    place = shared[0].folder.rpartition("/")[0]
    return next((one for one in shared if store.place(one.key, one.partition) == place), None)


class _Reader:
    """Looks at artifacts, several at a time, and tells how far it is."""

    def __init__(self, store: Store, digests: bool, total: int, progress: Progress) -> None:
        self._store, self._digests = store, digests
        self._total, self._progress, self._done = total, progress, 0
        self._lock = threading.Lock()

    def findings(self, receipts: list[Receipt], folders: dict[str, Folder]) -> Iterator[_Finding]:
        """Yield what is wrong with artifacts, given what a listing found."""
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(lambda receipt: self._look(receipt, folders.get(receipt.folder)), receipts)

    def _look(self, receipt: Receipt, folder: Folder | None) -> _Finding:
        if problem := self._missing(receipt, folder):
            self._advance(receipt.bytes if self._digests else 1)
            return _Finding(receipt, problem, False)
        if not self._digests:
            self._advance(1)
            return _Finding(receipt, "", folder is None or MANIFEST in folder.files)
        problem, manifest = self._store.changed(receipt, self._advance), self._store.manifest(receipt.folder)
        if not problem and manifest is not None and not _agree(manifest, receipt):
            problem = "the catalog and its manifest contradict each other"
        return _Finding(receipt, problem, manifest is not None)

    def _missing(self, receipt: Receipt, folder: Folder | None) -> str:
        """Say which file is gone or of another size; "" where none is."""
        if folder is not None and folder.holds(receipt):
            return ""
        return self._store.problem(receipt)  # "": it was written after the listing

    def _advance(self, by: int) -> None:
        with self._lock:
            self._done += by
            if self._digests:
                self._progress(self._done / _MEGABYTE, self._total / _MEGABYTE, "MB")
            else:
                self._progress(self._done, self._total, "artifacts")


def _agree(manifest: Receipt, receipt: Receipt) -> bool:
    return all(
        getattr(manifest, name) == getattr(receipt, name) for name in ("version", "recipe", "code", "files")
    )
