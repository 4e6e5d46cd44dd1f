"""Windows over long documents: evenly spaced, the same for every reader of tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cut_windows(
    lengths: ArrayLike, window: int, max_windows: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut documents into as few windows of at most `window` tokens as they need, all of a document equally long but for one token.

    (Full windows and a remainder would leave remainders of one token, whose loss says little of a document.)
    With `max_windows`, that many are kept of a longer document, evenly spaced from its first to its last.

    Returns
    -------
    document, begin, end, number : int64[w] each
        Window `number` of a document covers its tokens `begin` to `end`. An empty document has one empty window.
    """
    if window < 1 or (max_windows is not None and max_windows < 1):
        raise ValueError(f"window and max_windows must be at least 1, not {window} and {max_windows}")
    n = np.asarray(lengths, np.int64)
    count = np.maximum(-(-n // window), 1)
    kept = count if max_windows is None else np.minimum(count, max_windows)
    document = np.repeat(np.arange(len(n)), kept)
    nth = np.arange(len(document)) - np.repeat(kept.cumsum() - kept, kept)
    of, whole = kept[document], count[document]
    number = np.where(of > 1, nth * (whole - 1) // np.maximum(of - 1, 1), 0)
    return document, n[document] * number // whole, n[document] * (number + 1) // whole, number
