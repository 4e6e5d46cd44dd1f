"""What the report on what samplers keep says of it: sentences, captions and tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from curation_assets.common.drawing.looks import FULL
from curation_assets.config.registry import RATES
from curation_assets.report.composition import WHOLE, Key
from curation_assets.report.section import Table
from curation_assets.report.ties import LEVEL

TITLE = "What each sampler keeps"
NO_SOURCE, OTHER = "no source", "all others"
_RESERVED = (
    NO_SOURCE,
    OTHER,
    "sampler",
    "rate",
    "documents",
    "tokens",
)  # columns and parts that no source may be taken for
_TOLD = 3  # of the largest differences in a sentence
_FIRST = ("effective number", "by chance", "documents", "tokens", "preferred", "avoided")
_MAIN = "20"  # the paper's rate of comparison (table 1)


def intro(tables: Mapping[str, pl.DataFrame]) -> str:
    """Return what the section is about."""
    words = {"source": "sources", "length": "lengths", "clusters": "clusters"}
    which = " and ".join(", ".join(words[name] for name in tables).rsplit(", ", 1))
    return (
        f"Which {which} a choice is made of, beside the whole corpus. Random sampling keeps them all in their proportions, up to "
        "chance; what another sampler prefers or avoids is what its score takes for quality or coverage."
    )


def method(documents: int, tables: Mapping[str, pl.DataFrame]) -> str:
    """Return how the numbers came about."""
    shares = (
        f"Every current subset is compared with the {documents:,} documents that it could choose from; repeated documents count once. Shares are of "
        "documents; those of tokens are in the files. Lengths are tokens of the corpus's tokenizer. A random choice of as many documents "
        "has a hypergeometric number of each part; (+) and (−) mark shares that such a choice does not explain: the normal test with "
        "continuity correction, adjusted by Holm's method over all samplers, rates and parts of the table, has p below 5 %. Where the "
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


def source_name(source: str | None) -> str:
    """Return what a source is called; None is that of documents without one."""
    if source is None:
        return NO_SOURCE
    return f"“{source}”" if source in _RESERVED else source


def main_rate(rates: Sequence[str]) -> str:
    """Return the rate with most subsets, of several the one closest to the paper's rate of comparison."""
    count = Counter(rates)
    return max(RATES, key=lambda rate: (count[rate], -abs(int(rate) - int(_MAIN)), rate))


def gaps(state: Mapping[Key, str], *, has_sources: bool, clustered: bool) -> list[str]:
    """Return sentences on what is missing."""
    said = []
    for what in ("out of date", "not made"):
        names: dict[str, list[str]] = {}
        for (name, rate), value in state.items():
            if value == what:
                names.setdefault(name, []).append(rate)
        if names:
            told = [
                f"{name} ({', '.join(rates)} %)" if len(rates) < len(RATES) else name
                for name, rates in names.items()
            ]
            said.append(f"Subsets that are {what} and not shown: {', '.join(told)}.")
    if not has_sources:
        said.append(
            "The documents have no field `source` (corpus.keep_fields), so that nothing is told by source."
        )
    if not clustered:
        said.append("Clusters are not current for every shard, so that nothing is told of them.")
    return said


def figure_texts(name: str, table: pl.DataFrame, rate: str) -> tuple[str, str]:
    """Return the text alternative and the caption of a figure."""
    if name == "clusters":
        whole = table.row(0, named=True)
        return (
            "effective number of clusters of each sampler's choice by sampling rate",
            f"exp of the entropy over {whole['clusters']:,} clusters; the dashed line is the whole corpus.{_by_chance(table)}",
        )
    unit = " (tokens)" if name == "length" else ""
    return (
        f"share of documents by {name}, one bar a sampler, the whole corpus on top",
        f"Documents kept at {rate} % by {name}{unit}; all rates are in the table.",
    )


def _by_chance(table: pl.DataFrame) -> str:
    told = table.filter((pl.col("sampler") == "random") & pl.col("effective_low").is_not_null())
    if told.is_empty():
        return ""
    return " Bars at random sampling hold 95 % of random choices of that size: fewer documents meet fewer clusters by chance alone."


def findings(tables: Mapping[str, pl.DataFrame], rate: str, gaps_found: list[str]) -> list[str]:
    """Return sentences: the largest preferences beyond chance, what chance itself gives, how even the choices are, what is missing."""
    said = []
    for name in ("source", "length"):
        if name in tables:
            said += _preferences(name, tables[name], rate)
    if "clusters" in tables:
        said += _spread(tables["clusters"], rate)
    return said + gaps_found


def _preferences(division: str, table: pl.DataFrame, rate: str) -> list[str]:
    cells = table.filter((pl.col("rate") == rate) & ~pl.col("sampler").is_in([FULL, "random"]))
    tested = cells.filter(pl.col("p").is_not_null())
    if tested.is_empty():
        few = f"By {division} at {rate} %, no part is large enough to tell a preference from chance."
        return _control(division, table) if cells.is_empty() else [few, *_control(division, table)]
    beyond = cells.filter(pl.col("p") < LEVEL).with_columns(by=pl.col("share") - pl.col("corpus_share"))
    said = []
    for word, part in (
        ("preferred", beyond.filter(pl.col("by") > 0).sort("by", descending=True)),
        ("avoided", beyond.filter(pl.col("by") < 0).sort("by")),
    ):
        if part.is_empty():
            said.append(f"By {division} at {rate} %, nothing is {word} beyond chance.")
            continue
        told = [_most(one) for _, one in list(part.group_by("part", maintain_order=True))[:_TOLD]]
        said.append(f"By {division} at {rate} %, most {word} beyond chance: {'; '.join(told)}.")
    alike = sorted(set(tested["sampler"]) - set(beyond["sampler"]))
    if alike:
        said.append(f"By {division} at {rate} %, not told from a random choice: {', '.join(alike)}.")
    return [*said, *_control(division, table)]


