"""What a choice of documents is made of, beside the whole corpus: sources, lengths, clusters, and what chance would give.

`Frequent` finds the sources worth telling apart, `Tally` counts a choice shard by shard, `shares` and `spread` compare choices
with the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from curation_assets.common.drawing.styles import FULL
from curation_assets.config.amount import of_key, ordered
from curation_assets.config.registry import RATES
from curation_assets.report.intervals import holm
from curation_assets.report.schemas import schema

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Key = tuple[str, str]
"""Sampler and rate."""

WHOLE: Key = (FULL, "100")
LENGTHS = 64
"""Length bins before they are joined: bin b has documents of 2**b to 2**(b + 1) - 1 tokens, bin 0 those of none as well."""
OTHER = "all others"
_NO_SOURCE = "no source"
_RESERVED = (_NO_SOURCE, OTHER, "sampler", "rate", "documents", "tokens")
"""Columns and parts that no source may be taken for."""
_SOURCES = 8  # told apart; the others are summed up
_MAIN = 20  # percent: the paper's rate of comparison (table 1)
_LEAST_VARIANCE = 9.0  # of a count, for the normal approximation
_LARGEST = 0.01  # of the clusters
_DRAWS = 400
_MOST_DOCUMENTS = 10**9  # of which numpy draws without replacement

SHARES = schema(
    "text sampler rate part",
    "whole documents tokens",
    "real share token_share corpus_share ratio expected sd z p",
)
"""Columns of a table of shares. Shares are of documents; `expected` and `sd` are those of the documents in a random choice of the same
size; z and p (Holm's over the table) are null where that is too small to tell."""

SPREAD = schema(
    "text sampler rate",
    "whole documents tokens clusters",
    "real effective effective_random effective_low effective_high gini gini_random largest largest_random",
    "whole over under tested",
)
"""Columns of a table of clusters: `clusters` met, `effective` number of them, `largest` is the share of the documents in the corpus's
largest 1 % of clusters. Columns with `random` are means over random choices of the same size, low and high hold 95 % of those;
`over` and `under` are clusters beyond chance (Holm's over the clusters of the choice), of those `tested`."""


class Frequent:
    """The most frequent values of a stream in constant memory: a mergeable Misra-Gries summary (Agarwal et al. 2012).

    Every value with a share of more than 1 / (`room` + 1) is held; counts are too small by at most that share.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._held = pl.DataFrame(schema={"value": pl.String, "count": pl.Int64})

    def add(self, values: pl.Series) -> None:
        """Take in some strings, null for none."""
        new = values.rename("value").value_counts(name="count").cast({"count": pl.Int64})
        both = pl.concat([self._held, new]).group_by("value").agg(pl.col("count").sum())
        if len(both) > self._room:
            least = both["count"].top_k(self._room + 1).min()
            both = both.with_columns(pl.col("count") - least).filter(pl.col("count") > 0)
        self._held = both

    def values(self) -> list[str | None]:
        """Return the values held, by name, none last."""
        return self._held["value"].sort(nulls_last=True).to_list()


@dataclass
class Tally:
    """Documents and tokens of a choice, by source, length bin and cluster; arrays grow as larger numbers are met."""

    documents: int = 0
    tokens: int = 0
    counts: dict[str, Ints] = field(default_factory=dict)
    token_counts: dict[str, Ints] = field(default_factory=dict)

    def add(self, tokens: Ints, numbers: Mapping[str, Ints]) -> None:
        """Take in documents: their tokens [n], and for each division the number of the part that each is in [n]."""
        self.documents += len(tokens)
        self.tokens += int(tokens.sum())
        for name, part in numbers.items():
            self.counts[name] = _sum(self.counts.get(name), np.bincount(part))
            weighted = np.bincount(part, weights=tokens).astype(np.int64)  # exact below 2**53 tokens
            self.token_counts[name] = _sum(self.token_counts.get(name), weighted)


def _sum(one: Ints | None, other: Ints) -> Ints:
    if one is None or len(one) < len(other):
        one = padded(one, len(other))
    one[: len(other)] += other
    return one


def padded(counts: Ints | None, length: int) -> Ints:
    """Return counts with zeros at the end."""
    held = np.zeros(0, np.int64) if counts is None else counts
    return np.concatenate([held, np.zeros(max(length - len(held), 0), np.int64)])


def length_bins(tokens: Ints) -> Ints:
    """Return the length bin of each document by its tokens [n]."""
    return np.frexp(np.maximum(tokens, 1).astype(np.float64))[1].astype(np.int64) - 1


def joined_lengths(counts: Ints, most: int = 8, least: float = 0.02) -> list[tuple[str, list[int]]]:
    """Return [(name, length bins in it)]: bins at the ends joined until each has `least` of the documents, and `most` parts are left."""
    met = np.flatnonzero(counts)
    if not len(met):
        return []
    first, last = int(met[0]), int(met[-1])
    share = counts / counts.sum()
    while first < last and share[: first + 1].sum() < least:
        first += 1
    while first < last and share[last:].sum() < least:
        last -= 1
    while last - first >= most:  # the smaller end gives way
        if share[: first + 1].sum() <= share[last:].sum():
            first += 1
        else:
            last -= 1
    return [(_length_name(b, first, last), _bins_of(b, first, last)) for b in range(first, last + 1)]


def _bins_of(at: int, first: int, last: int) -> list[int]:
    return list(range(0 if at == first else at, LENGTHS if at == last else at + 1))


def _length_name(at: int, first: int, last: int) -> str:
    if first == last:
        return "any length"
    if at == first:
        return f"under {2 ** (at + 1):,}"
    return f"{2**at:,} or more" if at == last else f"{2**at:,} to {2 ** (at + 1) - 1:,}"


def deviations(kept: Ints, corpus: Ints) -> tuple[Floats, Floats, Floats]:
    """Return (expected, sd, z) of counts [parts] if as many documents were chosen at random from the corpus's [parts].

    The counts are hypergeometric; z has a continuity correction of half a document, and is NaN where the variance is too small
    for the normal distribution to stand in.
    """
    n, k = float(corpus.sum()), float(kept.sum())
    share = corpus / max(n, 1.0)
    expected = k * share
    variance = expected * (1 - share) * (n - k) / max(n - 1, 1.0)
    off = kept - expected
    sure = variance >= _LEAST_VARIANCE
    z = np.sign(off) * np.maximum(np.abs(off) - 0.5, 0.0) / np.sqrt(np.where(sure, variance, 1.0))
    return expected, np.sqrt(variance), np.where(sure, z, np.nan)


def adjusted(z: Floats) -> list[float | None]:
    """Return the two-sided p of each z [m], Holm's over all; None where z is NaN."""
    return holm([None if np.isnan(value) else float(2 * norm.sf(abs(value))) for value in z])


def shares(
    corpus: Tally, choices: Mapping[Key, Tally], division: str, parts: Sequence[tuple[str, Sequence[int]]]
) -> pl.DataFrame:
    """Return one row (SHARES) for each choice and part of a division, the corpus's own (WHOLE) first.

    `parts` are (name, numbers of the division that are in it).
    """
    whole, _ = _joined(corpus, division, parts)
    rows: list[tuple] = []
    for (sampler, rate), tally in {WHOLE: corpus, **choices}.items():
        documents, tokens = _joined(tally, division, parts)
        expected, sd, z = deviations(documents, whole)
        for i, (part, _) in enumerate(parts):
            share, of = documents[i] / max(tally.documents, 1), whole[i] / max(corpus.documents, 1)
            chance = (
                (None,) * 3 if sampler == FULL else (expected[i], sd[i], None if np.isnan(z[i]) else z[i])
            )
            about = (sampler, rate, part, documents[i], tokens[i], share, tokens[i] / max(tally.tokens, 1))
            rows.append((*about, of, share / of if of else None, *chance, None))
    table = pl.DataFrame(rows, schema=SHARES, orient="row")
    p = adjusted(table["z"].fill_null(float("nan")).to_numpy())
    return table.with_columns(pl.Series("p", p, pl.Float64))


def _joined(tally: Tally, division: str, parts: Sequence[tuple[str, Sequence[int]]]) -> tuple[Ints, Ints]:
    length = 1 + max((number for _, numbers in parts for number in numbers), default=0)
    sums = []
    for counts in (tally.counts, tally.token_counts):
        held = padded(counts.get(division), length)
        sums.append(np.array([held[list(numbers)].sum() for _, numbers in parts], np.int64))
    return sums[0], sums[1]


def evenness(counts: NDArray, corpus: Ints) -> Floats:
    """Return (effective number of clusters, Gini, share in the corpus's largest) of counts [..., k], as [..., 3].

    The effective number is exp of the entropy: k clusters of equal size have k. Gini is 0 for equal sizes and nears 1 where one
    cluster has all. The largest are 1 % of the corpus's clusters, at least one.
    """
    x = np.asarray(counts, np.float64)
    p = x / np.maximum(x.sum(axis=-1, keepdims=True), 1.0)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)
    k = x.shape[-1]
    gini = (np.sort(p, axis=-1) * (2 * np.arange(1, k + 1) - k - 1)).sum(axis=-1) / k
    largest = np.argsort(-corpus, kind="stable")[: max(round(_LARGEST * k), 1)]
    return np.stack([np.exp(entropy), gini, p[..., largest].sum(axis=-1)], axis=-1)


