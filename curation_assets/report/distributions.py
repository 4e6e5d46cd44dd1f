"""How the samplers' scores are distributed over the corpus (v1, figure 9): exact counts, quantiles and cuts, shard by shard.

`Moments`, `OrderStatistics` and `Histogram` take one sampler's scores a shard at a time; their memory does not grow with the corpus.
`rank_changes` has what changes as a scorer grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation_assets.config.registry import RATES
from curation_assets.selection.select import kept_count
from curation_assets.selection.threshold import sortable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUANTILES: tuple[float, ...] = (0, 0.005, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.995, 1)
"""Shares of the documents; 0 is the lowest score, 1 the highest."""
OUTER = (0.005, 0.995)
"""Between these quantiles scores are drawn, where those beyond lie far away."""
_FAR = (
    1.0  # of the width between the outer quantiles: what the extremes may lie beyond them and still be drawn
)
_BINS = 40
_DIGIT = 16  # bits decided in a pass
PASSES = 64 // _DIGIT
"""Times that `OrderStatistics` reads all scores."""


NO_CUT = {"ips": "drawn by 1/score: no cut", "uniform": "drawn evenly: no cut"}
"""Techniques by which no score separates kept from dropped documents."""
_OF_TOKENS = "rates of tokens: no cut here"


class Moments:
    """Number, mean and standard deviation of all scores fed to `add`; parts are merged by the rule of Chan et al. (1979)."""

    def __init__(self) -> None:
        self.n, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, scores: Floats) -> None:
        """Take in a shard's scores [n]."""
        if not scores.size:
            return
        mean = float(scores.mean())
        total, apart = self.n + scores.size, mean - self.mean
        self._squares += float(((scores - mean) ** 2).sum()) + apart * apart * self.n * scores.size / total
        self.mean += apart * scores.size / total
        self.n = total

    @property
    def sd(self) -> float:
        """The sample standard deviation; NaN for fewer than two scores."""
        return float(np.sqrt(self._squares / (self.n - 1))) if self.n > 1 else float("nan")


class OrderStatistics:
    """Exact scores at several ranks, rank 0 the lowest, in `PASSES` passes over all scores: a radix selection.

    Each pass decides 16 more bits of every wanted score: feed all scores to `add`, then call `advance`, `PASSES` times. The ranks
    need not be known before the first `advance`. Memory: 512 KiB for each rank.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._prefixes = np.zeros(1, np.uint64)  # of the wanted scores, each once, rising
        self._which = np.zeros(0, np.intp)  # prefix of each rank
        self._left = np.zeros(0, np.int64)  # rank among the scores with that prefix
        self._counts = np.zeros((1, 1 << _DIGIT), np.int64)

    def add(self, scores: Floats) -> None:
        """Take in a shard's scores [n], finite."""
        if not len(self._prefixes):
            return  # no rank is wanted
        image = sortable(scores)
        row = np.zeros(len(image), np.intp)
        if self._depth:
            above = image >> np.uint64(64 - self._depth)
            row = np.minimum(np.searchsorted(self._prefixes, above), len(self._prefixes) - 1)
            inside = self._prefixes[row] == above
            image, row = image[inside], row[inside]
        digit = (image >> np.uint64(64 - self._depth - _DIGIT)) & np.uint64((1 << _DIGIT) - 1)
        flat = (row << _DIGIT) + digit.astype(np.intp)
        self._counts += np.bincount(flat, minlength=self._counts.size).reshape(self._counts.shape)

    def advance(self, ranks: Sequence[int] = ()) -> None:
        """End a pass; the first time with the wanted `ranks`.

        Raises
        ------
        ValueError
            A rank is not that of a score.
        """
        if not self._depth:
            n = int(self._counts.sum())
            if any(not 0 <= rank < n for rank in ranks):
                raise ValueError(f"ranks must be 0 to {n - 1}, not {list(ranks)}")
            self._left, self._which = np.asarray(ranks, np.int64), np.zeros(len(ranks), np.intp)
        upto = np.cumsum(self._counts, axis=1)
        digits = np.array(
            [
                np.searchsorted(upto[row], left, side="right")
                for row, left in zip(self._which, self._left, strict=True)
            ],
            np.intp,
        )
        self.tied = self._counts[self._which, digits]
        self._left = self._left - (upto[self._which, digits] - self.tied)
        result = (self._prefixes[self._which] << np.uint64(_DIGIT)) | digits.astype(np.uint64)
        self._prefixes, self._which = np.unique(result, return_inverse=True)
        self._depth += _DIGIT
        self._counts = np.zeros((len(self._prefixes), 1 << _DIGIT), np.int64)

    def scores(self) -> tuple[Floats, Ints]:
        """Return the score at each rank, and how many documents have exactly that score, both [ranks]."""
        if self._depth < 64:
            raise ValueError(
                f"the scores have been read {self._depth // _DIGIT} times, wanted is {PASSES} times"
            )
        image = self._prefixes[self._which]
        sign = np.uint64(1 << 63)
        bits = np.where(image >= sign, image ^ sign, ~image)  # the inverse of `sortable`
        return bits.view(np.float64), self.tied


