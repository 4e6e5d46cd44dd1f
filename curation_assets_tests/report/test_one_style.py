"""Whoever is in a figure has there the colour and marker of `looks`, whatever else is in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex

from curation_assets.common.drawing.charts import densities
from curation_assets.common.drawing.picture import Picture
from curation_assets.common.drawing.styles import style_of
from curation_assets.config.registry import SAMPLERS
from curation_assets.report import comparison_view, convergence_view, quality_view, tradeoff_view
from curation_assets.report.comparison import compare, with_figures
from curation_assets.report.convergence import Curves
from curation_assets.report.figures import figures
from curation_assets.report.fresh import fresh
from curation_assets.report.inputs import TRAINED, order
from curation_assets.report.page import percentiles
from curation_assets.report.quality import quality
from curation_assets.report.scores import Scores
from curation_assets_tests.report.test_figures import LADDER, NOISE, rows, table

NO_SERIES = {"Pareto front"}
SETS = {
    "all": list(SAMPLERS),
    "Ask-LLM alone": ["random", "ask_llm_xl"],
    "perplexity alone": ["perplexity_large_20k", "perplexity_xxl"],
    "the other way round": list(SAMPLERS)[::-1],
}


def _metrics(names: list[str], rates: tuple[str, ...]) -> pl.DataFrame:
    """Return curves and accuracies of samplers and of full data of all sizes."""
    parts = []
    runs = [(name, rate, "small") for name in names for rate in rates]
    for i, run in enumerate([*runs, *(("full_data", "100", size) for size in LADDER.sizes)]):
        for seen in (100, 1000):
            values = 20 + i + NOISE + 1000 / seen
            parts.append(rows(run, "perplexity/in_distribution", values, tokens_seen=seen))
        parts.append(rows(run, "glue/rte", 60 - i + NOISE))
    return table(*parts)


def _drawn(metrics: pl.DataFrame, folder: Path) -> Iterator[Picture]:
    """Draw every figure in which samplers are series."""
    trained = metrics.select("sampler", "rate", "size").unique(maintain_order=True)
    trained = trained.with_columns(documents=pl.lit(10), tokens=pl.lit(90)).cast(TRAINED)  # type: ignore[arg-type]
    curves, scores = Curves(metrics), Scores(metrics)
    full = metrics.filter(pl.col("sampler") == "full_data")
    yield from (
        picture
        for _, picture in chain(
            convergence_view.by_tokens(curves),
            convergence_view.by_tokens(Curves(full)),
            convergence_view.by_epochs(fresh(curves, trained)),
        )
    )
    found = figures(scores, LADDER, seed=0)
    compared = with_figures(compare(metrics, trained, order()), found)
    yield from (picture for _, picture in comparison_view.figures(found.differences))
    costs = compared.filter(pl.col("sampler") != "full_data").with_columns(
        scoring_seconds=pl.int_range(pl.len()) + 1.0, preparing_seconds=pl.lit(0.5), on_front=pl.lit(True)
    )
    yield from (picture for _, picture in tradeoff_view.figures(costs, {"small": 20.0}))
    measured = quality(scores, LADDER, list(SAMPLERS), ("20", "60"))
    yield from (picture for _, picture in quality_view.figures(measured))


def _lines(picture: Picture) -> Iterator[tuple[str, Any]]:
    """Yield (label, line) of what has a name: by its legend, or in a forest by the line of the axis that it lies on."""
    for axes in picture.figure.axes:
        ticks = {
            round(float(y), 3): text.get_text()
            for y, text in zip(
                picture.figure.axes[0].get_yticks(), picture.figure.axes[0].get_yticklabels(), strict=False
            )
        }
        for line in axes.lines:
            if not str(line.get_label()).startswith("_"):
                yield str(line.get_label()), line
            elif len(line.get_ydata()) == 1:
                yield ticks[round(float(line.get_ydata()[0]), 3)], line


NAMES = {style_of(name).label: name for name in ("full_data", *SAMPLERS, "chance", *LADDER.sizes)}


@pytest.mark.parametrize("rates", [("20",), ("20", "60")], ids=["one rate", "two rates"])
@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_every_series_of_every_figure_has_its_own_colour_and_marker(
    names: list[str], rates: tuple[str, ...], tmp_path: Path
) -> None:
    seen: dict[str, set[str]] = {}
    for picture in _drawn(_metrics(names, rates), tmp_path):
        for label, line in _lines(picture):
            if label in NO_SERIES:
                continue
            drawn = style_of(NAMES.get(label, label))
            assert to_hex(line.get_color()) == drawn.colour, label
            seen.setdefault(label, set()).add(to_hex(line.get_color()))
    means = {label for label in seen if "mean of" in label}
    assert set(names) - {"random"} <= set(seen) and "full data" in seen
    assert means == {
        f"{title}, mean of {count}"
        for title, family in (("Ask-LLM", "ask_llm"), ("perplexity", "perplexity"))
        if (count := sum(SAMPLERS[name].family == family for name in names))
    }
    assert all(len(colours) == 1 for colours in seen.values())


def test_histograms_and_strips_have_the_same_colours() -> None:
    shown = densities({name: (np.arange(4.0), np.ones(3)) for name in reversed(SAMPLERS)}, "t", {}, {})
    for axes in shown.figure.axes:
        if axes.get_title(loc="left"):
            assert to_hex(axes.patches[0].get_facecolor()) == style_of(axes.get_title(loc="left")).colour
    bars = percentiles(dict.fromkeys(SAMPLERS, 70.0)).bars
    assert [bar.colour for bar in bars] == [style_of(name).colour for name in SAMPLERS]
