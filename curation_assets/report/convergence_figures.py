"""The figures of the report on convergence: curves by tokens (v1, figures 5 and 24 to 30) and runs cut by epochs (17 to 23)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from curation_assets.registry import RATES, SAMPLERS
from curation_assets.report.canvas import Picture
from curation_assets.report.charts import Series, curves
from curation_assets.report.convergence import Average, Curves, average
from curation_assets.report.figures import FULL, RANDOM
from curation_assets.report.fresh import EPOCHS
from curation_assets.report.looks import PANELS
from curation_assets.report.section import Figure

_PARTED = 1.6  # times the highest end of a curve: above that all curves are alike
_AVERAGED = {"ask_llm": "Ask-LLM, mean", "perplexity": "perplexity, mean"}


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
            alt = f"{title}: Ask-LLM and perplexity samplers averaged, and every sampler beside random and full data"
            caption = f"From where the curves part. {_spread(charts)}"
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
    for family, label in _AVERAGED.items():
        members = [run for name, run in own.items() if SAMPLERS[name].family == family]
        one = average(found.together(members, task))
        if one is not None:
            means[f"{label} of {len(members)}"] = _series(one)
    if means:
        panels["Families averaged"] = means | references
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
    return curves(
        charts,
        title,
        "tokens seen",
        "lower is better",
        log_x=True,
        log_y=True,
        top=_PARTED * float(np.nanmax(ends)),
    )


def _spread(charts: dict[str, dict[str, Series]]) -> str:
    ends = [
        np.asarray(one.low, np.float64)
        for series in charts.values()
        for one in series.values()
        if one.low is not None
    ]
    known = any(np.isfinite(end).any() for end in ends)
    return "Shaded or barred: 95 % intervals over seeds." if known else "One seed: no intervals."


def by_epochs(table: pl.DataFrame) -> Iterator[tuple[Figure, Picture]]:
    """Yield a figure for each size and cut that any sampler's run reached: held-out perplexity by sampling rate."""
    task = "in_distribution" if "in_distribution" in table["set"] else None
    part = table if task is None else table.filter(pl.col("set") == task)
    reached = part.filter((pl.col("sampler") != FULL) & pl.col("value").is_not_null())
    for (size,), of_size in reached.group_by("size", maintain_order=True):
        for epochs in EPOCHS:
            here = of_size.filter(pl.col("epochs") == epochs)
            if here.is_empty():
                continue
            rows = {(r["sampler"], r["rate"]): r for r in here.iter_rows(named=True)}
            full = part.filter(
                (pl.col("sampler") == FULL)
                & (pl.col("size") == size)
                & (pl.col("epochs") == epochs)
                & pl.col("value").is_not_null()
            )
            reference = {FULL: full["value"][0]} if len(full) else {}
            title = f"Perplexity after {epochs} epochs over the subset, {size} T5"
            charts = {
                panel: {name: _by_rate(rows, name) for name in (*names, RANDOM)}
                for panel, names in PANELS.items()
            }
            picture = curves(
                charts,
                title,
                "sampling rate, % of documents",
                "lower is better",
                references=dict.fromkeys(charts, reference),
                xticks=[float(rate) for rate in RATES],
            )
            caption = (
                "Full data at the same cut as the reference."
                if len(full)
                else "Full data does not reach this cut."
            )
            alt = f"{title}, by sampling rate, one line a sampler"
            yield Figure(f"epochs_{epochs}_{size}", alt, caption), picture


def _by_rate(rows: dict[tuple[str, str], dict[str, float | None]], name: str) -> Series:
    def column(key: str) -> np.ndarray:
        found = (rows.get((name, rate), {}).get(key) for rate in RATES)
        return np.array([np.nan if value is None else value for value in found], np.float64)

    return Series(np.array(RATES, np.float64), column("value"), column("low"), column("high"))
