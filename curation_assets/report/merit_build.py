"""How the reports on convergence and on cost are made of the metrics and receipts that there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.progress import Progress
from curation_assets.registry import SAMPLERS
from curation_assets.report import convergence as reaching
from curation_assets.report import tradeoff as costs
from curation_assets.report.comparison import compare
from curation_assets.report.figures import FULL
from curation_assets.report.inputs import ORDER, SUBSETS, read_metrics
from curation_assets.report.panels import Series, panels
from curation_assets.report.pictures import png_markdown
from curation_assets.report.spent import Flops, Seconds, Spent
from curation_assets.report.tables import markdown_table
from curation_assets.workspace import BuildOne, Markdown, Metadata, MissingInput, Workspace

_SET = "in_distribution"
_MOST_CHARTS = 6
_PARTED = 1.6  # times the highest end of a curve: above that all curves are alike


def convergence(workspace: Workspace) -> BuildOne:
    """Find when each run is as good as full data at the end: `convergence.parquet`, `.md` and `.png`."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        curves = reaching.Curves(read_metrics(workspace))
        table = reaching.convergence(curves)
        table.write_parquet(folder / "convergence.parquet")
        text = f"{markdown_table(reaching.rows_for_people(table))}\n\n{reaching.METHOD}\n"
        picture = _curves_picture(curves)
        (folder / "convergence.png").write_bytes(picture)
        (folder / "convergence.md").write_text(
            f"# Tokens to reach full data\n\n![perplexity by tokens seen](convergence.png)\n\n{text}", "utf-8"
        )
        return {
            "rows": len(table),
            "reached": int(table["tokens_to_reach"].is_not_null().sum()),
            "curves": Markdown(png_markdown(picture, "perplexity by tokens seen")),
            "convergence": Markdown(text),
        }

    return build


def _curves_picture(curves: reaching.Curves) -> bytes:
    task = _SET if _SET in curves.sets else curves.sets[0]
    charts: dict[str, dict[str, Series]] = {}
    references = {}
    for rate, size in list(dict.fromkeys(run[1:] for run in curves.runs if run[0] != FULL))[:_MOST_CHARTS]:
        name = f"{rate} %, {size} T5"
        full = curves.mean((FULL, "100", size), task)
        charts[name] = {
            run[0]: (*curve, None)
            for run in curves.runs
            if run[1:] == (rate, size) and (curve := curves.mean(run, task)) is not None
        }
        if full is not None:
            charts[name][FULL] = (*full, None)
            references[name] = ("full data at the end", float(full[1][-1]))
    if not charts:  # nothing but full data has been measured
        measured = ((run, curves.mean(run, task)) for run in curves.runs)
        charts["full data"] = {run[2]: (*curve, None) for run, curve in measured if curve is not None}
    ends = [float(y[-1]) for series in charts.values() for _, y, _ in series.values()]
    return panels(
        charts,
        "perplexity by tokens seen, from where curves part",
        "raw tokens",
        "perplexity",
        joined=True,
        references=references,
        highest=_PARTED * max(ends),
    )


def tradeoff(workspace: Workspace) -> BuildOne:
    """Set what choosing and training took against perplexity: `tradeoff.parquet`, `.md` and `.png`."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        metrics = read_metrics(workspace)
        quality = compare(metrics, pl.DataFrame(schema=SUBSETS), ORDER)
        names = [name for name in SAMPLERS if name in set(quality["sampler"])]
        seconds, flops = Seconds(workspace), Flops(workspace)
        by_flop = {}
        for number, name in enumerate(names, 1):
            by_flop[name] = _flops(flops, name)
            progress(number, len(names), "samplers")
        cells = quality.select("sampler", "rate", "size").rows()
        reached = reaching.convergence(reaching.Curves(metrics)).filter(pl.col("set") == _SET)
        table = costs.tradeoff(
            quality,
            reached,
            {name: seconds.choosing(name) for name in names},
            by_flop,
            {(name, f"{r}|{s}"): seconds.training(name, f"{r}|{s}") for name, r, s in cells if name in names},
            {size: flops.training(size) for size in quality["size"].unique()},
        )
        table.write_parquet(folder / "tradeoff.parquet")
        missing = sorted({spent.missing for spent in by_flop.values() if spent.missing})
        gaps = f"\n\nNot known, and why: {'; '.join(missing)}." if missing else ""
        text = f"{markdown_table(costs.rows_for_people(table))}\n\n{costs.METHOD}{gaps}\n"
        picture = _cost_picture(table, quality)
        shown: Metadata = {"rows": len(table)}
        if picture:
            (folder / "tradeoff.png").write_bytes(picture)
            shown["cost_and_quality"] = Markdown(png_markdown(picture, "perplexity by cost of choosing"))
        image = "![perplexity by cost of choosing](tradeoff.png)\n\n" if picture else ""
        (folder / "tradeoff.md").write_text(f"# Cost and quality\n\n{image}{text}", "utf-8")
        return {**shown, "tradeoff": Markdown(text)}

    return build


def _flops(flops: Flops, sampler: str) -> Spent:
    try:
        return flops.choosing(sampler)
    except (MissingInput, FileNotFoundError) as error:
        return Spent(None, None, str(error))  # a report shows what there is


def _cost_picture(table: pl.DataFrame, quality: pl.DataFrame) -> bytes:
    """Draw perplexity over the seconds that choosing took, for each rate and size; empty where no cost is known."""
    full = {
        row["size"]: row["perplexity"]
        for row in quality.filter(pl.col("sampler") == FULL).iter_rows(named=True)
    }
    charts: dict[str, dict[str, Series]] = {}
    references = {}
    for row in table.iter_rows(named=True):
        if row["scoring_seconds"] is None or row["perplexity"] is None:
            continue
        name = f"{row['rate']} %, {row['size']} T5"
        if name not in charts and len(charts) == _MOST_CHARTS:
            continue
        spent = max(row["scoring_seconds"] + row["preparing_seconds"], 1e-3)
        spread = None if row["perplexity_sd"] is None else np.array([row["perplexity_sd"]])
        charts.setdefault(name, {})[row["sampler"]] = (
            *(np.array([spent]), np.array([row["perplexity"]])),
            spread,
        )
        if full.get(row["size"]) is not None:
            references[name] = ("full data", full[row["size"]])
    if not charts:
        return b""
    title, x = "perplexity (± sd over seeds) by cost of choosing", "seconds of scoring and preparing"
    return panels(charts, title, x, "perplexity", joined=False, references=references)
