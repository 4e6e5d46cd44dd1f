"""Ask-LLM (paper, section 3.1): a model is asked whether a document is worth training on.

Five judges are of T5's sizes; a sixth, `ask_llm_gemma`, is there once the profile names a model for it: any instruction-tuned decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import pyarrow as pa
from pydantic import Field, model_validator

from curation_assets.common.files import read_json
from curation_assets.common.progress import Progress
from curation_assets.config.model_sources import ModelSource, parse
from curation_assets.config.registry import SIZES
from curation_assets.config.section import EXECUTION, Model, Positive, Section
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Metadata
from curation_assets.models.build import open_scorer
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.models import INPUTS, documents_a_part, same_pieces
from curation_assets.samplers.spec import Column, Sampler, Scores

if TYPE_CHECKING:
    from curation_assets.scoring.ask_llm import AskLLM
    from curation_assets.scoring.server_judge import ServerJudge


_SERVER_PART = 512  # documents that a kill may cost, of a judge behind a server


Judges = Literal["small", "base", "large", "xl", "xxl", "gemma"]


class AskLLMSettings(Section):
    """Ask-LLM scorers (paper, section 3.1): a judge each, and the prompt that all are asked; `batch_tokens = 0` goes by device."""

    models: dict[Judges, Model]
    prompt: str
    max_tokens: Positive
    batch_tokens: Annotated[int, Field(ge=0)] = Field(json_schema_extra=EXECUTION)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.prompt.count("{document}") != 1:
            raise ValueError("prompt must hold {document} once: the place of the document")
        return self


@dataclass(frozen=True)
class Judge:
    """A model that is asked, whether it reads what `corpus/tokens` holds, and how many documents it scores in about a minute."""

    model: AskLLM | ServerJudge
    reads_tokens: bool
    part: int


def setup(key: str, context: Context) -> Judge:
    """Load the judge that the artifact `key` is the note of, and see what it reads."""
    judge, tokenizer = load_judge(key, context)
    if tokenizer is None:
        return Judge(judge, False, _SERVER_PART)
    part = documents_a_part(cast("AskLLM", judge).model, judge.max_tokens, context.device)
    return Judge(judge, same_pieces(context, tokenizer), part)


def load_judge(key: str, context: Context) -> tuple[AskLLM | ServerJudge, Any]:
    """Return the judge that the artifact `key` is the note of, and its tokenizer: None where a server has that."""
    source = parse(read_json(context.open(key) / "model.json")["source"])
    if source.kind == "server":
        return server_judge(context, source), None
    model, tokenizer = open_scorer(context, key)
    return ask_llm(context, model, tokenizer), tokenizer


def server_judge(context: Context, source: ModelSource, max_tokens: int | None = None) -> ServerJudge:
    """Return a judge behind a server with the profile's prompt."""
    from curation_assets.scoring.server_judge import ServerJudge

    settings = context.profile.samplers.ask_llm
    most = max_tokens or settings.max_tokens
    return ServerJudge(source.name, source.within, template=settings.prompt, max_tokens=most)


def ask_llm(context: Context, model: Any, tokenizer: Any, max_tokens: int | None = None) -> AskLLM:
    """Return an `AskLLM` with the profile's prompt; `max_tokens` is the profile's for the samplers unless given."""
    from curation_assets.scoring.ask_llm import AskLLM

    settings = context.profile.samplers.ask_llm
    return AskLLM(
        model,
        tokenizer,
        template=settings.prompt,
        max_tokens=max_tokens or settings.max_tokens,
        batch_tokens=settings.batch_tokens or None,
        device=context.device,
        dtype=context.profile.execution.dtype,
    )


def score(judge: Judge, documents: Documents, progress: Progress) -> Scores:
    """Return log P(yes) of each document, tokens read, whether cut, and flags."""
    tokens = documents.tokens if judge.reads_tokens else None
    return vars(judge.model.score_table(documents.texts, progress, tokens=tokens))


def summary(scores: pa.Table) -> Metadata:
    """Return how many documents were cut, and how many talk to the judge."""
    cut, flags = scores["cut"].to_numpy(), scores["flags"].to_numpy()
    return {"cut_share": float(cut.mean()), "flagged": int((flags > 0).sum())}


def _sampler(size: str, which: str, paper: str) -> Sampler:
    name = f"ask_llm_{size}"
    return Sampler(
        name=name,
        family="ask_llm",
        technique="top_k",
        description=f'Log probability that {which} answers "yes" when asked whether the document is worth training on.',
        paper=f"Ask-LLM ({paper})",
        inputs=INPUTS,
        settings=AskLLMSettings,
        section="ask_llm",
        model=f"samplers.ask_llm.models.{size}",
        columns={
            "tokens": Column("int32", "Tokens of the document that the judge read"),
            "cut": Column("bool", "Whether there were more"),
            "flags": Column(
                "uint8", "Marks of a text that talks to the judge, which is neutralised first; 0 for none"
            ),
        },
        setup=partial(setup, f"{name}/model"),
        score=score,
        part=lambda judge: judge.part,
        summary=summary,
        highest=0.0,  # the logarithm of a probability
        code=3,
    )


SAMPLERS = (
    *(
        _sampler(size, f"the {size} judge", paper)
        for size, paper in zip(SIZES, ("Small", "Base", "Large", "XL", "XXL"), strict=True)
    ),
    _sampler("gemma", "a decoder of your own", "Gemma-7B"),
)
