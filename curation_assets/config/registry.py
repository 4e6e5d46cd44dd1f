"""The samplers. Everything else in the graph (assets, subsets, training runs, reports) derives from these rows.

Add a sampler by adding a row here and one function that scores a shard; docs/your-sampler.md walks through it.
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
    description : what the score is; higher is better throughout.
    model : for samplers that score with a model, its name in the profile's section for the family ("" for the others).
    paper : what the paper calls it.
    """

    name: str
    family: Family
    technique: Technique
    needs: tuple[str, ...]
    description: str
    model: str = ""
    paper: str = ""


SIZES: tuple[str, ...] = ("small", "base", "large", "xl", "xxl")
"""Rungs of the T5 ladder, smallest first."""

_T5 = {"small": "Small", "base": "Base", "large": "Large", "xl": "XL", "xxl": "XXL"}

MILESTONES: dict[str, float] = {"20k": 0.02, "100k": 0.1, "300k": 0.3, "500k": 0.5, "700k": 0.7}
"""Of the paper's 1M steps, those after which T5-Large's own training lent a perplexity scorer -> share of the training."""


def _by_model(family: Family, model: str, description: str, paper: str) -> SamplerSpec:
    name = f"{family}_{model}"
    needs = ("corpus/documents", "corpus/tokens", "corpus/tokenizer", f"{name}/model")
    return SamplerSpec(name, family, "top_k", needs, description, model, paper)


def _perplexity(model: str, which: str, paper: str) -> SamplerSpec:
    text = f"Minus the document's perplexity under {which}: text that the model finds easy is kept."
    return _by_model("perplexity", model, text, f"perplexity filtering ({paper})")


def _ask_llm(size: str) -> SamplerSpec:
    text = f'Log probability that the {size} judge answers "yes" when asked whether the document is worth training on.'
    return _by_model("ask_llm", size, text, f"Ask-LLM ({_T5[size]})")


SAMPLERS: dict[str, SamplerSpec] = {
    spec.name: spec
    for spec in (
        SamplerSpec(
            "random",
            "random",
            "uniform",
            ("corpus/documents",),
            "A uniform number that depends on the document and the seed alone: the baseline.",
            paper="random sampling",
        ),
        SamplerSpec(
            "density",
            "coverage",
            "ips",
            ("corpus/embeddings", "density/sketch"),
            "Kernel density estimate of the document's embedding (mean count of a RACE sketch over its rows); "
            "subsets are drawn by inverse propensity, so that rare text is kept and crowded text thinned.",
            paper="Density",
        ),
        SamplerSpec(
            "semdedup",
            "coverage",
            "top_k",
            ("semdedup/neighbours",),
            "Minus the largest cosine similarity to a document of the same cluster that is kept before it: the most "
            "similar go first, and a group of near-duplicates keeps one representative.",
            paper="SemDeDup",
        ),
        SamplerSpec(
            "prototypes",
            "coverage",
            "top_k",
            ("corpus/embeddings", "clusters/centroids", "clusters/assignments"),
            "Minus the cosine similarity to the document's own centroid: the most prototypical go first.",
            paper="SSL Prototypes",
        ),
        *(_perplexity(size, f"the {size} T5", f"T5-{_T5[size]}") for size in SIZES),
        *(
            _perplexity(
                f"large_{steps}",
                f"the large T5 after {share:.0%} of its own training",
                f"T5-Large after {steps} steps",
            )
            for steps, share in MILESTONES.items()
        ),
        *(_ask_llm(size) for size in SIZES),
    )
}
"""The 19 samplers of the paper (v1, appendix B), in its order."""

RATES: tuple[str, ...] = ("10", "20", "40", "60", "80")
"""Sampling rates in percent of the corpus's documents (paper, section 4), or of its tokens (`selection.rate_of`)."""
