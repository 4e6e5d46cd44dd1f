"""A profile at work: its artifacts, its partitions, and the catalog that says which artifact is current."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from curation_assets.common.files import read_json, write_json
from curation_assets.common.progress import Progress
from curation_assets.config.profile import Profile, ProfileError
from curation_assets.engine import stored
from curation_assets.engine.artifact_cache import Hold
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.receipt import Receipt, title
from curation_assets.engine.step import EDGE, By
from curation_assets.engine.store import DamagedArtifact, Store
from curation_assets.engine.takeover import open_catalog

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


_PASSED_OVER = "passed_over.json"


class MissingInput(RuntimeError):
    """An input has not been materialized yet; the message names the asset and partition."""


def not_made(key: str, partition: str) -> str:
    """Say that an artifact is not there, and which command makes it."""
    only = f" --partition {shlex.quote(partition)}" if partition else ""
    return f"{title(key, partition)} has not been materialized (or is damaged): `curation run {key}{only}` makes it"


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
        execution = profile.execution
        self.store = Store(url, self.scratch, int(execution.cache_gb * 1e9), **execution.store_options)
        self.hold = Hold()
        """Keeps copies of remote artifacts that were opened without another; whoever works for long releases it."""
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
    def catalog(self) -> Catalog:
        """What says which artifact is current."""
        return open_catalog(self.profile.execution.catalog, self.store, self.data)

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
        read = self.catalog.partitions_of("corpus/documents")
        return self.unreadable([shard for shard in shards if shard not in read])

    def unreadable(self, shards: list[str]) -> dict[str, str]:
        """Return {shard: reason} of those whose file could not be read when that was tried last."""
        attempts = self.catalog.attempts() if shards else {}
        errors = {
            shard: [
                attempt.error for key in EDGE[1:] if (attempt := attempts.get((key, shard))) and attempt.error
            ]
            for shard in shards
        }
        return {shard: reasons[0] for shard, reasons in errors.items() if reasons}

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return {shard: {url, bytes, modified}} as `corpus/source` found it last, see `corpus.watch.state`."""
        receipt = self.receipt("corpus/source")
        return {} if receipt is None else self.listing_of(receipt)

    def listing_of(self, receipt: Receipt) -> dict[str, dict[str, Any]]:
        """Return what `corpus/source` found when it made this artifact."""
        return read_json(self.folder(receipt) / "shards.json")

    def passed_over(self) -> dict[str, Any]:
        """Return what the corpus's last listing passed over, as `corpus.watch.not_read` tells; nothing before the first."""
        receipt = self.receipt("corpus/source")
        if receipt is None or _PASSED_OVER not in receipt.files:
            return {"files": [], "not_meant_as_data": {}, "alike": []}
        return read_json(self.open("corpus/source") / _PASSED_OVER)

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind: the shards in use, the groups, the amounts, the ladder's sizes, or their product."""
        if by == "":
            return [""]
        if by == "shard":
            return self.shards()
        if by == "group":
            return self.profile.groups
        if by == "rate":
            return self.profile.amounts
        if by == "size":
            return self.profile.sizes
        return [f"{rate}|{size}" for rate in self.profile.amounts for size in self.profile.sizes]

    def open(self, key: str, partition: str = "", hold: Hold | None = None) -> Path:
        """Return a local folder with an artifact's files, their digests checked; it stays until the hold is released.

        Raises
        ------
        MissingInput
            There is no such artifact: names the key and partition to materialize first.
        DamagedArtifact
            Content differs from the receipt; the artifact is withdrawn.
        """
        return self.folder(self.artifact(key, partition), hold)

    @contextmanager
    def opened(self, key: str, partition: str) -> Iterator[Path]:
        """Open an artifact for a while: a loop over many on a remote store keeps no more than one on this machine."""
        hold = Hold()
        try:
            yield self.open(key, partition, hold)
        finally:
            hold.release()

    def folder(self, receipt: Receipt, hold: Hold | None = None) -> Path:
        """Return a local folder with the files of an artifact, current or replaced; what is damaged is withdrawn."""
        try:
            return self.store.folder(receipt, hold or self.hold)
        except DamagedArtifact as error:
            self.withdraw(receipt, error.problem)
            raise

    def withdraw(self, receipt: Receipt, problem: str) -> None:
        """Make an artifact count as missing, unless it was made anew meanwhile; `problem` says why, for plans."""
        self.catalog.withdraw(receipt, problem)
        self.store.disown(receipt)

    def open_parquet(self, key: str, partition: str, name: str) -> AbstractContextManager[pq.ParquetFile]:
        """Open a Parquet file of an artifact, to read some of its columns or rows; MissingInput where there is none."""
        return stored.open_parquet(self, self.artifact(key, partition), name)

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return an artifact's receipt; None where there is none, or a file of it is missing or resized."""
        receipt = self.catalog.current(key, partition)
        return receipt if receipt and self.store.intact([receipt], listed=False) else None

    def receipts(self, key: str) -> dict[str, Receipt]:
        """Return {partition: receipt} of all artifacts of a key that the catalog has, intact or not."""
        return self.catalog.current_of(key)

    def artifact(self, key: str, partition: str = "") -> Receipt:
        """Return an artifact's receipt; MissingInput where there is none."""
        receipt = self.receipt(key, partition)
        if receipt is None:
            raise MissingInput(not_made(key, partition))
        return receipt

    def metadata(self, key: str, partition: str = "") -> Metadata:
        """Return the metadata in an artifact's receipt; MissingInput where there is none."""
        return self.artifact(key, partition).metadata


def _read_note(path: Path) -> dict[str, Any]:
    """Read a small JSON file of the data folder."""
    try:
        note = read_json(path)
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise ProfileError(f"{path} is damaged: remove it, and try again")
    return note
