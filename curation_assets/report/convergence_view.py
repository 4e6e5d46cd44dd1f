"""Convergence for people: curves by tokens (v1, figures 5 and 24 to 30), runs cut by epochs (17 to 23), tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.charts import (
    Dot,
    Series,
    amount_curves,
    axis,
    curves,
    forest,
    over_amounts,
)
from curation_assets.common.drawing.picture import Picture
from curation_assets.common.drawing.styles import FULL, PANELS, RANDOM, mean_of
from curation_assets.common.markdown import plus_minus, rounded
from curation_assets.config.amount import by_kind, label
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.convergence import Curves, average
from curation_assets.report.fresh import EPOCHS
from curation_assets.report.intervals import no_intervals
from curation_assets.report.section import (
    Drawn,
    Figure,
    Section,
    Table,
    at,
    figure_name,
    groups,
    kind_of,
    metrics_links,
    table,
)

_PARTED = 1.6  # times the highest end of a curve: above that all curves are alike
_AVERAGED = ("ask_llm", "perplexity")
_FAMILIES = "Families averaged"
_HELD_OUT = "in_distribution"
_NAMED = 4
_FIRST = ("sampler", "amount", "set")
_MISSING = Series(np.array([np.nan]), np.array([np.nan]))
_AT_THE_CUT = "Full data at the same cut as the reference."

METHOD = (
    "Tokens until the perplexity first is that of full data at the end, between snapshots by straight lines over the logarithm "
    "of the tokens, of the curve averaged over seeds; the speed-up is the share of the budget that is left then. Its interval "
    "is Student's t over seeds, each against the same seed of full data, where every seed got there. A snapshot is no run of "
    "its own: where the learning rate falls to the end, a run of that budget would have come further, and the speed-up is "
    "more a lower bound. A first snapshot that is already good enough gives its own tokens.\n\n"
    "Fresh against repeated tokens: A run is cut after so many epochs, where it has seen as many times the tokens of its subset; "
    "between snapshots the perplexity is "
    "read from straight lines over the logarithm of the tokens, before the first and after the last it is missing. At the same cut a "
    "larger subset has seen more tokens, all of them repeated as often, so the rise along a line is what fresh tokens bring; the same "
    "rate at a later cut has the same fresh tokens, repeated more often. The schedule of the learning rate is that of the whole run. "
    "Samplers of one amount have equally many documents, or equally many tokens (selection.rate_of, or a budget): seldom both."
)


def section(reached: pl.DataFrame, cut: pl.DataFrame) -> Section:
    """Return the section of `convergence.convergence`'s and `fresh.fresh`'s tables."""
    parts = []
    if not reached.is_empty():
        parts.append("how soon each sampler's run is as good as one on everything is at the end")
    if cut["value"].is_not_null().any():
        parts.append("what fresh tokens bring against repeated ones")
    intro = f"Perplexity against the tokens of training{': ' if parts else ''}{', and '.join(parts)}."
    sentences = [*reached_findings(reached), *cut_findings(cut)]
    return Section("Tokens to reach full data", intro, sentences, [], tables(reached, cut), METHOD)


def tables(reached: pl.DataFrame, cut: pl.DataFrame) -> list[Table]:
    """Return the runs' tokens to reach full data, and their perplexities at each cut that any of them reached."""
    shown, text = [], ("sampler", "T5", "set", "seeds that did")
    if not reached.is_empty():
        first = (*_FIRST, "tokens to reach it", "T5")
        about: dict[str, Any] = {"text": text, "first": first, "links": metrics_links(reached)}
        shown.append(
            table(reached_rows(reached), "Tokens to reach full data", "convergence.parquet", **about)
        )
    cuts = cut.filter(pl.col("value").is_not_null())["epochs"].unique()
    part = cut.filter(pl.col("epochs").is_in(cuts.implode()))
    if not part.is_empty():
        runs = part.unique(["sampler", "rate", "size", "set"], keep="first", maintain_order=True)
        about = {"text": text, "first": (*_FIRST, "epochs in all", "T5"), "links": metrics_links(runs)}
        caption = "Perplexity of runs cut after so many epochs over their subset"
        shown.append(table(cut_rows(part), caption, "fresh.parquet", **about))
    return shown


