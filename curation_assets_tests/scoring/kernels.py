"""The kernels of density in closed form: the probability that one row of a sketch puts two vectors into one cell."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray


def l2_probability(
    distance: NDArray[np.float64] | float, bandwidth: float, bits: int = 1
) -> NDArray[np.float64]:
    """Return p(c) ** bits, p(c) the probability that one p-stable hash of width w puts vectors at distance c into one bucket.

    ``p(c) = 1 - 2 Phi(-w/c) - 2 / (sqrt(2 pi) w/c) * (1 - exp(-(w/c)^2 / 2))``, p(0) = 1 (Datar et al. 2004, section 3.2).
    """
    distance = np.asarray(distance, dtype=np.float64)
    t = bandwidth / np.maximum(distance, 1e-100 * bandwidth)
    erf = torch.erf(torch.from_numpy(np.atleast_1d(t / math.sqrt(2)))).numpy().reshape(distance.shape)
    # 1 - 2 Phi(-t) is erf(t / sqrt 2); expm1 keeps the digits of distances far beyond the bandwidth.
    return (erf + math.sqrt(2 / math.pi) * np.expm1(-t * t / 2) / t) ** bits


def cosine_probability(cosine: NDArray[np.float64] | float, bits: int = 1) -> NDArray[np.float64]:
    """Return (1 - angle / pi) ** bits: that so many random hyperplanes all have two vectors on one side (Charikar 2002)."""
    return (1 - np.arccos(np.clip(cosine, -1, 1)) / math.pi) ** bits


def kernel_sums(
    queries: NDArray[np.floating], x: NDArray[np.floating], kernel: str, bits: int, bandwidth: float = 0.5
) -> NDArray[np.float64]:
    """Return the exact kernel sum at each query, of unit vectors, some hundred queries at a time."""
    sums, x64 = [], x.astype(np.float64)
    for start in range(0, len(queries), 256):
        cosine = queries[start : start + 256].astype(np.float64) @ x64.T
        if kernel == "cosine":
            p = cosine_probability(cosine, bits)
        else:
            p = l2_probability(np.sqrt(np.maximum(2 - 2 * cosine, 0)), bandwidth, bits)
        sums.append(p.sum(1))
    return np.concatenate(sums)
