"""What the builder of a step is given: the artifacts and settings that the step declares, and no others.

A version follows from what a step declares. Since nothing else can be read, no version leaves out what its artifact was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq

from curation_assets.common.progress import Progress
from curation_assets.config.paths import Declaration, DeclaredSettings
from curation_assets.config.profile import Profile
from curation_assets.engine import stored
from curation_assets.engine.artifact_cache import Hold
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import By, Step, reads_all, upstream
from curation_assets.engine.workspace import Builder, Metadata, Workspace, title

FOLLOWS = "what it is made from is out of date itself"
"""Why an artifact is out of date that is made from what there is, and will be another one when that has been made again."""


class UndeclaredInput(RuntimeError):
    """A step reads an artifact that it does not declare; the message names both and says what to add."""


def shared_inputs(step: Step, profile: Profile) -> list[str]:
    """Return the inputs that are the same for all partitions of a step: a builder may read them before it is asked for one."""
    reads = step.reads(profile).items()
    return [key for key, only in reads if only or not STEPS[key].by or reads_all(step.by, STEPS[key].by)]


class Context:
    """The workspace as one step may see it. Settings of execution and the names of partitions are open to every step."""

    def __init__(self, workspace: Workspace, step: Step, partition: str | None = None) -> None:
        self._workspace, self._step, self._partition = workspace, step, partition
        self._reads, self._shared = step.reads(workspace.profile), shared_inputs(step, workspace.profile)
        declared = Declaration(step.key, step.settings)
        self.profile = cast(Profile, DeclaredSettings(workspace.profile, declared))
        """The settings that the step declares; reading another raises `UndeclaredSetting`."""
        self.data, self.scratch = workspace.data, workspace.scratch
        self.hold = Hold()
        """Keeps copies of what all partitions share, as long as the builder is loaded; the workspace's keeps a partition's."""

    @property
    def device(self) -> str:
        """The torch device."""
        return self._workspace.device

    def shards(self) -> list[str]:
        """Return the shards that the graph works on."""
        return self._workspace.shards()

    def set_aside(self) -> dict[str, str]:
        """Return {shard: reason} of listed files that never could be read."""
        return self._workspace.set_aside()

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""
        return self._workspace.partitions(by)

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return {shard: {url, bytes, modified}} as `corpus/source` found it last."""
        self._check("corpus/source", "")
        return self._workspace.listing()

    def open(self, key: str, partition: str = "") -> Path:
        """Return a local folder with the files of an input, their digests checked; MissingInput where there is none."""
        self._check(key, partition)
        return self._workspace.open(key, partition, self.hold if key in self._shared else None)

    def opened(self, key: str, partition: str) -> AbstractContextManager[Path]:
        """Open an input for a while: a loop over many on a remote store keeps no more than one on this machine."""
        self._check(key, partition)
        return self._workspace.opened(key, partition)

    def open_parquet(self, key: str, partition: str, name: str) -> AbstractContextManager[pq.ParquetFile]:
        """Open a Parquet file of an input, to read some of its columns or rows; MissingInput where there is none."""
        self._check(key, partition)
        return self._workspace.open_parquet(key, partition, name)

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return the receipt of an input, or None."""
        self._check(key, partition)
        return self._workspace.receipt(key, partition)

    def artifact(self, key: str, partition: str = "") -> Receipt:
        """Return the receipt of an input; MissingInput where there is none."""
        self._check(key, partition)
        return self._workspace.artifact(key, partition)

    def metadata(self, key: str, partition: str = "") -> Metadata:
        """Return the metadata in an input's receipt; MissingInput where there is none."""
        return self.artifact(key, partition).metadata

    def read_files(self, name: str, receipts: Sequence[Receipt]) -> Iterator[bytes]:
        """Yield a small file of each of some inputs, its digest checked, without what else the artifacts have."""
        for receipt in receipts:
            self._check(receipt.key, receipt.partition)
        return stored.read_files(self._workspace, name, receipts)

    def read_ranges(self, name: str, ranges: Sequence[tuple[Receipt, int, int]]) -> Iterator[bytes]:
        """Yield the bytes from one place to another of a file of each of some inputs, without the rest of it.

        Nothing else is fetched, and so no digest is checked: what is read has a checksum of its own. Where that fails, `open` the input.
        """
        for receipt, _, _ in ranges:
            self._check(receipt.key, receipt.partition)
        return stored.read_ranges(self._workspace, name, ranges)

    def temporary(self) -> AbstractContextManager[Path]:
        """Give a fresh local folder for what is needed meanwhile."""
        return self._workspace.store.temporary()

    def recipe(self, partition: str) -> str:
        """Return the version that the step's partition has when made from its inputs as they are."""
        return Versions(self._workspace).recipe(self._step, partition)

    def through(self, key: str) -> Context:
        """Return the context of an input that says by a digest which files it stands for, to get at these files.

        What is read so is compared with that digest: then it is what the version of the input says.
        """
        self._check(key, "")
        context = Context(self._workspace, STEPS[key], "")
        context.hold = self.hold
        return context

    def versions(self) -> DeclaredVersions:
        """Return what there is and what is current of the inputs and of `Step.versions_of`, as of now."""
        return DeclaredVersions(self._workspace, self._step)

    def _check(self, key: str, partition: str) -> None:
        """Refuse an artifact that is none of the step's inputs, or a partition of one that is not read now."""
        if key not in self._reads:
            raise UndeclaredInput(
                f'{self._step.key} reads {key}, which it does not declare: add "{key}" to the needs of that step, '
                "so that its versions follow from it"
            )
        need, only = STEPS[key], self._reads[key]
        if only is None and reads_all(self._step.by, need.by):
            return
        if self._partition is None and key not in self._shared:
            raise UndeclaredInput(
                f"{self._step.key} reads {title(key, partition)} before it is asked for a partition, which decides of which {key} it may"
            )
        read = upstream(self._step, self._partition or "", need, self._workspace.partitions, only)
        if partition not in read:
            raise UndeclaredInput(
                f"{title(self._step.key, self._partition or '')} reads {title(key, partition)}, "
                f"but what it declares is {', '.join(title(key, one) for one in read)}"
            )


