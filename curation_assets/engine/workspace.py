"""A profile at work: its artifacts, its partitions, and what was tried to make them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from curation_assets.common.files import read_json, safe_name, write_json
from curation_assets.common.progress import Progress
from curation_assets.config.profile import Profile, ProfileError
from curation_assets.config.registry import RATES
from curation_assets.engine.attempts import Attempts
from curation_assets.engine.receipt import title
from curation_assets.engine.step import EDGE, By
from curation_assets.engine.store import Receipt, Store

if TYPE_CHECKING:
    from curation_assets.engine.context import Context

Metadata = dict[str, Any]
BuildOne = Callable[[str, Path, Progress], Metadata]
"""Makes one partition: (partition, folder to write into, progress) -> metadata (numbers, strings, `Markdown`)."""
Builder = Callable[["Context"], BuildOne]
"""Loads what all partitions share (a model, say) once, and returns the function that makes one of them (`context.load`)."""


class Markdown(str):
    """Metadata to show as Markdown (a preview table, a picture); kept beside the artifact, not in its receipt."""

    __slots__ = ()


_REFRESH = "refresh.json"
_PASSED_OVER = "passed_over.json"


class MissingInput(RuntimeError):
    """An input has not been materialized yet; the message names the asset and partition."""


class Workspace:
    """Everything that a step needs to know of where it runs. Opening one writes nothing but the data folder's owner.

    Raises
    ------
    ProfileError
        When the data folder belongs to a profile of another name.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.data = profile.data
        self.scratch = self.data / "scratch"
        url = profile.execution.store or str(self.data / "artifacts")
        self.store = Store(url, self.scratch, **profile.execution.store_options)
        self.attempts = Attempts(self.store)
        self._claim()

    def _claim(self) -> None:
        owner = self.data / "profile.json"
        if not owner.exists():
            write_json(owner, {"profile": self.profile.name})
        name = _read_note(owner).get("profile")
        if name != self.profile.name:
            raise ProfileError(
                f"{self.data} holds the artifacts of profile {name!r}, not of {self.profile.name!r}: give each profile "
                f"its own folder (execution.data in {self.profile.source}, or CURATION_DATA)"
            )

    @cached_property
    def device(self) -> str:
        """The torch device: `execution.device`, or for "auto" the first GPU, or else the CPU."""
        if self.profile.execution.device != "auto":
            return self.profile.execution.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def listed(self) -> list[str]:
        """Return the shard keys of the corpus's last listing, sorted; empty before the first."""
        return sorted(self.listing())

    def shards(self) -> list[str]:
        """Return the shards that the graph works on: those listed, but for those in `set_aside`."""
        listed = self.listed()
        aside = self._never_read(listed)
        return [shard for shard in listed if shard not in aside]

    def set_aside(self) -> dict[str, str]:
        """Return {shard: reason} of listed files that never could be read: the others do not wait for them.

        A file that could be read once and now cannot is not among them: its documents as last read stay in use.
        """
        return self._never_read(self.listed())

    def _never_read(self, shards: list[str]) -> dict[str, str]:
        read = self.store.present("corpus/documents")
        return self.unreadable([shard for shard in shards if safe_name(shard) not in read])

    def unreadable(self, shards: list[str]) -> dict[str, str]:
        """Return {shard: reason} of those whose file could not be read when that was tried last."""
        found = {}
        for shard in shards:
            tried = [self.attempts.read(key, shard) for key in EDGE[1:]]
            if errors := [attempt.error for attempt in tried if attempt is not None and attempt.error]:
                found[shard] = errors[0]
        return found

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return {shard: {url, bytes, modified}} as `corpus/source` found it last, see `corpus.watch.state`."""
        if self.store.receipt("corpus/source") is None:
            return {}
        return read_json(self.open("corpus/source") / "shards.json")

    def passed_over(self) -> dict[str, Any]:
        """Return what the corpus's last listing passed over, as `corpus.watch.not_read` tells; nothing before the first."""
        receipt = self.store.receipt("corpus/source")
        if receipt is None or _PASSED_OVER not in receipt.files:
            return {"files": [], "not_meant_as_data": {}, "alike": []}
        return read_json(self.open("corpus/source") / _PASSED_OVER)

    def refresh_asked(self) -> dict[str, float]:
        """Return {artifact's title: when} of the pinned models that somebody asked to learn anew, seconds since the epoch."""
        path = self.data / _REFRESH
        return _read_note(path) if path.exists() else {}

    def mark_refresh(self, titles: list[str]) -> None:
        """Write down that these artifacts are to be learned anew; `refresh.ask_refresh` says which may be."""
        if titles:
            with self._refresh_lock():
                marks = self.refresh_asked() | dict.fromkeys(titles, time.time())
                write_json(self.data / _REFRESH, marks)

    def unmark_refresh(self, marks: dict[str, float]) -> None:
        """Take away some of what `refresh_asked` returned; what was marked again since then stays."""
        if marks:
            with self._refresh_lock():
                kept = {name: when for name, when in self.refresh_asked().items() if marks.get(name) != when}
                write_json(self.data / _REFRESH, kept)

    def _refresh_lock(self) -> FileLock:
        return FileLock(self.data / f".{_REFRESH}.lock")

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind: the shards in use, the groups, the rates, the ladder's sizes, or their product."""
        if by == "":
            return [""]
        if by == "shard":
            return self.shards()
        if by == "group":
            return self.profile.groups
        if by == "rate":
            return list(RATES)
        if by == "size":
            return self.profile.sizes
        return [f"{rate}|{size}" for rate in RATES for size in self.profile.sizes]

    def open(self, key: str, partition: str = "") -> Path:
        """Return a local folder with an artifact's files, their digests checked; MissingInput where there is none."""
        try:
            return self.store.open(key, partition)
        except FileNotFoundError as error:
            if error.errno is not None:  # a file is lost, not the artifact
                raise
            raise MissingInput(str(error)) from None

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return an artifact's receipt, or None."""
        return self.store.receipt(key, partition)

    def metadata(self, key: str, partition: str = "") -> Metadata:
        """Return the metadata in an artifact's receipt."""
        receipt = self.receipt(key, partition)
        if receipt is None:
            raise MissingInput(f"{title(key, partition)} has not been materialized; do that first")
        return receipt.metadata


def _read_note(path: Path) -> dict[str, Any]:
    """Read a small JSON file of the data folder."""
    try:
        note = read_json(path)
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise ProfileError(f"{path} is damaged: remove it, and try again")
    return note
