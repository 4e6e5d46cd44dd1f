"""How alike the samplers order the corpus: Kendall's tau of their scores (paper v1, figure 7).

`HashSample` picks the documents shard by shard, `kendall` correlates their scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import kendalltau

from curation_assets.common.hashing import noise
from curation_assets.report.documents import Best, Scored

_SALT = 0x6A09E667F3BCC908  # so that the sample is not the documents whose random scores are small
Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
LEAST = 3
"""Documents that Kendall's tau needs."""


class HashSample:
    """A uniform sample of documents with their scores: the `limit` documents whose salted hashes are smallest.

    Which documents it holds depends on their hashes and the seed alone, not on the order or the sizes of the shards
    that it is fed. It needs memory for `limit` documents and one shard.

    Attributes
    ----------
    limit : documents that it holds at most.
    seen : documents fed so far.
    """

    def __init__(self, limit: int, seed: int = 0) -> None:
        noise(np.empty(0, dtype=np.uint64), seed)  # raises where it is no seed
        self.limit, self._seed = limit, int(seed) ^ _SALT
        self._best, self.seen = Best(limit), 0
        self._names: tuple[str, ...] = ()

    def add(self, doc_hash: np.ndarray, scores: Mapping[str, np.ndarray]) -> None:
        """Take in a shard: documents' hashes, uint64 [n], and each sampler's scores, finite, [n]; the same samplers in every shard.

        Raises
        ------
        ValueError
            The samplers are not those of the first shard, or a sampler's scores are not as many as the documents or not finite.
        """
        names = self._names or tuple(scores)
        if not names or set(names) != set(scores):
            raise ValueError(f"a shard has scores of {sorted(scores)}, wanted are those of {sorted(names)}")
        rows = np.stack([_finite(name, scores[name], len(doc_hash)) for name in names])
        self._best.add(-noise(doc_hash, self._seed), Scored(0, np.arange(len(doc_hash)), doc_hash, rows))
        self._names, self.seen = names, self.seen + len(doc_hash)

    def scores(self) -> dict[str, np.ndarray]:
        """Return each sampler's scores of the sampled documents: float64 [min(limit, seen)], in hash order."""
        picked = self._best.picked()
        twice = picked.doc_hash[1:][np.diff(picked.doc_hash) == 0]  # neighbours, since their noise is equal
        if len(twice):
            raise ValueError(f"the document with hash {twice[0]} occurs twice")
        return dict(zip(self._names, picked.scores, strict=True))


@dataclass(frozen=True)
class Correlation:
    """Kendall's tau-b of every pair of samplers.

    Attributes
    ----------
    names : the k samplers.
    n : documents.
    matrix : float64 [k, k], symmetric, in [-1, 1]; 1 on the diagonal. NaN in the row and column of a sampler that
        gives every document the same score: it orders nothing and has no tau.
    low, high : float64 [k, k], the 95 % `interval` of each tau; NaN where tau is.
    """

    names: tuple[str, ...]
    n: int
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def constant(self) -> list[str]:
        """The samplers that have no tau, not even with themselves."""
        return [name for name, own in zip(self.names, np.diag(self.matrix), strict=True) if np.isnan(own)]


