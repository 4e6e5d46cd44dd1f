"""Cost and quality for people: the Pareto front, who pays off, tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.charts import Series, points
from curation_assets.common.drawing.styles import FULL
from curation_assets.common.markdown import plus_minus, rounded
from curation_assets.common.progress import duration
from curation_assets.config.amount import label
from curation_assets.report import ties
from curation_assets.report.merit import Floats
from curation_assets.report.section import Drawn, Figure, Section, at, groups, metrics_links, table

_INTRO = "What choosing the data took, in seconds and in operations, against the quality of the model that is trained on it."
_FIRST = (
    *("sampler", "amount", "perplexity", "scoring", "T5", "preparing", "one training", "on the front"),
    *("pays off after", "saves %"),
)
_TEXT = ("sampler", "T5", "pays off after", "on the front")
METHOD = """\
**Scoring** is what a sampler's scores of the whole corpus took, with the embeddings, clusters and sketches behind them; \
**preparing** is making the model that scores: a rung of the ladder, the teacher's labels, the judge's own training. Each \
sampler is charged for all that it needs, also for what others share with it. What training needs anyway (tokens, tokenizer) is \
left out. **Training** is one run with one seed.

Seconds are those of the artifacts' receipts, as they were spent on the machine that made them, with whatever ran beside; of an interrupted \
step they are those of the last attempt. Operations are counted by formula (two per multiply-add of the matrix products), for \
models of which only the number of parameters is known as 2 x parameters x tokens, an upper bound.

**Pays off after** so many trainings: (scoring + preparing) / (one training x the share of its tokens that are saved), the \
share being what is left of the budget when the run is as good as full data at the end (see report/convergence, held-out \
documents). It is given only where every seed got there; with one seed that may be chance.

**On the front** is who no other sampler of the same amount and size beats in both: fewer seconds of scoring and preparing, and a \
better mean perplexity. The front is of means and knows nothing of noise; neighbours on it are compared by Tukey's range test over \
seeds (see report/quality). Who lacks a cost or a perplexity is neither on it nor off it.\
"""


def section(
    costs: pl.DataFrame, by_seed: Mapping[tuple[str, str], Mapping[str, Floats]], unknown: Sequence[str]
) -> Section:
    """Return the section of `tradeoff.tradeoff`'s table; `unknown` are sentences on counts that are not known.

    `by_seed` has by (rate, size) the samplers' perplexities, {sampler: [seeds]}.
    """
    gaps = [f"Not every count of operations is known. {'. '.join(unknown)}."] if unknown else []
    about: dict[str, Any] = {"text": _TEXT, "first": _FIRST, "links": metrics_links(costs)}
    shown = table(rows(costs), "Cost and quality", "tradeoff.parquet", **about)
    return Section("Cost and quality", _INTRO, [*findings(costs, by_seed), *gaps], [], [shown], METHOD)


