"""How the comparison is made from the metrics and subsets that there are."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curation_assets.pretraining.build import recipe
from curation_assets.progress import Progress
from curation_assets.registry import RATES, SAMPLERS
from curation_assets.report import comparison as table
from curation_assets.storage import read_json
from curation_assets.workspace import BuildOne, Markdown, Metadata, Workspace


def comparison(workspace: Workspace) -> BuildOne:
    """Join every metrics artifact that there is with its subset's size."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        keys = [(table.FULL, size) for size in workspace.profile.sizes]
        keys += [(name, cell) for name in SAMPLERS for cell in workspace.partitions("rate|size")]
        found = [
            pl.read_parquet(workspace.open(f"{name}/metrics", cell) / "metrics.parquet")
            for name, cell in keys
            if workspace.store.receipt(f"{name}/metrics", cell)
        ]
        if not found:
            raise ValueError("no metrics have been materialized yet: there is nothing to compare")
        joined = table.compare(pl.concat(found), _subsets(workspace), [table.FULL, *SAMPLERS])
        text = table.write(folder, joined, recipe(workspace.profile))
        return {"rows": len(joined), "comparison": Markdown(text)}

    return build


def _subsets(workspace: Workspace) -> pl.DataFrame:
    index = workspace.metadata("corpus/index")
    rows = [(table.FULL, "100", index["documents"], index["tokens"])]
    for name in SAMPLERS:
        for rate in RATES:
            if workspace.store.receipt(f"{name}/subset", rate):
                manifest = read_json(workspace.open(f"{name}/subset", rate) / "manifest.json")
                rows.append((name, rate, manifest["documents"], manifest["tokens"]))
    return pl.DataFrame(rows, schema=["sampler", "rate", "documents", "tokens"], orient="row")
