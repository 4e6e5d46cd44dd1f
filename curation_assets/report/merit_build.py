"""How the reports on convergence and on cost are made of the metrics and receipts that there are."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import polars as pl

from curation_assets.common.drawing.styles import FULL
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput
from curation_assets.report import convergence as reaching
from curation_assets.report import convergence_view, tradeoff_view
from curation_assets.report import tradeoff as costs
from curation_assets.report.comparison import compare
from curation_assets.report.fresh import fresh
from curation_assets.report.inputs import TRAINED, order, read_metrics, read_trained
from curation_assets.report.merit import Floats
from curation_assets.report.scores import PERPLEXITY, Scores
from curation_assets.report.section import publish
from curation_assets.report.spent import Flops, Seconds, Spent

_SET = "in_distribution"


def convergence(context: Context) -> BuildOne:
    """Find when each run is as good as full data at the end, and how good runs are after so many epochs.

    Writes `convergence.parquet`, `fresh.parquet`, `convergence.md` and the figures.
    """

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        curves = reaching.Curves(read_metrics(context))
        reached, cut = reaching.convergence(curves), fresh(curves, read_trained(context))
        reached.write_parquet(folder / "convergence.parquet")
        cut.write_parquet(folder / "fresh.parquet")
        section = convergence_view.section(reached, cut)
        drawn = chain(convergence_view.by_tokens(curves), convergence_view.by_epochs(cut))
        return {
            "rows": len(reached),
            "reached": int(reached["tokens_to_reach"].is_not_null().sum()),
            **publish(folder, section, drawn, page="convergence.md", progress=progress),
        }

    return build


def tradeoff(context: Context) -> BuildOne:
    """Set what choosing and training took against perplexity: `tradeoff.parquet`, `.md` and the figure `tradeoff`."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        metrics = read_metrics(context)
        quality = compare(metrics, pl.DataFrame(schema=TRAINED), order())
        names = [name for name in SAMPLERS if name in quality["sampler"]]
        seconds, flops = Seconds(context), Flops(context)
        by_flop = {}
        for number, name in enumerate(names, 1):
            by_flop[name] = _flops(flops, name)
            progress(number, len(names), "samplers")
        cells = [(name, f"{r}|{s}") for name, r, s in quality.select("sampler", "rate", "size").rows()]
        table = costs.tradeoff(
            quality,
            reaching.convergence(reaching.Curves(metrics)).filter(pl.col("set") == _SET),
            {name: seconds.choosing(name) for name in names},
            by_flop,
            {cell: seconds.training(*cell) for cell in cells if cell[0] in names},
            {size: flops.training(size) for size in quality["size"].unique()},
        )
        table.write_parquet(folder / "tradeoff.parquet")
        whole = quality.filter((pl.col("sampler") == FULL) & pl.col("perplexity").is_not_null())
        unknown = sorted({spent.unknown for spent in by_flop.values() if spent.unknown})
        section = tradeoff_view.section(table, _by_seed(metrics), unknown)
        drawn = tradeoff_view.figures(table, dict(whole.select("size", "perplexity").rows()))
        shown = publish(folder, section, drawn, page="tradeoff.md")
        return {"rows": len(table), "on_front": int(table["on_front"].sum()), **shown}

    return build


def _flops(flops: Flops, sampler: str) -> Spent:
    try:
        return flops.choosing(sampler)
    except MissingInput as error:
        return Spent(None, None, str(error))  # a report shows what there is


def _by_seed(metrics: pl.DataFrame) -> dict[tuple[str, str], dict[str, Floats]]:
    """Return by (rate, size) each sampler's final held-out perplexity, [seeds]."""
    scores = Scores(metrics)
    by_cell: dict[tuple[str, str], dict[str, Floats]] = {}
    for run in scores.runs:
        if run[0] != FULL and PERPLEXITY in scores.groups:
            by_cell.setdefault((run[1], run[2]), {})[run[0]] = scores.column(run, PERPLEXITY)
    return by_cell
