"""How the report on quality is made of the metrics that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from curation_assets.common.drawing.canvas import Picture
from curation_assets.common.drawing.looks import CHANCE, PANELS
from curation_assets.common.drawing.pictures import png_markdown
from curation_assets.common.progress import Progress
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata
from curation_assets.report import quality as table_of
from curation_assets.report import quality_said as said
from curation_assets.report.advice import METHOD as ADVICE
from curation_assets.report.charts import curves, over_rates
from curation_assets.report.figures import FULL, RANDOM, Ladder, in_title
from curation_assets.report.forest import Dot, forest
from curation_assets.report.inputs import read_chance, read_metrics
from curation_assets.report.intervals import no_intervals
from curation_assets.report.scores import Scores
from curation_assets.report.section import Figure, Section, bullets

_PICTURES = 4  # in the metadata; the folder has all
_TITLE = "Quality against the share of the data"


def quality(workspace: Context) -> BuildOne:
    """Draw each metric over the share of the data and rank the samplers: `quality.parquet`, `.md` and a figure a metric and size."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        scores = Scores(read_metrics(workspace), read_chance(workspace))
        ladder = Ladder(workspace.partitions("size"), {})
        table = table_of.quality(scores, ladder, list(SAMPLERS), RATES)
        table.write_parquet(folder / "quality.parquet")
        tables, findings = said.tables(table), said.findings(table)
        figures, shown = draw(table, folder, progress)
        method = f"{table_of.METHOD}\n\n{ADVICE}"
        section = Section(_TITLE, said.intro(table), findings, figures, tables, method)
        section.write(folder)
        images = "".join(f"![{figure.alt}]({figure.name}.png)\n\n" for figure in figures)
        text = "\n\n".join([bullets(findings), *(one.markdown() for one in tables), method])
        (folder / "quality.md").write_text(f"# {_TITLE}\n\n{images}{text}\n", "utf-8")
        measured = table.filter(pl.col("seeds") > 0)
        return {
            "rows": len(table),
            "measured": len(measured),
            "metrics": measured["metric"].n_unique(),
            **shown,
            "findings": Markdown(bullets(findings)),
            "ranks": Markdown("\n\n".join(one.markdown() for one in tables[:_PICTURES]) or "*no rows*"),
        }

    return build


def draw(table: pl.DataFrame, folder: Path, progress: Progress) -> tuple[list[Figure], dict[str, Markdown]]:
    """Draw what was measured into `folder`; return the figures, and the main ones as metadata.

    That is every metric over the rates for each size, or all metrics in one figure for a size with a single rate.
    """
    figures: list[Figure] = []
    shown: dict[str, Markdown] = {}
    measured = table.filter((pl.col("sampler") != FULL) & pl.col("mean").is_not_null())
    parts = [
        part for (size,), here in measured.group_by("size", maintain_order=True) for part in _parts(here)
    ]
    for number, (name, size, part) in enumerate(parts, 1):
        about = table.filter(
            (pl.col("size") == size) & pl.col("metric").is_in(part["metric"].unique().to_list())
        )
        figure, picture = _figure(file_name(name, {figure.name for figure in figures}), size, about, part)
        picture.save(folder, figure.name)
        figures.append(figure)
        if len(shown) < _PICTURES:
            shown[figure.name] = Markdown(png_markdown(picture.png(), figure.alt))
        progress(number, len(parts), "figures")
    return figures, shown


def _parts(measured: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield (name, size, rows) of the figures of one size."""
    size, rates = measured["size"][0], measured["rate"].unique().to_list()
    if len(rates) == 1:
        yield f"quality_{rates[0]}_{size}", size, measured
        return
    for (metric,), part in measured.group_by("metric", maintain_order=True):
        yield f"{metric}_{size}", size, part


def _figure(name: str, size: str, about: pl.DataFrame, measured: pl.DataFrame) -> tuple[Figure, Picture]:
    spread = measured["low"].is_not_null().any()
    seeds = "Bars are 95 % intervals over seeds." if spread else no_intervals(measured["seeds"].to_list())
    beside = said.references(about)
    rates = measured["rate"].unique().to_list()
    if len(rates) == 1:
        title = f"Quality at {rates[0]} % of the data, {size} T5"
        alt = f"{title}: a line for each sampler, a panel for each metric{', beside ' if beside else ''}{beside}"
        return Figure(name, alt, f"{title}. {seeds}"), _at_one_rate(title, rates[0], about)
    metric = table_of.title(measured["metric"][0])
    alt = f"{metric} of the {size} T5 by sampling rate, one line a sampler"
    return Figure(name, alt, f"{in_title(metric)}, {size} T5. {seeds}"), _picture(
        size, measured["metric"][0], about
    )


def _at_one_rate(title: str, rate: str, table: pl.DataFrame) -> Picture:
    panels: dict[str, dict[str, Dot]] = {}
    references: dict[str, dict[str, float]] = {}
    xlabels = {}
    for row in table.filter(pl.col("rate").is_in([rate, "100"])).iter_rows(named=True):
        panel = in_title(table_of.title(row["metric"]))
        xlabels[panel] = f"{'higher' if row['higher_is_better'] else 'lower'} is better"
        if row["metric"] == table_of.OVER_SCALING:
            references.setdefault(panel, {})[FULL] = 0.0  # by definition
        if row["chance"] is not None:
            references.setdefault(panel, {})[CHANCE] = row["chance"]
        if row["sampler"] in (FULL, RANDOM) and row["mean"] is not None:
            references.setdefault(panel, {})[row["sampler"]] = row["mean"]
        if row["sampler"] != FULL:
            panels.setdefault(panel, {})[row["sampler"]] = Dot(row["mean"], row["low"], row["high"])
    return forest(panels, list(SAMPLERS), title, xlabels, references)


def file_name(text: str, taken: set[str]) -> str:
    """Return a name for files made of lower-case letters, digits and underscores, different from those `taken`."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "figure"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


def _picture(size: str, metric: str, part: pl.DataFrame) -> Picture:
    rows = {(r["sampler"], r["rate"]): r for r in part.iter_rows(named=True)}
    charts = {
        panel: {name: over_rates(rows, name, "mean") for name in (*members, RANDOM)}
        for panel, members in PANELS.items()
    }
    full = rows.get((FULL, "100"))
    reference = {FULL: full["mean"]} if full is not None and full["mean"] is not None else {}
    if metric == table_of.OVER_SCALING:
        reference = {FULL: 0.0}  # by definition
    if part["chance"][0] is not None:
        reference |= {CHANCE: part["chance"][0]}
    better = "higher" if part["higher_is_better"][0] else "lower"
    return curves(
        charts,
        f"{in_title(table_of.title(metric))}, {size} T5",
        "sampling rate, %",
        f"{better} is better",
        references=dict.fromkeys(charts, reference),
        xticks=[float(rate) for rate in RATES],
    )
