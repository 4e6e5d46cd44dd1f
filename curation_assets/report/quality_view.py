"""Quality for people: who cannot be told from the best and from full data, in sentences, figures and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from curation_assets.common.drawing.charts import Dot, amount_curves, axis, forest, over_amounts
from curation_assets.common.drawing.picture import Picture
from curation_assets.common.drawing.styles import CHANCE, FULL, PANELS, RANDOM
from curation_assets.common.markdown import plus_minus, rounded, within
from curation_assets.config.amount import by_kind, label, of_key
from curation_assets.config.registry import SAMPLERS
from curation_assets.report import advice, ties
from curation_assets.report.figures import in_title
from curation_assets.report.intervals import no_intervals
from curation_assets.report.quality import OVER_SCALING, name_of, title
from curation_assets.report.section import Drawn, Figure, Section, Table, groups, kind_of, listed, table
from curation_assets.report.ties import LEVEL

_NAMED = 6  # as many names in a sentence; more are counted

METHOD = f"""\
Each value is that of the last snapshot, averaged over seeds of training; ± is the sample standard deviation over them, and an \
interval is Student's t at 95 % over seeds, drawn and given where there are two or more. A suite is the mean over its tasks, in \
percent, of each task's metric of record; a run that lacks one of them has none. Over-scaling is as in the comparison (v1, table 1).

Ranks are among the samplers of the same amount and size, 1 for the best, equals sharing the mean; the mean rank is over the metrics \
(without over-scaling, which is made of them) that any sampler of the cell has, and only samplers that have them all get one. \
Ranks of one seed are those of its noise, and are not shown. Chance is what the same answer to every example scores. \
{ties.METHOD}

A sampler is better or worse than full data where the paired t test over seeds, adjusted by Holm's method for the number of \
samplers of the same amount and size, has p below 5 %. Metrics, amounts and sizes are not adjusted for: of many cells without any \
difference, 5 % would still show one.

{advice.METHOD}\
"""


def section(quality: pl.DataFrame) -> Section:
    """Return the section of `quality.quality`'s table."""
    beside = references(quality)
    them = f" The references are {beside}." if beside else ""
    intro = f"How good the trained model is when it sees only a share of the corpus, chosen by each sampler.{them}"
    heading = "Quality against the share of the data"
    return Section(heading, intro, findings(quality), [], tables(quality), METHOD)


def references(quality: pl.DataFrame) -> str:
    """Return what samplers can be seen beside: "random sampling, full data and chance", or less."""
    measured = quality.filter(pl.col("mean").is_not_null())["sampler"]
    there = {"random sampling": RANDOM in measured, "full data": FULL in measured}
    there["chance"] = quality["chance"].is_not_null().any()
    return listed([words for words, known in there.items() if known])


def findings(quality: pl.DataFrame) -> list[str]:
    """Return sentences: what was measured, then by size and metric who cannot be told from the best, and from full data."""
    measured = quality.filter(pl.col("mean").is_not_null() & (pl.col("sampler") != FULL))
    sentences, lone = [_coverage(quality)], []
    for (size, metric), part in groups(measured, "size", "metric"):
        where = f"{title(metric)} with the {size} T5"
        if part["seeds"].max() == 1:
            lone.append(where)
            continue
        sentences.append(f"By {where}, {_best(part)}.")
        sentences += _above_chance(f"By {where}", part)
        if metric != OVER_SCALING:
            test = "compared with full data (paired t test, Holm)"
            sentences.append(f"By {where}, {test}: {_against_full(part)}.")
    nothing = "no sampler can be told from another or from full data"
    if len(lone) == 1:
        sentences.append(f"By {lone[0]} there is one seed: {nothing}.")
    elif lone:
        sentences.append(f"There is one seed, so {nothing}: by {'; '.join(lone)}.")
    return sentences


def _coverage(quality: pl.DataFrame) -> str:
    ours = quality.filter(pl.col("sampler") != FULL)
    cells = ours.group_by("sampler", "rate", "size").agg(pl.col("seeds").max())
    seeds = sorted(set(cells["seeds"].to_list()) - {0})
    if not seeds:
        return "No sampler's model has been measured."
    have = len(cells.filter(pl.col("seeds") > 0))
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    each = f"each with {span} seed{'s' if seeds[-1] > 1 else ''}"
    rest = "" if have == len(cells) else " The others are missing, and nothing stands in for them."
    return (
        f"{have} of {len(cells)} combinations of sampler, amount and size have been measured, {each}.{rest}"
    )


