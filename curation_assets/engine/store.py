"""The files of artifacts: immutable folders on any fsspec URL.

An artifact is a folder that is written once under a name of its own and never changed, with a manifest (its receipt,
sealed) that is written last. Nothing here says which artifact is current: that is the catalog's, so a run that is killed
leaves a folder that nothing refers to, and two that write at once leave two folders.

    <store>/<asset key>/<partition>/<version>-<nonce>/   the files, each with its size and SHA-256 in receipt.json
    <store>/catalog.json                                 which catalog knows what is current
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import posixpath
import shutil
import stat
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curation_assets.common.files import (
    file_system,
    fingerprint,
    mtime_of,
    publish,
    safe_name,
    seal,
    sha256,
    write_bytes,
)
from curation_assets.engine.artifact_cache import ArtifactCache, Hold, NotAsStored, check
from curation_assets.engine.attempts import this_machine
from curation_assets.engine.receipt import Receipt, parse_receipt, title

MANIFEST = "receipt.json"
PREVIEW = "preview.json"  # what people are shown of an artifact; no part of its identity
ABANDONED_AFTER = 24 * 3600.0
"""Seconds for which a process of another machine that writes nothing is taken to go on."""
_OWNER = "catalog.json"
_STAGING = ".staging-"
_STAGED = ".staged"  # where artifacts of a local store are written: all in one place, so that what was left is found at once
_BLOCK = 1 << 20
_THREADS = 16  # most of reading a manifest is waiting for it


class DamagedArtifact(RuntimeError):
    """Bytes of an artifact no longer match its receipt, or are gone: it is withdrawn, so that the next run makes it anew."""

    def __init__(self, problem: str, receipt: Receipt) -> None:
        super().__init__(f"{title(receipt.key, receipt.partition)}: {problem}; it will be made anew")
        self.problem, self.receipt = problem, receipt


@dataclass(frozen=True)
class Folder:
    """What lies in the store under an artifact's name, whole or not, whatever refers to it.

    Attributes
    ----------
    path : inside the store, as `Receipt.folder`.
    files : {name: bytes}, with the manifest.
    written : when the last of them was, in seconds since the epoch; infinite where the store does not say.
    """

    path: str
    files: dict[str, int]
    written: float

    def holds(self, receipt: Receipt) -> bool:
        """Tell whether it has an artifact's files, with their sizes."""
        return all(self.files.get(name) == size for name, (size, _) in receipt.files.items())


