"""Near-duplicates for people: the curve over thresholds, where fixed rates cut it, sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from curation_assets.common.drawing.charts import Series, curves
from curation_assets.common.drawing.styles import PARTS, Style, style_of
from curation_assets.config.amount import label, of_key
from curation_assets.report.duplicates import Duplicates
from curation_assets.report.section import Cell, Drawn, Figure, Section, Table, listed
from curation_assets.scoring.semdedup import THRESHOLDS

_TITLE = "Near-duplicates"
_INTRO = (
    "How many documents are nearly the same as one that is kept, by the cosine of their embeddings; and at which cosine the fixed rates of "
    "semdedup cut, which says whether they drop copies or whatever lies near something else."
)
_SHOWN = (1.0, 0.99, 0.98, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
_AROUND = 0.05  # of the threshold: what a looser and a stricter one would remove
_DRAWN = 0.3  # the lowest cosine of the figure, where no rate cuts lower

METHOD = """\
The documents of a k-means cluster are ordered, those far from its centre first. A threshold t removes a document whose cosine to one \
before it in its cluster is t or more, as the authors of SemDeDup do. So the first of a group always stays: what is removed leads, from \
one nearest document before it (duplicate_of in the table of scores) to the next, to one that is kept, and those that lead to the same one are \
a group. Near-duplicates in different clusters are not compared. A document that stands in two files with the same id and text counts here; no \
subset has it twice in any case.

The score is minus that cosine: a subset of a fixed rate keeps the highest scores, and is cut at the cosine that its last document has, \
whatever that is. How much a threshold finds depends on the embeddings and on what was changed: python -m benchmarks.near_duplicates \
plants copies in a corpus and counts them. A threshold of 0.95 misses many copies of which a twentieth of the words are others, so \
near-duplicates are counted from 0.90 on (samplers.semdedup.threshold).\
"""


def section(found: Duplicates) -> Section:
    """Return the section."""
    return Section(
        _TITLE,
        _INTRO,
        findings(found),
        [],
        [_thresholds(found), *_rates(found)],
        METHOD,
        headline=headline(found),
    )


def nothing() -> Section:
    """Return the section where there are no near neighbours to count."""
    text = "Near-duplicates have not been counted: semdedup's neighbours are missing or out of date (run.samplers)."
    return Section(_TITLE, _INTRO, [text], [], [], METHOD)


def headline(found: Duplicates) -> str:
    """Return what is worth knowing first."""
    removed, groups = found.at(found.threshold)
    share = found.share(found.threshold)
    text = (
        f"{removed:,} of {found.documents:,} documents ({share:.1%}) are near-duplicates: their cosine to one that is kept is "
        f"{found.threshold:g} or more. Dropping them keeps one representative of each of {groups:,} group{'' if groups == 1 else 's'}"
    )
    low = [rate for rate, cosine in found.cuts.items() if cosine < found.threshold]
    if not low:
        return f"{text}."
    rate = min(low, key=lambda r: abs(of_key(r).value - 0.2))
    return f"{text}; semdedup's {label(rate)} subset is cut at cosine {found.cuts[rate]:.2f}: it picks outliers, not copies."


def findings(found: Duplicates) -> list[str]:
    """Return sentences: how many there are, where the rates cut, and how much that hangs on the threshold."""
    t = found.threshold
    low = {rate: c for rate, c in found.cuts.items() if c < t}
    high = {rate: c for rate, c in found.cuts.items() if c >= t}
    sentences = [headline(found)]
    if low:
        sentences.append(
            f"Cut below {t:g}, so that most of what goes is no near-duplicate: {_cuts(low)}. To drop near-duplicates alone, cut at a cosine "
            f"and not at a rate: that keeps {1 - found.share(t):.1%} here."
        )
    if high:
        sentences.append(f"Cut at {t:g} or above, so that nothing goes but near-duplicates: {_cuts(high)}.")
    looser, stricter = round(t - _AROUND, 3), min(round(t + _AROUND, 3), 1.0)
    sentences.append(
        f"The number hangs on the threshold: {found.at(stricter)[0]:,} at {stricter:g}, {found.at(t)[0]:,} at {t:g}, "
        f"{found.at(looser)[0]:,} at {looser:g}; {found.at(1.0)[0]:,} are exact copies to the encoder."
    )
    if found.unreadable:
        sentences.append(
            f"{found.unreadable:,} documents that the encoder cannot read were not compared; no threshold of {t:g} removes them."
        )
    return sentences


def _cuts(cuts: dict[str, float]) -> str:
    return listed([f"{label(rate)} at cosine {cosine:.2f}" for rate, cosine in cuts.items()])


def _thresholds(found: Duplicates) -> Table:
    rows: list[list[Cell]] = []
    for t in sorted({*_SHOWN, found.threshold}, reverse=True):
        removed, groups = found.at(t)
        rows.append([f"{t:.3g}", removed, f"{found.share(t):.1%}", groups, found.documents - removed])
    columns = ["remove at cosine", "documents removed", "share", "groups", "documents kept"]
    return Table("What a threshold removes", columns, rows, ["remove at cosine"], "curve.parquet")


def _rates(found: Duplicates) -> Sequence[Table]:
    if not found.cuts:
        return []
    rows: list[list[Cell]] = []
    for rate, cosine in found.cuts.items():
        picks = "near-duplicates alone go" if cosine >= found.threshold else "picks outliers, not copies"
        rows.append([label(rate), f"{cosine:.3f}", picks])
    columns = ["subset of semdedup", "cut at cosine", "what it does"]
    links = [("semdedup/subset", rate) for rate in found.cuts]
    return [
        Table(
            "Where fixed rates cut", columns, rows, ["subset of semdedup", "what it does"], links=list(links)
        )
    ]


def figures(found: Duplicates) -> Iterator[Drawn]:
    """Yield the curve, and where the threshold and the rates lie on it."""
    lowest = min([_DRAWN, *(c for c in found.cuts.values() if c > 0)])
    inside = np.flatnonzero(lowest - 0.01 <= THRESHOLDS)
    x, whole = THRESHOLDS[inside], max(found.documents, 1)
    looks = style_of("semdedup")
    series, styles = {}, {}
    for name, dash, y in (
        ("documents removed", "-", found.removed),
        ("their groups", (0, (6, 2)), found.groups),
    ):
        series[name] = Series(x, 100 * y[inside] / whole)
        styles[name] = Style(looks.colour, "", dash, name)
    marks = {f"removed at {found.threshold:g}": (found.threshold, "o")}
    marks |= {f"the {label(rate)} subset": (c, "") for rate, c in found.cuts.items()}
    for number, (name, (cosine, marker)) in enumerate(marks.items()):
        series[name] = Series([cosine], [100 * found.share(cosine)])
        styles[name] = Style(PARTS[number % len(PARTS)], marker or "sDv^P*"[number % 6], "-", name)
    caption = (
        f"Of {found.documents:,} documents. At each cosine: what a threshold there removes, and of how many groups, each with one that stays. "
        "The marks are where near-duplicates begin and where the subsets of fixed rates cut."
    )
    alt = "share of documents removed and of groups by cosine threshold, with the cuts of the fixed rates"
    picture = curves(
        {"": series}, "What a cosine threshold removes", "remove at cosine", "% of documents", styles=styles
    )
    yield Figure("duplicates", alt, caption), picture