def reached_rows(reached: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows on full data's perplexity with columns named in words."""
    shown = []
    for row in reached.iter_rows(named=True):
        low, high, tokens = row["speed_up_low"], row["speed_up_high"], row["tokens_to_reach"]
        interval = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
        shown.append(
            {
                "sampler": row["sampler"],
                "amount": label(row["rate"]),
                "T5": row["size"],
                "set": row["set"].replace("_", " "),
                "final": rounded(row["final"]),
                "full data": rounded(row["target"]),
                "tokens to reach it": "never" if tokens is None else rounded(tokens, 2),
                "speed-up %": None if tokens is None else f"{100 * row['speed_up']:.0f}{interval}",
                "seeds that did": f"{row['seeds_reached']} of {row['seeds']}",
            }
        )
    return shown


def cut_rows(cut: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one row a run and set: its passes, and the perplexity at each cut ("not reached" where it has none)."""
    shown = []
    for _, part in groups(cut, "sampler", "rate", "size", "set"):
        run = part.row(0, named=True)
        cells = {"sampler": run["sampler"], "amount": label(run["rate"]), "T5": run["size"]}
        cells["set"] = run["set"].replace("_", " ")
        cells["epochs in all"] = "not known" if run["passes"] is None else f"{run['passes']:.2f}"
        for row in part.sort("epochs").iter_rows(named=True):
            tied = ", tied" if row["tied_with_best"] else ""
            cells[f"after {row['epochs']}"] = f"{plus_minus(row['value'], row['sd']) or 'not reached'}{tied}"
        shown.append(cells)
    return shown


def reached_findings(reached: pl.DataFrame) -> list[str]:
    """Return sentences: who is as good as full data before the end, of each amount and size by held-out documents."""
    if reached.is_empty():
        return [
            "No run of full data of the same size has been measured beside a sampler's: there is nothing to reach."
        ]
    chosen = _HELD_OUT if _HELD_OUT in reached["set"] else reached["set"][0]
    what = f"the {chosen.replace('_', '-')} perplexity that full data has at the end"
    sentences = []
    for (rate, size), part in groups(reached.filter(pl.col("set") == chosen), "rate", "size"):
        there = part.filter((pl.col("seeds_reached") == pl.col("seeds")) & (pl.col("seeds") > 0))
        partly = part.filter((pl.col("seeds_reached") > 0) & (pl.col("seeds_reached") < pl.col("seeds")))
        if len(there):
            text = f"{len(there)} of {len(part)} samplers reach {what} in every seed: {_savings(there)}."
        else:
            text = f"none of {len(part)} samplers reaches {what} in every seed."
        if len(partly):
            text += f" In some seeds only: {', '.join(partly['sampler'])}; that is within the noise."
        if len(there) and part["seeds"].max() == 1:
            text += " It is one seed, which may be chance."
        sentences.append(f"At {at(rate, size)} {text}")
    return sentences


def _savings(there: pl.DataFrame) -> str:
    parts = []
    for row in there.sort("speed_up", descending=True, nulls_last=True).head(_NAMED).iter_rows(named=True):
        low, high = row["speed_up_low"], row["speed_up_high"]
        if row["speed_up"] is None:
            parts.append(f"{row['sampler']}, though not by the mean over seeds")
            continue
        noise = ", within the noise" if low is not None and low <= 0 else ""
        interval = "" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}{noise}]"
        parts.append(f"{row['sampler']} with {100 * row['speed_up']:.0f} % of its tokens left{interval}")
    parts += [f"and {len(there) - _NAMED} more"] if len(there) > _NAMED else []
    seeds = min(there["seeds"].to_list())
    return "; ".join(parts) + (f" (95 % intervals over {seeds} seeds)" if seeds > 1 else "")


def cut_findings(cut: pl.DataFrame) -> list[str]:
    """Return sentences: how far the runs go, and who cannot be told from the best at each cut, by held-out documents."""
    runs = cut.filter((pl.col("sampler") != FULL) & pl.col("passes").is_not_null())
    if runs.is_empty():
        return [
            "How often runs repeat their subsets is not known: none of the subsets of the measured runs is there."
        ]
    runs = runs.filter(pl.col("set") == (_HELD_OUT if _HELD_OUT in runs["set"] else runs["set"][0]))
    passes = runs["passes"].to_list()
    sentences = [f"Runs go {rounded(min(passes), 2)} to {rounded(max(passes), 2)} times over their subsets."]
    reached = runs.filter(pl.col("value").is_not_null())
    lacking = [str(epochs) for epochs in EPOCHS if epochs not in reached["epochs"]]
    if lacking:
        sentences.append(
            f"No run is as long as {', '.join(lacking)} epochs over its subset: those cuts are missing."
        )
    tested = reached.filter(pl.col("tied_with_best").is_not_null())  # of one seed the table has the values
    for (size, epochs, rate), part in groups(tested, "size", "epochs", "rate"):
        tied = part.filter(pl.col("tied_with_best"))["sampler"].to_list()
        every = f"all {len(tied)} samplers are tied"
        names = every if len(tied) == len(part) else f"not told from the best: {', '.join(tied)}"
        seeds = min(part["seeds"].to_list())
        sentences.append(f"Cut after {epochs} epochs at {at(rate, size)}, over {seeds} seeds, {names}.")
    if tested.is_empty() and not reached.is_empty():
        lone = reached["seeds"].max() == 1
        why = (
            "One seed cannot"
            if lone
            else "Without two samplers that share two seeds with a spread nothing can"
        )
        sentences.append(f"{why} tell samplers apart at any cut.")
    return sentences


def by_tokens(measured: Curves) -> Iterator[Drawn]:
    """Yield a figure for each evaluation set, amount and size: families averaged, and each sampler pointwise.

    Where nothing but full data has been measured, one with its sizes.
    """
    cells = list(dict.fromkeys(run[1:] for run in measured.runs if run[0] != FULL))
    for task in sorted(measured.sets, key=lambda name: name != _HELD_OUT):
        words = "HQ" if task == "hq" else task.replace("_", "-").capitalize()
        for rate, size in cells:
            charts = _panels(measured, rate, size, task)
            if charts:
                title = f"{words} perplexity by tokens, {label(rate)}, {size} T5"
                seeds = [len(measured.seeds(run, task)) for run in measured.runs if run[1:] == (rate, size)]
                barred = any(one.barred for series in charts.values() for one in series.values())
                spread = "Shaded or barred: 95 % intervals over seeds." if barred else no_intervals(seeds)
                caption = f"From where the curves part. {spread}"
                figure = Figure(figure_name("tokens", task, rate, size), f"{title}: {_what(charts)}", caption)
                yield figure, _draw(charts, title)
        lines = {} if cells else {run[2]: _series(measured, run, task) for run in measured.runs}
        charts = {"full data": {size: one for size, one in lines.items() if one is not None}}
        if charts["full data"]:
            title = f"{words} perplexity by tokens, full data"
            yield Figure(f"tokens_{task}_full_data", f"{title}, one line a size"), _draw(charts, title)


def _series(measured: Curves, run: tuple[str, str, str], task: str) -> Series | None:
    one = average(measured.seeds(run, task))
    return None if one is None else Series(*one)


def _panels(measured: Curves, rate: str, size: str, task: str) -> dict[str, dict[str, Series]]:
    own = {run[0]: run for run in measured.runs if run[1:] == (rate, size) and measured.seeds(run, task)}
    runs = {**own, FULL: (FULL, "100", size)} if own else {}
    lines = {name: one for name, run in runs.items() if (one := _series(measured, run, task)) is not None}
    references = {name: lines[name] for name in (RANDOM, FULL) if name in lines}
    means = {}
    for family in _AVERAGED:
        members = [run for name, run in own.items() if SAMPLERS[name].family == family]
        mean = average(measured.together(members, task))
        if mean is not None:
            means[mean_of(family, len(members))] = Series(*mean)
    panels = {_FAMILIES: means | references} if means else {}
    for panel, names in PANELS.items():
        if any(name in lines for name in names):
            panels[panel] = {name: lines.get(name, _MISSING) for name in names} | references
    return panels or ({"References": references} if own else {})


def _draw(charts: dict[str, dict[str, Series]], title: str) -> Picture:
    ends = np.array([np.asarray(one.y)[-1] for series in charts.values() for one in series.values()])
    top = _PARTED * float(np.nanmax(ends)) if np.isfinite(ends).any() else None
    return curves(charts, title, "tokens seen", "lower is better", log=True, top=top)


def _what(charts: dict[str, dict[str, Series]]) -> str:
    """Return what the panels show, in words."""
    shown = {name for series in charts.values() for name in series}
    beside = " and ".join(words for name, words in ((RANDOM, "random"), (FULL, "full data")) if name in shown)
    families = "families averaged, and " if _FAMILIES in charts else ""
    return f"{families}every sampler{' beside ' if beside else ''}{beside}"


def by_epochs(cut: pl.DataFrame) -> Iterator[Drawn]:
    """Yield a figure for each size and cut that any sampler's run reached: held-out perplexity by amount.

    A size with a single amount of a kind has one figure of it with all cuts instead.
    """
    part = cut.filter(pl.col("value").is_not_null())
    if _HELD_OUT in cut["set"]:
        part = part.filter(pl.col("set") == _HELD_OUT)
    for (size,), of_size in groups(part, "size"):
        ours, whole = of_size.filter(pl.col("sampler") != FULL), of_size.filter(pl.col("sampler") == FULL)
        full: dict[int, float] = dict(whole.select("epochs", "value").rows())
        for keys in by_kind(ours["rate"]):
            of_kind = ours.filter(pl.col("rate").is_in(keys))
            if len(keys) == 1:
                yield _cuts_at_one_amount(size, of_kind, full)
                continue
            for epochs in EPOCHS:
                here = of_kind.filter(pl.col("epochs") == epochs)
                if not here.is_empty():
                    yield _one_cut(size, epochs, keys, here, full.get(epochs))


def _one_cut(size: str, epochs: int, keys: list[str], here: pl.DataFrame, full: float | None) -> Drawn:
    rows = {(r["sampler"], r["rate"]): r for r in here.iter_rows(named=True)}
    title = f"Perplexity after {epochs} epochs over the subset, {size} T5"
    charts = {
        panel: {name: over_amounts(keys, rows, name, "value") for name in (*names, RANDOM)}
        for panel, names in PANELS.items()
    }
    references = dict.fromkeys(charts, {} if full is None else {FULL: full})
    caption = "Full data does not reach this cut." if full is None else _AT_THE_CUT
    name = figure_name("epochs", str(epochs), *kind_of(keys), size)
    figure = Figure(name, f"{title}, by {axis(keys)}, one line a sampler", caption)
    return figure, amount_curves(keys, charts, title, "lower is better", references)


def _cuts_at_one_amount(size: str, ours: pl.DataFrame, full: dict[int, float]) -> Drawn:
    rate = ours["rate"][0]
    panels: dict[str, dict[str, Dot]] = {}
    references: dict[str, dict[str, float]] = {}
    for row in ours.sort("epochs").iter_rows(named=True):
        panel = f"After {row['epochs']} epochs"
        panels.setdefault(panel, {})[row["sampler"]] = Dot(row["value"], row["low"], row["high"])
        if row["epochs"] in full:
            references[panel] = {FULL: full[row["epochs"]]}
    title = f"Perplexity of runs cut after so many epochs, {label(rate)}, {size} T5"
    caption = _AT_THE_CUT if references else "Full data reaches none of these cuts."
    alt = f"{title}: a line for each sampler, a panel for each cut"
    picture = forest(panels, list(SAMPLERS), title, dict.fromkeys(panels, "lower is better"), references)
    return Figure(figure_name("epochs", rate, size), alt, caption), picture
