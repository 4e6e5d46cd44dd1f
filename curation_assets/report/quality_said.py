"""What the report on quality says of its table: sentences and tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from curation_assets.common.markdown import plus_minus, rounded, within
from curation_assets.report.figures import FULL, RANDOM
from curation_assets.report.quality import OVER_SCALING, title
from curation_assets.report.section import Table
from curation_assets.report.section import table as table_of
from curation_assets.report.ties import LEVEL

_NAMED = 6  # as many names in a sentence; more are counted


def findings(table: pl.DataFrame) -> list[str]:
    """Return sentences: what was measured, then by size and metric who cannot be told from the best, and from full data."""
    found = [_coverage(table)]
    measured = table.filter(pl.col("mean").is_not_null() & (pl.col("sampler") != FULL))
    for (size, metric), part in measured.group_by("size", "metric", maintain_order=True):
        where = f"By {title(str(metric))} with the {size} T5"
        most = part["seeds"].max()
        if most == 1:
            found.append(f"{where} there is one seed: no sampler can be told from another or from full data.")
            continue
        found.append(f"{where}, {_best(part)}.")
        found += _above_chance(where, part)
        if metric != OVER_SCALING:
            found.append(f"{where}, compared with full data (paired t test, Holm): {_against_full(part)}.")
    return _merged(found)


def intro(table: pl.DataFrame) -> str:
    """Return what the section is about, and which references there are."""
    beside = references(table)
    them = f" The references are {beside}." if beside else ""
    return f"How good the trained model is when it sees only a share of the corpus, chosen by each sampler.{them}"


def references(table: pl.DataFrame) -> str:
    """Return what samplers can be seen beside: "random sampling, full data and chance", or less."""
    measured = set(table.filter(pl.col("mean").is_not_null())["sampler"])
    chance = table["chance"].is_not_null().any()
    there = {"random sampling": RANDOM in measured, "full data": FULL in measured, "chance": chance}
    return " and ".join(", ".join(words for words, known in there.items() if known).rsplit(", ", 1))


def _above_chance(where: str, part: pl.DataFrame) -> list[str]:
    """Tell how many models know more than nothing, where that can be told."""
    known = part.filter(pl.col("chance").is_not_null() & pl.col("low").is_not_null())
    if known.is_empty():
        return []
    above = known.filter(pl.col("low") > pl.col("chance"))
    told = f"{len(above)} of {len(known)} models are above chance, {rounded(known['chance'][0])}"
    return [f"{where}, {told} (95 % intervals over seeds, not adjusted for how many there are)."]


def _coverage(table: pl.DataFrame) -> str:
    cells = (
        table.filter(pl.col("sampler") != FULL).group_by("sampler", "rate", "size").agg(pl.col("seeds").max())
    )
    have = cells.filter(pl.col("seeds") > 0)
    if have.is_empty():
        return "No sampler's model has been measured."
    seeds = sorted(set(have["seeds"].to_list()))
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    text = (
        f"{len(have)} of {len(cells)} combinations of sampler, rate and size have been measured, each with {span} "
        f"seed{'s' if seeds[-1] > 1 else ''}."
    )
    return (
        text if len(have) == len(cells) else f"{text} The others are missing, and nothing stands in for them."
    )


def _merged(sentences: list[str]) -> list[str]:
    """Say once what holds for every metric: that one seed tells nothing."""
    mark = " there is one seed: "
    alone = [s for s in sentences if mark in s]
    if len(alone) < 2:
        return sentences
    names = [s.split(mark)[0].removeprefix("By ") for s in alone]
    last = alone[0].split(mark)[1]
    return [s for s in sentences if s not in alone] + [
        f"There is one seed, so {last[:-1]}: by {'; '.join(names)}."
    ]


def _best(part: pl.DataFrame) -> str:
    said = []
    for rate, cell in _by_rate(part):
        known = cell.filter(pl.col("tied_with_best").is_not_null())
        if known.is_empty():
            said.append(
                f"at {rate} % nothing can be told: no two samplers share two seeds, or their seeds have no spread"
            )
            continue
        tied = known.filter(pl.col("tied_with_best")).sort("rank")
        seeds = min(known["seeds"].to_list())
        if len(tied) == 1:
            row = tied.row(0, named=True)
            said.append(
                f"at {rate} % {row['sampler']} is the best of {len(known)} beyond the noise, "
                f"{within(row['mean'], row['low'], row['high'])} over {seeds} seeds"
            )
        elif len(tied) == len(known):
            said.append(f"at {rate} % all {len(known)} are tied over {seeds} seeds")
        else:
            said.append(f"at {rate} % tied for the best of {len(known)} over {seeds} seeds: {_names(tied)}")
    return "; ".join(said)


def _against_full(part: pl.DataFrame) -> str:
    said = []
    for rate, cell in _by_rate(part):
        known = cell.filter(pl.col("vs_full_p").is_not_null())
        if known.is_empty():
            said.append(f"at {rate} % nothing can be told")
            continue
        beyond = known.filter(pl.col("vs_full_p") < LEVEL)
        better = beyond.filter((pl.col("vs_full") > 0) == pl.col("higher_is_better"))
        worse = beyond.filter((pl.col("vs_full") > 0) != pl.col("higher_is_better"))
        parts = [
            f"{_names(rows)} {word}" for word, rows in (("better", better), ("worse", worse)) if len(rows)
        ]
        rest = len(known) - len(beyond)
        parts += [f"{rest} of {len(known)} within the noise"] if rest else []
        said.append(f"at {rate} % {', '.join(parts)}")
    return "; ".join(said)


def _by_rate(part: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(str(rate), cell) for (rate,), cell in part.group_by("rate", maintain_order=True)]


def _names(rows: pl.DataFrame) -> str:
    names = rows["sampler"].to_list()
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} samplers"


def tables(table: pl.DataFrame) -> list[Table]:
    """Return one table for each size and rate with anything measured: every sampler by every metric, ranks, ties (table 1)."""
    found = []
    for (size, rate), cell in table.filter(pl.col("sampler") != FULL).group_by(
        "size", "rate", maintain_order=True
    ):
        if cell["mean"].is_not_null().any():
            full = table.filter((pl.col("sampler") == FULL) & (pl.col("size") == size))
            found.append(_table(str(size), str(rate), cell, full))
    return found


def _table(size: str, rate: str, cell: pl.DataFrame, full: pl.DataFrame) -> Table:
    metrics = cell.filter(pl.col("mean").is_not_null())["metric"].unique(maintain_order=True).to_list()
    by_key = {(r["sampler"], r["metric"]): r for r in pl.concat([full, cell]).iter_rows(named=True)}
    names = cell["sampler"].unique(maintain_order=True).to_list()
    chance = {m: next(r["chance"] for (_, metric), r in by_key.items() if metric == m) for m in metrics}
    heads = {
        m: title(m) if chance[m] is None else f"{title(m)} (chance {rounded(chance[m])})" for m in metrics
    }
    columns = [
        "sampler",
        *(c for m in metrics for c in (heads[m], f"rank by {_short(title(m))}")),
        "mean rank",
    ]
    ranked = max(cell["seeds"].to_list()) > 1
    rows: list[list[str | int | float | None]] = []
    for name in [FULL, *names]:
        cells: list[str | int | float | None] = [name.replace("_", " ") if name == FULL else name]
        for metric in metrics:
            row = by_key.get((name, metric))
            cells += _cells(row, reference=name == FULL, defined=(name, metric) != (FULL, OVER_SCALING))
        mean = next((by_key[name, m]["mean_rank"] for m in metrics if (name, m) in by_key), None)
        rows.append([*cells, f"{mean:.1f}" if ranked and mean is not None else None])
    full_link = (f"{FULL}/metrics", size) if full["mean"].is_not_null().any() else None
    made = {name for name in names if any(by_key[name, m]["seeds"] for m in metrics)}
    links = [full_link, *((f"{n}/metrics", f"{rate}|{size}") if n in made else None for n in names)]
    caption = f"Quality at {rate} % of the data, {size} T5: " + (
        "mean ± standard deviation over seeds, rank, and who is tied with the best"
        if ranked
        else "one seed, so no ranks"
    )
    lines = [dict(zip(columns, row, strict=True)) for row in rows]
    first = ["sampler", *heads.values(), "mean rank"]
    return table_of(lines, caption, "quality.parquet", first, links=links)


def _short(name: str) -> str:
    return name.removesuffix(" %")


def _cells(row: Mapping[str, Any] | None, *, reference: bool, defined: bool) -> list[str | None]:
    if not defined:
        return [None, None]
    if row is None or row["mean"] is None:
        return ["not measured", None]
    text = plus_minus(row["mean"], row["sd"])
    if row["sd"] is None and row["low"] is not None:
        text = within(row["mean"], row["low"], row["high"], signed=True)
    if reference or row["rank"] is None or row["seeds"] < 2:
        return [text, None]
    place = f"{row['rank']:g}"
    return [text, f"{place}, tied" if row["tied_with_best"] else place]