def chance(corpus: Ints, documents: int, seed: int = 0) -> Floats | None:
    """Return `evenness` [draws, 3] of random choices of so many documents from clusters of these sizes; None for a corpus too large."""
    if not 0 < documents < corpus.sum() < _MOST_DOCUMENTS:
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    # The draws one by one: a matrix of all would be the largest thing in memory.
    draws = (
        generator.multivariate_hypergeometric(corpus, documents, method="marginals") for _ in range(_DRAWS)
    )
    return np.stack([evenness(one, corpus) for one in draws])


def spread(corpus: Tally, choices: Mapping[Key, Tally]) -> pl.DataFrame:
    """Return one row (SPREAD) for each choice, by how its documents are spread over the clusters; the corpus's own first."""
    met = np.flatnonzero(corpus.counts["cluster"])
    whole = corpus.counts["cluster"][met]
    by_size: dict[int, Floats | None] = {}
    rows = []
    for (sampler, rate), tally in {WHOLE: corpus, **choices}.items():
        counts = padded(tally.counts.get("cluster"), len(corpus.counts["cluster"]))[met]
        if tally.documents not in by_size:
            by_size[tally.documents] = chance(whole, tally.documents)
        drawn = by_size[tally.documents]
        _, _, z = deviations(counts, whole)
        p = np.array([np.nan if value is None else value for value in adjusted(z)], np.float64)
        beyond = p < 0.05
        effective, gini, largest = evenness(counts, whole)
        means = [None] * 3 if drawn is None else drawn.mean(axis=0)
        ends = [None] * 2 if drawn is None else np.quantile(drawn[:, 0], [0.025, 0.975])
        signs = ((beyond & (z > 0)).sum(), (beyond & (z < 0)).sum(), np.isfinite(z).sum())
        about = (sampler, rate, tally.documents, tally.tokens, (counts > 0).sum())
        rows.append((*about, effective, means[0], *ends, gini, means[1], largest, means[2], *signs))
    return pl.DataFrame(rows, schema=SPREAD, orient="row")


