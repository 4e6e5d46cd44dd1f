"""Where an export goes: a folder, or a URL of an object store, to which each file comes whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curation_assets.common.files import TEMPORARY, atomic_file, file_system, seal, sha256, unseal

MANIFEST = "manifest.json"
"""Written last: where it is, the export is complete."""
PROGRESS = "_progress.json"
"""Which files are there, and where the next one begins, as long as the export is at work."""
DATA = "data"
CARD = "README.md"
_LOCK = f"{TEMPORARY}lock"


class DamagedExport(ValueError):
    """What says how far an export is, or which files it has, is not what was written."""


class Destination:
    """A folder of this machine, or a place of an object store, whose files are written in a folder that `temporary` gives first."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        temporary: Callable[[], AbstractContextManager[str | Path]] = tempfile.TemporaryDirectory,
    ) -> None:
        self.url, self._temporary = url.rstrip("/"), temporary
        self._fs, self._root = file_system(url, options or {})
        self._root = self._root.rstrip("/")
        protocol = self._fs.protocol
        self._local = "file" in (protocol if isinstance(protocol, tuple) else (protocol,))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold a folder of this machine against a second export; the kernel lets go of it when this process dies.

        Raises
        ------
        ValueError
            Another export is at work there.
        """
        if not self._local:
            yield
            return
        Path(self._root).mkdir(parents=True, exist_ok=True)
        path = Path(self._root, _LOCK)
        try:
            lock = FileLock(path, blocking=False).acquire()
        except Timeout:
            raise ValueError(f"{self.url}: another export is at work in this folder") from None
        with lock:
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def begin(self) -> None:
        """Remove what a killed export was writing."""
        if self._local:
            for left in Path(self._root).glob(f"**/{TEMPORARY}*"):
                if left.name != _LOCK:
                    left.unlink(missing_ok=True)

    def begun(self) -> str:
        """Return the name of the file that says what export lies there, complete or not; "" where nothing does.

        Raises
        ------
        ValueError
            Something else lies there.
        """
        names = self._names()
        known = [name for name in (MANIFEST, PROGRESS) if name in names]
        if names and not known:
            raise ValueError(f"{self.url} exists and is no empty folder: name another, or remove it first")
        return known[0] if known else ""

    def _names(self) -> list[str]:
        with suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            paths = self._fs.ls(self._root, detail=False)
            names = [str(path).rstrip("/").rpartition("/")[2] for path in paths]
            return [name for name in names if not name.startswith(TEMPORARY)]
        return []

    def whole(self, files: Sequence[Mapping[str, Any]]) -> int:
        """Tell how many first files of data are as they were written, by {name, bytes, sha256}; a store sees to the digests itself."""
        sizes = self._sizes()
        for number, file in enumerate(files):
            same = sizes.get(file["name"]) == file["bytes"]
            if not same or (self._local and sha256(Path(self._root, file["name"])) != file["sha256"]):
                return number
        return len(files)

    def _sizes(self) -> dict[str, int]:
        with suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            found = self._fs.ls(f"{self._root}/{DATA}", detail=True)
            return {f"{DATA}/{about['name'].rpartition('/')[2]}": int(about["size"]) for about in found}
        return {}

    def read(self, name: str) -> Any:
        """Return what a JSON file holds; None where there is none."""
        try:
            return json.loads(self._fs.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise self._damaged(name) from None

    def progress(self) -> dict[str, Any]:
        """Return what `note` wrote last; DamagedExport where the file holds anything else."""
        fields = unseal(self._fs.cat_file(f"{self._root}/{PROGRESS}"))
        if fields is None:
            raise self._damaged(PROGRESS)
        return fields

    def _damaged(self, name: str) -> DamagedExport:
        return DamagedExport(f"{self.url}/{name} is damaged: remove it, or name another folder")

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file in one step."""
        with self.file(name) as draft:
            draft.write_text(json.dumps(value, indent=1) + "\n", "utf-8")

    def note(self, progress: dict[str, Any]) -> None:
        """Write down, in one step, how far an export is."""
        with self.file(PROGRESS) as draft:
            draft.write_bytes(seal(progress))

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Give a path of this machine to write a file to, which then takes its name."""
        if self._local:
            with atomic_file(Path(self._root, name)) as draft:
                yield draft
            return
        with self._temporary() as folder:
            draft = Path(folder, "draft")
            yield draft
            self._fs.put_file(str(draft), f"{self._root}/{name}")

    @contextmanager
    def counted(self, name: str, about: dict[str, Any]) -> Iterator[Path]:
        """Give a path as `file` does, and add name, bytes and SHA-256 of what was written there to `about`."""
        with self.file(name) as draft:
            yield draft
            about |= {"name": name, "bytes": draft.stat().st_size, "sha256": sha256(draft)}

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")