@dataclass(frozen=True)
class Cut:
    """Where a rate's subset ends: the score of the last document kept, and how many documents have exactly that score."""

    score: float
    tied: int


def quantile_ranks(n: int) -> list[int]:
    """Return the rank of each of QUANTILES among n documents: of the lowest score that is not below that share of them."""
    return [max(-(-round(1000 * q) * n // 1000) - 1, 0) for q in QUANTILES]


def cut_ranks(n: int, technique: str) -> dict[str, int]:
    """Return {rate: rank of the score at the cut}; a drawn choice has no cuts, nor has a rate that keeps nothing."""
    if technique not in ("top_k", "bottom_k"):
        return {}
    kept = {rate: kept_count(int(rate) / 100, n) for rate in RATES}
    return {rate: n - k if technique == "top_k" else k - 1 for rate, k in kept.items() if k}


class Distribution:
    """One sampler's scores, over all passes: feed each pass to `add`, and end it with `advance`.

    After `PASSES` passes the quantiles and cuts stand, after one more the histogram. `no_cut` says why there are no cuts: the
    technique draws documents, or rates are shares of tokens, of which scores know nothing.
    """

    def __init__(self, technique: str, rate_of: str = "documents") -> None:
        self.technique = technique
        self.no_cut = NO_CUT.get(technique) or ("" if rate_of == "documents" else _OF_TOKENS)
        self.moments = Moments()
        self._order = OrderStatistics()
        self._passes = 0
        self.quantiles: Mapping[float, float] = {}
        self.cuts: Mapping[str, Cut] = {}
        self.edges = np.zeros(0)
        self.counts = np.zeros(0, np.int64)
        self.below = self.above = 0

    def add(self, scores: Floats) -> None:
        """Take in a shard's scores [n], finite."""
        if self._passes == 0:
            self.moments.add(scores)
        if self._passes < PASSES:
            self._order.add(scores)
            return
        self.counts += np.histogram(scores, self.edges)[0]
        self.below += int((scores < self.edges[0]).sum())
        self.above += int((scores > self.edges[-1]).sum())

    def advance(self) -> None:
        """End a pass."""
        at: dict[float | str, int] = dict(zip(QUANTILES, quantile_ranks(self.moments.n), strict=True))
        at.update({} if self.no_cut else cut_ranks(self.moments.n, self.technique))
        if self._passes < PASSES:
            self._order.advance(list(at.values()) if self._passes == 0 else ())
        self._passes += 1
        if self._passes == PASSES:
            scores, tied = self._order.scores()
            result = {key: Cut(float(s), int(t)) for key, s, t in zip(at, scores, tied, strict=True)}
            self.quantiles = {q: result[q].score for q in QUANTILES if q in result}
            self.cuts = {rate: result[rate] for rate in RATES if rate in result}
            self.edges = drawn_range(self.quantiles)
            self.counts = np.zeros(len(self.edges) - 1, np.int64)

    @property
    def outside(self) -> float:
        """The share of documents that lie outside the drawn range."""
        return (self.below + self.above) / self.moments.n


def drawn_range(quantiles: Mapping[float, float]) -> Floats:
    """Return the edges of a histogram [b + 1]: over all scores, or between OUTER on a side where the extreme lies far beyond."""
    low, high = (quantiles[q] for q in OUTER)
    least, most = quantiles[0], quantiles[1]
    if low == high:  # nearly all documents have one score
        low, high = least, most
    if low == high:
        reach = max(abs(low), 1.0) * 0.5
        return np.linspace(low - reach, high + reach, 2)
    reach = _FAR * (high - low)
    start = least if low - least <= reach else low
    end = most if most - high <= reach else high
    return np.linspace(start, end, _BINS + 1)