def _most(rows: pl.DataFrame) -> str:
    """Tell of one part, by the sampler that is furthest from the corpus, and how many more are."""
    one = rows.row(0, named=True)
    others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    told = f"{one['share']:.1%} of what it keeps, {one['corpus_share']:.1%} of the corpus"
    return f"{one['part']} by {one['sampler']} ({told}){others}"


def _control(division: str, table: pl.DataFrame) -> list[str]:
    """Tell how random sampling, of which no difference is expected, fares under the same test."""
    z = table.filter((pl.col("sampler") == "random") & pl.col("z").is_not_null())
    if z.is_empty():
        return []
    nested = ", though the choices at different rates are nested" if z["rate"].n_unique() > 1 else ""
    two = int((z["z"].abs() > 2).sum())
    holm = int((z["p"] < LEVEL).sum())
    return [
        f"Random sampling, as a control: {two} of its {len(z)} shares by {division} lie beyond 2 standard deviations ({0.0455 * len(z):.1f} by "
        f"chance{nested}), {holm} after adjustment."
    ]


def _spread(table: pl.DataFrame, rate: str) -> list[str]:
    whole = table.row(0, named=True)
    cells = table.filter((pl.col("rate") == rate) & (pl.col("sampler") != FULL))
    said = [
        f"The corpus is as even as {whole['effective']:.1f} clusters of equal size ({whole['clusters']:,} clusters)."
    ]
    known = cells.filter(pl.col("effective_low").is_not_null())
    if known.is_empty():
        return said
    alike = known["documents"].n_unique() == 1
    ends = known.row(0, named=True)
    chance = (
        f"{ends['effective_low']:.1f} to {ends['effective_high']:.1f} by chance"
        if alike
        else "of the same size"
    )
    more = known.filter(pl.col("effective") > pl.col("effective_high")).sort("effective", descending=True)
    less = known.filter(pl.col("effective") < pl.col("effective_low")).sort("effective")
    for word, part in (("more", more), ("less", less)):
        told = [f"{r['sampler']} ({r['effective']:.1f})" for r in part.head(_TOLD).iter_rows(named=True)]
        if told:
            rest = f" and {len(part) - _TOLD} more" if len(part) > _TOLD else ""
            said.append(
                f"At {rate} %, {word} evenly spread over clusters than 95 % of random choices ({chance}): {', '.join(told)}{rest}."
            )
    within = sorted(set(known["sampler"]) - set(more["sampler"]) - set(less["sampler"]))
    if within:
        said.append(f"At {rate} %, not told from random choices by their spread: {', '.join(within)}.")
    return said


def tables(found: Mapping[str, pl.DataFrame], state: Mapping[Key, str]) -> list[Table]:
    """Return a table for each of source, length and clusters: the corpus, then every sampler and rate."""
    titles = {
        "source": "Share of documents by source, %",
        "length": "Share of documents by length in tokens, %",
        "clusters": "Spread over clusters",
    }
    shown = []
    for name, table in found.items():
        rows = _cluster_rows(table) if name == "clusters" else _share_rows(table)
        keys = [WHOLE, *state]
        columns = list(rows[WHOLE])
        lines = [_line(key, rows.get(key), columns, state) for key in keys]
        links = [None, *((f"{n}/subset", r) if (n, r) in rows else None for n, r in state)]
        first = ["sampler", "rate", *(_FIRST if name == "clusters" else columns)]
        source = f"{name}.parquet"
        shown.append(Table(titles[name], ["sampler", "rate", *columns], lines, source, links, first))
    return shown


def _line(
    key: Key, row: Mapping[str, Any] | None, columns: list[str], state: Mapping[Key, str]
) -> list[str | int | float | None]:
    name = "whole corpus" if key == WHOLE else key[0]
    if row is None:
        return [name, f"{key[1]} %", state[key], *[None] * (len(columns) - 1)]
    return [name, f"{key[1]} %", *row.values()]


def _share_rows(table: pl.DataFrame) -> dict[Key, dict[str, Any]]:
    rows: dict[Key, dict[str, Any]] = {}
    for (sampler, rate), part in table.group_by("sampler", "rate", maintain_order=True):
        cells: dict[str, Any] = {
            "documents": int(part["documents"].sum()),
            "tokens": int(part["tokens"].sum()),
        }
        cells |= {r["part"]: _marked(r) for r in part.iter_rows(named=True)}
        rows[str(sampler), str(rate)] = cells
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


def previews(found: Mapping[str, pl.DataFrame], rate: str) -> dict[str, list[dict[str, Any]]]:
    """Return rows for the UI: every sampler at one rate, the corpus first."""
    shown = {}
    for name, table in found.items():
        part = table.filter((pl.col("rate") == rate) | (pl.col("sampler") == FULL))
        rows = _cluster_rows(part) if name == "clusters" else _share_rows(part)
        shown[f"by_{name}"] = [
            {"sampler": "whole corpus" if key == WHOLE else key[0], "rate": f"{key[1]} %", **cells}
            for key, cells in rows.items()
        ]
    return shown
