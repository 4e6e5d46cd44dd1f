"""Ask-LLM (paper, section 3.1): a model is asked whether a document is worth training on.

Five judges are of T5's sizes; a sixth, `ask_llm_gemma`, is there once the profile names a model for it: any instruction-tuned decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curation_assets.common.files import read_json
from curation_assets.common.progress import Progress
from curation_assets.config.model_sources import ModelSource, parse
from curation_assets.config.registry import SIZES
from curation_assets.config.section import EXECUTION, Model, Positive, Section
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Metadata
from curation_assets.models.build import open_model, open_scorer
from curation_assets.samplers.caveats import CAVEAT, UNREADABLE, YES_NOT_SHOWN, caveats
from curation_assets.samplers.documents import Documents, blocks
from curation_assets.samplers.models import INPUTS, documents_a_part, same_pieces
from curation_assets.samplers.spec import Column, Sampler, Scores
from curation_assets.scoring.ridge_judge import RidgeJudge, load_ridge_judge

if TYPE_CHECKING:
    from curation_assets.scoring.ask_llm import AskLLM
    from curation_assets.scoring.server_judge import ServerJudge


_SERVER_PART = 512  # documents that a kill may cost, of a judge behind a server
_RIDGE_PART = 1 << 20


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


class Judge(NamedTuple):
    """What scores documents, and how many of them between two saves: about a minute's work."""

    score: Callable[[Documents, Progress], Scores]
    part: int


def setup(key: str, context: Context) -> Judge:
    """Load the judge that the artifact `key` is the note of, and see what it reads."""
    judge, tokenizer = load_judge(key, context)
    if isinstance(judge, RidgeJudge):
        return Judge(partial(_by_embeddings, judge), _RIDGE_PART)
    if tokenizer is None:
        return Judge(partial(_served, judge), _SERVER_PART)
    part = documents_a_part(judge.model, judge.max_tokens, context.device)
    return Judge(partial(_asked, judge, same_pieces(context, tokenizer)), part)


def load_judge(key: str, context: Context) -> tuple[Any, Any]:
    """Return the judge that the artifact `key` is the note of, and its tokenizer: None where a server has that, or it reads no tokens.

    It is an `AskLLM`, a `ServerJudge` or a `RidgeJudge`.
    """
    note = read_json(context.open(key) / "model.json")
    source = parse(note["source"])
    if source.kind == "server":
        return server_judge(context, source), None
    if note.get("student") == "embeddings":
        return load_ridge_judge(open_model(context, key).folder), None
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


def _asked(judge: AskLLM, reads_tokens: bool, documents: Documents, progress: Progress) -> Scores:
    """Ask a model of this process; `reads_tokens` tells whether `corpus/tokens` holds what it reads."""
    tokens = documents.tokens if reads_tokens else None
    table = judge.score_table(documents.texts, progress, tokens=tokens)
    return {**vars(table), "caveat": pa.nulls(len(documents))}


def _served(judge: ServerJudge, documents: Documents, progress: Progress) -> Scores:
    columns = dict(vars(judge.score_table(documents.texts, progress)))
    hidden = ~columns.pop("shown")
    return {**columns, "caveat": caveats(hidden, YES_NOT_SHOWN)}


def _by_embeddings(judge: RidgeJudge, documents: Documents, progress: Progress) -> Scores:
    """Score by embeddings: nothing is asked, so nothing can be talked to, and which tokens the encoder read is not known of each."""
    x, readable, hashes = documents.embeddings, documents.readable, documents.hashes
    scores = np.empty(len(x))
    for rows, part in blocks(x):
        scores[rows] = judge.score(part, readable[rows], hashes[rows])
        progress(rows.stop, len(x), "documents")
    unknown = pa.nulls(len(x))
    flags = np.zeros(len(x), np.uint8)
    return {
        "score": scores,
        "tokens": unknown,
        "cut": unknown,
        "flags": flags,
        "caveat": caveats(~readable, UNREADABLE),
    }


def score(judge: Judge, documents: Documents, progress: Progress) -> Scores:
    """Return log P(yes) of each document, tokens read, whether cut, flags, and what the score does not say."""
    return judge.score(documents, progress)


def summary(scores: pa.Table) -> Metadata:
    """Return how many documents were cut, how many talk to the judge, and of how many the score says less than it should."""
    about: Metadata = {"flagged": int((scores["flags"].to_numpy() > 0).sum())}
    if scores["cut"].null_count < len(scores):
        about["cut_share"] = pc.mean(scores["cut"].cast("uint8")).as_py()
    for row in pc.value_counts(scores["caveat"].drop_null()).to_pylist():
        about[f"{row['values']}_documents"] = row["counts"]
    return about


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
            "tokens": Column(
                "int32", "Tokens of the document that the judge read; null for one that goes by embeddings"
            ),
            "cut": Column("bool", "Whether there were more; null as above"),
            "flags": Column(
                "uint8", "Marks of a text that talks to the judge, which is neutralised first; 0 for none"
            ),
            **CAVEAT,
        },
        setup=partial(setup, f"{name}/model"),
        score=score,
        part=lambda judge: judge.part,
        summary=summary,
        highest=0.0,  # the logarithm of a probability
        code=4,
    )


SAMPLERS = (
    *(
        _sampler(size, f"the {size} judge", paper)
        for size, paper in zip(SIZES, ("Small", "Base", "Large", "XL", "XXL"), strict=True)
    ),
    _sampler("gemma", "a decoder of your own", "Gemma-7B"),
)
