"""The comparison's section of the report: who differs from random beyond the noise, in sentences, figures and tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.common.drawing.canvas import Picture
from curation_assets.common.drawing.looks import PANELS
from curation_assets.common.drawing.pictures import png_markdown
from curation_assets.common.markdown import p_value, within
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.workspace import Markdown
from curation_assets.report.charts import curves, over_rates
from curation_assets.report.comparison import (
    METHOD,
    difference_rows,
    how_to_read,
    rows_for_people,
    tokens_kept,
)
from curation_assets.report.figures import FULL, RANDOM, Figures, in_title, in_words
from curation_assets.report.forest import Dot, forest
from curation_assets.report.intervals import no_intervals
from curation_assets.report.scores import PERPLEXITY
from curation_assets.report.section import Figure, Section, table

_BEYOND = ("better", "worse")
_NAMED = 4  # in a sentence; more are counted
_PICTURES = 4  # in the metadata; the folder has all
_FIRST = ("sampler", "rate %", "T5", "perplexity", "against random", "documents", "tokens")
_FIRST_OF_DIFFERENCES = (
    "sampler",
    "score",
    "rate %",
    "T5",
    "difference [95 % over seeds]",
    "verdict",
    "p (Holm)",
)


def findings(differences: pl.DataFrame, verdicts: list[str], gaps: list[str]) -> list[str]:
    """Return sentences: each difference to random that is beyond the noise, with interval and p; what is not; what is missing.

    `differences` is `figures.Figures.differences`; `verdicts`, its sentences, are told where it has no line of a rate and size.
    """
    said, cells = [], set()
    quiet: dict[tuple[str, str], list[str]] = {}
    for (rate, size, score), part in differences.group_by("rate", "size", "score", maintain_order=True):
        cells.add((str(rate), str(size)))
        where = f"at {rate} % with the {size} T5 by {in_words(str(score))}"
        told = part.filter(pl.col("p_adjusted").is_not_null())
        if not told.is_empty() and not told["verdict"].is_in(_BEYOND).any():
            quiet.setdefault((str(rate), str(size)), []).append(in_words(str(score)))
        elif not told.is_empty():
            said.append(_beyond(where, told))
    none = _none(quiet)
    single = (
        differences.filter(pl.col("p_adjusted").is_null())
        .select("rate", "size")
        .unique(maintain_order=True)
        .rows()
    )
    compared = set(differences.filter(pl.col("p_adjusted").is_not_null()).select("rate", "size").rows())
    alone = [f"{rate} % with the {size} T5" for rate, size in single if (rate, size) not in compared]
    if alone:
        none.append(
            f"One seed, or no spread over seeds, cannot tell any sampler from random: at {'; '.join(alone)}."
        )
    starts = tuple(f"At {rate} % with the {size} T5{end}" for rate, size in cells for end in " ,")
    rest = [verdict for verdict in verdicts if not verdict.startswith(starts)]
    return [*said, *none, *rest, *gaps]


def _none(quiet: dict[tuple[str, str], list[str]]) -> list[str]:
    """Tell where no sampler differs from random, {(rate, size): scores}: what holds of several rates once."""
    where: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (rate, size), scores in quiet.items():
        where.setdefault((size, tuple(scores)), []).append(rate)
    told = [
        f"at {' and '.join(rates)} % with the {size} T5 by {', '.join(scores)}"
        for (size, scores), rates in where.items()
    ]
    return (
        [f"No sampler differs from random beyond the noise of training: {'; '.join(told)}."] if told else []
    )


def _intro(rows: pl.DataFrame) -> str:
    beside = [
        words for name, words in ((RANDOM, "random sampling"), (FULL, "full data")) if name in rows["sampler"]
    ]
    with_them = f", side by side with {' and with '.join(beside)}" if beside else ""
    return f"Every sampler, rate and size that has been trained and evaluated{with_them}."


def _equals(p: str) -> str:
    return f"< {p[1:]}" if p.startswith("<") else f"= {p}"


def _beyond(where: str, told: pl.DataFrame) -> str:
    parts = []
    for verdict in _BEYOND:
        rows = told.filter(pl.col("verdict") == verdict).sort(pl.col("difference").abs(), descending=True)
        if rows.is_empty():
            continue
        named = [
            f"{r['sampler']} ({within(r['difference'], r['low'], r['high'], signed=True)}, p {_equals(p_value(r['p_adjusted']))})"
            for r in rows.head(_NAMED).iter_rows(named=True)
        ]
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        parts.append(f"{verdict} than random: {', '.join(named)}{more}")
    rest = len(told.filter(~pl.col("verdict").is_in(_BEYOND)))
    parts += [f"{rest} of {len(told)} within the noise"] if rest else []
    seeds = min(told["seeds"].to_list())
    return f"{in_title(where)}, over {seeds} seeds (Holm, {len(told)} samplers): {'; '.join(parts)}."


def section(folder: Path, rows: pl.DataFrame, recipe: dict[str, Any], found: Figures) -> dict[str, Markdown]:
    """Write section.json and its figures to `folder`; return the main figures for the metadata."""
    figures: list[Figure] = []
    shown: dict[str, Markdown] = {}
    for figure, picture in _differences(found.differences):
        picture.save(folder, figure.name)
        figures.append(figure)
        if len(shown) < _PICTURES:
            shown[figure.name] = Markdown(png_markdown(picture.png(), figure.alt))
    cells = rows_for_people(rows, recipe.get("suites"), recipe.get("chance"))
    tables = [
        table(
            cells,
            "All runs",
            "comparison.parquet",
            [*_FIRST, *(name for name in cells[0] if name not in _FIRST)] if cells else (),
            links=_links(rows),
        ),
    ]
    if len(found.differences):
        ordered = found.differences.sort("size", "rate", "score", maintain_order=True)
        words = "Differences to random sampling"
        tables.append(
            table(
                difference_rows(ordered),
                words,
                "differences.parquet",
                _FIRST_OF_DIFFERENCES,
                links=_links(ordered),
            )
        )
    if found.left_out:
        tables.append(
            table(found.left_out, "Metrics that do not count, and why", first=("metric", "reason", "figure"))
        )
    said = findings(
        found.differences,
        found.verdicts,
        [*tokens_kept(rows, recipe.get("rate_of", "documents")), *recipe.get("gaps", [])],
    )
    method = f"{how_to_read(rows, {**recipe, 'verdicts': [], 'gaps': []})}\n\n{METHOD}".replace("**", "")
    Section("Comparison of samplers", _intro(rows), said, figures, tables, method).write(folder)
    return shown


def _links(rows: pl.DataFrame) -> list[tuple[str, str] | None]:
    return [
        (f"{sampler}/metrics", size if sampler == FULL else f"{rate}|{size}")
        for sampler, rate, size in rows.select("sampler", "rate", "size").rows()
    ]


def _differences(differences: pl.DataFrame) -> Iterator[tuple[Figure, Picture]]:
    """Yield a figure of the differences to random by rate, for each size and perplexity.

    A size with a single rate has one figure with all scores instead.
    """
    for (size,), of_size in differences.group_by("size", maintain_order=True):
        if of_size["rate"].n_unique() == 1:
            yield _at_one_rate(str(size), of_size)
            continue
        part = of_size.filter(pl.col("score").str.starts_with(PERPLEXITY))
        for (score,), here in part.group_by("score", maintain_order=True):
            yield _by_rate(str(size), str(score), here)


def _spread(rows: pl.DataFrame) -> str:
    if rows["low"].is_not_null().any():
        return "Bars are 95 % intervals over seeds, not adjusted for the number of samplers."
    return no_intervals(rows["seeds"].to_list())


def _by_rate(size: str, score: str, here: pl.DataFrame) -> tuple[Figure, Picture]:
    rows = {(r["sampler"], r["rate"]): r for r in here.iter_rows(named=True)}
    charts = {
        panel: {name: over_rates(rows, name, "difference") for name in names}
        for panel, names in PANELS.items()
    }
    title = f"Difference to random in {in_words(score)}, {size} T5"
    picture = curves(
        charts,
        title,
        "sampling rate, %",
        "below 0 is better",
        references={panel: {RANDOM: 0.0} for panel in charts},
        xticks=[float(rate) for rate in RATES],
    )
    alt = f"{title}, by sampling rate, one line a sampler"
    return Figure(f"difference_{score}_{size}", alt, _spread(here)), picture


def _at_one_rate(size: str, here: pl.DataFrame) -> tuple[Figure, Picture]:
    rate = here["rate"][0]
    panels: dict[str, dict[str, Dot]] = {}
    xlabels = {}
    for row in here.iter_rows(named=True):
        panel = in_title(in_words(row["score"]))
        panels.setdefault(panel, {})[row["sampler"]] = Dot(row["difference"], row["low"], row["high"])
        xlabels[panel] = f"{'below' if row['score'].startswith(PERPLEXITY) else 'above'} 0 is better"
    title = f"Difference to random at {rate} %, {size} T5"
    names = [name for name in SAMPLERS if name != RANDOM]
    picture = forest(panels, names, title, xlabels, {panel: {RANDOM: 0.0} for panel in panels})
    alt = f"{title}: a line for each sampler, a panel for each score"
    return Figure(f"difference_{rate}_{size}", alt, _spread(here)), picture
