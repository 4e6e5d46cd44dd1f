"""The files of artifacts: immutable folders on any fsspec URL.

An artifact is a folder that is written once under a name of its own and never changed, with a manifest (its receipt,
sealed) that is written last. Nothing here says which artifact is current: that is the catalog's, so a run that is killed
leaves a folder that nothing refers to, and two that write at once leave two folders.

    <store>/<asset key>/<partition>/<version>-<nonce>/   the files, each with its size and SHA-256 in receipt.json
    <store>/catalog.json                                 which catalog knows what is current
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curation_assets.common.files import (
    file_system,
    fingerprint,
    publish,
    safe_name,
    seal,
    sha256,
    write_bytes,
)
from curation_assets.engine.receipt import Receipt, parse_receipt, title

MANIFEST = "receipt.json"
PREVIEW = "preview.json"  # what people are shown of an artifact; no part of its identity
_OWNER = "catalog.json"
_STAGING = ".staging-"
_THREADS = 16  # most of reading a manifest is waiting for it


class DamagedArtifact(RuntimeError):
    """Bytes of an artifact no longer match its receipt, or are gone: it is withdrawn, so that the next run makes it anew."""

    def __init__(self, message: str, receipt: Receipt) -> None:
        super().__init__(message)
        self.receipt = receipt


class Store:
    """Folders below one fsspec URL; `cache` is a local folder for copies of remote files and for staging."""

    def __init__(self, url: str, cache: Path, **options: Any) -> None:
        self.fs, self.root = file_system(url, options)
        self.root = self.root.rstrip("/")
        self.local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )
        self.cache = cache
        self._verified: set[str] = set()

    def place(self, key: str, partition: str) -> str:
        """Return the path, inside the store, of the folders of an artifact."""
        return "/".join([*key.split("/"), safe_name(partition) if partition else "_"])

    def path(self, receipt: Receipt, name: str = "") -> str:
        """Return the path of an artifact's folder, or of a file in it."""
        return "/".join(filter(None, (self.root, receipt.folder, name)))

    def intact(self, receipts: Collection[Receipt], *, listed: bool) -> list[Receipt]:
        """Return those artifacts whose files are there, with their sizes; `folder` checks the digests.

        On a remote store that takes one listing of where they lie, or is believed where it is not to be `listed`.
        """
        if self.local:
            return [receipt for receipt in receipts if self._sizes_hold(receipt)]
        if not listed or not receipts:
            return list(receipts)
        above = f"{self.root}/{posixpath.commonpath([receipt.folder for receipt in receipts])}"
        try:
            sizes = {path: about["size"] for path, about in self.fs.find(above, detail=True).items()}
        except FileNotFoundError:
            sizes = {}
        return [
            receipt
            for receipt in receipts
            if all(sizes.get(self.path(receipt, name)) == size for name, (size, _) in receipt.files.items())
        ]

    def _sizes_hold(self, receipt: Receipt) -> bool:
        try:
            for name, (size, _) in receipt.files.items():  # of each artifact, at each look: no paths
                if os.stat(f"{self.root}/{receipt.folder}/{name}").st_size != size:  # noqa: PTH116
                    return False
        except OSError:
            return False
        return True

    def folder(self, receipt: Receipt) -> Path:
        """Return a local folder with an artifact's files; each is checked against its digest once a process.

        A local copy of a remote artifact that is damaged is fetched again.

        Raises
        ------
        DamagedArtifact
            Content differs from the receipt, or is gone.
        """
        folder = (
            Path(self.path(receipt)) if self.local else self.cache / "fetched" / fingerprint(receipt.folder)
        )
        if str(folder) in self._verified and folder.exists():
            return folder
        if not self.local and _damaged(folder, receipt):
            shutil.rmtree(folder, ignore_errors=True)
            self._fetch(receipt, folder)
        if problem := _damaged(folder, receipt):
            raise DamagedArtifact(
                f"{title(receipt.key, receipt.partition)}: {problem}; it will be made anew", receipt
            )
        self._verified.add(str(folder))
        return folder

    def _fetch(self, receipt: Receipt, folder: Path) -> None:
        with self.temporary() as partial:
            for name in receipt.files:
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # gone from the store: damage
                    self.fs.get_file(self.path(receipt, name), str(target))
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another process fetched it first
                partial.rename(folder)

    def staged(self, key: str, partition: str) -> contextlib.AbstractContextManager[Path]:
        """Give a fresh local folder to write an artifact's files into; it is removed unless `publish` adopts it."""
        return _owned(Path(self.root, self.place(key, partition)) if self.local else self.cache / "staged")

    def temporary(self) -> contextlib.AbstractContextManager[Path]:
        """Give a fresh folder in the cache, for what is needed meanwhile; it is removed afterwards."""
        return _owned(self.cache / "temporary")

    def remove_abandoned(self) -> None:
        """Remove the folders that `staged` and `temporary` gave to processes that were killed since."""
        locks = [*self.cache.glob(f"*/{_STAGING}*.lock")]
        if self.local:
            locks += Path(self.root).glob(f"*/*/*/{_STAGING}*.lock")
        for lock in locks:
            with contextlib.suppress(Timeout), FileLock(lock, blocking=False):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)

    def publish(self, staged: Path, draft: Receipt) -> Receipt:
        """Make the staged folder an immutable one of the store, with its manifest; return its receipt.

        A draft that comes with an empty `version` gets the digest of the content (pinned artifacts).
        """
        files = {
            path.relative_to(staged).as_posix(): (path.stat().st_size, sha256(path))
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        }
        digests = sorted((name, digest) for name, (_, digest) in files.items() if name != PREVIEW)
        version = draft.version or fingerprint(draft.key, digests)
        folder = f"{self.place(draft.key, draft.partition)}/{version}-{staged.name.removeprefix(_STAGING)}"
        receipt = replace(draft, version=version, files=files, folder=folder)
        (staged / MANIFEST).write_bytes(seal(asdict(receipt)))
        if self.local:
            publish(staged, Path(self.path(receipt)))
            self._verified.add(self.path(receipt))
        else:
            for name in (*files, MANIFEST):
                self.fs.put_file(str(staged / name), self.path(receipt, name))
        return receipt

    def remove(self, receipts: Iterable[Receipt]) -> None:
        """Remove the folders of artifacts, as far as they are there."""
        for receipt in receipts:
            with contextlib.suppress(FileNotFoundError):
                if self.local:
                    shutil.rmtree(self.path(receipt))
                else:  # by names that are known: one request
                    self.fs.rm([self.path(receipt, name) for name in (*receipt.files, MANIFEST)])

    def disown(self, receipt: Receipt) -> None:
        """Remove an artifact's manifest, so that a catalog made from manifests has it no more; its files may be read on."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(receipt, MANIFEST))

    def manifests(self) -> Iterator[Receipt]:
        """Yield the receipt of each folder that has a whole manifest; each lies where it lies, whatever it says."""
        with ThreadPoolExecutor(_THREADS) as pool:
            paths = self.named(f"*/{MANIFEST}")
            for path, content in zip(paths, pool.map(self.read, paths), strict=True):
                if (receipt := parse_receipt(content)) is not None:
                    folder = path.removesuffix(f"/{MANIFEST}").removeprefix(f"{self.root}/")
                    yield replace(receipt, folder=folder)

    def named(self, name: str) -> list[str]:
        """Return the paths of files of a name (a pattern) below the places of all artifacts."""
        return sorted(map(str, self.fs.glob(f"{self.root}/*/*/*/{name}")))

    @property
    def owner(self) -> str:
        """The id of the catalog that knows what is current; "" where none does."""
        try:
            return str(json.loads(self.read(f"{self.root}/{_OWNER}"))["catalog"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return ""

    @owner.setter
    def owner(self, catalog: str) -> None:
        self.write(f"{self.root}/{_OWNER}", (json.dumps({"catalog": catalog}) + "\n").encode())

    def read(self, path: str) -> bytes:
        """Return a small file's content; FileNotFoundError where there is none."""
        with self.fs.open(path, "rb") as source:
            return source.read()

    def write(self, path: str, content: bytes) -> None:
        """Replace a small file in one step."""
        if self.local:
            write_bytes(Path(path), content)
        else:
            self.fs.pipe_file(path, content)  # one PUT: object stores replace whole objects


@contextlib.contextmanager
def _owned(home: Path) -> Iterator[Path]:
    """Give a fresh folder, which is removed afterwards; the lock beside it says that its process lives."""
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{_STAGING}{uuid.uuid4().hex[:12]}"
    lock = folder.with_name(f"{folder.name}.lock")
    with FileLock(lock):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _damaged(folder: Path, receipt: Receipt) -> str:
    """Say which file is not as the receipt has it; "" where all are."""
    for name, (_, digest) in receipt.files.items():
        try:
            if sha256(folder / name) != digest:
                return f"{name} changed on disk since it was written"
        except FileNotFoundError:
            return f"{name} is gone"
    return ""
