"""What samplers that score with a model share: the token ids that it reads, and how many documents a kill may cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from curation_assets.common.batching import Flat
from curation_assets.engine.context import Context
from curation_assets.models.encoding import document_encoder
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.parts import part_size

INPUTS = ("corpus/documents", "corpus/tokens", "corpus/tokenizer")
"""What scoring with a model reads besides the model."""

_TEXTS = 1_024  # encoded at a time: an encoding is many times as large as its ids

TokenReader = Callable[[Documents], Flat]
"""Gives the token ids of documents."""


def token_reader(context: Context, tokenizer: Any) -> TokenReader:
    """Return what reads documents as a model does: from `corpus/tokens` where it has the corpus's tokenizer, else with its own."""
    if same_pieces(context, tokenizer):
        return lambda documents: documents.tokens
    encode = document_encoder(tokenizer)

    def read(documents: Documents) -> Flat:
        texts = documents.texts
        parts = [ids for low in range(0, len(texts), _TEXTS) for ids in encode(texts[low : low + _TEXTS])]
        ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return (np.concatenate(parts) if parts else np.zeros(0, np.int32)), ends

    return read


def same_pieces(context: Context, tokenizer: Any) -> bool:
    """Tell whether a model reads with the corpus's tokenizer, so that `corpus/tokens` holds what it reads; before there is one, none does."""
    if not isinstance(tokenizer, Tokenizer) or context.receipt("corpus/tokenizer") is None:
        return False
    return tokenizer.vocabulary() == load_tokenizer(context.open("corpus/tokenizer")).vocabulary()


def documents_a_part(model: Any, tokens: int, device: str) -> int:
    """Return how many documents of about `tokens` tokens a model scores in about a minute."""
    return part_size(sum(parameter.numel() for parameter in model.parameters()), tokens, device)