def _best(part: pl.DataFrame) -> str:
    parts = []
    for (rate,), cell in groups(part, "rate"):
        known = cell.filter(pl.col("tied_with_best").is_not_null())
        tied = known.filter(pl.col("tied_with_best")).sort("rank")
        seeds = min(known["seeds"].to_list(), default=0)
        if known.is_empty():
            text = "nothing can be told: no two samplers share two seeds, or their seeds have no spread"
        elif len(tied) == 1:
            row = tied.row(0, named=True)
            value = within(row["mean"], row["low"], row["high"])
            text = (
                f"{row['sampler']} is the best of {len(known)} beyond the noise, {value} over {seeds} seeds"
            )
        elif len(tied) == len(known):
            text = f"all {len(known)} are tied over {seeds} seeds"
        else:
            text = f"tied for the best of {len(known)} over {seeds} seeds: {_names(tied)}"
        parts.append(f"at {label(rate)} {text}")
    return "; ".join(parts)


def _above_chance(where: str, part: pl.DataFrame) -> list[str]:
    """Tell how many models know more than nothing, where that can be told."""
    known = part.filter(pl.col("chance").is_not_null() & pl.col("low").is_not_null())
    if known.is_empty():
        return []
    above = len(known.filter(pl.col("low") > pl.col("chance")))
    text = f"{above} of {len(known)} models are above chance, {rounded(known['chance'][0])}"
    return [f"{where}, {text} (95 % intervals over seeds, not adjusted for how many there are)."]


def _against_full(part: pl.DataFrame) -> str:
    parts = []
    for (rate,), cell in groups(part, "rate"):
        known = cell.filter(pl.col("vs_full_p").is_not_null())
        beyond = known.filter(pl.col("vs_full_p") < LEVEL)
        better = (pl.col("vs_full") > 0) == pl.col("higher_is_better")
        sides = {"better": beyond.filter(better), "worse": beyond.filter(~better)}
        texts = [f"{_names(rows)} {word}" for word, rows in sides.items() if len(rows)]
        rest = len(known) - len(beyond)
        texts += [f"{rest} of {len(known)} within the noise"] if rest else []
        parts.append(f"at {label(rate)} {', '.join(texts) or 'nothing can be told'}")
    return "; ".join(parts)


def _names(rows: pl.DataFrame) -> str:
    names = rows["sampler"].to_list()
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} samplers"


def tables(quality: pl.DataFrame) -> list[Table]:
    """Return one table for each size and amount with anything measured: every sampler by every metric, ranks, ties (table 1)."""
    ours, full = quality.filter(pl.col("sampler") != FULL), quality.filter(pl.col("sampler") == FULL)
    return [
        _table(size, rate, cell, full.filter(pl.col("size") == size))
        for (size, rate), cell in groups(ours, "size", "rate")
        if cell["mean"].is_not_null().any()
    ]


def _table(size: str, rate: str, cell: pl.DataFrame, full: pl.DataFrame) -> Table:
    measured = cell.filter(pl.col("mean").is_not_null())
    chance = dict(measured.unique("metric", maintain_order=True).select("metric", "chance").rows())
    heads = {
        m: title(m) if known is None else f"{title(m)} (chance {rounded(known)})"
        for m, known in chance.items()
    }
    by_key = {(r["sampler"], r["metric"]): r for r in pl.concat([full, cell]).iter_rows(named=True)}
    names = cell["sampler"].unique(maintain_order=True).to_list()
    ranked = max(cell["seeds"].to_list()) > 1
    rows = []
    for name in [FULL, *names]:
        cells: dict[str, Any] = {"sampler": "full data" if name == FULL else name}
        for metric, head in heads.items():
            row = by_key.get((name, metric))
            defined = (name, metric) != (FULL, OVER_SCALING)
            cells[head] = _value(row) if defined else None
            cells[f"rank by {name_of(metric)}"] = _rank(row)
        means = [by_key[name, m]["mean_rank"] for m in heads if (name, m) in by_key]
        mean = means[0] if ranked and means else None
        rows.append(cells | {"mean rank": None if mean is None else f"{mean:.1f}"})
    made = set(measured["sampler"])
    full_link = (f"{FULL}/metrics", size) if full["mean"].is_not_null().any() else None
    links = [full_link, *((f"{n}/metrics", f"{rate}|{size}") if n in made else None for n in names)]
    what = "mean ± standard deviation over seeds, rank, and who is tied with the best"
    caption = f"Quality at {_of_data(rate)}, {size} T5: {what if ranked else 'one seed, so no ranks'}"
    first = ["sampler", *heads.values(), "mean rank"]
    return table(rows, caption, "quality.parquet", text=("sampler",), first=first, links=links)


