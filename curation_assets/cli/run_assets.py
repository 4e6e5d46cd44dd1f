"""What `curation run ASSET ...` makes: some assets, and what of their inputs is missing or out of date."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from curation_assets.config.settings import nearest
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import Scope, with_inputs
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.build import parts_of


def scope_of(workspace: Workspace, keys: Sequence[str], partition: str, *, force: bool) -> Scope:
    """Return what is brought up to date for some assets; with `force` they are made anew, of what there is.

    Raises
    ------
    ValueError
        There is no such asset, or it has no such partition.
    """
    for key in keys:
        if key not in STEPS:
            raise ValueError(f"there is no asset {key!r}{nearest(key, STEPS)}")
        by = STEPS[key].by
        if partition and not by:
            raise ValueError(f"{key} has no partitions: leave --partition out")
        known = workspace.partitions(by)
        if partition and by != "shard" and partition not in known:  # which shards there are the listing says
            raise ValueError(f"{key} has no partition {partition!r}: {', '.join(known)}")
    scope = with_inputs(workspace.profile, keys, partition, anew=force)
    if not any(
        scope.partitions(workspace, STEPS[key]) for key in keys if STEPS[key].by in ("size", "rate|size")
    ):
        for key in keys:
            if STEPS[key].by in ("size", "rate|size"):
                raise ValueError(f"the profile asks for no {key}: name one with --partition")
    for key in keys if force else ():
        sampler, _, stage = key.rpartition("/")
        if stage == "scores":
            shutil.rmtree(parts_of(workspace.scratch, sampler), ignore_errors=True)
    return scope
