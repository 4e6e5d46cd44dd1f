"""What the report on scores says of them: sentences, captions and tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from curation_assets.common.markdown import rounded
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.report.distributions import OUTER, Distribution
from curation_assets.report.rank_change import LADDERS, RATE, UNRELATED
from curation_assets.report.section import Table, table

QUANTILES, CUTS, CHANGES = "quantiles.parquet", "cuts.parquet", "rank_change.parquet"
LADDER = {
    "ask_llm": "Ask-LLM: where documents stand as the judge grows",
    "perplexity": "Perplexity: where documents stand as the scorer grows",
}
"""Ladders that are drawn, and the titles of their figures; the others are in the table."""
_NAMES = {"ask_llm": "Ask-LLM", "perplexity": "Perplexity", "perplexity_training": "Perplexity in training"}
_NAMED = 6  # in a caption; more are counted
_MANY_TIES = 0.001  # of the documents: from here on ties at a cut are told
_FIRST = ("sampler", "median", "mean", "sd", "1 %", "99 %")
_MOVED = ("from", "to", "mean change", "tau", f"top {RATE} % shared")
_MISSING = "not current"
_SHOWN = (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)


def title(changes: pl.DataFrame) -> str:
    """Return the section's title."""
    return "How scores are distributed" + (
        "" if changes.is_empty() else ", and how ranks change as the scorer grows"
    )


def intro(changes: pl.DataFrame) -> str:
    """Return what the section is about."""
    ranks = (
        ", and how much of a choice is the judge's and how much the document's in how far documents move when another model "
        "judges them"
    )
    return f"What a sampler can tell apart shows in how its scores are spread{'' if changes.is_empty() else ranks}."


def short(name: str) -> str:
    """Return a scorer's name without that of its family."""
    return name.removeprefix("ask_llm_").removeprefix("perplexity_").removeprefix("large_")


def method(documents: int, sampled: int, changes: pl.DataFrame) -> str:
    """Return how the numbers came about."""
    which = "all of them" if sampled == documents else f"{sampled:,} of them, drawn by hash"
    counted = (
        f"Counts, means, quantiles and cuts are exact and of all {documents:,} documents; repeated documents count once, and a quantile is the "
        "lowest score that so many documents do not exceed. A cut is the score of the last document that a rate keeps, counted "
        "among all documents: where those that overlap with the evaluation are left out of subsets, a subset's own threshold "
        "(in its manifest) differs a little. Of documents with exactly the score of the cut, the smaller hashes stay. Inverse "
        "propensity and uniform sampling draw documents, so that no score separates kept from dropped. Where rates are shares of "
        "tokens (selection.rate_of) a cut depends on the lengths of documents too, and stands in the subset's manifest alone."
    )
    ranks = (
        f"Ranks are compared on {which}: percentiles are mid-ranks, 100 for what is kept first. Tau is Kendall's tau-b with a "
        "conservative 95 % interval, as in the correlation of scores. The mean change is over documents, in percentiles; two "
        f"unrelated orders have {UNRELATED:.1f}. Its interval, like tau's, tells only of the choice of documents, not of the seeds and "
        "the training of the scorers: a change need not come from the size."
    )
    return counted if changes.is_empty() else f"{counted}\n\n{ranks}"


def distributions_caption(found: Mapping[str, Distribution], missing: list[str]) -> str:
    """Return what stands under the histograms."""
    documents = next(iter(found.values())).moments.n
    outside = {name: one.outside for name, one in found.items() if one.outside}
    cut = any(one.cuts for one in found.values())
    lines = "; lines are the cuts of the rates, numbered in percent kept" if cut else ""
    text = f"All {documents:,} documents{lines}. Heights are not comparable between panels."
    if outside:
        worst = max(outside.values())
        text += (
            f" Where extremes lie far out, the range is that between the {100 * OUTER[0]:g} and {100 * OUTER[1]:g} % quantiles: "
            f"{len(outside)} of {len(found)} panels, at most {worst:.1%} of the documents outside (counted in the data)."
        )
    names = ", ".join(missing) if len(missing) <= _NAMED else f"{len(missing)} samplers"
    return text + (f" Not current, and not drawn: {names}." if missing else "")


def joint_caption(part: pl.DataFrame) -> str:
    """Return what stands under the joint histograms of one ladder."""
    told = [f"{short(r['smaller'])} → {short(r['larger'])} {_tau(r)}" for r in part.iter_rows(named=True)]
    return (
        f"Percentiles of {part['n'][0]:,} documents under two scorers; a document on the rising diagonal stays where it is. "
        f"Kendall's tau: {', '.join(told)}."
    )


def findings(found: Mapping[str, Distribution], missing: list[str], changes: pl.DataFrame) -> list[str]:
    """Return sentences: how far documents move on each ladder, which cuts fall among ties, what is missing."""
    said = []
    for (ladder,), part in changes.group_by("ladder", maintain_order=True):
        said += _moves(str(ladder), part)
    lone = [name for name in LADDERS if name not in set(changes["ladder"])]
    if lone:
        said.append(
            f"With fewer than two current scorers there is no change in rank to show: {', '.join(_NAMES[ladder] for ladder in lone)}."
        )
    said += [*_ties(found), *_constant(found)]
    if missing:
        said.append(f"Without current scores of every shard, and not shown: {', '.join(missing)}.")
    return said