class DeclaredVersions:
    """What a report may ask about its inputs and the steps in `Step.versions_of`. Each receipt is read once."""

    def __init__(self, workspace: Workspace, step: Step) -> None:
        self._versions, self._reader = Versions(workspace), step.key
        self._inputs = step.reads(workspace.profile).keys()
        self._asked = {one.key for one in step.versions_of}

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return an artifact's receipt, or None."""
        if key not in self._inputs:
            self._check(key)
        return self._versions.receipt(key, partition)

    def current(self, key: str, partition: str = "") -> bool:
        """Tell whether an artifact is there and is what would be made now."""
        self._check(key)
        return self._versions.current(STEPS[key], partition)

    def stale(self, key: str, partitions: list[str]) -> list[str]:
        """Return those of `partitions` whose artifact is missing or out of date."""
        return [partition for partition in partitions if not self.current(key, partition)]

    def reasons(self, key: str, partition: str = "") -> list[str]:
        """Tell why an artifact is out of date, or that what it is made from is; [] where neither is."""
        self._check(key)
        reasons = self._versions.reasons(STEPS[key], partition)
        if not reasons and self._versions.follows(STEPS[key], partition):
            return [FOLLOWS]
        return [str(reason) for reason in reasons]

    def kept(self, key: str, partition: str = "") -> str:
        """Tell that a model right above an artifact is kept although the corpus moved on; "" where none is."""
        self._check(key)
        for reading in self._versions.readings(STEPS[key], partition):
            for one in reading.partitions if reading.need.pinned else ():
                if behind := self._versions.kept(reading.need, one):
                    return str(behind)
        return ""

    def _check(self, key: str) -> None:
        if key not in self._asked:
            raise UndeclaredInput(
                f"{self._reader} asks what of {key} is current, which it does not declare: add that step to its versions_of, "
                "so that its versions follow from it"
            )


class LoadedBuilder:
    """What all partitions of a step share, loaded, and what makes one of them; both read what the step declares."""

    def __init__(self, build: Builder, workspace: Workspace, step: Step) -> None:
        self._context = Context(workspace, step, None if step.by else "")
        self._build_one = build(self._context)

    def __call__(
        self, partition: str, folder: Path, progress: Progress, workspace: Workspace | None = None
    ) -> Metadata:
        """Make a partition; of the inputs of another workspace than it was loaded from, if one is given."""
        self._context._partition = partition
        self._context._workspace = workspace or self._context._workspace
        return self._build_one(partition, folder, progress)

    def close(self) -> None:
        """Let go of what all partitions share."""
        self._context.hold.release()
