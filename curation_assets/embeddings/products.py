"""The embeddings asset."""

from __future__ import annotations

from curation_assets.embeddings import build
from curation_assets.engine.product import Product

EMBEDDINGS = (
    Product(
        "corpus/embeddings",
        build.embeddings,
        "A vector of length one for each document.",
        "Row by row as in `corpus/documents`. All coverage samplers go by these; the model is `embeddings.model` in the profile. "
        "Of a document longer than `embeddings.max_tokens` evenly spaced windows are read (`embeddings.windows`), and their mean is taken. "
        "Metadata: `unknown_share` (tokens that the model does not know), `unreadable_documents` (more than a fifth of the characters unknown), "
        "`cut_documents` and `cut_share` (not read whole; tokens not read).",
        files="`embeddings.npy` (float32 [documents, dimensions]), `readable.npy` (bool [documents])",
        paper="Sentence-T5-Base, 768 dimensions",
    ),
    Product(
        "corpus/reference_embeddings",
        build.reference_embeddings,
        "A vector of length one for each document of the reference.",
        "Row by row as in `corpus/reference`, by the encoder of `corpus/embeddings`.",
        files="`embeddings.npy` (float32 [documents, dimensions]), `readable.npy` (bool [documents])",
    ),
)
