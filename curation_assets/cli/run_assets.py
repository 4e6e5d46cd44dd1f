"""What `curation run ASSET ...` makes: some assets, and what of their inputs is missing or out of date."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from curation_assets.common.files import safe_name
from curation_assets.config.settings import nearest
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import Scope, with_inputs
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.build import parts_of


def scope_of(workspace: Workspace, keys: Sequence[str], partition: str, *, force: bool) -> Scope | None:
    """Return what is brought up to date for some assets, with `force` anew, of what there is; None where none is named.

    Raises
    ------
    ValueError
        There is no such asset, or it has no such partition.
    """
    if not keys:
        if partition or force:
            raise ValueError(
                "name the assets that --partition and --force are of: `curation run density/subset --partition 20`"
            )
        return None
    for key in keys:
        _check(workspace, key, partition)
    scope = with_inputs(workspace.profile, keys, partition, anew=force)
    for key in keys:
        if STEPS[key].by in ("size", "rate|size") and not scope.partitions(workspace, STEPS[key]):
            raise ValueError(f"the profile asks for no partition of {key}: name one with --partition")
        sampler, _, stage = key.rpartition("/")
        if force and stage == "scores":
            shutil.rmtree(parts_of(workspace.scratch, sampler) / safe_name(partition), ignore_errors=True)
    return scope


def _check(workspace: Workspace, key: str, partition: str) -> None:
    """Refuse an asset that there is not, or a partition that it does not have; which shards there are the listing will say."""
    if key not in STEPS:
        raise ValueError(f"there is no asset {key!r}{nearest(key, STEPS)}")
    by = STEPS[key].by
    if partition and not by:
        raise ValueError(f"{key} has no partitions: leave --partition out")
    if partition and by != "shard" and partition not in (known := workspace.partitions(by)):
        raise ValueError(f"{key} has no partition {partition!r}: {', '.join(known)}")
