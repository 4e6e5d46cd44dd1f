"""What assets are partitioned by: corpus shards (dynamic), sampling rates, ladder sizes."""

from __future__ import annotations

import warnings

import dagster as dg

from curation_assets.profile import Profile
from curation_assets.registry import RATES
from curation_assets.step import By, reads_all

warnings.filterwarnings("ignore", message="Class `MultiToSingleDimension", category=dg.BetaWarning)

SHARD = "shard"

shards = dg.DynamicPartitionsDefinition(name=SHARD)
rates = dg.StaticPartitionsDefinition(list(RATES))


def definition(by: By, profile: Profile) -> dg.PartitionsDefinition | None:
    """Return Dagster's partitions definition for a kind of partition; None for a single artifact."""
    if by == "":
        return None
    if by == "shard":
        return shards
    if by == "rate":
        return rates
    sizes = dg.StaticPartitionsDefinition(profile.sizes)
    return sizes if by == "size" else dg.MultiPartitionsDefinition({"rate": rates, "size": sizes})


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
