"""The figures of what samplers keep: bars by source and by length at one rate, and the spread over clusters at all rates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.common.drawing.canvas import Picture
from curation_assets.common.drawing.looks import FULL, PANELS
from curation_assets.common.drawing.pictures import png_markdown
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.workspace import Markdown
from curation_assets.report import composition_said as said
from curation_assets.report.charts import curves, over_rates, stacked
from curation_assets.report.composition import WHOLE
from curation_assets.report.section import Figure


def draw(
    folder: Path, tables: Mapping[str, pl.DataFrame], rate: str
) -> tuple[list[Figure], dict[str, Markdown]]:
    """Draw what there is of source, length and clusters into `folder`; return the figures, and their pictures as metadata."""
    figures, shown = [], {}
    for name, table in tables.items():
        picture = _clusters(table) if name == "clusters" else _bars(table, name, rate)
        picture.save(folder, name)
        alt, caption = said.figure_texts(name, table, rate)
        figures.append(Figure(name, alt, caption))
        shown[name] = Markdown(png_markdown(picture.png(), alt))
    return figures, shown


def _bars(table: pl.DataFrame, division: str, rate: str) -> Picture:
    parts = table["part"].unique(maintain_order=True).to_list()
    share = {(r["sampler"], r["rate"], r["part"]): r["share"] for r in table.iter_rows(named=True)}
    keys = [WHOLE, *((name, rate) for name in SAMPLERS)]
    shares = np.array([[share.get((*key, part), np.nan) for part in parts] for key in keys], np.float64)
    shares[(shares == 0).all(axis=1)] = np.nan  # a share of so few documents that none is kept
    return stacked(
        [name for name, _ in keys],
        parts,
        shares,
        f"What is kept at {rate} %, by {division}",
        "% of documents",
        ordered=division == "length",
        rest=parts[-1] == said.OTHER,
    )


def _clusters(table: pl.DataFrame) -> Picture:
    found = {(r["sampler"], r["rate"]): r for r in table.iter_rows(named=True)}
    by_chance = {"random": ("effective_low", "effective_high")}
    charts = {
        panel: {
            name: over_rates(found, name, "effective", by_chance.get(name)) for name in (*members, "random")
        }
        for panel, members in PANELS.items()
    }
    reference = {FULL: found[WHOLE]["effective"]}
    return curves(
        charts,
        "Spread over clusters: effective number of them",
        "sampling rate, %",
        "clusters",
        references=dict.fromkeys(charts, reference),
        xticks=[float(rate) for rate in RATES],
    )
