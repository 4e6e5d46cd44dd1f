"""A profile at work: its artifacts, its partitions, and making one artifact current."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from curation_assets.graph import STEPS
from curation_assets.profile import Profile, ProfileError
from curation_assets.progress import Progress, silent
from curation_assets.registry import RATES
from curation_assets.step import By, Step, reads_all, upstream
from curation_assets.storage import (
    PREVIEW,
    Receipt,
    Store,
    file_states,
    fingerprint,
    read_json,
    write_json,
)

Metadata = dict[str, Any]
BuildOne = Callable[[str, Path, Progress], Metadata]
"""Makes one partition: (partition, folder to write into, progress) -> metadata (numbers, strings, `Markdown`)."""
Builder = Callable[["Workspace"], BuildOne]
"""Loads what all partitions share (a model, say) once, and returns the function that makes one of them."""


class Markdown(str):
    """Metadata to show as Markdown (a preview table, a picture); kept beside the artifact, not in its receipt."""

    __slots__ = ()


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
        self._claim()

    def _claim(self) -> None:
        owner = self.data / "profile.json"
        if not owner.exists():
            write_json(owner, {"profile": self.profile.name})
        name = read_json(owner)["profile"]
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

    def shards(self) -> list[str]:
        """Return the shard keys of the corpus's last listing, sorted; empty before the first."""
        return sorted(self.listing())

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return {shard: {url, size, modified}} as `corpus/source` found it last."""
        if self.store.receipt("corpus/source") is None:
            return {}
        return read_json(self.open("corpus/source") / "shards.json")

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind: the shards, the rates, the ladder's sizes, or their product."""
        if by == "":
            return [""]
        if by == "shard":
            return self.shards()
        if by == "rate":
            return list(RATES)
        if by == "size":
            return self.profile.sizes
        return [f"{rate}|{size}" for rate in RATES for size in self.profile.sizes]

    def open(self, key: str, partition: str = "") -> Path:
        """Return a local folder with an artifact's files, their digests checked."""
        return self.store.open(key, partition)

    def metadata(self, key: str, partition: str = "") -> Metadata:
        """Return the metadata in an artifact's receipt."""
        receipt = self.store.receipt(key, partition)
        if receipt is None:
            raise MissingInput(f"{_title(key, partition)} has not been materialized; do that first")
        return receipt.metadata


class Versions:
    """Versions of artifacts as they stand, each receipt read once: make one, ask it, throw it away."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._receipts: dict[tuple[str, str], Receipt | None] = {}
        self._partitions: dict[By, list[str]] = {}

    def receipt(self, key: str, partition: str) -> Receipt | None:
        """Return an artifact's receipt, or None."""
        at = (key, partition)
        if at not in self._receipts:
            self._receipts[at] = self.workspace.store.receipt(key, partition)
        return self._receipts[at]

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""
        if by not in self._partitions:
            self._partitions[by] = self.workspace.partitions(by)
        return self._partitions[by]

    def inputs(self, step: Step, partition: str) -> dict[str, str]:
        """Return the version of each input; of several partitions, the fingerprint of {partition: version}.

        Raises
        ------
        MissingInput
            When something that the step needs has not been materialized (partial steps need nothing).
        """
        found = {}
        for key, only in step.reads(self.workspace.profile).items():
            need = STEPS[key]
            wanted = upstream(step, partition, need, self.partitions, only)
            receipts = {p: self.receipt(key, p) for p in wanted}
            missing = [p for p, receipt in receipts.items() if receipt is None]
            if (missing or not wanted) and not step.partial:
                what = _title(key, missing[0]) if missing else f"{key} (the corpus has no shards)"
                raise MissingInput(
                    f"{_title(step.key, partition)} needs {what}, which has not been materialized"
                )
            versions = {p: receipt.version for p, receipt in receipts.items() if receipt is not None}
            several = (only is None and reads_all(step.by, need.by)) or not versions
            found[key] = fingerprint(versions) if several else versions[wanted[0]]
        return found

    def current(self, step: Step, partition: str) -> bool:
        """Tell whether the artifact is there and is what its code, settings and inputs would make now."""
        receipt = self.receipt(step.key, partition)
        if receipt is None:
            return False
        if step.key in _ALWAYS:
            return _ALWAYS[step.key](self.workspace, partition, receipt)
        if receipt.code != step.code_version(self.workspace.profile):
            return False
        if step.pinned:
            kept = not self.drifted(step, receipt) and self._pinned_inputs_hold(step, partition, receipt)
            return kept and _unchanged_outside(receipt)
        try:
            made_so = receipt.recipe == step.recipe(self.workspace.profile, self.inputs(step, partition))
        except MissingInput:
            return False
        return made_so and _unchanged_outside(receipt)

    def _pinned_inputs_hold(self, step: Step, partition: str, receipt: Receipt) -> bool:
        """Tell whether the pinned artifacts that a pinned one was made from are still the same: only the corpus is let go by."""
        for key, only in step.reads(self.workspace.profile).items():
            need = STEPS[key]
            if need.pinned:
                wanted = upstream(step, partition, need, self.partitions, only)
                found = [self.receipt(key, p) for p in wanted]
                if [r.version if r else None for r in found] != [receipt.inputs.get(key)]:
                    return False
        return True

    def drifted(self, step: Step, receipt: Receipt) -> bool:
        """Tell whether a pinned model that refits by itself (the centroids) has drifted past its limit."""
        if step.key != "clusters/centroids":
            return False
        index = self.receipt("corpus/index", "")
        if index is None:
            return False
        before, now = receipt.metadata["documents"], index.metadata["documents"]
        return abs(now - before) > self.workspace.profile.clusters.drift * before

    def stale(self, step: Step, partitions: list[str]) -> list[str]:
        """Return those of `partitions` whose artifact is missing or out of date."""
        return [p for p in partitions if not self.current(step, p)]