class Store:
    """Folders below one fsspec URL.

    `cache` is a local folder for staging and for copies of remote files, of which there are at most `cache_bytes`, but
    for what is in use.
    """

    def __init__(self, url: str, cache: Path, cache_bytes: int = 100_000_000_000, **options: Any) -> None:
        self.fs, self.root = file_system(url, options)
        self.root = self.root.rstrip("/")
        self.local = "file" in (
            self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        )
        self.cache = cache
        self._fetched = ArtifactCache(self.fs, cache / "fetched", cache_bytes)
        self._hold = Hold()
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
            return [receipt for receipt in receipts if receipt.sound]
        above = f"{self.root}/{posixpath.commonpath([receipt.folder for receipt in receipts])}"
        try:
            sizes = {path: about["size"] for path, about in self.fs.find(above, detail=True).items()}
        except FileNotFoundError:
            sizes = {}
        return [
            receipt
            for receipt in receipts
            if receipt.sound
            and all(sizes.get(self.path(receipt, name)) == size for name, (size, _) in receipt.files.items())
        ]

    def problem(self, receipt: Receipt) -> str:
        """Say which file of an artifact is gone or of another size; "" where none is."""
        sizes: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            sizes = {path: size for path, size, _ in self._files(f"{self.path(receipt)}/")}
        for name, (size, _) in receipt.files.items():
            there = sizes.get(self.path(receipt, name))
            if there != size:
                return f"{name} is gone" if there is None else f"{name} has {there:,} bytes, not {size:,}"
        return ""

    def changed(self, receipt: Receipt, read: Callable[[int], object] = bool) -> str:
        """Say which file in the store is not what was written, by the digest of all of it; "" where all are.

        `read` hears of the bytes that were read.
        """
        for name, (_, digest) in receipt.files.items():
            try:
                if self._sha256(self.path(receipt, name), read) != digest:
                    return f"{name} changed since it was written"
            except FileNotFoundError:
                return f"{name} is gone"
            except OSError as error:
                # s3fs gives it to answers that it does not know.
                if error.errno != errno.EIO or not self.local:
                    raise
                return f"{name} cannot be read ({error.strerror})"
        return ""

    def _sha256(self, path: str, read: Callable[[int], object]) -> str:
        digest = hashlib.sha256()
        with self.fs.open(path, "rb") as source:
            while block := source.read(_BLOCK):
                digest.update(block)
                read(len(block))
        return digest.hexdigest()

    def _sizes_hold(self, receipt: Receipt) -> bool:
        if not receipt.sound:
            return False
        try:
            for name, (size, _) in receipt.files.items():  # of each artifact, at each look: no paths
                if os.stat(f"{self.root}/{receipt.folder}/{name}").st_size != size:  # noqa: PTH116
                    return False
        except OSError:
            return False
        return True

    def folder(self, receipt: Receipt, hold: Hold | None = None) -> Path:
        """Return a local folder with an artifact's files; each is checked against its digest once a process.

        The copy of a remote artifact stays until `hold` is released; without one, as long as this store is used.

        Raises
        ------
        DamagedArtifact
            Content differs from the receipt, or is gone.
        """
        try:
            if not self.local:
                return self._fetched.folder(self.path(receipt), receipt.files, hold or self._hold)
            folder = Path(self.path(receipt))
            if str(folder) not in self._verified or not folder.exists():
                check(folder, receipt.files)
                self._verified.add(str(folder))
            return folder
        except NotAsStored as error:
            raise DamagedArtifact(str(error), receipt) from None

    def staged(self) -> contextlib.AbstractContextManager[Path]:
        """Give a fresh local folder to write an artifact's files into; it is removed unless `publish` adopts it."""
        return _owned(Path(self.root, _STAGED) if self.local else self.cache / "staged")

    def temporary(self) -> contextlib.AbstractContextManager[Path]:
        """Give a fresh folder in the cache, for what is needed meanwhile; it is removed afterwards."""
        return _owned(self.cache / "temporary")

    def remove_abandoned(self, before: float = 0.0, *, dry_run: bool = False) -> list[int]:
        """Remove what `staged` and `temporary` gave to processes that were killed since; return the bytes of each folder.

        Of processes of this machine a lock says whether they live. It may say nothing of those of another one that shares the
        folder: what is theirs goes if it was last written `before` that time, in seconds since the epoch.
        """
        locks = [*self.cache.glob(f"*/{_STAGING}*.lock")]
        if self.local:
            locks += Path(self.root, _STAGED).glob(f"{_STAGING}*.lock")
        removed = []
        for lock in locks:
            folder, ours = lock.with_suffix(""), lock.name.startswith(f"{_STAGING}{_kernel()}-")
            with contextlib.suppress(Timeout), FileLock(lock, blocking=False):
                files = [*_states(folder)]
                if not ours and any(state.st_mtime >= before for state in files):
                    continue
                if files:
                    removed.append(sum(state.st_size for state in files if stat.S_ISREG(state.st_mode)))
                if not dry_run:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.unlink(missing_ok=True)
        return removed

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
        folder = f"{self.place(draft.key, draft.partition)}/{version}-{staged.name.rpartition('-')[2]}"
        receipt = replace(draft, version=version, files=files, folder=folder)
        (staged / MANIFEST).write_bytes(seal(asdict(receipt)))
        if self.local:
            path = Path(self.path(receipt))
            path.parent.mkdir(parents=True, exist_ok=True)
            publish(staged, path)
            self._verified.add(str(path))
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(lambda name: self._upload(staged, receipt, name), files))
            self._upload(staged, receipt, MANIFEST)
            (staged / MANIFEST).unlink()
            self._fetched.adopt(staged, self.path(receipt), files)
        return receipt

    def _upload(self, staged: Path, receipt: Receipt, name: str) -> None:
        self.fs.put_file(str(staged / name), self.path(receipt, name))

    def remove(self, receipts: Iterable[Receipt]) -> None:
        """Remove the folders of artifacts, as far as they are there, and it is known which they are."""
        for receipt in filter(attrgetter("sound"), receipts):
            self.remove_folder(receipt.folder, (*receipt.files, MANIFEST))

    def remove_folder(self, folder: str, names: Iterable[str]) -> None:
        """Remove a folder with files of these names, as far as it is there."""
        path = f"{self.root}/{folder}"
        with contextlib.suppress(FileNotFoundError):
            if self.local:
                shutil.rmtree(path)
            else:  # by names that are known: one request
                self.fs.rm([f"{path}/{name}" for name in names])

    def disown(self, receipt: Receipt) -> None:
        """Remove an artifact's manifest, so that a catalog made from manifests has it no more; its files may be read on."""
        if not receipt.sound:  # nobody knows that it is this artifact's
            return
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(receipt, MANIFEST))

    def asset_keys(self) -> list[str]:
        """Return the asset keys of which something lies in the store."""
        self.fs.invalidate_cache()
        rooms = [room for room in self._below(self.root) if room != _STAGED]
        return sorted(f"{room}/{step}" for room in rooms for step in self._below(f"{self.root}/{room}"))

    def _below(self, path: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            entries = [entry for entry in self.fs.ls(path, detail=True) if entry["type"] == "directory"]
            return [entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries]
        return []

    def folders(self, key: str) -> list[Folder]:
        """Return what lies in the store of a key, by one listing; not what is being staged."""
        above = f"{self.root}/{key}/"
        found: dict[str, Folder] = {}
        for path, size, written in self._files(above):
            partition, name, *rest = path.removeprefix(above).split("/")
            if rest:  # else it lies beside the folders
                there = found.get(f"{key}/{partition}/{name}") or Folder(f"{key}/{partition}/{name}", {}, 0.0)
                files = there.files | {"/".join(rest): size}
                found[there.path] = replace(there, files=files, written=max(there.written, written))
        return list(found.values())

    def _files(self, above: str) -> Iterator[tuple[str, int, float]]:
        """Yield (path, bytes, when it was written) of the files below a path."""
        if not self.local:
            for path, about in self.fs.find(above, detail=True).items():
                written = mtime_of(about)
                yield path, about["size"], math.inf if written is None else written
            return
        for base, _, names in os.walk(above):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    path = f"{base.rstrip('/')}/{name}"
                    state = os.stat(path)  # noqa: PTH116 (of each file of each artifact)
                    yield path, state.st_size, state.st_mtime

    def manifests(self, folders: Iterable[Folder]) -> Iterator[tuple[Folder, Receipt | None]]:
        """Yield the receipt in each folder's manifest; None where it is not, in all of it, what was written."""
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(lambda folder: (folder, self.manifest(folder.path)), folders)

    def manifest(self, folder: str) -> Receipt | None:
        """Return the receipt in a folder's manifest, or None; it lies where it lies, whatever it says."""
        try:
            receipt = parse_receipt(self.read(f"{self.root}/{folder}/{MANIFEST}"))
        except FileNotFoundError:
            return None
        return replace(receipt, folder=folder) if receipt else None

    def write_manifest(self, receipt: Receipt) -> None:
        """Write an artifact's manifest anew."""
        self.write(self.path(receipt, MANIFEST), seal(asdict(receipt)))

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
        self.write(f"{self.root}/{_OWNER}", _owned_by(catalog))

    def claim(self, catalog: str) -> bool:
        """Make a catalog the one that knows what is current, unless another one is; tell whether it is."""
        if self.local:
            home = Path(self.root, _STAGED)
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / "claim.lock"):
                self.owner = self.owner or catalog
                return self.owner == catalog
        try:
            self.fs.pipe_file(f"{self.root}/{_OWNER}", _owned_by(catalog), mode="create")
        except FileExistsError:
            return self.owner == catalog
        return True

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


def _owned_by(catalog: str) -> bytes:
    return (json.dumps({"catalog": catalog}) + "\n").encode()


@cache
def _kernel() -> str:
    """Return what tells the system that keeps this process's locks from others: containers of one machine have the same."""
    return fingerprint(this_machine().partition("/")[0])[:8]


def _states(folder: Path) -> Iterator[os.stat_result]:
    """Yield what the system says of a folder and of all in it; another machine may be at work there."""
    inside = (Path(base, name) for base, *names in os.walk(folder) for name in (*names[0], *names[1]))
    for path in (folder, *inside):
        with contextlib.suppress(FileNotFoundError):
            yield path.stat()


@contextlib.contextmanager
def _owned(home: Path) -> Iterator[Path]:
    """Give a fresh folder, which is removed afterwards; the lock beside it says that its process lives."""
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{_STAGING}{_kernel()}-{uuid.uuid4().hex[:12]}"
    lock = folder.with_name(f"{folder.name}.lock")
    with FileLock(lock):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