def _value(row: Mapping[str, Any] | None) -> str | None:
    if row is None or row["mean"] is None:
        return "not measured"
    if row["sd"] is None and row["low"] is not None:
        return within(row["mean"], row["low"], row["high"], signed=True)
    return plus_minus(row["mean"], row["sd"])


def _rank(row: Mapping[str, Any] | None) -> str | None:
    if row is None or row["rank"] is None or row["seeds"] < 2:
        return None
    return f"{row['rank']:g}{', tied' if row['tied_with_best'] else ''}"


def figures(quality: pl.DataFrame) -> Iterator[Drawn]:
    """Yield every metric over the amounts of a kind for each size, or all metrics in one figure where a kind has a single amount."""
    measured = quality.filter((pl.col("sampler") != FULL) & pl.col("mean").is_not_null())
    taken: set[str] = set()
    for (size,), of_size in groups(measured, "size"):
        about = quality.filter(pl.col("size") == size)
        for keys in by_kind(of_size["rate"]):
            of_kind = of_size.filter(pl.col("rate").is_in(keys))
            if len(keys) == 1:
                there = about.filter(pl.col("metric").is_in(of_kind["metric"].unique().implode()))
                name = file_name(f"quality_{keys[0]}_{size}", taken)
                yield _at_one_amount(name, size, keys[0], there, _spread(of_kind))
                continue
            for (metric,), part in groups(of_kind, "metric"):
                rows = about.filter(pl.col("metric") == metric)
                heading = f"{in_title(title(metric))}, {size} T5"
                alt = f"{title(metric)} of the {size} T5 by {axis(keys)}, one line a sampler"
                name = file_name("_".join([metric, *kind_of(keys), size]), taken)
                yield (
                    Figure(name, alt, f"{heading}. {_spread(part)}"),
                    _by_amount(heading, metric, keys, rows),
                )


def _of_data(rate: str) -> str:
    return f"{label(rate)}{' of the data' if of_key(rate).kind == 'rate' else ''}"


def _spread(measured: pl.DataFrame) -> str:
    if measured["low"].is_not_null().any():
        return "Bars are 95 % intervals over seeds."
    return no_intervals(measured["seeds"].to_list())


def file_name(text: str, taken: set[str]) -> str:
    """Return a name for files made of lower-case letters, digits and underscores, different from those `taken`, and take it."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "figure"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name)
    return name


def _at_one_amount(name: str, size: str, rate: str, rows: pl.DataFrame, spread: str) -> Drawn:
    panels: dict[str, dict[str, Dot]] = {}
    lines: dict[str, dict[str, float]] = {}
    xlabels = {}
    for row in rows.filter(pl.col("rate").is_in([rate, "100"])).iter_rows(named=True):
        panel = in_title(title(row["metric"]))
        xlabels[panel] = f"{'higher' if row['higher_is_better'] else 'lower'} is better"
        own = lines.setdefault(panel, {})
        if row["metric"] == OVER_SCALING:
            own[FULL] = 0.0  # by definition
        if row["chance"] is not None:
            own[CHANCE] = row["chance"]
        if row["sampler"] in (FULL, RANDOM) and row["mean"] is not None:
            own[row["sampler"]] = row["mean"]
        if row["sampler"] != FULL:
            panels.setdefault(panel, {})[row["sampler"]] = Dot(row["mean"], row["low"], row["high"])
    heading, beside = f"Quality at {_of_data(rate)}, {size} T5", references(rows)
    alt = (
        f"{heading}: a line for each sampler, a panel for each metric{', beside ' if beside else ''}{beside}"
    )
    picture = forest(panels, list(SAMPLERS), heading, xlabels, lines)
    return Figure(name, alt, f"{heading}. {spread}"), picture


def _by_amount(heading: str, metric: str, keys: list[str], part: pl.DataFrame) -> Picture:
    rows = {(r["sampler"], r["rate"]): r for r in part.iter_rows(named=True)}
    charts = {
        panel: {name: over_amounts(keys, rows, name, "mean") for name in (*members, RANDOM)}
        for panel, members in PANELS.items()
    }
    full = 0.0 if metric == OVER_SCALING else rows.get((FULL, "100"), {}).get("mean")  # 0 by definition
    lines = {FULL: full, CHANCE: part["chance"][0]}
    known = {name: value for name, value in lines.items() if value is not None}
    better = "higher" if part["higher_is_better"][0] else "lower"
    return amount_curves(keys, charts, heading, f"{better} is better", dict.fromkeys(charts, known))
