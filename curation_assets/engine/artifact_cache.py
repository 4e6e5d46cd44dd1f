"""A bounded cache, on this machine's disk, of artifacts that lie on an object store.

All processes of the machine share it: what one fetches the others find, and of several that want the same thing one
fetches it. What somebody holds is never removed; of the rest goes what was used least recently.

    <cache>/<hash>-<bytes>/    a whole artifact, under its name once its digests hold; its mtime is when it was used last
    <cache>/.partial-<hash>/   one that is being fetched
    <cache>/.holds             byte `hash` of it is locked (shared) by every process that holds the artifact: the system
                               lets go of it when the process ends, however it does
    <cache>/.usage             how many bytes there are
    <cache>/.locks/            who fetches what, and who changes `.usage`
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curation_assets.common.files import fingerprint, publish, sha256

_AT_ONCE = 8  # files of one artifact that are fetched side by side
_LEAVE = 0.9  # of the limit, when room is made: so that not every artifact has to look for some
_PARTIAL = ".partial-"
_log = logging.getLogger(__name__)

Files = Mapping[str, tuple[int, str]]
"""{name: (bytes, sha256)}."""


class NotAsStored(RuntimeError):
    """A file is gone from the store, or is not what its digest says; the message says which."""


class ArtifactCache:
    """Local copies of folders of an fsspec file system: at most `limit` bytes, but for what is held."""

    def __init__(self, fs: Any, folder: Path, limit: int) -> None:
        self.fs, self._folder, self._limit = fs, folder, limit
        self._verified: set[Path] = set()
        self._warned = False

    def folder(self, remote: str, files: Files, hold: Hold) -> Path:
        """Return a local copy of a remote folder with these files; it stays as long as `hold` is not released.

        Digests are checked when it is fetched, and once more by each process that uses it; a damaged copy is fetched again.

        Raises
        ------
        NotAsStored
            The store does not have a file, or another content.
        """
        name = fingerprint(remote)
        copy = self._copy(name, files)
        self._folder.mkdir(parents=True, exist_ok=True)
        hold.take(self._folder, name)
        if self._usable(copy, files):
            return copy
        with self._lock(name[:2]):  # of several one fetches, and the others find it
            if not self._usable(copy, files):
                self._fetch(remote, files, copy, name)
        return copy

    def adopt(self, folder: Path, remote: str, files: Files) -> None:
        """Take a local folder, of what was stored at `remote` just now, as its copy: who reads it next fetches nothing."""
        name = fingerprint(remote)
        copy = self._copy(name, files)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lock(name[:2]):
            if not copy.exists():
                self._make_room(_size(copy))
                publish(folder, copy, durable=False)
                self._verified.add(copy)

    def _copy(self, name: str, files: Files) -> Path:
        return self._folder / f"{name}-{sum(size for size, _ in files.values())}"

    def _usable(self, copy: Path, files: Files) -> bool:
        """Tell whether the copy is there and whole, and note that it is used."""
        try:
            os.utime(copy)
        except FileNotFoundError:
            return False
        if copy not in self._verified:
            try:
                check(copy, files)
            except NotAsStored:
                return False
            self._verified.add(copy)
        return True

    def _fetch(self, remote: str, files: Files, copy: Path, name: str) -> None:
        if copy.exists():  # and is damaged
            self._remove(copy)
            self._count(-_size(copy))
        partial = self._folder / f"{_PARTIAL}{name}"
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        self._make_room(_size(copy))
        try:
            partial.mkdir()
            with ThreadPoolExecutor(min(_AT_ONCE, len(files) or 1)) as pool:
                list(pool.map(lambda file: self._fetch_file(f"{remote}/{file}", partial / file), files))
            check(partial, files)
            publish(partial, copy, durable=False)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            self._count(-_size(copy))
            raise
        self._verified.add(copy)

    def _fetch_file(self, remote: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # gone from the store: the check of the digests says so
            self.fs.get_file(remote, str(target))

    # ---- room

    def _make_room(self, size: int) -> None:
        """Count `size` bytes as used, once what was used least recently has made room for them."""
        with self._lock("usage"):
            used = self._usage()
            if used + size > self._limit or size > self._free():
                used = self._evict(size)
            self._write_usage(used + size)

    def _evict(self, size: int) -> int:
        """Remove what nobody holds, the longest unused first, as far as needed; return how many bytes are left."""
        self._remove_abandoned()
        copies = sorted(self._copies(), key=lambda copy: copy.used)
        used = sum(copy.size for copy in copies)
        for copy in copies:
            if used + size <= self._limit * _LEAVE and size <= self._free():
                break
            with _holds(self._folder).nobody_has(copy.path.name.partition("-")[0]) as free:
                if free:
                    self._remove(copy.path)
                    used -= copy.size
        if used + size > self._limit and not self._warned:
            self._warned = True
            _log.warning(
                "%s: %.1f GB are in use at once, more than execution.cache_gb allows (%.1f)",
                *(self._folder, (used + size) / 1e9, self._limit / 1e9),
            )
        return used

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free

    def _count(self, more: int) -> None:
        with self._lock("usage"):
            self._write_usage(self._usage() + more)

    def _copies(self) -> Iterator[_Copy]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        yield _Copy(Path(entry.path), _size(Path(entry.path)), entry.stat().st_mtime)

    def _remove(self, copy: Path) -> None:
        """Remove a copy in one step: whoever looks finds all of it or nothing."""
        gone = copy.with_name(f"{_PARTIAL}{copy.name.partition('-')[0]}-gone-{os.getpid()}")
        copy.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        self._verified.discard(copy)

    def _remove_abandoned(self) -> None:
        """Remove what was being fetched by processes that were killed."""
        for partial in self._folder.glob(f"{_PARTIAL}*"):
            name = partial.name.removeprefix(_PARTIAL)
            with suppress(Timeout), self._lock(name[:2], blocking=False):
                shutil.rmtree(partial, ignore_errors=True)

    def _usage(self) -> int:
        try:
            return int((self._folder / ".usage").read_text())
        except (FileNotFoundError, ValueError):
            return sum(copy.size for copy in self._copies())

    def _write_usage(self, used: int) -> None:
        (self._folder / ".usage").write_text(str(max(used, 0)))

    def _lock(self, name: str, *, blocking: bool = True) -> FileLock:
        locks = self._folder / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / name, blocking=blocking)


@dataclass(frozen=True)
class _Copy:
    path: Path
    size: int
    used: float


def _size(copy: Path) -> int:
    return int(copy.name.rpartition("-")[2])


def check(folder: Path, files: Files) -> None:
    """Raise NotAsStored for the first file of a folder that is not what its digest says."""
    for name, (_, digest) in files.items():
        try:
            if sha256(folder / name) != digest:
                raise NotAsStored(f"{name} changed on disk since it was written")
        except FileNotFoundError:
            raise NotAsStored(f"{name} is gone") from None


# ---- holds: the system keeps them for a process, by file; so there is one object for all caches of a folder


class Hold:
    """Keeps what it has taken from being removed, until it is released or gone itself; one thread at a time."""

    def __init__(self) -> None:
        self._taken: set[tuple[Path, str]] = set()
        weakref.finalize(self, _release, self._taken)

    def take(self, cache: Path, name: str) -> None:
        """Hold an artifact of a cache."""
        if (cache, name) not in self._taken:
            _holds(cache).take(name)
            self._taken.add((cache, name))

    def release(self) -> None:
        """Let go of all of it."""
        _release(self._taken)


def _release(taken: set[tuple[Path, str]]) -> None:
    while taken:
        cache, name = taken.pop()
        _holds(cache).release(name)


class _Holds:
    """What this process holds of a cache's folder."""

    def __init__(self, folder: Path) -> None:
        # Never closed: closing any descriptor of the file would let go of everything.
        self._file = os.open(folder / ".holds", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._held: Counter[str] = Counter()
        self._mutex = threading.Lock()

    def take(self, name: str) -> None:
        """Hold an artifact; waits while another process removes it."""
        with self._mutex:
            if not self._held[name]:
                fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _byte(name))
            self._held[name] += 1

    def release(self, name: str) -> None:
        """Let go of an artifact."""
        with self._mutex:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(name))

    @contextmanager
    def nobody_has(self, name: str) -> Iterator[bool]:
        """Say whether nobody holds an artifact, and keep everybody from it meanwhile."""
        with self._mutex:
            if self._held[name]:
                yield False
                return
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(name))
            except OSError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(name))


def _byte(name: str) -> int:
    return int(name[:15], 16)


_ALL: dict[Path, _Holds] = {}
_ALL_MUTEX = threading.Lock()
os.register_at_fork(after_in_child=_ALL.clear)  # a child has none of its parent's locks


def _holds(folder: Path) -> _Holds:
    with _ALL_MUTEX:
        if folder not in _ALL:
            _ALL[folder] = _Holds(folder)
        return _ALL[folder]
