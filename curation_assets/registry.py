"""The samplers. Everything else in the graph (assets, subsets, training runs, reports) derives from these rows.

Add a sampler by adding a row here and one function that scores a shard; the README walks through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Technique = Literal["top_k", "bottom_k", "ips", "uniform"]
Family = Literal["random", "coverage", "perplexity", "ask_llm"]


@dataclass(frozen=True)
class SamplerSpec:
    """One sampler: what it is called, what its score means, what the score reads, how a subset is drawn from it.

    Attributes
    ----------
    name : the paper's name in snake case; prefix of the sampler's asset keys.
    family : group in tables and figures (paper, appendix B).
    technique : how scores become a choice (paper, section 3; `sampling.select`).
    needs : asset keys that scoring a shard reads.
    resident : True where scoring needs a neural model in memory, so that one run should score many shards.
    description : what the score is; higher is better throughout.
    """

    name: str
    family: Family
    technique: Technique
    needs: tuple[str, ...]
    description: str
    resident: bool = False


SAMPLERS: dict[str, SamplerSpec] = {
    spec.name: spec
    for spec in (
        SamplerSpec(
            "random",
            "random",
            "uniform",
            ("corpus/documents",),
            "A uniform number that depends on the document's id and the seed alone: the baseline.",
        ),
        SamplerSpec(
            "density",
            "coverage",
            "ips",
            ("corpus/embeddings", "density/sketch"),
            "Kernel density estimate of the document's embedding (mean count of a RACE sketch over its rows); "
            "subsets are drawn by inverse propensity, so that rare text is kept and crowded text thinned.",
        ),
        SamplerSpec(
            "semdedup",
            "coverage",
            "top_k",
            ("semdedup/neighbours",),
            "Minus the largest cosine similarity to a document of the same cluster that is kept before it: the most "
            "similar go first, and a group of near-duplicates keeps one representative.",
        ),
        SamplerSpec(
            "prototypes",
            "coverage",
            "top_k",
            ("corpus/embeddings", "clusters/centroids", "clusters/assignments"),
            "Minus the cosine similarity to the document's own centroid: the most prototypical go first.",
        ),
    )
}

RATES: tuple[str, ...] = ("10", "20", "40", "60", "80")
"""Sampling rates in percent of the corpus's documents (paper, section 4)."""

SIZES: tuple[str, ...] = ("small", "base", "large", "xl", "xxl")
"""Rungs of the T5 ladder, smallest first."""
