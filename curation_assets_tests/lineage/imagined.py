"""A whole graph of receipts in memory: every step and partition, current at first, to be changed at will."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import By, Step
from curation_assets.engine.workspace import Workspace

Receipts = dict[tuple[str, str], Receipt]
DOCUMENTS = 50
"""What each shard has."""


class Imagined(Versions):
    """Versions of artifacts that are not there: `made` has the receipts, `shards` the corpus."""

    def __init__(self, workspace: Workspace, made: Receipts, shards: list[str]) -> None:
        super().__init__(workspace)
        self.made, self.shards = dict(made), shards
        self.listing = {shard: listed(shard) for shard in shards}
        self.refresh_asked = {}

    def receipts(self, key: str) -> dict[str, Receipt]:
        return {partition: receipt for (k, partition), receipt in self.made.items() if k == key}

    def receipt(self, key: str, partition: str) -> Receipt | None:
        return self.made.get((key, partition))

    def damaged(self, key: str, partition: str) -> Receipt | None:
        return None

    def partitions(self, by: By) -> list[str]:
        return self.shards if by == "shard" else super().partitions(by)

    def change(self, key: str, partition: str, **fields: Any) -> None:
        """Give a receipt other fields."""
        self.made[key, partition] = replace(self.made[key, partition], **fields)


def listed(shard: str) -> dict[str, Any]:
    """Return what a listing says of a shard."""
    return {"url": f"file:///corpus/{shard}", "bytes": 1_000, "modified": 1.0}


def imagine(workspace: Workspace, shards: list[str], keys: list[str] | None = None) -> Imagined:
    """Return a graph in which everything (or `keys`) has been made, each artifact after what it needs."""
    found = Imagined(workspace, {}, shards)
    for number, key in enumerate(STEPS if keys is None else keys):
        for partition in found.partitions(STEPS[key].by):
            found.made[key, partition] = make(found, STEPS[key], partition, 1_000.0 + number)
    return Imagined(workspace, found.made, shards)  # which has not compared anything yet


def make(versions: Imagined, step: Step, partition: str, created: float) -> Receipt:
    """Return the receipt that an artifact would get now."""
    profile, inputs = versions.workspace.profile, versions.inputs(step, partition)
    recipe = step.recipe(profile, inputs, partition)
    count = DOCUMENTS * (1 if step.by == "shard" else len(versions.shards))
    about: dict[str, Any] = {"documents": count}
    if step.key == "corpus/shards":
        about = dict(versions.listing[partition])
    version = f"content of {step.key} {partition}" if step.pinned else recipe
    code = step.code_version(profile)
    return Receipt(
        step.key, partition, version, recipe, code, inputs, "", {}, about, created, 0.5, "0123456789"
    )
