"""What stands around a document when a judge reads it, and the tokens that count as its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curation_assets.common.batching import Encode, Ids

_PLACE = "\ue000document\ue000"  # where the document goes in a rendered chat template


def answer_ids(encode: Encode, spellings: Sequence[str], unknown: int | None = None) -> tuple[int, ...]:
    """Return the ids of the spellings that are a single token, ascending and each once.

    Raises
    ------
    ValueError
        None is: the tokenizer cannot say "yes" in one token, so a first token says nothing.
    """
    pieces = [ids.tolist() for ids in encode(spellings)]
    if answers := sorted({ids[0] for ids in pieces if len(ids) == 1 and ids[0] != unknown}):
        return tuple(answers)
    spelled = ", ".join(
        f"{name!r} is {len(ids)} token{'s'[: len(ids) != 1]}"
        for name, ids in zip(spellings, pieces, strict=True)
    )
    raise ValueError(
        f"the tokenizer has no piece of its own for the answer ({spelled}{'' if unknown is None else f'; id {unknown} is unknown'}): "
        f'train it with "{spellings[0]}" among its pieces, or use another judge'
    )


def named_id(tokenizer: Any, name: str) -> int | None:
    """Return the id of a special token, by transformers' name for it or by `models.tokenizer.Tokenizer`'s."""
    return getattr(tokenizer, f"{name}_token_id", getattr(tokenizer, f"{name}_id", None))


def plain_frame(tokenizer: Any, encode: Encode, prefix: str, suffix: str) -> tuple[Ids, Ids]:
    """Return the ids before and after the document for an encoder-decoder: the prompt, and the end of the input."""
    end = named_id(tokenizer, "eos")
    if end is None:
        raise ValueError("the tokenizer has no end-of-sequence token")
    before, after = encode([prefix, suffix])
    return before, np.append(after, np.int32(end))


def chat_frame(tokenizer: Any, encode: Encode, prefix: str, suffix: str) -> tuple[Ids, Ids]:
    """Return the ids before and after the document for a chat model: its template around the prompt as the user's turn."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the tokenizer has no chat_template: Ask-LLM needs an instruction-tuned model (set tokenizer.chat_template if this is one)"
        )
    turn = {"role": "user", "content": f"{prefix}{_PLACE}{suffix}"}
    rendered = tokenizer.apply_chat_template(
        [turn],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,  # for templates that ask: the first token is to be the answer
        date_string="1 Jan 2024",  # for templates that would write today's date: a score must not change overnight
    )
    parts = rendered.split(_PLACE)
    if len(parts) != 2:
        raise ValueError(f"the chat template writes the user's turn {len(parts) - 1} times, expected once")
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts)
    return np.asarray(before, np.int32), np.asarray(after, np.int32)
