"""From an artifact of a sampler's chain to the subset behind it: of a metric, the one that its model was really trained on."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.reasons import short
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace, title

CHAIN = ("subset", "checkpoint", "metrics")
"""Ends of the keys of artifacts that have a subset behind them."""
_LEAST_PREFIX = 4  # characters of a version that stand for it


class SubsetGone(ValueError):
    """The subset behind an artifact, or the checkpoint between them, was replaced and its files are removed."""


@dataclass(frozen=True)
class SubsetBehind:
    """The subset behind an artifact.

    Attributes
    ----------
    receipt : of the version that was read, current or replaced.
    current : what is in its place now; None where nothing is.
    checkpoint : of the model that was trained on it; None where the artifact is the subset itself.
    """

    receipt: Receipt
    current: Receipt | None
    checkpoint: Receipt | None = None

    @property
    def replaced(self) -> bool:
        """Whether it is not the subset any more."""
        return self.current is None or self.current.version != self.receipt.version


def subset_behind(workspace: Workspace, receipt: Receipt) -> SubsetBehind:
    """Follow an artifact's receipt, and its checkpoint's, to the version of the subset that was read.

    Raises
    ------
    SubsetGone
        That version has been removed since it was replaced: says what is known of it.
    ValueError
        The artifact is none of a sampler's chain.
    """
    sampler, _, end = receipt.key.partition("/")
    if sampler not in SAMPLERS or end not in CHAIN:
        raise ValueError(
            f"{receipt.key} has no subset behind it: name {', '.join(f'SAMPLER/{e}' for e in CHAIN)}"
        )
    checkpoint = None
    if end != "subset":
        checkpoint = (
            receipt
            if end == "checkpoint"
            else _read_by(workspace, receipt, f"{sampler}/checkpoint", receipt.partition)
        )
        receipt = _read_by(workspace, checkpoint, f"{sampler}/subset", receipt.partition.split("|")[0])
    return SubsetBehind(receipt, workspace.receipt(receipt.key, receipt.partition), checkpoint)


def _read_by(workspace: Workspace, reader: Receipt, key: str, partition: str) -> Receipt:
    """Return the receipt of the version of an input that an artifact was made from."""
    wanted, there = reader.inputs[key], kept_versions(workspace, key, partition)
    for receipt in there:
        if receipt.version == wanted:
            return receipt
    now = f"; here is version {short(there[0].version)} now" if there else ""
    known = {
        name: f"{reader.metadata[name]:,}" for name in ("documents", "tokens") if name in reader.metadata
    }
    size = f" ({' and '.join(f'{count} {name}' for name, count in known.items())})" if known else ""
    raise SubsetGone(
        f"{title(reader.key, reader.partition)} was made from version {short(wanted)} of {title(key, partition)}{size}, whose "
        f"files have been removed since it was replaced{now}"
    )


def kept_versions(workspace: Workspace, key: str, partition: str) -> list[Receipt]:
    """Return the receipts of an artifact's versions whose files are there: the current one first, then what was replaced."""
    catalog = workspace.catalog
    current = catalog.current(key, partition)
    receipts = [*([current] if current else []), *catalog.replaced(key, partition)]
    return workspace.store.intact(receipts, listed=True)


def version_of(workspace: Workspace, key: str, partition: str, version: str) -> Receipt:
    """Return the receipt of a version, named by its beginning.

    Raises
    ------
    ValueError
        There is none, or several begin so: names those that there are.
    """
    there = kept_versions(workspace, key, partition)
    found = [one for one in there if len(version) >= _LEAST_PREFIX and one.version.startswith(version)]
    if len({one.version for one in found}) == 1:
        return found[0]
    known = ", ".join(short(one.version) for one in there) or "none"
    raise ValueError(
        f"{title(key, partition)} has no version {version!r}: there are {known} (the first is current; what was replaced twice, or "
        "collected by `curation gc`, is removed)"
    )
