"""What samplers keep, for people: bars by source and length, spread over clusters, sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from curation_assets.common.drawing.charts import amount_curves, axis, over_amounts, stacked
from curation_assets.common.drawing.styles import FULL, PANELS, RANDOM
from curation_assets.config.amount import by_kind, label
from curation_assets.config.registry import SAMPLERS
from curation_assets.config.settings import SOURCE_NAME
from curation_assets.report import overlap_view
from curation_assets.report.composition import OTHER, WHOLE, Key
from curation_assets.report.section import (
    Cell,
    Drawn,
    Figure,
    Section,
    Table,
    figure_name,
    groups,
    kind_of,
    listed,
    some,
)
from curation_assets.report.ties import LEVEL

Tables = Mapping[str, pl.DataFrame]
"""`source` and `length` (SHARES), `clusters` (SPREAD): those that there are."""
_NAMED = 3  # of the largest differences in a sentence
_FIRST = ("effective number", "by chance", "documents", "tokens", "preferred", "avoided")
_TITLES = {
    "source": "Share of documents by source, %",
    "length": "Share of documents by length in tokens, %",
    "clusters": "Spread over clusters",
}
_WORDS = {"source": "sources", "length": "lengths", "clusters": "clusters"}


def section(
    documents: int,
    tables: Tables,
    state: Mapping[Key, str],
    rate: str,
    within: str,
    strata: pl.DataFrame,
    overlap: pl.DataFrame,
) -> Section:
    """Return the section: sentences at one amount, tables of all; `state` is what each subset is: current, out of date, not made.

    `strata` (STRATA) is what keeping the rate within the values of `within` changes; empty where that is "". `overlap` (OVERLAP) is what pairs
    of choices have in common.
    """
    intro = (
        f"Which {listed([_WORDS[name] for name in tables])} a choice is made of, beside the whole corpus. Random sampling keeps them "
        "all in their proportions, up to "
        "chance; what another sampler prefers or avoids is what its score takes for quality or coverage."
    )
    shown = [_table(name, table, state) for name, table in tables.items()]
    shown += [_strata_table(within, strata)] if within else []
    shown += overlap_view.shown(overlap, rate)
    alike = overlap_view.findings(overlap, rate)
    sentences = [
        *findings(tables, rate),
        *alike,
        *strata_findings(within, strata, rate),
        *gaps(tables, state),
    ]
    about = "\n\n".join([method(documents, tables), *([overlap_view.METHOD] if alike else [])])
    return Section(
        "What each sampler keeps", intro, sentences, [], shown, about, headline=headline(tables, rate)
    )


def method(documents: int, tables: Tables) -> str:
    """Return how the numbers came about."""
    shares = (
        f"Every current subset is compared with the {documents:,} documents that it could choose from; repeated documents count once. Shares are of "
        "documents; those of tokens are in the files. Lengths are tokens of the corpus's tokenizer. A random choice of as many documents "
        "has a hypergeometric number of each part; (+) and (−) mark shares that such a choice does not explain: the normal test with "
        "continuity correction, adjusted by Holm's method over all samplers, amounts and parts of the table, has p below 5 %. Where the "
        "variance of the number is below 9 nothing is tested. The test says that a difference is there, not that it matters: a "
        "sampler that orders documents by anything differs from chance somewhere."
    )
    clusters = (
        "Clusters are those of k-means over the embeddings. Their effective number is exp of the entropy of their shares: as many clusters of "
        "equal size would be as even. The largest are 1 % of the clusters, by the corpus. What chance gives is from 400 random choices "
        "of the same size (95 % of them in brackets); clusters preferred or avoided are adjusted by Holm's method over those of the choice, the "
        "brackets for nothing: of 20 random choices one lies outside."
    )
    return f"{shares}\n\n{clusters}" if "clusters" in tables else shares


def gaps(tables: Tables, state: Mapping[Key, str]) -> list[str]:
    """Return sentences on what is missing."""
    sentences = []
    for what in ("out of date", "not made"):
        rates: dict[str, list[str]] = {}
        for (name, rate), value in state.items():
            if value == what:
                rates.setdefault(name, []).append(rate)
        amounts = {rate for _, rate in state}
        names = [
            f"{name} ({label(*own)})" if len(own) < len(amounts) else name for name, own in rates.items()
        ]
        sentences += [f"Subsets that are {what} and not shown: {', '.join(names)}."] if names else []
    lacking = {
        "source": "The documents have no field `source` (corpus.keep_fields), so that nothing is told by source.",
        "clusters": "Clusters are not current for every shard, so that nothing is told of them.",
    }
    return [*sentences, *(sentence for name, sentence in lacking.items() if name not in tables)]


def findings(tables: Tables, rate: str) -> list[str]:
    """Return sentences: the largest preferences beyond chance, what chance itself gives, how even the choices are."""
    shares = [_preferences(name, tables[name], rate) for name in ("source", "length") if name in tables]
    spread = _spread(tables["clusters"], rate) if "clusters" in tables else []
    return [*(sentence for sentences in shares for sentence in sentences), *spread]


def headline(tables: Tables, rate: str) -> str:
    """Return in a sentence what samplers of different families keep that differs most from the corpus; "" where nothing does."""
    division = "source" if "source" in tables else "length"
    cells = tables[division].filter(pl.col("p") < LEVEL, rate=rate)
    family = {name: sampler.family for name, sampler in SAMPLERS.items() if name != RANDOM}
    by = (pl.col("share") - pl.col("corpus_share")).abs()
    beyond = (
        cells.filter(pl.col("sampler").is_in(list(family)))
        .with_columns(family=pl.col("sampler").replace_strict(family, return_dtype=pl.String))
        .sort(by, descending=True)
        .unique("family", keep="first", maintain_order=True)
    )
    tokens = " tokens" if division == "length" else ""
    parts = [
        f"{r['sampler']} {r['share']:.0%} {r['part']}{tokens} (the corpus has {r['corpus_share']:.0%})"
        for r in beyond.head(_NAMED).iter_rows(named=True)
    ]
    return f"Of what is kept at {label(rate)}, by {division}: {'; '.join(parts)}." if parts else ""


def _preferences(division: str, table: pl.DataFrame, rate: str) -> list[str]:
    cells = table.filter((pl.col("rate") == rate) & ~pl.col("sampler").is_in([FULL, RANDOM]))
    tested, where = cells.filter(pl.col("p").is_not_null()), f"By {division} at {label(rate)}"
    sentences = []
    if not tested.is_empty():
        by = pl.col("share") - pl.col("corpus_share")
        beyond = cells.filter(pl.col("p") < LEVEL).with_columns(by=by).sort(by.abs(), descending=True)
        for word, part in (
            ("preferred", beyond.filter(pl.col("by") > 0)),
            ("avoided", beyond.filter(pl.col("by") < 0)),
        ):
            parts = [_furthest(part, rows) for (part,), rows in groups(part, "part")]
            most = f"most {word} beyond chance: {'; '.join(parts[:_NAMED])}"
            sentences.append(f"{where}, {most if parts else f'nothing is {word} beyond chance'}.")
        alike = sorted(set(tested["sampler"]) - set(beyond["sampler"]))
        sentences += [f"{where}, not told from a random choice: {', '.join(alike)}."] if alike else []
    elif not cells.is_empty():
        sentences.append(f"{where}, no part is large enough to tell a preference from chance.")
    return [*sentences, *_control(division, table)]


def _furthest(part: str, rows: pl.DataFrame) -> str:
    """Tell of one part, by the sampler that is furthest from the corpus, and how many more are."""
    one = rows.row(0, named=True)
    shares = f"{one['share']:.1%} of what it keeps, {one['corpus_share']:.1%} of the corpus"
    return f"{part} by {one['sampler']} ({shares}){f' and {len(rows) - 1} more' if len(rows) > 1 else ''}"


def _control(division: str, table: pl.DataFrame) -> list[str]:
    """Tell how random sampling, of which no difference is expected, fares under the same test."""
    tested = table.filter((pl.col("sampler") == RANDOM) & pl.col("z").is_not_null())
    if tested.is_empty():
        return []
    nested = ", though the choices at different amounts are nested" if tested["rate"].n_unique() > 1 else ""
    two, holm = (tested["z"].abs() > 2).sum(), (tested["p"] < LEVEL).sum()
    return [
        f"Random sampling, as a control: {two} of its {len(tested)} shares by {division} lie beyond 2 standard deviations "
        f"({0.0455 * len(tested):.1f} by chance{nested}), {holm} after adjustment."
    ]


def _spread(table: pl.DataFrame, rate: str) -> list[str]:
    whole = table.row(0, named=True)
    sentences = [
        f"The corpus is as even as {whole['effective']:.1f} clusters of equal size ({whole['clusters']:,} clusters)."
    ]
    known = table.filter(
        (pl.col("rate") == rate) & (pl.col("sampler") != FULL) & pl.col("effective_low").is_not_null()
    )
    if known.is_empty():
        return sentences
    ends = known.row(0, named=True)
    alike = known["documents"].n_unique() == 1
    by_chance = f"{ends['effective_low']:.1f} to {ends['effective_high']:.1f} by chance"
    above, below = (
        pl.col("effective") > pl.col("effective_high"),
        pl.col("effective") < pl.col("effective_low"),
    )
    for word, part in (
        ("more", known.filter(above).sort("effective", descending=True)),
        ("less", known.filter(below).sort("effective")),
    ):
        names = [f"{r['sampler']} ({r['effective']:.1f})" for r in part.iter_rows(named=True)]
        chance = f"95 % of random choices ({by_chance if alike else 'of the same size'})"
        if names:
            sentences.append(
                f"At {label(rate)}, {word} evenly spread over clusters than {chance}: {some(names, _NAMED)}."
            )
    within = sorted(known.filter(~above & ~below)["sampler"])
    if within:
        sentences.append(
            f"At {label(rate)}, not told from random choices by their spread: {', '.join(within)}."
        )
    return sentences


def strata_findings(within: str, strata: pl.DataFrame, rate: str) -> list[str]:
    """Return sentences on what strata change at one rate: how many documents, and where the choice without them would differ most."""
    table = strata.filter(pl.col("rate") == rate)
    if table.is_empty():
        return []
    sums = table.group_by("sampler", maintain_order=True).agg(
        pl.col("documents", "without_strata", "in_both").sum()
    )
    share = {r["sampler"]: 1 - r["in_both"] / max(r["documents"], 1) for r in sums.iter_rows(named=True)}
    most, least = max(share, key=share.__getitem__), min(share, key=share.__getitem__)
    by = pl.col("without_strata") / pl.col("without_strata").sum().over("sampler")
    of = pl.col("candidates") / pl.col("candidates").sum().over("sampler")
    one = table.with_columns(by=by, of=of).sort((by - of).abs(), descending=True).row(0, named=True)
    how = (
        "has the sources in the shares of their weights, or its rate of each where they have none"
        if within == SOURCE_NAME
        else f"keeps its rate within each {within} (selection.within)"
    )
    return [
        f"Every sampler {how}. At {label(rate)}, that exchanges {share[least]:.1%} ({least}) to "
        f"{share[most]:.1%} ({most}) of the documents; without it, most would change for {one['sampler']}: {one['by']:.1%} of its choice "
        f"would be {one['part']}, which is {one['of']:.1%} of the corpus."
    ]


def _strata_table(within: str, strata: pl.DataFrame) -> Table:
    """Return what the choice without strata would be made of, beside how many documents strata exchange."""
    parts = strata["part"].unique(maintain_order=True).to_list()
    lines: list[list[Cell]] = []
    for (sampler, rate), own in groups(strata, "sampler", "rate"):
        kept, both, without = own.select(pl.col("documents", "in_both", "without_strata").sum()).row(0)
        shares = {
            r["part"]: f"{100 * r['without_strata'] / max(without, 1):.1f}" for r in own.iter_rows(named=True)
        }
        exchanged = f"{100 * (1 - both / max(kept, 1)):.1f}"
        lines.append([sampler, label(rate), kept, without, exchanged, *(shares.get(part) for part in parts)])
    sizes = dict(strata.group_by("part").agg(pl.col("candidates").max()).rows())
    total = max(sum(sizes.values()), 1)
    whole: list[Cell] = [
        "whole corpus",
        "100 %",
        total,
        total,
        None,
        *(f"{100 * sizes[part] / total:.1f}" for part in parts),
    ]
    columns = ["sampler", "amount", "documents", "without strata", "exchanged, %", *parts]
    links = [None, *((f"{sampler}/subset", rate) for (sampler, rate), _ in groups(strata, "sampler", "rate"))]
    title = f"What the choice would be without strata, % of documents by {within}"
    return Table(title, columns, [whole, *lines], ["sampler"], "strata.parquet", links, columns[:5])


def _table(name: str, table: pl.DataFrame, state: Mapping[Key, str]) -> Table:
    """Return a division's table: the corpus, then every sampler and amount, with its state where it is not shown."""
    rows = _cluster_rows(table) if name == "clusters" else _share_rows(table)
    columns = list(rows[WHOLE])
    lines: list[list[Cell]] = [["whole corpus", "100 %", *rows[WHOLE].values()]]
    for key, value in state.items():
        lines.append(
            [key[0], label(key[1]), *rows.get(key, {**dict.fromkeys(columns), columns[0]: value}).values()]
        )
    links = [None, *((f"{key[0]}/subset", key[1]) if key in rows else None for key in state)]
    first = ["sampler", "amount", *(_FIRST if name == "clusters" else columns)]
    columns = ["sampler", "amount", *columns]
    return Table(_TITLES[name], columns, lines, ["sampler"], f"{name}.parquet", links, first)


