"""One text put to a model, before it reads a corpus: what a judge answers and what it was really asked, or how perplexed a model is.

Prompt, lengths and everything else that a score depends on are the profile's, so that the answer is the score that the document would have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation_assets.common.hashing import hash_documents, text_digest
from curation_assets.config.model_sources import parse
from curation_assets.config.paths import value_at
from curation_assets.config.profile import Profile, absolute
from curation_assets.config.registry import SAMPLERS
from curation_assets.config.settings import unknown_sampler
from curation_assets.corpus.normalize import defect, normalize
from curation_assets.engine.aside import AsideWorkspace
from curation_assets.engine.context import Context
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Builder
from curation_assets.models.build import open_scorer
from curation_assets.models.encoding import document_encoder
from curation_assets.samplers.ask_llm import load_judge
from curation_assets.samplers.perplexity import likelihood
from curation_assets.scoring.ridge_judge import RidgeJudge

CUT = " [the document is cut here] "
_JUDGE, _PERPLEXITY = "ask_llm_small", "perplexity_small"
"""The samplers as whose model a source is taken: settings are one for all samplers of a family."""


@dataclass(frozen=True)
class Judgement:
    """What a judge says of a text.

    Attributes
    ----------
    p_yes, log_p_yes : the probability that it answers "yes"; its logarithm is the score.
    tokens, cut : how many of the text's tokens it read, and whether there were more.
    flags : why the text was marked, if it was; of one that is suspicious, the lower of two readings counts (`scoring.prompt`).
    prompt : what it was asked: all that the model reads, decoded from its tokens; of a server, what that was sent.
    """

    model: str
    p_yes: float
    log_p_yes: float
    tokens: int
    cut: bool
    flags: tuple[str, ...]
    prompt: str


@dataclass(frozen=True)
class Fluency:
    """How perplexed a model is by a text, and the tokens that the mean was taken over."""

    model: str
    perplexity: float
    target_tokens: int


def ask(
    profile: Profile, model: str, text: str, builders: Mapping[str, Builder], *, perplexity: bool = False
) -> Judgement | Fluency:
    """Put a text to a model.

    Parameters
    ----------
    model : a sampler's name, whose model that is, or a model source as profiles spell it.
    builders : {asset key: builder} of the graph.
    perplexity : of a source, take the perplexity, and not the answer. A source that is a checkpoint of full data always has that.

    Raises
    ------
    ValueError
        There is no such model, or the text can be no document.
    MissingInput
        The model is one of the graph's that has not been made.
    """
    if problem := defect(text):
        raise ValueError(f"the text can be no document: {problem[0]}, {problem[1]}")
    if not text.strip():
        raise ValueError("the text is empty")
    profile, sampler = as_sampler(profile, model, perplexity)
    workspace, key = AsideWorkspace(profile, builders), f"{sampler}/model"
    try:
        workspace.make(key)
        context = Context(workspace, STEPS[f"{sampler}/scores"])
        source = str(profile.model_source(sampler))
        answer = _judged if SAMPLERS[sampler].section == "ask_llm" else _fluency
        return answer(source, key, context, normalize(text))
    finally:
        workspace.close()


def as_sampler(profile: Profile, model: str, perplexity: bool) -> tuple[Profile, str]:
    """Return a profile under which a model, by the name of its sampler or by its source, is that of a sampler; and that sampler."""
    if model in SAMPLERS:
        if SAMPLERS[model].section not in ("ask_llm", "perplexity"):
            raise ValueError(
                f"{model} asks no model about a text: `curation score {model} FILE` scores the documents of a file"
            )
        if profile.model_source(model) is None:
            raise ValueError(f"{SAMPLERS[model].model} is missing: the profile names no model for {model}")
        return profile, model
    if ":" not in model:
        raise ValueError(
            f"{unknown_sampler(model)}; or name a model by a source: path:FOLDER, hub:ORG/NAME@COMMIT, ..."
        )
    if model.startswith("path:"):
        model = f"path:{absolute(model.removeprefix('path:'))}"
    source = parse(model)
    lends = source.kind == "asset" and source.name == "full_data/checkpoint"
    sampler = _PERPLEXITY if perplexity or lends else _JUDGE
    return with_model(profile, sampler, model), sampler


def with_model(profile: Profile, sampler: str, source: str) -> Profile:
    """Return a profile in which a sampler has the model of another source."""
    section, _, table = SAMPLERS[sampler].model.removeprefix("samplers.").partition(".")
    models, _, which = table.rpartition(".")
    settings = getattr(profile.samplers, section)
    changed = settings.model_copy(update={models: {**value_at(settings, models), which: source}})
    return profile.model_copy(update={"samplers": profile.samplers.model_copy(update={section: changed})})


def _judged(source: str, key: str, context: Context, text: str) -> Judgement:
    from curation_assets.scoring import prompt
    from curation_assets.scoring.server_judge import ServerJudge

    judge, tokenizer = load_judge(key, context)
    if isinstance(judge, RidgeJudge):
        sampler = key.partition("/")[0]
        raise ValueError(
            f"the judge of {sampler} goes by embeddings and is asked nothing: `curation score {sampler} FILE` scores documents"
        )
    table = judge.score_table([text])
    cut, flags = bool(table.cut[0]), prompt.Flag(int(table.flags[0]))
    if isinstance(judge, ServerJudge):
        clean = prompt.neutralise(text)[0].strip()
        asked = judge.question(clean[: judge.characters] + (CUT if cut else ""))
    else:
        before, document, after = judge.input_parts([text])[0]
        decode = _decoder(tokenizer)
        asked = (
            decode(np.r_[before, document]) + CUT + decode(after)
            if cut
            else decode(np.r_[before, document, after])
        )
    score = float(table.score[0])
    return Judgement(
        source,
        float(np.exp(score)),
        score,
        int(table.tokens[0]),
        cut,
        tuple(flag.name or "" for flag in flags),
        asked,
    )


def _decoder(tokenizer: Any) -> Callable[[np.ndarray], str]:
    """Return what makes a text of ids, special tokens included."""
    return lambda ids: tokenizer.decode(ids.tolist(), skip_special_tokens=False)


def _fluency(source: str, key: str, context: Context, text: str) -> Fluency:
    """Take the perplexity as of a document without an id."""
    model, tokenizer = open_scorer(context, key)
    (ids,) = document_encoder(tokenizer)([text])
    digest = text_digest(text)
    doc_hash = hash_documents([digest.hex()], [digest])
    nll, count = likelihood(context, model, tokenizer).nll_flat(ids, np.array([0, len(ids)]), doc_hash)
    return Fluency(source, float(np.exp(nll[0] / count[0])), int(count[0]))


def to_text(answer: Judgement | Fluency) -> str:
    """Return an answer for a terminal."""
    if isinstance(answer, Fluency):
        return (
            f"model       {answer.model}\nperplexity  {answer.perplexity:.4g}   (the mean over {answer.target_tokens:,} tokens; "
            "its score is minus that)"
        )
    read = f"{answer.tokens:,} of the text's tokens; {'the rest was cut' if answer.cut else 'all of them'}"
    lines = [
        f"model       {answer.model}",
        f"P(yes)      {answer.p_yes:.4g}",
        f"log P(yes)  {answer.log_p_yes:.4f}   (the score)",
        f"read        {read}",
    ]
    if answer.flags:
        lines.append(
            f"flags       {', '.join(answer.flags)}: the text talks to the judge; that is marked by · below, and where it is suspicious, "
            "the text is judged again without it: the lower score counts"
        )
    return "\n".join([*lines, "", "asked:", answer.prompt])
