"""The figures of the report on convergence: curves by tokens (v1, figures 5 and 24 to 30) and runs cut by epochs (17 to 23)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from curation_assets.common.drawing.canvas import Picture
from curation_assets.common.drawing.looks import PANELS, mean_of
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.report.charts import Series, curves, over_rates
from curation_assets.report.convergence import Average, Curves, average
from curation_assets.report.figures import FULL, RANDOM
from curation_assets.report.forest import Dot, forest
from curation_assets.report.fresh import EPOCHS
from curation_assets.report.intervals import no_intervals
from curation_assets.report.section import Figure

_PARTED = 1.6  # times the highest end of a curve: above that all curves are alike
_AVERAGED = ("ask_llm", "perplexity")
_FAMILIES = "Families averaged"


def by_tokens(found: Curves) -> Iterator[tuple[Figure, Picture]]:
    """Yield a figure for each evaluation set, rate and size: families averaged, and each sampler pointwise.

    Where nothing but full data has been measured, one with its sizes.
    """
    cells = list(dict.fromkeys(run[1:] for run in found.runs if run[0] != FULL))
    for task in sorted(found.sets, key=lambda name: name != "in_distribution"):
        words = "HQ" if task == "hq" else task.replace("_", "-").capitalize()
        for rate, size in cells:
            charts = _panels(found, rate, size, task)
            if not charts:
                continue
            title = f"{words} perplexity by tokens, {rate} %, {size} T5"
            alt = f"{title}: {_what(charts)}"
            seeds = [len(found.seeds(run, task)) for run in found.runs if run[1:] == (rate, size)]
            caption = f"From where the curves part. {_spread(charts, seeds)}"
            yield Figure(f"tokens_{task}_{rate}_{size}", alt, caption), _draw(charts, title)
        if not cells:
            lines = {
                run[2]: one for run in found.runs if (one := average(found.seeds(run, task))) is not None
            }
            if lines:
                charts = {"full data": {name: _series(one) for name, one in lines.items()}}
                title = f"{words} perplexity by tokens, full data"
                yield Figure(f"tokens_{task}_full_data", f"{title}, one line a size"), _draw(charts, title)


def _panels(found: Curves, rate: str, size: str, task: str) -> dict[str, dict[str, Series]]:
    own = {run[0]: run for run in found.runs if run[1:] == (rate, size) and found.seeds(run, task)}
    if not own:
        return {}
    references = {
        name: _series(one)
        for name, run in ((RANDOM, own.get(RANDOM)), (FULL, (FULL, "100", size)))
        if run is not None and (one := average(found.seeds(run, task))) is not None
    }
    panels: dict[str, dict[str, Series]] = {}
    means = {}
    for family in _AVERAGED:
        members = [run for name, run in own.items() if SAMPLERS[name].family == family]
        one = average(found.together(members, task))
        if one is not None:
            means[mean_of(family, len(members))] = _series(one)
    if means:
        panels[_FAMILIES] = means | references
    for panel, names in PANELS.items():
        lines = {
            n: one for n in names if n in own and (one := average(found.seeds(own[n], task))) is not None
        }
        if lines:
            panels[panel] = {n: _series(lines[n]) if n in lines else _missing() for n in names} | references
    return panels or {"References": references}


def _series(one: Average) -> Series:
    return Series(one.tokens, one.mean, one.low, one.high)


def _missing() -> Series:
    return Series(np.array([np.nan]), np.array([np.nan]))


def _draw(charts: dict[str, dict[str, Series]], title: str) -> Picture:
    ends = [float(np.asarray(one.y)[-1]) for series in charts.values() for one in series.values()]
    known = [end for end in ends if np.isfinite(end)]
    return curves(
        charts,
        title,
        "tokens seen",
        "lower is better",
        log_x=True,
        log_y=True,
        top=_PARTED * max(known) if known else None,
    )


def _what(charts: dict[str, dict[str, Series]]) -> str:
    """Return what the panels show, in words."""
    shown = dict.fromkeys(name for series in charts.values() for name in series)
    beside = " and ".join(words for name, words in ((RANDOM, "random"), (FULL, "full data")) if name in shown)
    families = "families averaged, and " if _FAMILIES in charts else ""
    return f"{families}every sampler{' beside ' if beside else ''}{beside}"


def _spread(charts: dict[str, dict[str, Series]], seeds: list[int]) -> str:
    ends = [
        np.asarray(one.low, np.float64)
        for series in charts.values()
        for one in series.values()
        if one.low is not None
    ]
    known = any(np.isfinite(end).any() for end in ends)
    return "Shaded or barred: 95 % intervals over seeds." if known else no_intervals(seeds)


def by_epochs(table: pl.DataFrame) -> Iterator[tuple[Figure, Picture]]:
    """Yield a figure for each size and cut that any sampler's run reached: held-out perplexity by sampling rate.

    A size with a single rate has one figure with all cuts instead.
    """
    task = "in_distribution" if "in_distribution" in table["set"] else None
    part = table.filter(pl.col("value").is_not_null() & ((pl.col("set") == task) if task else pl.lit(True)))
    for (size,), of_size in part.group_by("size", maintain_order=True):
        ours, whole = of_size.filter(pl.col("sampler") != FULL), of_size.filter(pl.col("sampler") == FULL)
        full: dict[int, float] = dict(whole.select("epochs", "value").rows())
        if ours["rate"].n_unique() == 1:
            yield _cuts_at_one_rate(str(size), ours, full)
            continue
        for epochs in EPOCHS:
            here = ours.filter(pl.col("epochs") == epochs)
            if not here.is_empty():
                yield _one_cut(str(size), epochs, here, full.get(epochs))


def _one_cut(size: str, epochs: int, here: pl.DataFrame, full: float | None) -> tuple[Figure, Picture]:
    rows = {(r["sampler"], r["rate"]): r for r in here.iter_rows(named=True)}
    title = f"Perplexity after {epochs} epochs over the subset, {size} T5"
    charts = {
        panel: {name: over_rates(rows, name, "value") for name in (*names, RANDOM)}
        for panel, names in PANELS.items()
    }
    picture = curves(
        charts,
        title,
        "sampling rate, %",
        "lower is better",
        references=dict.fromkeys(charts, {} if full is None else {FULL: full}),
        xticks=[float(rate) for rate in RATES],
    )
    said = (
        "Full data does not reach this cut."
        if full is None
        else "Full data at the same cut as the reference."
    )
    alt = f"{title}, by sampling rate, one line a sampler"
    return Figure(f"epochs_{epochs}_{size}", alt, said), picture


def _cuts_at_one_rate(size: str, ours: pl.DataFrame, full: dict[int, float]) -> tuple[Figure, Picture]:
    rate = ours["rate"][0]
    panels: dict[str, dict[str, Dot]] = {}
    references: dict[str, dict[str, float]] = {}
    for row in ours.sort("epochs").iter_rows(named=True):
        panel = f"After {row['epochs']} epochs"
        panels.setdefault(panel, {})[row["sampler"]] = Dot(row["value"], row["low"], row["high"])
        if row["epochs"] in full:
            references[panel] = {FULL: full[row["epochs"]]}
    title = f"Perplexity of runs cut after so many epochs, {rate} %, {size} T5"
    picture = forest(panels, list(SAMPLERS), title, dict.fromkeys(panels, "lower is better"), references)
    said = (
        "Full data at the same cut as the reference."
        if references
        else "Full data reaches none of these cuts."
    )
    return Figure(
        f"epochs_{rate}_{size}", f"{title}: a line for each sampler, a panel for each cut", said
    ), picture
