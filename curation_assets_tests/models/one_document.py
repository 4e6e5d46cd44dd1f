"""Span corruption of a single document: what batches of windows are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation_assets.models.span_corruption import corrupt_padded, document_keys, noise_mask


def corrupt_document(
    token_ids: ArrayLike,
    doc_hash: int,
    window: int = 0,
    seed: int = 0,
    *,
    eos: int,
    first_sentinel: int,
    density: float = 0.15,
    mean_span: float = 3.0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corrupt one document, or window number `window` of it: `(inputs, targets)`, a pure function of the arguments."""
    tokens = np.asarray(token_ids, np.int64).reshape(1, -1)
    keys = document_keys(np.uint64(doc_hash), window, seed)
    mask = noise_mask(keys, tokens.shape[1], density, mean_span)
    inputs, _, targets, _ = corrupt_padded(
        tokens, mask, tokens.shape[1], eos=eos, first_sentinel=first_sentinel
    )
    return inputs[0], targets[0]
