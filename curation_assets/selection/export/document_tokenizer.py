"""The tokenizer that an export's texts are encoded by: the corpus's own, or any fast one that a model source names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation_assets.common.batching import Encode
from curation_assets.engine.workspace import MissingInput, Workspace, not_made
from curation_assets.models.encoding import document_encoder
from curation_assets.models.sources import resolve
from curation_assets.models.tokenizer import EOS, load_tokenizer


@dataclass(frozen=True)
class DocumentTokenizer:
    """Encodes texts without special tokens; `end` is the token, and `end_id` its id, that stands behind each document."""

    name: str
    digest: str
    encode: Encode
    end: str
    end_id: int
    dtype: np.dtype


def tokenizer_of_corpus(workspace: Workspace, end: str = "") -> DocumentTokenizer:
    """Return the corpus's tokenizer, by which `n_tokens` of an export count."""
    key = "corpus/tokenizer"
    if (receipt := workspace.receipt(key)) is None:
        raise MissingInput(f"{not_made(key, '')}; or name a tokenizer")
    own = load_tokenizer(workspace.open(key))
    return _ready(key, receipt.version, own, own.vocabulary(), end or EOS)


def tokenizer_of_source(source: str, cache: Path, end: str = "") -> DocumentTokenizer:
    """Return the tokenizer that a model source names ("hub:ORG/NAME@COMMIT", "path:FOLDER", "pip:..."), without the model's weights.

    Raises
    ------
    ValueError
        It is no fast tokenizer, or has no token that ends a document.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    model = resolve(source, cache=cache, weights=False)
    kind: Any = PreTrainedTokenizerFast if "tokenizer.json" in model.files else AutoTokenizer
    try:
        own = kind.from_pretrained(model.folder, local_files_only=True)
        return _ready(source, model.digest, own, own.get_vocab(), end or own.eos_token or "")
    except (OSError, TypeError) as error:
        raise ValueError(f"tokenizer {source}: {error}") from error


def _ready(name: str, digest: str, own: Any, vocabulary: Mapping[str, int], end: str) -> DocumentTokenizer:
    if not end:
        raise ValueError(f"tokenizer {name} does not say which token ends a document: name it by --end")
    if end not in vocabulary:
        raise ValueError(f"tokenizer {name} has no token {end!r}")
    dtype = np.dtype("<u2" if max(vocabulary.values()) < 1 << 16 else "<i4")
    return DocumentTokenizer(name, digest, document_encoder(own), end, vocabulary[end], dtype)