def source_name(source: str | None) -> str:
    """Return what a source is called; None is that of documents without one."""
    if source is None:
        return _NO_SOURCE
    return f"“{source}”" if source in _RESERVED else source


def source_parts(corpus: Tally, sources: list[str | None]) -> list[tuple[str, list[int]]]:
    """Return [(name, numbers)] of the sources with most documents, the most frequent first, and of all others together."""
    counts = padded(corpus.counts.get("source"), len(sources) + 1)
    order = sorted(range(len(sources)), key=lambda i: (-counts[i], sources[i] is None, sources[i] or ""))
    order = [i for i in order if counts[i]]
    kept = order if len(order) <= _SOURCES and not counts[-1] else order[:_SOURCES]
    rest = sorted({*range(len(sources) + 1)} - set(kept))
    parts = [(source_name(sources[i]), [i]) for i in kept]
    return [*parts, (OTHER, rest)] if counts[rest].sum() else parts


def main_rate(rates: Sequence[str]) -> str:
    """Return the amount with most subsets: of several a rate, the one closest to the paper's rate of comparison."""
    count = Counter(rates)
    return max(ordered([*RATES, *rates]), key=lambda rate: (count[rate], *_nearness(rate)))


def _nearness(key: str) -> tuple[bool, float, float]:
    amount = of_key(key)
    is_rate = amount.kind == "rate"
    return is_rate, -abs(100 * amount.value - _MAIN) if is_rate else 0.0, amount.value