def _moves(ladder: str, part: pl.DataFrame) -> list[str]:
    rows = part.rows(named=True)
    first, name = rows[0]["smaller"], _NAMES[ladder]
    ends = [row for row in rows if row["smaller"] == first][-1]
    last = short(ends["larger"])
    said = [
        f"{name}, from {short(first)} to {last}: documents move {ends['mean_change']:.1f} ± {ends['mean_change_error']:.1f} "
        f"percentiles on average ({UNRELATED:.1f} if the two had nothing in common), tau {_tau(ends)}; of the top {RATE} % of the "
        f"documents by {short(first)}, {last} has in its own {ends['both_kept']:.0%} ({RATE} % by chance)."
    ]
    steps = [rows[0], *(row for row in rows if row["smaller"] != first)]
    if len(steps) > 1:
        told = ", ".join(f"{short(r['smaller'])} to {short(r['larger'])} {_tau(r)}" for r in steps)
        said.append(f"{name}, from each to the next, tau: {told}.")
    return said


def _tau(row: Mapping[str, Any]) -> str:
    return "none" if row["tau"] is None else f"{row['tau']:.2f} [{row['tau_low']:.2f}, {row['tau_high']:.2f}]"


def _ties(found: Mapping[str, Distribution]) -> list[str]:
    told = []
    for name, one in found.items():
        worst = max(one.cuts, key=lambda rate: one.cuts[rate].tied, default=None)
        if worst is not None and one.cuts[worst].tied > max(1.0, _MANY_TIES * one.moments.n):
            told.append(f"{name} at {worst} % ({one.cuts[worst].tied:,} documents)")
    return (
        [
            f"The cut falls among documents of exactly the same score, where the hash decides: {'; '.join(told)}."
        ]
        if told
        else []
    )


def _constant(found: Mapping[str, Distribution]) -> list[str]:
    names = [name for name, one in found.items() if one.quantiles[0] == one.quantiles[1]]
    return [f"Every document has the same score: {', '.join(names)}."] if names else []


def tables(found: Mapping[str, Distribution], missing: list[str], changes: pl.DataFrame) -> list[Table]:
    """Return quantiles, cuts and changes in rank as people read them."""
    spread = [
        {
            "sampler": name,
            "documents": one.moments.n,
            "mean": rounded(one.moments.mean),
            "sd": rounded(one.moments.sd),
            **{_quantile(q): rounded(one.quantiles[q]) for q in _SHOWN},
        }
        for name, one in found.items()
    ]
    spread += [{"sampler": name, "mean": _MISSING, "median": _MISSING} for name in missing]
    found_tables = [
        table(spread, "Scores of all documents: mean, standard deviation, quantiles", QUANTILES, _FIRST)
    ]
    rows = [{"sampler": name, "keeps": _KEEPS[one.technique], **_cuts(one)} for name, one in found.items()]
    rows += [
        {
            "sampler": name,
            "keeps": _KEEPS[SAMPLERS[name].technique],
            **{f"at {rate} %": _MISSING for rate in RATES},
        }
        for name in missing
    ]
    if any(one.cuts for one in found.values()):
        words = "Score of the last document kept at each rate"
        found_tables.append(table(rows, words, CUTS, ("sampler", "at 20 %", "at 60 %", "at 40 %")))
    if not changes.is_empty():
        found_tables.append(
            table([_change(r) for r in changes.iter_rows(named=True)], _CHANGES_CAPTION, CHANGES, _MOVED)
        )
    return found_tables


_KEEPS = {
    "top_k": "the highest",
    "bottom_k": "the lowest",
    "ips": "drawn by 1/score",
    "uniform": "drawn evenly",
}
_CHANGES_CAPTION = "How documents' percentiles change from one scorer to a larger one, or one trained longer"


def _quantile(share: float) -> str:
    return {0: "lowest", 0.5: "median", 1: "highest"}.get(share, f"{100 * share:g} %")


def _cuts(one: Distribution) -> dict[str, str]:
    if one.no_cut:
        return {f"at {rate} %": "no cut" for rate in RATES}
    return {
        f"at {rate} %": rounded(one.cuts[rate].score) if rate in one.cuts else "keeps none" for rate in RATES
    }


def _change(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "from": row["smaller"],
        "to": row["larger"],
        "documents": row["n"],
        "tau": _tau(row),
        "Spearman": None if row["spearman"] is None else f"{row['spearman']:.2f}",
        "mean change": f"{row['mean_change']:.1f} ± {row['mean_change_error']:.1f}",
        "moved by over 25": f"{row['far_share']:.0%}",
        f"top {RATE} % shared": f"{row['both_kept']:.0%}",
    }
