"""What the reports read of the artifacts that there are."""

from __future__ import annotations

import numpy as np
import polars as pl

from curation_assets.corpus.reading import NO_ROWS, left_out
from curation_assets.files import read_json
from curation_assets.registry import RATES, SAMPLERS
from curation_assets.report.figures import FULL, Ladder
from curation_assets.sampling.candidates import token_counts
from curation_assets.workspace import MissingInput, Workspace

ORDER = [FULL, *SAMPLERS]
SUBSETS = {"sampler": pl.String, "rate": pl.String, "documents": pl.Int64, "tokens": pl.Int64}


def read_metrics(workspace: Workspace) -> pl.DataFrame:
    """Return all metrics that there are as one table.

    Raises
    ------
    ValueError
        There are none.
    """
    keys = [(FULL, size) for size in workspace.profile.sizes]
    keys += [(name, cell) for name in SAMPLERS for cell in workspace.partitions("rate|size")]
    found = [
        pl.read_parquet(workspace.open(f"{name}/metrics", cell) / "metrics.parquet")
        for name, cell in keys
        if workspace.store.receipt(f"{name}/metrics", cell)
    ]
    if not found:
        raise MissingInput("no metrics have been materialized yet: there is nothing to compare")
    return pl.concat(found)


def read_subsets(workspace: Workspace) -> pl.DataFrame:
    """Return sampler, rate, documents and tokens of every subset, and of the whole corpus."""
    rows = [(FULL, "100", *_whole(workspace))]
    for name in SAMPLERS:
        for rate in RATES:
            if workspace.store.receipt(f"{name}/subset", rate):
                manifest = read_json(workspace.open(f"{name}/subset", rate) / "manifest.json")
                rows.append((name, rate, manifest["documents"], manifest["tokens"]))
    return pl.DataFrame(rows, schema=SUBSETS, orient="row")


def _whole(workspace: Workspace) -> tuple[int, int]:
    """Return documents and tokens of what training on full data reads."""
    if not workspace.profile.evaluation.decontaminate:
        index = workspace.metadata("corpus/index")
        return index["documents"], index["tokens"]
    unused = left_out(workspace)
    documents = tokens = 0
    for shard in workspace.shards():
        counts = np.delete(token_counts(workspace, shard), unused.get(shard, NO_ROWS))
        documents, tokens = documents + len(counts), tokens + int(counts.sum())
    return documents, tokens


def read_ladder(workspace: Workspace) -> Ladder:
    """Return the ladder with the sizes of the models that were trained on all data."""
    receipts = {
        size: workspace.store.receipt("full_data/checkpoint", size) for size in workspace.profile.sizes
    }
    parameters = {size: receipt.metadata["parameters"] for size, receipt in receipts.items() if receipt}
    return Ladder(list(workspace.profile.sizes), parameters)


def not_measured(workspace: Workspace) -> list[str]:
    """Return the tasks of the profile's suites that lack data, as `evaluation/examples` lists them."""
    receipt = workspace.store.receipt("evaluation/examples")
    return list(receipt.metadata.get("missing", [])) if receipt else []