def _share_rows(table: pl.DataFrame) -> dict[Key, dict[str, Any]]:
    rows: dict[Key, dict[str, Any]] = {}
    for (sampler, rate), part in groups(table, "sampler", "rate"):
        sums = part.select(pl.col("documents", "tokens").sum()).row(0, named=True)
        rows[sampler, rate] = sums | {r["part"]: _marked(r) for r in part.iter_rows(named=True)}
    return rows


def _marked(row: Mapping[str, Any]) -> str:
    """Return a share in percent, and whether it is larger or smaller than chance explains."""
    mark = "" if row["p"] is None or row["p"] >= LEVEL else " (+)" if row["z"] > 0 else " (−)"
    return f"{100 * row['share']:.1f}{mark}"


def _cluster_rows(table: pl.DataFrame) -> dict[Key, dict[str, Any]]:
    return {
        (r["sampler"], r["rate"]): {
            "documents": r["documents"],
            "tokens": r["tokens"],
            "tokens a document": f"{r['tokens'] / max(r['documents'], 1):.0f}",
            "clusters met": r["clusters"],
            "effective number": f"{r['effective']:.1f}",
            "by chance": None
            if r["effective_low"] is None
            else f"[{r['effective_low']:.1f}, {r['effective_high']:.1f}]",
            "in the largest 1 %": f"{r['largest']:.1%}",
            "Gini": f"{r['gini']:.2f}",
            "preferred": r["over"] if r["tested"] else None,
            "avoided": r["under"] if r["tested"] else None,
            "tested": r["tested"] or None,
        }
        for r in table.iter_rows(named=True)
    }


