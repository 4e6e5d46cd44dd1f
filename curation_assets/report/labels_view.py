"""Scores against labels for people: which scores tell good documents from bad ones, and whether length alone would do as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from curation_assets.common.drawing.charts import Dot, forest
from curation_assets.common.drawing.styles import CHANCE
from curation_assets.common.markdown import within
from curation_assets.report.labels import LENGTH, SENTENCE_ENDS, STOP_WORDS
from curation_assets.report.section import Drawn, Figure, Section, listed, some, table

HEADING = "Which score your labels support"
BRING = (
    "No labels: set labels.url to files of doc_id and label (CSV, JSON, Parquet), or labels.field to a field of the corpus, "
    "and this section tells which scores they support."
)
_NAMED = 6
_CHANCE = 0.5
_NAMES = {
    LENGTH: "length",
    SENTENCE_ENDS: "the share of lines that end as sentences",
    STOP_WORDS: "the share of stop words",
}
METHOD = (
    "AUC is the probability that a score puts a good document before a bad one, equals counted by half: 1 is always, 0.5 is chance. A "
    "score counts in the order in which its sampler keeps documents. Intervals are DeLong's at 95 %, of the choice of documents "
    "alone, and not adjusted for the number of scores: of twenty without any merit one is expected outside. "
    "At equal length, documents are compared within 20 quantiles of their length in characters (fewer where there are few labels), "
    "and the strata's AUCs averaged with Mantel and Haenszel's weights: what a score owes to length is gone. Where the intervals of a score "
    "and of length overlap, length alone would do as well. Labels say what somebody called good, and not what a model learns most from."
)


def no_labels() -> Section:
    """Return the section where nobody brought labels."""
    return Section(HEADING, BRING)


def section(rows: pl.DataFrame, about: str, missing: list[str]) -> Section:
    """Return the section of `labels.measured`'s rows; `about` says which documents they are of."""
    intro = "How well each score tells the documents that you call good from those that you call bad."
    shown = [
        {
            "score": _NAMES.get(row["score"], row["score"]),
            "AUC": _value(row, "auc", "low", "high"),
            "AUC at equal length": _value(row, "controlled", "controlled_low", "controlled_high"),
        }
        for row in rows.sort("auc", descending=True, nulls_last=True).iter_rows(named=True)
    ]
    caption = "AUC of each score, and of what costs nothing, with 95 % intervals"
    each = table(shown, caption, "labels.parquet", text=("score",))
    found = findings(rows)
    sentences = [*found, about]
    if missing:
        sentences.append(f"Without current scores of every shard, and not shown: {', '.join(missing)}.")
    return Section(HEADING, intro, sentences, [], [each], METHOD, headline=found[0])


def _value(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    return "too few documents" if row[value] is None else within(row[value], row[low], row[high])


def findings(rows: pl.DataFrame) -> list[str]:
    """Return sentences: the score that agrees best, which hold at equal length, and what would do as well for nothing."""
    ours = rows.filter(~pl.col("baseline")).sort("auc", descending=True)
    better = ours.filter(pl.col("low") > _CHANCE)
    if better.is_empty():
        first = ["No score puts the good documents first: none is above chance."]
    else:
        best = better.row(0, named=True)
        value = within(best["auc"], best["low"], best["high"])
        first = [
            f"The score that agrees best with the labels is {best['score']}, AUC {value}; "
            f"{len(better)} of {len(ours)} scores are above chance (0.5)."
        ]
    return [*first, *_as_well(rows, better), *_equal_length(ours), *_reversed(ours)]


def _as_well(rows: pl.DataFrame, better: pl.DataFrame) -> Iterator[str]:
    """Tell of each baseline with which scores above chance its interval overlaps, or that it is better."""
    for row in rows.filter(pl.col("baseline") & pl.col("low").is_not_null()).iter_rows(named=True):
        low, high, value = row["low"], row["high"], row["auc"]
        least = value < _CHANCE
        if least:  # the other way round it tells as much
            value, low, high = 1 - value, 1 - high, 1 - low
        if low <= _CHANCE:
            continue
        alike = better.filter(pl.col("low") <= high)["score"].to_list()
        if alike:
            many = "every score above chance" if len(alike) == len(better) > 1 else some(alike, _NAMED)
            what = f"{_NAMES[row['score']]} alone{' (the least first)' if least else ''}"
            yield f"{what[0].upper()}{what[1:]} would do as well as {many}: AUC {within(value, low, high)}."


def _equal_length(ours: pl.DataFrame) -> Iterator[str]:
    known = ours.filter(pl.col("controlled_low").is_not_null()).sort("controlled", descending=True)
    if known.is_empty():
        yield "There are too few labels to compare documents of equal length."
        return
    above = known.filter(pl.col("controlled_low") > _CHANCE)
    if above.is_empty():
        yield "At equal length no score is above chance."
        return
    names = [f"{r['score']} ({r['controlled']:.2f})" for r in above.head(_NAMED).iter_rows(named=True)]
    more = f" and {len(above) - len(names)} more" if len(above) > len(names) else ""
    yield f"At equal length {len(above)} of {len(known)} scores are above chance: {listed(names) if not more else ', '.join(names) + more}."


def _reversed(ours: pl.DataFrame) -> Iterator[str]:
    worse = ours.filter(pl.col("high") < _CHANCE).sort("auc")["score"].to_list()
    if worse:
        yield f"Put the bad documents first, beyond chance: {some(worse, _NAMED)}."


def figures(rows: pl.DataFrame) -> Iterator[Drawn]:
    """Yield one figure: every score's AUC with its interval, over all documents and at equal length."""
    panels = {
        "AUC": ("auc", "low", "high"),
        "AUC at equal length": ("controlled", "controlled_low", "controlled_high"),
    }
    dots = {
        panel: {row["score"]: Dot(*(row[name] for name in names)) for row in rows.iter_rows(named=True)}
        for panel, names in panels.items()
    }
    alt = "AUC of each score against the labels, a line for each, over all documents and at equal length"
    picture = forest(
        dots, rows["score"].to_list(), HEADING, {}, {panel: {CHANCE: _CHANCE} for panel in panels}
    )
    yield Figure("labels", alt, "Bars are 95 % intervals."), picture
