"""Artifacts: whole or absent, self-describing, on any fsspec URL.

An artifact is a folder of files that is written once under a name of its own and never changed, and a receipt
(`current.json`) that points to it. The receipt is written last and in one step, so a reader sees the old artifact
or the new one, and a run that is killed leaves no half artifact behind, only a folder that nothing points to.

    <store>/<asset key>/<partition>/current.json        the receipt, with a SHA-256 of all that it says
    <store>/<asset key>/<partition>/<version>-<nonce>/   the files it names, each with its size and SHA-256, and the receipt
                                                         once more, for who looks for an artifact that was replaced
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
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

RECEIPT = "current.json"
MANIFEST = "receipt.json"
PREVIEW = "preview.json"  # what people are shown of an artifact; no part of its identity
_STAGING = ".staging-"


class DamagedArtifact(RuntimeError):
    """Bytes on disk no longer match the receipt. The receipt has been withdrawn, so the next run makes it anew."""


class Store:
    """Artifacts below one fsspec URL; `cache` is a local folder for copies of remote files and for staging."""

    def __init__(self, url: str, cache: Path, **options: Any) -> None:
        self.fs, self.root = file_system(url, options)
        self.local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )
        self.cache = cache
        self._verified: set[str] = set()

    def place(self, key: str, partition: str) -> str:
        """Return the path, inside the store, of an artifact's receipt and folders."""
        return "/".join([self.root.rstrip("/"), *key.split("/"), safe_name(partition) if partition else "_"])

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return the receipt; None where there is no such artifact, the receipt is damaged, or a file is missing or resized."""
        return self._receipt_at(self.place(key, partition))

    def receipts(self, key: str) -> dict[str, Receipt]:
        """Return {partition: receipt} of all artifacts of a key."""
        above = self.place(key, "").rpartition("/")[0]
        found = (self._receipt_at(f"{above}/{name}") for name in self.present(key))
        return {receipt.partition: receipt for receipt in found if receipt is not None}

    def _receipt_at(self, place: str) -> Receipt | None:
        try:
            receipt = parse_receipt(self.read(f"{place}/{RECEIPT}"))
        except FileNotFoundError:
            return None
        return receipt if receipt is not None and self._sizes_hold(place, receipt) else None

    def _sizes_hold(self, place: str, receipt: Receipt) -> bool:
        if not self.local:
            return True  # object stores write whole objects; `open` checks the digests
        try:
            return all(
                Path(place, receipt.folder, name).stat().st_size == size
                for name, (size, _) in receipt.files.items()
            )
        except OSError:
            return False

    def open(self, key: str, partition: str = "") -> Path:
        """Return a local folder with the artifact's files; each is checked against its digest once a process.

        Raises
        ------
        FileNotFoundError
            No such artifact: names the key and partition to materialize first.
        DamagedArtifact
            Content differs from the receipt.
        """
        receipt = self.receipt(key, partition)
        if receipt is None:
            raise FileNotFoundError(
                f"{title(key, partition)} has not been materialized (or is damaged); do that first"
            )
        try:
            return self.files_of(receipt)
        except DamagedArtifact:
            with self.alone(key, partition):
                if self.receipt(key, partition) == receipt:  # nobody has made it anew meanwhile
                    self.forget(key, partition)
            raise

    def files_of(self, receipt: Receipt) -> Path:
        """Return a local folder with the files of a receipt, current or replaced; each is checked against its digest once a process.

        A local copy of a remote artifact that is damaged is fetched again.

        Raises
        ------
        DamagedArtifact
            Content differs from the receipt, or is gone.
        """
        place = self.place(receipt.key, receipt.partition)
        folder = self.cache / "fetched" / fingerprint(place, receipt.folder)
        if self.local:
            folder = Path(place, receipt.folder)
        if str(folder) in self._verified and folder.exists():
            return folder
        if not self.local and _damaged(folder, receipt):
            shutil.rmtree(folder, ignore_errors=True)
            self._fetch(place, receipt, folder)
        if problem := _damaged(folder, receipt):
            raise DamagedArtifact(f"{title(receipt.key, receipt.partition)}: {problem}; it will be made anew")
        self._verified.add(str(folder))
        return folder

    def replaced(self, key: str, partition: str) -> list[Receipt]:
        """Return the receipts of artifacts that the current one replaced, as far as their files are there still."""
        current, place = self.receipt(key, partition), self.place(key, partition)
        try:
            folders = [e["name"] for e in self.fs.ls(place, detail=True) if e["type"] == "directory"]
        except FileNotFoundError:
            return []
        found = []
        for folder in folders:
            if current is None or not folder.rstrip("/").endswith(current.folder):
                with contextlib.suppress(FileNotFoundError):
                    receipt = parse_receipt(self.read(f"{folder}/{MANIFEST}"))
                    if receipt is not None and self._sizes_hold(place, receipt):
                        found.append(receipt)
        return found

    def _fetch(self, place: str, receipt: Receipt, folder: Path) -> None:
        with self.temporary() as partial:
            for name in receipt.files:
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # gone from the store: told as damage
                    self.fs.get_file(f"{place}/{receipt.folder}/{name}", str(target))
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another process fetched it first
                partial.rename(folder)

    def staged(self, key: str, partition: str) -> contextlib.AbstractContextManager[Path]:
        """Give a fresh local folder to write an artifact's files into; it is removed unless `commit` adopts it."""
        return _owned(Path(self.place(key, partition)) if self.local else self.cache / "staged")

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

    def commit(self, folder: Path, receipt: Receipt) -> Receipt:
        """Make the staged folder the current artifact: hash its files, store them, then replace the receipt.

        A receipt that comes with an empty `version` gets the digest of the content (pinned artifacts).
        """
        files = {
            path.relative_to(folder).as_posix(): (path.stat().st_size, sha256(path))
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        digests = sorted((name, digest) for name, (_, digest) in files.items() if name != PREVIEW)
        content = fingerprint(receipt.key, digests)
        version = receipt.version or content
        name = f"{version}-{folder.name.removeprefix(_STAGING)}"
        done = replace(receipt, version=version, files=files, folder=name)
        place, manifest = self.place(receipt.key, receipt.partition), seal(asdict(done))
        (folder / MANIFEST).write_bytes(manifest)
        for relative in (*files, MANIFEST):
            if not self.local:
                self.fs.put_file(str(folder / relative), f"{place}/{name}/{relative}")
        with self.alone(receipt.key, receipt.partition):
            previous = self.receipt(receipt.key, receipt.partition)
            if self.local:
                publish(folder, Path(place, name))
                self._verified.add(f"{place}/{name}")
            self.write(f"{place}/{RECEIPT}", manifest)
            self._clean(place, keep={name, previous.folder if previous else ""})
        return done

    @contextlib.contextmanager
    def alone(self, key: str, partition: str) -> Iterator[None]:
        """Keep others of this machine from the artifact's place meanwhile, where the store is on a local disk."""
        if not self.local:
            yield
            return
        place = Path(self.place(key, partition))
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):
            yield

    def _clean(self, place: str, keep: set[str]) -> None:
        """Remove superseded folders; the folder replaced just now stays for its readers, what is being staged for its writer."""
        for entry in self.fs.ls(place, detail=True):
            name = entry["name"].rstrip("/").rsplit("/", 1)[-1]
            if entry["type"] == "directory" and name not in keep and not name.startswith(_STAGING):
                self.fs.rm(entry["name"], recursive=True)

    def forget(self, key: str, partition: str = "") -> None:
        """Withdraw an artifact: its receipt goes, so that it counts as missing."""
        self.remove(f"{self.place(key, partition)}/{RECEIPT}")

    def present(self, key: str) -> set[str]:
        """Return the `safe_name` of each partition that has a receipt, in one listing."""
        above = self.place(key, "").rpartition("/")[0]
        try:
            found = self.fs.glob(f"{above}/*/{RECEIPT}") if not self.local else _with_receipt(above)
        except FileNotFoundError:
            return set()
        return {str(path).rsplit("/", 2)[-2] for path in found}

    def read(self, path: str) -> bytes:
        """Return a small file's content; FileNotFoundError where there is none."""
        with self.fs.open(path, "rb") as source:
            return source.read()

    def write(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Replace a small file in one step; `durable` also survives a power cut."""
        if self.local:
            write_bytes(Path(path), content, durable=durable)
        else:
            self.fs.pipe_file(path, content)  # one PUT: object stores replace whole objects

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(path)


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


def _with_receipt(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        paths = [f"{entry.path}/{RECEIPT}" for entry in entries]
    return [path for path in paths if Path(path).exists()]
