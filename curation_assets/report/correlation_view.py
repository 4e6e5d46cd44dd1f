"""The correlation of scores for people: the heat map, the mean over families, and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from curation_assets.common.drawing.charts import heat_map
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.correlation import Correlation
from curation_assets.report.documents import LOW_FIRST
from curation_assets.report.section import Drawn, Figure, Section, table

_TITLE = "Kendall's tau of the samplers' scores"
_INTRO = (
    "How alike the samplers order the documents of the corpus: where two agree, one may stand for the other."
)


def section(correlation: Correlation) -> Section:
    """Return the section."""
    rows = family_means(correlation)
    shown = table(rows, "Mean tau over pairs of two families", "correlation.parquet", text=("mean tau",))
    method = how_to_read(correlation)
    return Section(_TITLE, _INTRO, findings(correlation), [], [shown], method, headline=headline(correlation))


def figures(correlation: Correlation) -> Iterator[Drawn]:
    """Yield the heat map (v1, figure 7), where any pair has a tau."""
    if np.isfinite(correlation.matrix).any():
        grey = "; grey has no tau" if correlation.constant else ""
        caption = f"Of {correlation.n:,} documents{grey}."
        figure = Figure("correlation", f"{_TITLE}, one row and one column a sampler", caption)
        yield figure, heat_map(correlation.names, correlation.matrix, _TITLE)


def family_means(correlation: Correlation) -> list[dict[str, Any]]:
    """Return the mean tau over the pairs of two different samplers, one of each family, as rows of a table.

    A cell is None where there is no such pair that has a tau: a family of one sampler has none with itself.
    """
    family = np.array([SAMPLERS[name].family for name in correlation.names])
    families = list(dict.fromkeys(family.tolist()))
    usable = np.isfinite(correlation.matrix) & ~np.eye(len(family), dtype=bool)

    def mean(one: str, other: str) -> str | None:
        cells = correlation.matrix[np.outer(family == one, family == other) & usable]
        return f"{round(float(cells.mean()), 2) + 0.0:.2f}" if len(cells) else None  # + 0.0: no "-0.00"

    return [{"mean tau": one, **{other: mean(one, other) for other in families}} for one in families]


def how_to_read(correlation: Correlation) -> str:
    """Return what tau means, how sure it is and what has none."""
    text = (
        f"Kendall's tau-b of the scores that two samplers give to the same {correlation.n:,} documents: 1 is the same "
        "order, -1 the opposite one, 0 no more agreement than by chance. The table has the mean over pairs of "
        "different samplers of two families; a cell is empty where there is no such pair."
    )
    widths = (correlation.high - correlation.low)[np.isfinite(correlation.matrix)] / 2
    if (widths > 0).any():
        text += (
            f" The 95 % intervals reach at most {widths.max():.2g} to either side; they are conservative, and tell only of "
            "the choice of documents, not of the seeds and the training of the models that score."
        )
    low = [name for name in correlation.names if SAMPLERS[name].technique in LOW_FIRST]
    if low:
        text += f" Prefers low scores, so that its signs turn where choices are compared: {', '.join(low)}."
    if correlation.constant:
        text += (
            f" No tau, because every document has the same score: {', '.join(correlation.constant)} "
            "(null in the table of pairs, empty in the figure)."
        )
    return text


class _Pairs(NamedTuple):
    """The pairs of samplers that have a tau, from the most opposed to the most alike: in words, tau; how many differ from chance."""

    words: list[str]
    tau: list[float]
    agree: int
    oppose: int


def _pairs(correlation: Correlation) -> _Pairs:
    i, j = np.triu_indices(len(correlation.names), 1)
    tau, low, high = (m[i, j] for m in (correlation.matrix, correlation.low, correlation.high))
    known = np.flatnonzero(np.isfinite(tau))
    known = known[np.argsort(tau[known], kind="stable")]
    words = [
        f"{correlation.names[i[k]]} and {correlation.names[j[k]]}, tau {tau[k]:.2f} [{low[k]:.2f}, {high[k]:.2f}]"
        for k in known
    ]
    return _Pairs(words, tau[known].tolist(), int((low[known] > 0).sum()), int((high[known] < 0).sum()))


def headline(correlation: Correlation) -> str:
    """Return who disagrees, in a sentence; "" where nobody can be compared."""
    pairs = _pairs(correlation)
    if not pairs.words:
        return ""
    furthest = "opposed" if pairs.tau[0] < 0 else "apart"
    return (
        f"Of {len(pairs.words)} pairs of samplers {pairs.agree} order the documents alike and {pairs.oppose} the opposite way, beyond "
        f"chance; furthest {furthest} are {pairs.words[0]}."
    )


def findings(correlation: Correlation) -> list[str]:
    """Return sentences: the most alike and the most opposed pair, and how many pairs agree or disagree beyond chance."""
    pairs = _pairs(correlation)
    if not pairs.words:
        return ["No two samplers that order the documents have scores: there is nothing to compare."]
    sentences = [f"The most alike are {pairs.words[-1]}."]
    if pairs.tau[0] < 0:
        sentences.append(f"The most opposed are {pairs.words[0]}.")
    sentences.append(
        f"Of {len(pairs.words)} pairs, {pairs.agree} agree and {pairs.oppose} disagree more than by chance (95 % intervals without 0, "
        f"not adjusted for the number of pairs); {len(pairs.words) - pairs.agree - pairs.oppose} cannot be told from independent orders on "
        f"{correlation.n:,} documents."
    )
    return sentences
