"""Distributions of scores for people: histograms, joint histograms of ranks, sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from numpy.typing import NDArray

from curation_assets.common.drawing.charts import densities, joint
from curation_assets.common.markdown import rounded
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.report.distributions import OUTER, Distribution
from curation_assets.report.rank_change import LADDERS, RATE, UNRELATED
from curation_assets.report.section import Drawn, Figure, Section, Table, groups, table

Scores = Mapping[str, Distribution]
DRAWN = {
    "ask_llm": "Ask-LLM: where documents stand as the judge grows",
    "perplexity": "Perplexity: where documents stand as the scorer grows",
}
"""Ladders that are drawn, and the titles of their figures; the others are in the table."""
_NAMES = {"ask_llm": "Ask-LLM", "perplexity": "Perplexity", "perplexity_training": "Perplexity in training"}
_NAMED = 6  # in a caption; more are counted
_MANY_TIES = 0.001  # of the documents: from here on ties at a cut are told
_MISSING = "not current"
_QUANTILES = {
    0: "lowest",
    0.01: "1 %",
    0.1: "10 %",
    0.25: "25 %",
    0.5: "median",
    0.75: "75 %",
    0.9: "90 %",
    0.99: "99 %",
    1: "highest",
}
_KEEPS = {
    "top_k": "the highest",
    "bottom_k": "the lowest",
    "ips": "drawn by 1/score",
    "uniform": "drawn evenly",
}
_MARKS = ("10", "80", "40", "20", "60")  # where marks lie close together, the first of these has its label


def section(
    scores: Scores,
    missing: list[str],
    changes: pl.DataFrame,
    documents: int,
    sampled: int,
    judges: Mapping[str, Mapping[str, Any]],
) -> Section:
    """Return the section on the scores of all documents; ranks are compared on so many that were `sampled`.

    `judges` is the metadata of those that learned from a teacher, by size.
    """
    ranks = not changes.is_empty()
    title = "How scores are distributed" + (", and how ranks change as the scorer grows" if ranks else "")
    moves = (
        ", and how much of a choice is the judge's and how much the document's in how far documents move when another model "
        "judges them"
    )
    intro = f"What a sampler can tell apart shows in how its scores are spread{moves if ranks else ''}."
    how = method(documents, sampled, ranks)
    sentences = [*findings(scores, missing, changes), *students(judges)]
    return Section(title, intro, sentences, [], tables(scores, missing, changes), how)


def method(documents: int, sampled: int, ranks: bool) -> str:
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
    compared = (
        f"Ranks are compared on {which}: percentiles are mid-ranks, 100 for what is kept first. Tau is Kendall's tau-b with a "
        "conservative 95 % interval, as in the correlation of scores. The mean change is over documents, in percentiles; two "
        f"unrelated orders have {UNRELATED:.1f}. Its interval, like tau's, tells only of the choice of documents, not of the seeds and "
        "the training of the scorers: a change need not come from the size."
    )
    return f"{counted}\n\n{compared}" if ranks else counted


def short(name: str) -> str:
    """Return a scorer's name without that of its family."""
    return name.removeprefix("ask_llm_").removeprefix("perplexity_").removeprefix("large_")


def findings(scores: Scores, missing: list[str], changes: pl.DataFrame) -> list[str]:
    """Return sentences: how far documents move on each ladder, which cuts fall among ties, what is missing."""
    sentences = []
    for (ladder,), part in groups(changes, "ladder"):
        sentences += _moves(_NAMES[ladder], part.rows(named=True))
    lone = [_NAMES[name] for name in LADDERS if name not in changes["ladder"]]
    constant = [name for name, one in scores.items() if one.quantiles[0] == one.quantiles[1]]
    lists = {
        "With fewer than two current scorers there is no change in rank to show: ": lone,
        "The cut falls among documents of exactly the same score, where the hash decides: ": _ties(scores),
        "Every document has the same score: ": constant,
        "Without current scores of every shard, and not shown: ": missing,
    }
    return [
        *sentences,
        *(
            f"{start}{('; ' if 'cut' in start else ', ').join(names)}."
            for start, names in lists.items()
            if names
        ),
    ]


