"""Perplexity filtering (paper, section 3.4): T5s of five sizes, and five stages of the training of the large one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation_assets.common.progress import Progress
from curation_assets.config.registry import MILESTONES, SIZES
from curation_assets.config.section import EXECUTION, Model, Positive, Section
from curation_assets.engine.context import Context
from curation_assets.models.build import open_scorer
from curation_assets.models.tokenizer import Tokenizer
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.models import INPUTS, TokenReader, documents_a_part, token_reader
from curation_assets.samplers.spec import Column, Sampler, Scores

PerplexityModel = Literal[
    "small", "base", "large", "xl", "xxl", "large_20k", "large_100k", "large_300k", "large_500k", "large_700k"
]
assert get_args(PerplexityModel) == (*SIZES, *(f"large_{steps}" for steps in MILESTONES))


class Perplexity(Section):
    """Perplexity scorers (paper, section 3.4): a model each; windows of `window` tokens, at most `max_windows` (0: all); `batch_tokens = 0` goes by device."""

    models: dict[PerplexityModel, Model]
    window: Positive
    max_windows: Annotated[int, Field(ge=0)]
    seed: int
    batch_tokens: Annotated[int, Field(ge=0)] = Field(json_schema_extra=EXECUTION)


class _Likelihood(Protocol):
    def nll_flat(
        self,
        ids: NDArray[np.integer],
        offsets: NDArray[np.int64],
        doc_hash: NDArray[np.uint64],
        progress: Progress = ...,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...


@dataclass(frozen=True)
class Scorer:
    """A model that gives likelihoods, how it reads documents, and how many of them it scores in about a minute."""

    likelihood: _Likelihood
    read: TokenReader
    part: int


def setup(key: str, context: Context) -> Scorer:
    """Load the model that the artifact `key` is the note of."""
    settings = context.profile.samplers.perplexity
    model, tokenizer = open_scorer(context, key)
    tokens = settings.window * (settings.max_windows or 4)
    return Scorer(
        likelihood(context, model, tokenizer),
        token_reader(context, tokenizer),
        documents_a_part(model, tokens, context.device),
    )


def likelihood(context: Context, model: Any, tokenizer: Any) -> _Likelihood:
    """Return the perplexity scorer that suits the model: span corruption for a T5, next tokens for a decoder alone."""
    from curation_assets.scoring.perplexity import SpanPerplexity
    from curation_assets.scoring.token_perplexity import TokenPerplexity

    settings = context.profile.samplers.perplexity
    common: dict[str, Any] = {
        "model": model,
        "max_windows": settings.max_windows or None,
        "device": context.device,
        "dtype": context.profile.execution.dtype,
    }
    if not model.config.is_encoder_decoder:
        return settings.to(TokenPerplexity, tokenizer=tokenizer, **common)
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError(f"a {model.config.model_type} has no span-corruption perplexity: it is no T5")
    return settings.to(
        SpanPerplexity, eos=tokenizer.eos_id, first_sentinel=tokenizer.first_sentinel_id, **common
    )


def score(scorer: Scorer, documents: Documents, progress: Progress) -> Scores:
    """Return minus each document's perplexity, and how many tokens it was taken over."""
    nll, count = scorer.likelihood.nll_flat(*scorer.read(documents), documents.hashes, progress)
    return {"score": -np.exp(nll / count), "target_tokens": count.astype(np.int32)}


def _sampler(model: str, which: str, paper: str) -> Sampler:
    name = f"perplexity_{model}"
    return Sampler(
        name=name,
        family="perplexity",
        technique="top_k",
        description=f"Minus the document's perplexity under {which}: text that the model finds easy is kept.",
        paper=f"perplexity filtering ({paper})",
        inputs=INPUTS,
        settings=Perplexity,
        section="perplexity",
        model=f"samplers.perplexity.models.{model}",
        columns={"target_tokens": Column("int32", "Tokens that the perplexity is the mean of")},
        setup=partial(setup, f"{name}/model"),
        score=score,
        part=lambda scorer: scorer.part,
        highest=-1.0,
        minus="perplexity",
        code=2,
    )


_T5 = {"small": "Small", "base": "Base", "large": "Large", "xl": "XL", "xxl": "XXL"}

SAMPLERS = (
    *(_sampler(size, f"the {size} T5", f"T5-{_T5[size]}") for size in SIZES),
    *(
        _sampler(
            f"large_{steps}",
            f"the large T5 after {share:.0%} of its own training",
            f"T5-Large after {steps} steps",
        )
        for steps, share in MILESTONES.items()
    ),
)
