"""Embedding by MiniLM: our encoder against sentence-transformers' own `encode`, and NeMo Curator's stage, of the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import READY, Comparison

_DOCUMENTS, _MAX_TOKENS = 128, 128


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Yield the vectors of documents, cut at the model's limit."""
    texts, encoder = material.texts(folder, _DOCUMENTS), material.encoder(folder, _MAX_TOKENS)
    encoder.encode(texts[:4])
    yield READY
    yield encoder.encode(texts)


def sentence_transformers(folder: Path) -> Iterator[np.ndarray]:
    """Yield the vectors of documents by `SentenceTransformer.encode` as it is called without settings."""
    from sentence_transformers import SentenceTransformer

    from curation_assets.models.sources import resolve

    texts = material.texts(folder, _DOCUMENTS)
    model = SentenceTransformer(
        str(resolve(material.ENCODER, cache=folder).folder), device="cpu", local_files_only=True
    )
    model.max_seq_length = _MAX_TOKENS
    model.encode(texts[:4])
    yield READY
    yield model.encode(texts, show_progress_bar=False)


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare vectors."""
    return f"components of the vectors differ by at most {np.abs(one - other).max():.0e}"


_WORK = f"embeddings of {_DOCUMENTS} documents by MiniLM, at most {_MAX_TOKENS} tokens"
COMPARISONS = (
    Comparison(
        "sentence-transformers", "sentence-transformers", _WORK, ours, sentence_transformers, agreement, 1.0
    ),
)