def students(judges: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Tell of the judges that learned from a teacher what each of them is, and how well it agrees with it."""
    if not judges:
        return
    each = []
    for size, about in judges.items():
        what, other = ("embeddings", "T5") if about["student"] == "embeddings" else ("a T5", "embeddings")
        text = f"{size} ({what}) {_within(about, 'tau')}"
        if "advantage" in about:
            text += f", {_within(about, 'advantage')} above {other}"
        each.append(text)
    counts = sorted({about["held_out"] for about in judges.values()})
    yield (
        f"Judges that learned from the teacher agree with it, by Kendall's tau on {' or '.join(map(str, counts))} labels held out: "
        f"{'; '.join(each)}."
    )
    alike = [size for size, about in judges.items() if about["student"] == "embeddings"]
    if len(alike) > 1:
        yield f"Judges that go by embeddings are one and the same, whatever the size: {', '.join(alike)}."


def _within(about: Mapping[str, Any], name: str) -> str:
    if name not in about:
        return "none"
    low, high = about.get(f"{name}_low"), about.get(f"{name}_high")
    return f"{about[name]:.2f}" + (
        f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else ""
    )


def _moves(name: str, rows: list[dict[str, Any]]) -> list[str]:
    first = rows[0]["smaller"]
    ends = [row for row in rows if row["smaller"] == first][-1]
    last = short(ends["larger"])
    sentences = [
        f"{name}, from {short(first)} to {last}: documents move {ends['mean_change']:.1f} ± {ends['mean_change_error']:.1f} "
        f"percentiles on average ({UNRELATED:.1f} if the two had nothing in common), tau {_tau(ends)}; of the top {RATE} % of the "
        f"documents by {short(first)}, {last} has in its own {ends['both_kept']:.0%} ({RATE} % by chance)."
    ]
    steps = [rows[0], *(row for row in rows if row["smaller"] != first)]
    if len(steps) > 1:
        parts = [f"{short(row['smaller'])} to {short(row['larger'])} {_tau(row)}" for row in steps]
        sentences.append(f"{name}, from each to the next, tau: {', '.join(parts)}.")
    return sentences


def _tau(row: Mapping[str, Any]) -> str:
    return "none" if row["tau"] is None else f"{row['tau']:.2f} [{row['tau_low']:.2f}, {row['tau_high']:.2f}]"


def _ties(scores: Scores) -> list[str]:
    """Return for each sampler the rate whose cut ties with most documents, where these are many."""
    parts = []
    for name, one in scores.items():
        worst = max(one.cuts, key=lambda rate: one.cuts[rate].tied, default=None)
        if worst is not None and one.cuts[worst].tied > max(1.0, _MANY_TIES * one.moments.n):
            parts.append(f"{name} at {worst} % ({one.cuts[worst].tied:,} documents)")
    return parts


def tables(scores: Scores, missing: list[str], changes: pl.DataFrame) -> list[Table]:
    """Return quantiles, cuts and changes in rank as people read them."""
    spread = [
        {
            "sampler": name,
            "documents": one.moments.n,
            "mean": rounded(one.moments.mean),
            "sd": rounded(one.moments.sd),
            **{title: rounded(one.quantiles[share]) for share, title in _QUANTILES.items()},
        }
        for name, one in scores.items()
    ]
    spread += [{"sampler": name, "mean": _MISSING, "median": _MISSING} for name in missing]
    first = ("sampler", "median", "mean", "sd", "1 %", "99 %")
    caption = "Scores of all documents: mean, standard deviation, quantiles"
    shown = [table(spread, caption, "quantiles.parquet", text=("sampler",), first=first)]
    if any(one.cuts for one in scores.values()):
        cuts = {name: [_cut(one, rate) for rate in RATES] for name, one in scores.items()}
        cuts |= {name: [_MISSING] * len(RATES) for name in missing}
        rows = [
            {"sampler": name, "keeps": _KEEPS[SAMPLERS[name].technique]}
            | {f"at {rate} %": cut for rate, cut in zip(RATES, own, strict=True)}
            for name, own in cuts.items()
        ]
        about: dict[str, Any] = {
            "text": ("sampler", "keeps"),
            "first": ("sampler", "at 20 %", "at 60 %", "at 40 %"),
        }
        shown.append(table(rows, "Score of the last document kept at each rate", "cuts.parquet", **about))
    if not changes.is_empty():
        about = {
            "text": ("from", "to"),
            "first": ("from", "to", "mean change", "tau", f"top {RATE} % shared"),
        }
        caption = "How documents' percentiles change from one scorer to a larger one, or one trained longer"
        rows = [_change(row) for row in changes.iter_rows(named=True)]
        shown.append(table(rows, caption, "rank_change.parquet", **about))
    return shown


def _cut(one: Distribution, rate: str) -> str:
    return "no cut" if one.no_cut else rounded(one.cuts[rate].score) if rate in one.cuts else "keeps none"


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


def figures(
    scores: Scores,
    missing: list[str],
    changes: pl.DataFrame,
    counts: Mapping[tuple[str, str], NDArray],
) -> Iterator[Drawn]:
    """Yield the histograms of all samplers, and the joint histograms [b, b] of each ladder's pairs."""
    title = f"Scores of the corpus{', and where the rates cut' if any(one.cuts for one in scores.values()) else ''}"
    cuts = {name: {r: one.cuts[r].score for r in _MARKS if r in one.cuts} for name, one in scores.items()}
    notes = {name: one.no_cut for name, one in scores.items()}
    about = Figure("distributions", "distribution of each sampler's scores", caption(scores, missing))
    yield (
        about,
        densities({name: (one.edges, one.counts) for name, one in scores.items()}, title, cuts, notes),
    )
    for ladder, title in DRAWN.items():
        pairs = changes.filter(pl.col("ladder") == ladder).rows(named=True)
        if pairs:
            names = [(f"{short(row['smaller'])} → {short(row['larger'])}", row) for row in pairs]
            panels = {name: counts[row["smaller"], row["larger"]] for name, row in names}
            text = (
                f"Percentiles of {pairs[0]['n']:,} documents under two scorers; a document on the rising diagonal stays where it is. "
                f"Kendall's tau: {', '.join(f'{name} {_tau(row)}' for name, row in names)}."
            )
            about = Figure(f"rank_change_{ladder}", f"{title}: percentiles of documents", text)
            yield about, joint(panels, title, "percentile, smaller", "percentile, larger")


def caption(scores: Scores, missing: list[str]) -> str:
    """Return what stands under the histograms."""
    documents = next(iter(scores.values())).moments.n
    outside = [one.outside for one in scores.values() if one.outside]
    cut = any(one.cuts for one in scores.values())
    lines = "; lines are the cuts of the rates, numbered in percent kept" if cut else ""
    text = f"All {documents:,} documents{lines}. Heights are not comparable between panels."
    if outside:
        text += (
            f" Where extremes lie far out, the range is that between the {100 * OUTER[0]:g} and {100 * OUTER[1]:g} % quantiles: "
            f"{len(outside)} of {len(scores)} panels, at most {max(outside):.1%} of the documents outside (counted in the data)."
        )
    names = ", ".join(missing) if len(missing) <= _NAMED else f"{len(missing)} samplers"
    return text + (f" Not current, and not drawn: {names}." if missing else "")
