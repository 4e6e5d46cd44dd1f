"""How the reports on convergence and on cost are made of the metrics and receipts that there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.canvas import Picture
from curation_assets.common.drawing.pictures import png_markdown
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata, MissingInput
from curation_assets.report import convergence as reaching
from curation_assets.report import fresh as repeating
from curation_assets.report import tradeoff as costs
from curation_assets.report.charts import Series, points
from curation_assets.report.comparison import compare
from curation_assets.report.convergence_figures import by_epochs, by_tokens
from curation_assets.report.figures import FULL
from curation_assets.report.inputs import ORDER, TRAINED, read_metrics, read_trained
from curation_assets.report.merit import Floats
from curation_assets.report.scores import PERPLEXITY, Scores
from curation_assets.report.section import Figure, Section, Table, bullets, table
from curation_assets.report.spent import Flops, Seconds, Spent

_SET = "in_distribution"
_PICTURES = 4  # in the metadata; the folder has all
_FIRST = (
    *("sampler", "rate %", "perplexity", "scoring", "T5", "preparing", "one training", "on the front"),
    *("pays off after", "saves %"),
)
_COST = "What choosing the data took, in seconds and in operations, against the quality of the model that is trained on it."


def convergence(workspace: Context) -> BuildOne:
    """Find when each run is as good as full data at the end, and how good runs are after so many epochs.

    Writes `convergence.parquet`, `fresh.parquet`, `convergence.md` and the figures.
    """

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        curves = reaching.Curves(read_metrics(workspace))
        found, cut = reaching.convergence(curves), repeating.fresh(curves, read_trained(workspace))
        found.write_parquet(folder / "convergence.parquet")
        cut.write_parquet(folder / "fresh.parquet")
        figures, shown = _curves(curves, cut, folder, progress)
        tables = _tables(found, cut)
        said = reaching.findings(found) + repeating.findings(cut)
        method = f"{reaching.METHOD}\n\nFresh against repeated tokens: {repeating.METHOD}"
        intro = _intro(found, cut)
        Section("Tokens to reach full data", intro, said, figures, tables, method).write(folder)
        text = _page(said, tables, method)
        (folder / "convergence.md").write_text(
            f"# Tokens to reach full data\n\n{_images(figures)}{text}", "utf-8"
        )
        return {
            "rows": len(found),
            "reached": int(found["tokens_to_reach"].is_not_null().sum()),
            **shown,
            "convergence": Markdown(text),
        }

    return build


def _intro(found: pl.DataFrame, cut: pl.DataFrame) -> str:
    parts = []
    if not found.is_empty():
        parts.append("how soon each sampler's run is as good as one on everything is at the end")
    if cut["value"].is_not_null().any():
        parts.append("what fresh tokens bring against repeated ones")
    return f"Perplexity against the tokens of training{': ' if parts else ''}{', and '.join(parts)}."


def _tables(found: pl.DataFrame, cut: pl.DataFrame) -> list[Table]:
    """Return the runs' tokens to reach full data, and their perplexities at each cut that any of them reached."""
    shown = []
    if not found.is_empty():
        rows, first = (
            reaching.rows_for_people(found),
            ("sampler", "rate %", "set", "tokens to reach it", "T5"),
        )
        shown.append(_linked("Tokens to reach full data", rows, "convergence.parquet", found, first))
    reached = cut.filter(
        pl.col("epochs").is_in(cut.filter(pl.col("value").is_not_null())["epochs"].implode())
    )
    if not reached.is_empty():
        runs = reached.unique(["sampler", "rate", "size", "set"], keep="first", maintain_order=True)
        caption = "Perplexity of runs cut after so many epochs over their subset"
        first = ("sampler", "rate %", "set", "epochs in all", "T5")
        shown.append(_linked(caption, repeating.rows_for_people(reached), "fresh.parquet", runs, first))
    return shown


def _curves(
    curves: reaching.Curves, cut: pl.DataFrame, folder: Path, progress: Progress
) -> tuple[list[Figure], dict[str, Markdown]]:
    figures: list[Figure] = []
    shown: dict[str, Markdown] = {}
    drawn = list(chain(by_tokens(curves), by_epochs(cut)))  # how many there are, is known when they are there
    for figure, picture in drawn:
        picture.save(folder, figure.name)
        figures.append(figure)
        if len(shown) < _PICTURES:
            shown["curves" if not shown else figure.name] = Markdown(png_markdown(picture.png(), figure.alt))
        progress(len(figures), len(drawn), "figures")
    return figures, shown


def _linked(
    caption: str, rows: list[dict[str, Any]], source: str, runs: pl.DataFrame, first: Sequence[str]
) -> Table:
    """Return a table of which row i is about the metrics of run i."""
    links: list[tuple[str, str] | None] = [
        (f"{sampler}/metrics", size if sampler == FULL else f"{rate}|{size}")
        for sampler, rate, size in runs.select("sampler", "rate", "size").rows()
    ]
    return table(rows, caption, source, first, links=links)


def _images(figures: list[Figure]) -> str:
    return "".join(f"![{figure.alt}]({figure.name}.png)\n\n" for figure in figures)


def _page(said: list[str], tables: list[Table], method: str) -> str:
    return "\n\n".join([bullets(said), *(one.markdown() for one in tables), method]) + "\n"


