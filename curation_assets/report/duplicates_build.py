"""How the report on near-duplicates is made: of the counts that the groups of clusters left, and of semdedup's subsets."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from curation_assets.common.progress import Progress
from curation_assets.config.amount import of_key
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.report import duplicates_view
from curation_assets.report.duplicates import Duplicates
from curation_assets.report.section import publish
from curation_assets.samplers.semdedup import COUNTS

_VECTORS, _NEIGHBOURS, _SUBSET = "semdedup/vectors", "semdedup/neighbours", "semdedup/subset"


def duplicates(context: Context) -> BuildOne:
    """Add up what each threshold removes: `curve.parquet`, a figure, the section; without neighbours the section says so."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        found = _found(context)
        if found is None:
            return publish(folder, duplicates_view.nothing())
        found.curve().write_parquet(folder / "curve.parquet")
        removed, groups = found.at(found.threshold)
        return {
            "threshold": found.threshold,
            "documents": found.documents,
            "near_duplicates": removed,
            "groups": groups,
            **{_cut_at(rate): cosine for rate, cosine in found.cuts.items()},
            **publish(folder, duplicates_view.section(found), duplicates_view.figures(found)),
        }

    return build


def _cut_at(rate: str) -> str:
    return f"cut_at_{rate}_percent" if of_key(rate).kind == "rate" else f"cut_at_{rate}"


def _found(context: Context) -> Duplicates | None:
    """Return the counts of the whole corpus; None where those of a group are missing or out of date."""
    versions, groups, shards = context.versions(), context.partitions("group"), context.shards()
    if not shards or versions.stale(_NEIGHBOURS, groups):
        return None
    receipts = [context.artifact(_NEIGHBOURS, group) for group in groups]
    contents = context.read_files(COUNTS, receipts)
    removed, sizes = np.sum([np.load(io.BytesIO(content)) for content in contents], axis=0)
    cuts = {
        rate: -float(receipt.metadata["threshold"])
        for rate in context.partitions("rate")
        if (receipt := versions.receipt(_SUBSET, rate)) is not None
        and receipt.metadata["threshold"] is not None
        and versions.current(_SUBSET, rate)
    }
    return Duplicates(
        sum(receipt.metadata["documents"] for receipt in receipts),
        removed,
        sizes,
        context.profile.samplers.semdedup.threshold,
        cuts,
        sum(context.metadata(_VECTORS, shard)["unreadable_documents"] for shard in shards),
    )
