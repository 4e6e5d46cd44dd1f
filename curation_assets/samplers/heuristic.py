"""Heuristic: a cheap baseline that a score of quality must beat. Its weights are fixed; nothing is fitted to anything."""

from __future__ import annotations

from curation_assets.common.progress import Progress
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Column, Sampler, Scores


def score(settings: None, documents: Documents, progress: Progress) -> Scores:
    """Return how much each document looks like running English prose, and by what."""
    from curation_assets.scoring.heuristic import heuristic_scores

    return heuristic_scores(documents.texts, progress)._asdict()


SAMPLER = Sampler(
    name="heuristic",
    family="quality",
    technique="top_k",
    description="Mean of three shares: stop words (of the words, / 0.4), lines that end as sentences, and the mean line length (in characters, / 80), "
    "the first and the last at most 1. Running English prose scores high. No model: what costs more should beat it.",
    paper="",
    columns={
        "stop_words": Column("float64", "Share of English stop words among the document's words"),
        "sentence_lines": Column(
            "float64", "Share of its lines that end as sentences, of those that are not blank"
        ),
        "line_length": Column("float64", "Mean length of these lines, in characters"),
    },
    score=score,
    highest=1.0,
)
