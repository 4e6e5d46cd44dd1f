"""Snapshots of a training run: weights part of the way, each a folder with the digests of its files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from curation_assets.common.files import sha256, unseal


class Snapshot(NamedTuple):
    """Weights part of the way through a run."""

    step: int
    tokens: int
    """Raw tokens seen."""
    folder: Path


def read_snapshots(folder: Path | str, but: Collection[Path] = ()) -> list[Snapshot]:
    """Return the snapshots of a run's folder in the order of training, `but` for some; an unfinished run has fewer."""
    folders = {path.parent for path in Path(folder).glob("step-*/snapshot.json")}
    return sorted(read_snapshot(path) for path in folders.difference(but))


def read_snapshot(folder: Path | str) -> Snapshot:
    """Return what one snapshot's folder says of itself."""
    about = unseal((Path(folder) / "snapshot.json").read_bytes())
    if about is None:
        raise ValueError(f"{folder}/snapshot.json is damaged")
    return Snapshot(about["step"], about["tokens"], Path(folder))


def snapshot_holds(folder: Path) -> bool:
    """Tell whether a snapshot's files are as they were written."""
    try:
        about = unseal((folder / "snapshot.json").read_bytes())
        return about is not None and all(sha256(folder / n) == digest for n, digest in about["files"].items())
    except FileNotFoundError:
        return False