def tradeoff(workspace: Context) -> BuildOne:
    """Set what choosing and training took against perplexity: `tradeoff.parquet`, `.md` and the figure `tradeoff`."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        metrics = read_metrics(workspace)
        found = _costs(workspace, metrics, progress)
        found.rows.write_parquet(folder / "tradeoff.parquet")
        gaps = [f"Not known, and why: {'; '.join(found.missing)}."] if found.missing else []
        said = costs.findings(found.rows, _by_seed(metrics)) + gaps
        tables = [
            _linked(
                *(
                    "Cost and quality",
                    costs.rows_for_people(found.rows),
                    "tradeoff.parquet",
                    found.rows,
                    _FIRST,
                )
            )
        ]
        shown: Metadata = {"rows": len(found.rows)}
        figures = []
        spread = found.rows["perplexity_sd"].is_not_null().any()
        caption = "Bars are ± one standard deviation over seeds." if spread else "One seed: no spread."
        for size, picture in _cost_pictures(found.rows, found.full):
            alt = f"perplexity of the {size} T5 by seconds of choosing, one point a sampler, with the Pareto front"
            figures.append(Figure(f"tradeoff_{size}", alt, caption))
            picture.save(folder, figures[-1].name)
            shown[f"cost_and_quality_{size}"] = Markdown(png_markdown(picture.png(), alt))
        Section("Cost and quality", _COST, said, figures, tables, costs.METHOD.replace("**", "")).write(
            folder
        )
        text = _page(said, tables, costs.METHOD)
        (folder / "tradeoff.md").write_text(f"# Cost and quality\n\n{_images(figures)}{text}", "utf-8")
        return {**shown, "on_front": int(found.rows["on_front"].sum()), "tradeoff": Markdown(text)}

    return build


@dataclasses.dataclass(frozen=True)
class _Costs:
    """The table, what full data reaches by size, and what is not known."""

    rows: pl.DataFrame
    full: dict[str, float]
    missing: list[str]


def _costs(workspace: Context, metrics: pl.DataFrame, progress: Progress) -> _Costs:
    quality = compare(metrics, pl.DataFrame(schema=TRAINED), ORDER)
    names = [name for name in SAMPLERS if name in set(quality["sampler"])]
    seconds, flops = Seconds(workspace), Flops(workspace)
    by_flop = {}
    for number, name in enumerate(names, 1):
        by_flop[name] = _flops(flops, name)
        progress(number, len(names), "samplers")
    cells = quality.select("sampler", "rate", "size").rows()
    reached = reaching.convergence(reaching.Curves(metrics)).filter(pl.col("set") == _SET)
    rows = costs.tradeoff(
        quality,
        reached,
        {name: seconds.choosing(name) for name in names},
        by_flop,
        {(name, f"{r}|{s}"): seconds.training(name, f"{r}|{s}") for name, r, s in cells if name in names},
        {size: flops.training(size) for size in quality["size"].unique()},
    )
    whole = quality.filter((pl.col("sampler") == FULL) & pl.col("perplexity").is_not_null())
    missing = sorted({spent.missing for spent in by_flop.values() if spent.missing})
    return _Costs(rows, dict(whole.select("size", "perplexity").rows()), missing)


def _by_seed(metrics: pl.DataFrame) -> dict[tuple[str, str], dict[str, Floats]]:
    """Return by (rate, size) each sampler's final held-out perplexity, [seeds]."""
    scores = Scores(metrics)
    found: dict[tuple[str, str], dict[str, Floats]] = {}
    for run in scores.runs:
        if run[0] != FULL and PERPLEXITY in scores.groups:
            found.setdefault((run[1], run[2]), {})[run[0]] = scores.column(run, PERPLEXITY)
    return found


def _flops(flops: Flops, sampler: str) -> Spent:
    try:
        return flops.choosing(sampler)
    except MissingInput as error:
        return Spent(None, None, str(error))  # a report shows what there is


def _cost_pictures(found: pl.DataFrame, full: dict[str, float]) -> Iterator[tuple[str, Picture]]:
    """Yield for each size perplexity over the seconds that choosing took, a panel for each rate; none where no cost is known."""
    known = found.filter(pl.col("on_front").is_not_null())
    for size in known["size"].unique(maintain_order=True):
        charts: dict[str, dict[str, Series]] = {}
        front: dict[str, list[str]] = {}
        for row in known.filter(pl.col("size") == size).iter_rows(named=True):
            name = f"{row['rate']} %"
            spent = np.array([max(row["scoring_seconds"] + row["preparing_seconds"], 1e-3)])
            mean, sd = np.array([row["perplexity"]]), row["perplexity_sd"]
            ends = (mean - sd, mean + sd) if sd is not None else (None, None)
            charts.setdefault(name, {})[row["sampler"]] = Series(spent, mean, *ends)
            if row["on_front"]:
                front.setdefault(name, []).append(row["sampler"])
        references = {name: {FULL: full[size]} for name in charts if size in full}
        title, x = f"Perplexity of the {size} T5 by cost of choosing", "seconds of scoring and preparing"
        yield size, points(charts, title, x, "lower is better", front=front, references=references)
