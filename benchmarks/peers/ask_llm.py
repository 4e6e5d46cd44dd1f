"""Ask-LLM by T5s with random weights, on documents as long and as short as the corpus has them, against nano-askllm."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import READY, Comparison

_MAX_TOKENS = 512
_SMALLEST, _FLAN = "the local profile's smallest T5", "Flan-T5-Small's shape"
_DOCUMENTS = {_SMALLEST: 160, _FLAN: 32}


def _judge(name: str) -> Any:
    from curation_assets.models import t5

    shape, vocabulary = {
        _SMALLEST: (t5.Shape(96, 24, 256, 2, 4), 4_096),
        _FLAN: (t5.V1_1["small"], 32_128),
    }[name]
    return t5.build(shape, vocabulary, seed=0).eval()


def ours(folder: Path, judge: str) -> Iterator[np.ndarray]:
    """Yield log P(yes) of each document, and whether it was cut: rows of two."""
    from curation_assets.models.tokenizer import load_tokenizer
    from curation_assets.scoring.ask_llm import AskLLM

    texts = material.texts(folder, _DOCUMENTS[judge])
    ask = AskLLM(_judge(judge), load_tokenizer(folder / "tokenizer"), max_tokens=_MAX_TOKENS, device="cpu")
    ask.score(texts[:2])
    yield READY
    table = ask.score_table(texts)
    yield np.stack([table.score, table.cut])


def nano_askllm(folder: Path, judge: str, size: int) -> Iterator[np.ndarray]:
    """Yield log P(yes) of each document; in batches of `size`, as they come."""
    from nano_askllm import AskLLM
    from transformers import PreTrainedTokenizerFast

    from curation_assets.scoring import prompt

    logging.getLogger("nano_askllm").setLevel(logging.ERROR)
    texts = material.texts(folder, _DOCUMENTS[judge])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    ask = AskLLM(
        tokenizer,
        _judge(judge),
        prompt_template_postfix=prompt.SUFFIX,
        yes_tokens=["yes"],
        max_tokens=_MAX_TOKENS,
    )
    ask.ask(texts[:2])
    yield READY
    parts = [ask.ask(texts[at : at + size]).numpy() for at in range(0, len(texts), size)]
    yield np.log(np.concatenate(parts))


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare log P(yes) of the documents that neither cuts: what is cut is not the same (theirs loses a space at the cut)."""
    score, cut = one
    whole = cut == 0
    apart = np.abs(score - other)[whole].max()
    return f"log P(yes) of the {whole.sum()} documents of {len(whole)} that are not cut differs by at most {apart:.0e}"


def _comparison(judge: str, size: int) -> Comparison:
    sides = partial(ours, judge=judge), partial(nano_askllm, judge=judge, size=size)
    work = f"Ask-LLM by {judge}, its batches of {size}"
    return Comparison("nano-askllm", "nano-askllm", work, *sides, agreement, 3.0)


COMPARISONS = (_comparison(_SMALLEST, 2), _comparison(_SMALLEST, 16), _comparison(_FLAN, 16))
