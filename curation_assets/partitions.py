"""What assets are partitioned by: corpus shards (dynamic), sampling rates, the cells of training that the profile asks for."""

from __future__ import annotations

import warnings

import dagster as dg

from curation_assets.plan import cells
from curation_assets.profile import Profile
from curation_assets.registry import RATES
from curation_assets.step import By, Step, reads_all

warnings.filterwarnings("ignore", message="Class `MultiToSingleDimension", category=dg.BetaWarning)

SHARD = "shard"

shards = dg.DynamicPartitionsDefinition(name=SHARD)
rates = dg.StaticPartitionsDefinition(list(RATES))


def definition(step: Step, profile: Profile) -> dg.PartitionsDefinition | None:
    """Return Dagster's partitions definition of a step under a profile; None for a single artifact.

    Of what is made for model sizes it has the cells that the profile asks for, so that no other is shown as missing. A
    step that the profile does not ask for at all has every size.
    """
    if step.by == "":
        return None
    if step.by == "shard":
        return shards
    if step.by == "rate":
        return rates
    if step.by == "size":
        return dg.StaticPartitionsDefinition(cells(profile, step) or profile.sizes)
    run = profile.run
    return dg.MultiPartitionsDefinition(
        {"rate": dg.StaticPartitionsDefinition(run.rates), "size": dg.StaticPartitionsDefinition(run.sizes)}
    )


def mapping(by: By, need: By, only: str | None = None) -> dg.PartitionMapping | None:
    """Return how a partition reads its input's partitions; never Dagster's default, which may silently be identity.

    `only` names the one partition of the input that is read, whatever the partition.
    """
    if only is not None:
        return dg.SpecificPartitionsPartitionMapping([only])
    if reads_all(by, need):
        return dg.AllPartitionMapping()
    if by == "rate|size" and need in ("rate", "size"):
        return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=need)
    return None


def sync_shards(instance: dg.DagsterInstance, wanted: list[str]) -> tuple[list[str], list[str]]:
    """Make the instance's shard partitions those of the corpus; return (added, deleted)."""
    known = instance.get_dynamic_partitions(SHARD)
    added = [shard for shard in wanted if shard not in set(known)]
    deleted = [shard for shard in known if shard not in set(wanted)]
    if added:
        instance.add_dynamic_partitions(SHARD, added)
    for shard in deleted:
        instance.delete_dynamic_partition(SHARD, shard)
    return added, deleted
