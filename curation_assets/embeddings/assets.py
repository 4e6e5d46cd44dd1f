"""The embeddings asset."""

from __future__ import annotations

from curation_assets.embeddings import build
from curation_assets.products import Product

EMBEDDINGS = (
    Product(
        "corpus/embeddings",
        build.embeddings,
        "A vector of length one for each document.",
        "Row by row as in `corpus/documents`. All coverage samplers go by these; the model is `embeddings.model` in the profile.",
        files="`embeddings.npy` (float32 or float16 [documents, dimensions])",
        paper="Sentence-T5-Base, 768 dimensions",
    ),
)
