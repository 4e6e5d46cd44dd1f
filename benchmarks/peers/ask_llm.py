"""Ask-LLM by a T5 of Flan-T5-Small's shape with random weights, on documents as long and as short as the corpus has them: nano-askllm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import READY, Comparison

_DOCUMENTS, _MAX_TOKENS, _VOCABULARY = 32, 512, 32_128


def _judge() -> Any:
    from curation_assets.models import t5

    return t5.build(t5.V1_1["small"], _VOCABULARY, seed=0).eval()


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Yield log P(yes) of each document, and whether it was cut: rows of two."""
    from curation_assets.models.tokenizer import load_tokenizer
    from curation_assets.scoring.ask_llm import AskLLM

    texts = material.texts(folder, _DOCUMENTS)
    ask = AskLLM(_judge(), load_tokenizer(folder / "tokenizer"), max_tokens=_MAX_TOKENS, device="cpu")
    ask.score(texts[:2])
    yield READY
    table = ask.score_table(texts)
    yield np.stack([table.score, table.cut])


def nano_askllm(folder: Path, size: int) -> Iterator[np.ndarray]:
    """Yield log P(yes) of each document; in batches of `size`, as they come."""
    from nano_askllm import AskLLM
    from transformers import PreTrainedTokenizerFast

    from curation_assets.scoring import prompt

    logging.getLogger("nano_askllm").setLevel(logging.ERROR)
    texts = material.texts(folder, _DOCUMENTS)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    ask = AskLLM(
        tokenizer,
        _judge(),
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


def _comparison(size: int, aim: float | None) -> Comparison:
    theirs: Callable[[Path], Iterator[np.ndarray]] = partial(nano_askllm, size=size)
    work = f"Ask-LLM, Flan-T5-Small's shape, its batches of {size}"
    return Comparison("nano-askllm", "nano-askllm", work, ours, theirs, agreement, aim)


COMPARISONS = (_comparison(2, None), _comparison(16, 3.0))
