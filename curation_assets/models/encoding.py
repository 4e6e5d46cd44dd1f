"""Texts to token ids by any fast tokenizer, special tokens as ordinary text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from curation_assets.common.batching import Encode, Ids
from curation_assets.models import tokenizer as corpus


def document_encoder(tokenizer: Any) -> Encode:
    """Return a function from texts to their ids, in which special tokens are ordinary text; the tokenizer is left alone.

    Raises
    ------
    TypeError
        The tokenizer is neither this project's nor backed by the `tokenizers` package.
    """
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    if isinstance(tokenizer, corpus.Tokenizer):
        return tokenizer.encode_batch
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        raise TypeError(f"{type(tokenizer).__name__} is no fast tokenizer")
    state = json.loads(backend.to_str())
    own = Tokenizer.from_str(json.dumps(state))
    own.no_padding()
    own.no_truncation()
    own.encode_special_tokens = True
    special = [
        token["content"] for token in state["added_tokens"] if token["special"] and len(token["content"]) > 1
    ]
    if (
        state["model"]["type"] == "Unigram" and special
    ):  # it has them as pieces: cut their first characters off
        guard = "|".join(f"{_escaped(name[0])}(?={_escaped(name[1:])})" for name in special)
        split = pre_tokenizers.Split(Regex(guard), "merged_with_previous")
        parts = [split] if own.pre_tokenizer is None else [own.pre_tokenizer, split]
        own.pre_tokenizer = pre_tokenizers.Sequence(parts)

    def encode(texts: Sequence[str]) -> list[Ids]:
        encoded = own.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, np.int32) for one in encoded]

    return encode


def _escaped(text: str) -> str:
    return "".join(f"\\x{{{ord(character):X}}}" for character in text)
