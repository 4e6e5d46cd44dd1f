"""How the report on quality is made of the metrics that there are."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.report import quality as table_of
from curation_assets.report import quality_view
from curation_assets.report.figures import Ladder
from curation_assets.report.inputs import read_chance, read_metrics
from curation_assets.report.scores import Scores
from curation_assets.report.section import publish


def quality(context: Context) -> BuildOne:
    """Draw each metric over the share of the data and rank the samplers: `quality.parquet`, `.md` and a figure a metric and size."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        scores = Scores(read_metrics(context), read_chance(context))
        ladder = Ladder(context.partitions("size"), {})
        table = table_of.quality(scores, ladder, list(SAMPLERS), context.partitions("rate"))
        table.write_parquet(folder / "quality.parquet")
        measured = table.filter(pl.col("seeds") > 0)
        section, drawn = quality_view.section(table), quality_view.figures(table)
        return {
            "rows": len(table),
            "measured": len(measured),
            "metrics": measured["metric"].n_unique(),
            **publish(folder, section, drawn, page="quality.md", progress=progress),
        }

    return build