def figures(tables: Tables, rate: str) -> Iterator[Drawn]:
    """Yield bars by source and by length at one amount, and the spread over clusters at all amounts of a kind."""
    for name, table in tables.items():
        if name != "clusters":
            yield _bars(table, name, rate)
            continue
        kinds = by_kind(table.filter(pl.col("sampler") != FULL)["rate"])
        for keys in [keys for keys in kinds if len(keys) > 1 or len(kinds) == 1]:
            yield _clusters(table, keys)


def _bars(table: pl.DataFrame, division: str, rate: str) -> Drawn:
    parts = table["part"].unique(maintain_order=True).to_list()
    share = {(r["sampler"], r["rate"], r["part"]): r["share"] for r in table.iter_rows(named=True)}
    keys = [WHOLE, *((name, rate) for name in SAMPLERS)]
    shares = np.array([[share.get((*key, part), np.nan) for part in parts] for key in keys], np.float64)
    shares[(shares == 0).all(axis=1)] = np.nan  # a share of so few documents that none is kept
    title, names = f"What is kept at {label(rate)}, by {division}", [name for name, _ in keys]
    kinds = {"ordered": division == "length", "rest": parts[-1] == OTHER}
    alt = f"share of documents by {division}, one bar a sampler, the whole corpus on top"
    unit = " (tokens)" if division == "length" else ""
    caption = f"Documents kept at {label(rate)} by {division}{unit}; all amounts are in the table."
    return Figure(division, alt, caption), stacked(names, parts, shares, title, "% of documents", **kinds)


def _clusters(table: pl.DataFrame, keys: list[str]) -> Drawn:
    rows = {(r["sampler"], r["rate"]): r for r in table.iter_rows(named=True)}
    ends = {RANDOM: ("effective_low", "effective_high")}
    charts = {
        panel: {
            name: over_amounts(keys, rows, name, "effective", ends.get(name)) for name in (*members, RANDOM)
        }
        for panel, members in PANELS.items()
    }
    title = "Spread over clusters: effective number of them"
    whole = {panel: {FULL: rows[WHOLE]["effective"]} for panel in charts}
    known = table.filter((pl.col("sampler") == RANDOM) & pl.col("effective_low").is_not_null())
    chance = (
        ""
        if known.is_empty()
        else " Bars at random sampling hold 95 % of random choices of that size: fewer documents meet fewer clusters by chance alone."
    )
    caption = f"exp of the entropy over {rows[WHOLE]['clusters']:,} clusters; the dashed line is the whole corpus.{chance}"
    alt = f"effective number of clusters of each sampler's choice by {axis(keys)}"
    return Figure(figure_name("clusters", *kind_of(keys)), alt, caption), amount_curves(
        keys, charts, title, "clusters", whole
    )
