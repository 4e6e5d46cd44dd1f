"""What assets are partitioned by: corpus shards (dynamic), groups, amounts, the cells of training that the profile asks for."""

from __future__ import annotations

import dagster as dg

from curation_assets.config.profile import Profile
from curation_assets.defs.dagster_private import delete_partitions
from curation_assets.engine.planner import cells
from curation_assets.engine.step import Step, reads_all

SHARD = "shard"
_AT_ONCE = 10_000  # more names than a statement may have are added in parts

shards = dg.DynamicPartitionsDefinition(name=SHARD)


def definition(step: Step, profile: Profile) -> dg.PartitionsDefinition | None:
    """Return Dagster's partitions definition of a step under a profile; None for a single artifact.

    Of what is made for model sizes it has the cells that the profile asks for, so that no other is shown as missing. A
    step that the profile does not ask for at all has every size.
    """
    if step.by == "":
        return None
    if step.by == "shard":
        return shards
    if step.by == "group":
        return dg.StaticPartitionsDefinition(profile.groups)
    if step.by == "rate":
        return dg.StaticPartitionsDefinition(profile.amounts)
    return dg.StaticPartitionsDefinition(there(step, profile))


def there(step: Step, profile: Profile) -> list[str]:
    """Return the cells that Dagster knows of a step that is made for model sizes."""
    return cells(profile, step) or profile.sizes


def mapping(step: Step, need: Step, only: str | None, profile: Profile) -> dg.PartitionMapping | None:
    """Return how a step reads an input's partitions; never Dagster's default, which may silently be identity.

    `only` names the one partition of the input that is read, whatever the partition. Where the profile does not ask for
    that one, Dagster takes it for all that there are.
    """
    if only is not None and only in there(need, profile):
        return dg.SpecificPartitionsPartitionMapping([only])
    if only is not None or reads_all(step.by, need.by):
        return dg.AllPartitionMapping()
    if step.by == "rate|size" and need.by in ("rate", "size"):
        at = 0 if need.by == "rate" else 1
        readers: dict[str, list[str]] = {}
        for cell in cells(profile, step):
            readers.setdefault(cell.split("|")[at], []).append(cell)
        return dg.StaticPartitionMapping(readers)
    if step.by == need.by == "size" and set(cells_ := there(need, profile)) != set(there(step, profile)):
        return dg.StaticPartitionMapping({size: [size] for size in cells_ if size in there(step, profile)})
    return None


def sync_shards(instance: dg.DagsterInstance, wanted: list[str]) -> tuple[list[str], list[str]]:
    """Make the instance's shard partitions those of the corpus; return (added, deleted)."""
    known = dict.fromkeys(instance.get_dynamic_partitions(SHARD))
    listed = dict.fromkeys(wanted)
    added = [shard for shard in listed if shard not in known]
    deleted = [shard for shard in known if shard not in listed]
    for start in range(0, len(added), _AT_ONCE):
        instance.add_dynamic_partitions(SHARD, added[start : start + _AT_ONCE])
    delete_partitions(instance, SHARD, deleted)
    return added, deleted