def _listing_is_current(workspace: Workspace, partition: str, receipt: Receipt) -> bool:
    return False  # listing the corpus is how a change is noticed: always looked at again


def _shard_is_current(workspace: Workspace, partition: str, receipt: Receipt) -> bool:
    listed = workspace.listing().get(partition)
    return listed is not None and all(
        receipt.metadata.get(k) == listed[k] for k in ("url", "bytes", "modified")
    )


def _unchanged_outside(receipt: Receipt) -> bool:
    """Tell whether the files outside the graph that an artifact speaks of still look as they did then."""
    try:
        seen = receipt.metadata.get("seen", {})
        return not seen or file_states(Path(receipt.metadata["place"]), seen) == seen
    except OSError:
        return False


_ALWAYS: dict[str, Callable[[Workspace, str, Receipt], bool]] = {
    "corpus/source": _listing_is_current,
    "corpus/shards": _shard_is_current,
}
"""Steps at the edge of the graph, whose inputs are files and not artifacts."""


def materialize(
    workspace: Workspace,
    step: Step,
    partition: str,
    one: Callable[[dict[str, str]], BuildOne],
    progress: Progress = silent,
    *,
    force: bool = False,
    run_id: str = "",
) -> tuple[Receipt, bool]:
    """Make one artifact current and return (its receipt, whether it was made now).

    Returns at once when it already is what its inputs would make. `one` is called, with the inputs' versions,
    only when there is work, so that a model is not loaded for nothing. Versions of inputs are read before the inputs are: an input that changes under
    the step leaves an artifact that is known to be stale, never one that wrongly looks fresh.
    """
    versions = Versions(workspace)
    if not force and versions.current(step, partition):
        receipt = versions.receipt(step.key, partition)
        assert receipt is not None
        return receipt, False
    inputs = versions.inputs(step, partition)
    recipe = step.recipe(workspace.profile, inputs)
    started = time.time()
    with workspace.store.staged(step.key, partition) as folder:
        metadata = one(inputs)(partition, folder, progress)
        preview = {name: value for name, value in metadata.items() if isinstance(value, Markdown)}
        if preview:
            write_json(folder / PREVIEW, preview)
        kept = {name: value for name, value in metadata.items() if name not in preview}
        version = kept.pop("version", "" if step.pinned else recipe)
        draft = Receipt(
            step.key,
            partition,
            version,
            recipe,
            step.code_version(workspace.profile),
            inputs,
            "",
            {},
            kept,
            created=time.time(),
            seconds=round(time.time() - started, 3),
            run_id=run_id,
        )
        return workspace.store.commit(folder, draft), True


def shown(workspace: Workspace, receipt: Receipt) -> Metadata:
    """Return all metadata of an artifact for people: the receipt's, and the Markdown that lies beside it."""
    metadata = dict(receipt.metadata)
    if PREVIEW in receipt.files:
        folder = workspace.open(receipt.key, receipt.partition)
        metadata |= {name: Markdown(text) for name, text in read_json(folder / PREVIEW).items()}
    return metadata


def _title(key: str, partition: str) -> str:
    return f"{key}[{partition}]" if partition else key
