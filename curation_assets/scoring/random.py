"""Random: the paper's baseline, as a score like any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curation_assets.common.hashing import hash_ids, noise


def random_scores(docs: np.ndarray | Sequence[str] | pa.Array, seed: int) -> np.ndarray:
    """Uniform scores in (0, 1), float64 [n]: a function of (document, seed) alone.

    `docs` are the documents' `doc_hash`, a uint64 array (`sampling.keys.hash_documents`), as in the graph; or ids, of which
    `hash_ids` is taken. They are the keys of the technique "uniform" with the same seed, so the subsets of growing
    rates are nested.
    """
    hashes = docs if isinstance(docs, np.ndarray) and docs.dtype == np.uint64 else hash_ids(docs)
    return noise(hashes, seed)