def rows(costs: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows with columns named in words."""
    return [
        {
            "sampler": row["sampler"],
            "amount": label(row["rate"]),
            "T5": row["size"],
            "perplexity": plus_minus(row["perplexity"], row["perplexity_sd"]),
            "scoring": _seconds(row["scoring_seconds"]),
            "preparing": _seconds(row["preparing_seconds"]),
            "one training": _seconds(row["training_seconds"]),
            "scoring FLOPs": _flops(row["scoring_flops"]),
            "preparing FLOPs": _flops(row["preparing_flops"]),
            "training FLOPs": _flops(row["training_flops"]),
            "saves %": None if row["saved_share"] is None else f"{100 * row['saved_share']:.0f}",
            "pays off after": _trainings(row),
            "on the front": row["on_front"],
        }
        for row in costs.iter_rows(named=True)
    ]


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _flops(flops: float | None) -> str:
    return "not known" if flops is None else f"{flops:.1e}" if flops else "0"


def _trainings(row: Mapping[str, Any]) -> str:
    if row["seeds"] is None:
        return "no full data to compare with"
    if 0 < row["seeds_reached"] < row["seeds"]:
        return f"{row['seeds_reached']} of {row['seeds']} seeds got there"
    if not row["saved_share"]:
        return "never"
    counts = {"seconds": row["break_even_seconds"], "FLOPs": row["break_even_flops"]}
    known = [f"{rounded(n, 2) if n > 9 else n} by {unit}" for unit, n in counts.items() if n is not None]
    return ", ".join(known) or "not known"


def findings(costs: pl.DataFrame, by_seed: Mapping[tuple[str, str], Mapping[str, Floats]]) -> list[str]:
    """Return sentences on each amount and size: the front and whether its steps are beyond the noise, and who pays off."""
    sentences = []
    for (rate, size), part in groups(costs, "rate", "size"):
        where = f"At {at(rate, size)}"
        front = part.filter(pl.col("on_front")).sort("perplexity", descending=True).rows(named=True)
        if front:
            sentences.append(f"{where} {_front(front, by_seed.get((rate, size), {}))}")
        unknown = part.filter(pl.col("on_front").is_null())["sampler"].to_list()
        if unknown:
            sentences.append(f"{where} no cost or no perplexity is known of {', '.join(unknown)}.")
        sentences.append(f"{where} {_paying(part)}")
    return sentences


def _front(front: Sequence[Mapping[str, Any]], by_seed: Mapping[str, Floats]) -> str:
    names = [
        f"{r['sampler']} ({_seconds(r['scoring_seconds'] + r['preparing_seconds'])}, "
        f"perplexity {plus_minus(r['perplexity'], r['perplexity_sd'])})"
        for r in front
    ]
    text = f"the front of cost and quality has, from the worst perplexity to the best: {', '.join(names)}."
    apart, compared = ties.apart(by_seed), ties.whole(by_seed)
    if len(front) < 2:
        return text
    if apart is None:
        return f"{text} Whether they differ beyond the noise cannot be told: there is one seed, or no spread over seeds."
    steps = []
    for worse, better in pairwise(row["sampler"] for row in front):
        if worse not in compared or better not in compared:
            steps.append(f"{better} and {worse} lack a seed and are not compared")
            continue
        gap = float(compared[worse].mean() - compared[better].mean())
        verdict = "beyond the noise" if gap > apart else "within the noise"
        steps.append(f"{better} is {rounded(gap, 2)} better than {worse}, {verdict}")
    seeds = len(next(iter(compared.values())))
    return f"{text} Over {seeds} seeds, {'; '.join(steps)} (told apart from {rounded(apart, 2)} on)."


def _paying(part: pl.DataFrame) -> str:
    known = part.filter(pl.col("seeds").is_not_null())
    if known.is_empty():
        return "nothing can be said of paying off: there is no full data of that size to compare with."
    paying = known.filter(pl.col("saved_share") > 0).rows(named=True)
    if not paying:
        return f"none of {len(known)} samplers pays off: none is as good as full data before the end, in every seed and by the mean over seeds."
    chance = "; it is one seed, which may be chance" if known["seeds"].max() == 1 else ""
    after = "; ".join(f"{row['sampler']}, {_trainings(row)}" for row in paying)
    return f"as good as full data in every seed, and paid off after so many trainings{chance}: {after}."


def figures(costs: pl.DataFrame, full: Mapping[str, float]) -> Iterator[Drawn]:
    """Yield for each size perplexity over the seconds that choosing took, a panel for each amount; none where no cost is known.

    `full` is what full data reaches, by size.
    """
    spread = costs["perplexity_sd"].is_not_null().any()
    caption = "Bars are ± one standard deviation over seeds." if spread else "One seed: no spread."
    for (size,), known in groups(costs.filter(pl.col("on_front").is_not_null()), "size"):
        charts: dict[str, dict[str, Series]] = {}
        front: dict[str, list[str]] = {}
        for row in known.iter_rows(named=True):
            panel = label(row["rate"])
            spent = np.array([max(row["scoring_seconds"] + row["preparing_seconds"], 1e-3)])
            mean, sd = np.array([row["perplexity"]]), row["perplexity_sd"]
            ends = (None, None) if sd is None else (mean - sd, mean + sd)
            charts.setdefault(panel, {})[row["sampler"]] = Series(spent, mean, *ends)
            if row["on_front"]:
                front.setdefault(panel, []).append(row["sampler"])
        references = {panel: {FULL: full[size]} for panel in charts if size in full}
        title, x = f"Perplexity of the {size} T5 by cost of choosing", "seconds of scoring and preparing"
        alt = (
            f"perplexity of the {size} T5 by seconds of choosing, one point a sampler, with the Pareto front"
        )
        picture = points(charts, title, x, "lower is better", front, references)
        yield Figure(f"tradeoff_{size}", alt, caption), picture
