"""Walking a folder tree: every file below it, or an error; what cannot be listed never looks like what was deleted."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.utils import glob_translate

from curation_assets.common.files import mtime_of
from curation_assets.corpus.names import visible

_LINKED_FOLDERS = 10_000
_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_NO_FILES = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}

Enter = Callable[[str], bool]
"""Says of a folder's path whether to look into it."""


class IncompleteListing(OSError):
    """A folder, or where a link leads, cannot be looked at: what is there is not known, so no listing comes of it."""

    def __init__(self, place: str, error: Exception) -> None:
        why = getattr(error, "strerror", None) or error
        super().__init__(
            f"{visible(place)} cannot be looked at ({why}), so the corpus stays as it was listed last"
        )


@dataclass(frozen=True)
class Entry:
    """What stands at `path`, relative to the folder that is walked (a folder's path ends with "/").

    `size` in bytes and `mtime` in seconds since the epoch are those of the file that is read, `leads_to` its own path
    where links were followed to it, else "". `sha256` is its digest where the listing has it. `problem` says why there is no file to read, and is "" where there is one.
    """

    path: str
    size: int = 0
    mtime: float | None = None
    leads_to: str = ""
    problem: str = ""
    sha256: str = ""


class Below:
    """Which paths below a folder a glob asks for: all of them by default."""

    def __init__(self, pattern: str = "**") -> None:
        self._parts = pattern.split("/")
        self._whole = re.compile(glob_translate(pattern))
        self._each = [re.compile(glob_translate(part)) for part in self._parts]

    def takes(self, path: str) -> bool:
        """Tell whether the glob matches a path."""
        return bool(self._whole.match(path))

    def enters(self, folder: str) -> bool:
        """Tell whether the glob may match something below a folder."""
        names = folder.split("/")
        for part, pattern, name in zip(self._parts, self._each, names, strict=False):
            if part == "**":
                return True
            if not pattern.match(name):
                return False
        return len(names) < len(self._parts)

    @property
    def deep(self) -> bool:
        """Whether it reaches to any depth."""
        return "**" in self._parts


def walk_local(root: str, below: Below, enter: Enter) -> Iterator[Entry]:
    """Yield what stands below a local folder, links followed: one that leads back to where it is ends there.

    Raises
    ------
    IncompleteListing : a folder cannot be listed, or one of its entries not be looked at.
    ValueError : links to folders multiply.
    """
    linked, top = 0, os.path.realpath(root or "/")
    # Of each folder: its path, its real path, whether a link was followed to it, and the real paths above it.
    folders: list[tuple[str, str, bool, tuple[str, ...]]] = [("", top, Path(root).is_symlink(), (top,))]
    while folders:
        folder, real_path, through_link, above = folders.pop()
        for entry in _scan(real_path, f"{root}/{folder}"):
            path = folder + entry.name
            if not (below.takes(path) or below.enters(path)):
                continue
            try:
                mode, link = entry.stat().st_mode, entry.is_symlink()
            except OSError as error:
                yield from _dead_link(path, entry, error)
                continue
            lies_at = os.path.realpath(entry.path) if link else f"{real_path.rstrip('/')}/{entry.name}"
            if not stat.S_ISDIR(mode):
                if below.takes(path):
                    yield _local_entry(path, entry.stat(), lies_at if link or through_link else "")
            elif (link or through_link) and lies_at in above:
                yield Entry(f"{path}/", problem="a link that leads back to a folder that it is in")
            elif enter(path):
                linked += link
                if linked > _LINKED_FOLDERS:
                    raise ValueError(
                        f"{visible(root)}: more than {_LINKED_FOLDERS:,} links to folders: they lead to one another"
                    )
                folders.append((f"{path}/", lies_at, link or through_link, (*above, lies_at)))


def _scan(real_path: str, folder: str) -> list[os.DirEntry[str]]:
    """List a folder by its real path: the system follows no more than 40 links of one path."""
    try:
        with os.scandir(real_path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise IncompleteListing(folder.rstrip("/"), error) from error


def _dead_link(path: str, entry: os.DirEntry[str], error: OSError) -> Iterator[Entry]:
    """Yield a link that leads nowhere; a file that was deleted just now is none any more, and all else is an error."""
    if error.errno == errno.ELOOP:
        yield Entry(path, problem="a link that leads back to itself")
    elif error.errno in _LEADS_NOWHERE and entry.is_symlink():
        yield Entry(path, problem="a broken link: nothing is where it leads")
    elif error.errno != errno.ENOENT:
        raise IncompleteListing(entry.path, error) from error


def _local_entry(path: str, state: os.stat_result, leads_to: str) -> Entry:
    return Entry(path, state.st_size, state.st_mtime, leads_to, no_file(state.st_mode))


def no_file(mode: int) -> str:
    """Return what a path is that is neither a regular file nor a folder, from its `st_mode`; "" if it is."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return f"{_NO_FILES.get(stat.S_IFMT(mode), 'a device')}, no file"


def walk_store(fs: Any, root: str, below: Below, enter: Enter) -> Iterator[Entry]:
    """Yield what stands below a folder of an fsspec file system.

    Stores that list a whole tree in one go are asked that; others, folder by folder: fsspec's own walk takes a folder
    that it cannot list for an empty one.

    Raises
    ------
    IncompleteListing : the store refuses to list a folder, or fails while it does.
    """
    if below.deep and _lists_trees(fs):
        for name, info in or_incomplete(root, lambda: fs.find(root, detail=True)).items():
            path = name[len(root) :].lstrip("/")
            marker = not path or path.endswith("/")  # an object that stands for a folder
            if not marker and info.get("type") != "directory" and below.takes(path):
                yield store_entry(path, info)
        return
    folders = [""]
    while folders:
        here = f"{root}/{folders.pop()}".rstrip("/")
        entries = or_incomplete(here, partial(fs.ls, here, detail=True))
        for info in sorted(entries, key=lambda info: info["name"]):
            name = info["name"].rstrip("/")
            path = name[len(root) :].lstrip("/")
            if name == here or not name.startswith(here):
                continue  # some stores list the folder itself, others what leads out of it
            if info["type"] != "directory":
                if below.takes(path):
                    yield store_entry(path, info)
            elif (below.takes(path) or below.enters(path)) and enter(path):
                folders.append(f"{path}/")


def _lists_trees(fs: Any) -> bool:
    method = "_find" if isinstance(fs, AsyncFileSystem) else "find"
    return getattr(type(fs), method) not in (AbstractFileSystem.find, AsyncFileSystem._find)


def or_incomplete(place: str, call: Callable[[], Any]) -> Any:
    """Call, and where that fails raise IncompleteListing of a place."""
    try:
        return call()
    except OSError as error:
        raise IncompleteListing(place, error) from error


def store_entry(path: str, info: Mapping[str, Any]) -> Entry:
    """Return a file of which its store says `info`; the hub has the digest of what lies in LFS."""
    lfs = info.get("lfs")
    return Entry(path, int(info.get("size") or 0), mtime_of(info), sha256=str(lfs["sha256"]) if lfs else "")