def kendall(scores: Mapping[str, np.ndarray]) -> Correlation:
    """Correlate the samplers' scores of the same documents.

    Parameters
    ----------
    scores
        Of each sampler, finite, [n], n at least 3.

    Raises
    ------
    ValueError
        There is no sampler or fewer than 3 documents, or scores are not finite or not of one length.
    """
    names = tuple(scores)
    if not names:
        raise ValueError("no sampler has scores: there is nothing to correlate")
    n = len(scores[names[0]])
    if n < LEAST:
        raise ValueError(f"Kendall's tau needs at least {LEAST} documents, there are {n}")
    # Ranks order as scores do, and integers sort faster than floats.
    ranked = [
        np.unique(_finite(name, scores[name], n), return_inverse=True, return_counts=True) for name in names
    ]
    ranks = [inverse for _, inverse, _ in ranked]
    untied = np.array([1 - float((counts * (counts - 1.0)).sum()) / (n * (n - 1)) for *_, counts in ranked])
    matrix = np.diag(np.where(untied > 0, 1.0, np.nan))
    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        both = untied[i] > 0 and untied[j] > 0
        # The p-value is not used; the asymptotic one costs nothing.
        tau = kendalltau(ranks[i], ranks[j], method="asymptotic").statistic if both else np.nan
        matrix[i, j] = matrix[j, i] = tau
    low, high = interval(matrix, n, untied[:, None], untied[None, :])
    itself = np.eye(len(names), dtype=bool)  # without error: a sampler agrees with itself on every sample
    low, high = np.where(itself, matrix, low), np.where(itself, matrix, high)
    return Correlation(names, n, matrix, low, high)


def pairs(correlation: Correlation) -> pl.DataFrame:
    """Return one row for each ordered pair: sampler_a, sampler_b, tau, low, high (null where there is no tau) and n."""
    k, names = len(correlation.names), np.array(correlation.names)
    columns = {"sampler_a": names.repeat(k), "sampler_b": np.tile(names, k)}
    values = {"tau": correlation.matrix, "low": correlation.low, "high": correlation.high}
    table = pl.DataFrame(columns | {name: matrix.ravel() for name, matrix in values.items()})
    return table.with_columns(pl.col(*values).fill_nan(None), n=pl.lit(correlation.n, pl.Int64))


def interval(
    tau: np.ndarray | float, n: int, untied_a: np.ndarray | float = 1.0, untied_b: np.ndarray | float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of a conservative 95 % confidence interval for tau-b, shaped as the broadcast arguments.

    Whatever the joint distribution, the sample value t of n documents has ``Var(t) <= 2 (1 - tau^2) / n`` where
    there are no ties (Kendall and Gibbons, Rank Correlation Methods, 1990). The interval holds every tau with
    ``|t - tau| <= 1.96`` times that bound's root, as Wilson's interval does for a proportion: it stays in [-1, 1]
    and has a width at t = 1 too. The true standard error is smaller, for independent scores by a factor of 2.1.

    With ties the bound becomes ``2 (A - B tau^2) / n``, ``A = 1 / max(U)``, ``B = 3/4 (1/U_a + 1/U_b) - A/2``, where
    U is the part of all pairs of documents to which a sampler gives different scores. Like the bound above it is
    Hoeffding's (1948), twice the second moment of the statistic's kernel over n; here the kernel is that of tau-b
    linearised, which makes it asymptotic, and pairs untied in both are taken to be as many as they can be.

    Parameters
    ----------
    tau
        Sample value t.
    n
        Documents.
    untied_a, untied_b
        U of either sampler, in (0, 1]; 1 means no ties. Where tau is NaN, U does not matter.
    """
    tau, a, b = np.broadcast_arrays(np.asarray(tau, np.float64), untied_a, untied_b)
    a, b = (np.where(np.isnan(tau), 1.0, x) for x in (a, b))
    top = 1 / np.maximum(a, b)
    bend = 0.75 * (1 / a + 1 / b) - top / 2
    c = 2 * Z**2 / n
    # The roots of (t - tau)^2 = c (top - bend tau^2); what rounding makes negative under the root is zero.
    half = np.sqrt(np.maximum(c * (top * (1 + c * bend) - bend * tau**2), 0.0))
    low, high = (tau - half) / (1 + c * bend), (tau + half) / (1 + c * bend)
    # In exact arithmetic, the interval holds t and lies in [-1, 1].
    return np.clip(low, -1.0, tau), np.clip(high, tau, 1.0)


def _finite(name: str, scores: np.ndarray, n: int) -> np.ndarray:
    x = np.asarray(scores, dtype=np.float64)
    if x.shape != (n,):
        raise ValueError(f"{name} has scores of shape {list(x.shape)} for {n} documents")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"{name} has score {x[row]} in row {row}: scores must be finite")
    return x
