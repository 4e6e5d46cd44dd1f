"""What the reports read of the artifacts that there are."""

from __future__ import annotations

from functools import cache

import polars as pl

from curation_assets.common.drawing.styles import FULL
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.workspace import Metadata, MissingInput
from curation_assets.evaluation.probes import ORIGIN
from curation_assets.report.figures import Ladder
from curation_assets.report.schemas import schema

TRAINED = schema(
    "text sampler rate size",
    "whole documents tokens",
)
"""What models were trained on."""


@cache
def order() -> list[str]:
    """Return full data and the samplers, in their order in tables."""
    return [FULL, *SAMPLERS]


def read_metrics(workspace: Artifacts) -> pl.DataFrame:
    """Return all metrics that there are as one table.

    Raises
    ------
    MissingInput
        There are none.
    """
    tables = [
        pl.read_parquet(workspace.open(f"{name}/metrics", cell) / "metrics.parquet")
        for name, cell in _measured(workspace)
    ]
    if not tables:
        raise MissingInput("no metrics have been materialized yet: there is nothing to compare")
    return pl.concat(tables)


def _measured(workspace: Artifacts) -> list[tuple[str, str]]:
    """Return (sampler, cell) of all runs that have been measured."""
    keys = [(FULL, size) for size in workspace.partitions("size")]
    keys += [(name, cell) for name in SAMPLERS for cell in workspace.partitions("rate|size")]
    return [(name, cell) for name, cell in keys if workspace.receipt(f"{name}/metrics", cell)]


def read_trained(workspace: Artifacts) -> pl.DataFrame:
    """Return what each measured model was trained on (TRAINED), whatever its subset or the corpus is by now.

    Documents and tokens are null where another model has taken the place of the one that was measured.
    """
    rows = []
    for name, cell in _measured(workspace):
        rate, size = ("100", cell) if name == FULL else cell.split("|")
        about = _about_model(workspace, name, cell)
        rows.append((name, rate, size, about.get("documents"), about.get("tokens")))
    return pl.DataFrame(rows, schema=TRAINED, orient="row")


def _about_model(workspace: Artifacts, name: str, cell: str) -> Metadata:
    """Return the metadata of the checkpoint that was measured; {} where it is not there any more."""
    measured, trained = (workspace.receipt(f"{name}/{end}", cell) for end in ("metrics", "checkpoint"))
    same = measured and trained and measured.inputs.get(f"{name}/checkpoint") == trained.version
    return trained.metadata if trained and same else {}


def read_ladder(workspace: Artifacts) -> Ladder:
    """Return the ladder with the sizes of the models that were trained on all data."""
    sizes = workspace.partitions("size")
    receipts = {size: workspace.receipt("full_data/checkpoint", size) for size in sizes}
    parameters = {size: receipt.metadata["parameters"] for size, receipt in receipts.items() if receipt}
    return Ladder(sizes, parameters)


def read_chance(workspace: Artifacts) -> dict[tuple[str, str], float]:
    """Return {(suite, task): percent} that knowing nothing scores, of tasks whose answers depend on the corpus.

    The balanced accuracy of one answer to everything is 100 / the number of labels that are asked for.
    """
    if workspace.receipt("evaluation/examples") is None:
        return {}
    path = workspace.open("evaluation/examples") / "test.parquet"
    origin = (pl.col("suite") == "probes") & (pl.col("task") == ORIGIN)
    labels = pl.scan_parquet(path).filter(origin).select(pl.col("target").n_unique()).collect().item()
    return {("probes", ORIGIN): 100 / labels} if labels else {}


def not_measured(workspace: Artifacts) -> list[str]:
    """Return the tasks of the profile's suites that lack data, as `evaluation/examples` lists them."""
    receipt = workspace.receipt("evaluation/examples")
    return list(receipt.metadata.get("missing", [])) if receipt else []
