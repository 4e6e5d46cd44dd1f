"""Density: kernel density estimates of all documents in two linear passes over their embeddings.

A RACE sketch (Coleman and Shrivastava 2020) is R rows of B counters. Row r hashes a vector with a p-stable
L2 hash (Datar et al. 2004) ``h_r(x) = floor((a_r . x + b_r) / w)``, a_r ~ N(0, I), b_r ~ U[0, w), and counts
the bucket ``h_r(x) mod B``. The mean over rows of the counts that a query falls on is an unbiased estimate of

    sum over documents y of p(|x - y|),   p the probability that one hash puts both into a bucket (section 3.2 there),

up to the wrap-around modulo B (none when all projections span fewer than B buckets, as for unit vectors).
Its error falls as O(sqrt(log R / R)) (paper, theorem A.2). It is the score of the paper's Density sampler
(section 3.3, algorithm 2), whose selection weight is 1/score.

Purity: floor() would flip near a bucket's edge when a matrix product rounds differently for another batch or
device. Projections closer to an edge than `tolerance` are therefore decided by a float64 dot product with a
fixed order of summation. So a bucket is a function of (vector, settings, seed) alone, adding and subtracting
are exact inverses in any batching, and counts are integers.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from curation_assets.scoring.exact import (
    Array,
    blocks_of,
    check_matrix,
    dot64,
    float_block,
    full_precision,
    map_blocks,
    norms,
)

DEFAULT_BANDWIDTH = 0.5  # unit vectors lie 0 to 2 apart; p(0.1) = 0.84, p(0.5) = 0.37, p(1.4) = 0.14
_BLOCK_CELLS = {"cpu": 1 << 20, "cuda": 1 << 24}  # projections per block: on the CPU 4 MiB, to stay in cache
_SALT = 0x52414345
_EXACT_CELLS = 1 << 18  # float64 products per block of recomputed projections: 2 MiB
# Error allowed to an fp32 projection a.x, in units of |a| |x|, |a| about sqrt(dim) / w. Of 10^7 projections of 24 to
# 768 dimensions the largest was a third of it for x parallel to a, and a seventh or less for random x.
_ROUNDING = 32 * 2.0**-24


class RaceSketch:
    """A RACE sketch: `rows` x `buckets` int32 counters, 80 MB at the paper's 1000 x 20000.

    Parameters
    ----------
    dim
        Length of the vectors.
    rows, buckets
        R and B of the paper.
    bandwidth
        w of the hash, in the units of the vectors. The default suits unit vectors.
    seed
        Of the projections a, b, which NumPy draws, so that all devices share them.
    device
        "cpu" or "cuda": where the counters are and the work is done. It never changes a count.

    Attributes
    ----------
    counts : int32 tensor [rows, buckets]
    documents : int
        Vectors counted; every row of `counts` sums to it.
    """

    def __init__(
        self,
        dim: int,
        rows: int = 1000,
        buckets: int = 20000,
        bandwidth: float = DEFAULT_BANDWIDTH,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        if min(dim, rows, buckets) < 1 or rows * buckets >= 2**31:
            raise ValueError(
                f"dim, rows and buckets must be positive with rows * buckets < 2**31: {dim}, {rows}, {buckets}"
            )
        if not (bandwidth > 0 and math.isfinite(bandwidth)):
            raise ValueError(f"bandwidth must be positive and finite, not {bandwidth}")
        self.dim, self.rows, self.buckets = dim, rows, buckets
        self.bandwidth, self.seed, self.device = float(bandwidth), seed, torch.device(device)
        self.documents = 0
        self.counts = torch.zeros(rows, buckets, dtype=torch.int32, device=self.device)
        self._filled = torch.zeros(buckets, dtype=torch.bool, device=self.device)  # columns that may not be 0
        # Salted, since vectors that someone draws from the same seed must not be the projections themselves.
        draw = np.random.Generator(np.random.PCG64([_SALT, seed]))
        # 1/w is folded into a and b here: the float32 values define the hash, and the GEMM yields buckets.
        direction = (draw.standard_normal((rows, dim)) / self.bandwidth).astype(np.float32)
        self._direction = torch.from_numpy(direction).to(self.device)
        self._offset = torch.from_numpy(draw.random((rows, 1)).astype(np.float32)).to(self.device)

    @property
    def settings(self) -> dict[str, float]:
        """What two sketches must share to be merged, subtracted or compared."""
        return {
            "dim": self.dim,
            "rows": self.rows,
            "buckets": self.buckets,
            "bandwidth": self.bandwidth,
            "seed": self.seed,
        }

    def tolerance(self, longest: float = 1.0) -> float:
        """Distance to a bucket's edge, in buckets, under which a hash is decided in float64.

        `longest` is the largest norm among the vectors.
        """
        return _ROUNDING * (1 + math.sqrt(self.dim) * longest / self.bandwidth)

    def add(self, x: Array) -> RaceSketch:
        """Count the vectors `x`, floating [n, dim]. If one of them is bad, none is counted."""
        check_matrix(x, self.dim)
        self._room_for(x.shape[0])
        blocks, done = self._blocks(x.shape[0]), 0
        with full_precision(self.device):
            try:
                for columns, histogram in map_blocks(
                    lambda rows: self._histogram(x, rows), blocks, self.device
                ):
                    self.counts.index_add_(1, columns, histogram)
                    self._filled[columns] = True
                    done += 1
            except ValueError:
                for rows in blocks[:done]:  # hashing again gives the very same buckets
                    columns, histogram = self._histogram(x, rows)
                    self.counts.index_add_(1, columns, histogram, alpha=-1)
                raise
        self.documents += x.shape[0]
        return self

    def density(self, x: Array) -> np.ndarray:
        """Estimate the kernel sum at each vector: float64 [n], in documents (mean count over the rows)."""
        check_matrix(x, self.dim)
        total = [np.empty(0, dtype=np.int64)]
        with full_precision(self.device):
            total += map_blocks(lambda rows: self._look_up(x, rows), self._blocks(x.shape[0]), self.device)
        return np.concatenate(total) / self.rows

    def merge(self, other: RaceSketch) -> RaceSketch:
        """Add the counts of a sketch with the same settings (library API: the graph merges sparse ones)."""
        self._same_settings(other)
        self._room_for(other.documents)
        self.counts += other.counts.to(self.device)
        self._filled |= other._filled.to(self.device)
        self.documents += other.documents
        return self

    def subtract(self, other: RaceSketch) -> RaceSketch:
        """Take away the counts of a sketch with the same settings, whose vectors are part of this one (library API)."""
        self._same_settings(other)
        counts = other.counts.to(self.device)
        if other.documents > self.documents or bool((self.counts < counts).any()):
            raise ValueError("cannot subtract a sketch that holds documents which this one does not")
        self.counts -= counts
        self.documents -= other.documents
        return self

    def to_sparse(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the filled counters: keys int64 (row * buckets + bucket, ascending) and counts int32."""
        columns = self._filled.nonzero()[:, 0]
        window = self.counts.index_select(1, columns).cpu().numpy()
        row, column = window.nonzero()
        return row * self.buckets + columns.cpu().numpy()[column], window[row, column]

    def clear(self) -> RaceSketch:
        """Take all vectors away: cheaper than another sketch, whose counters and projections would be made anew."""
        self.counts.index_fill_(1, self._filled.nonzero()[:, 0], 0)
        self._filled.zero_()
        self.documents = 0
        return self

    def merge_sparse(self, keys: np.ndarray, counts: np.ndarray) -> RaceSketch:
        """Add the counts of a sparse sketch with the same settings; cheaper than `merge` for a shard."""
        where, what, documents = self._sparse(keys, counts)
        self._room_for(documents)
        self.counts.view(-1)[where] += what
        self._filled[where % self.buckets] = True
        self.documents += documents
        return self

    def _blocks(self, n: int) -> list[range]:
        return blocks_of(n, max(1, _BLOCK_CELLS.get(self.device.type, 1 << 20) // self.rows))

    def _histogram(self, x: Array, rows: range) -> tuple[torch.Tensor, torch.Tensor]:
        """Count a block: columns int64 [width] of the counters and what to add to them, int32 [rows, width]."""
        cell, columns = self._cells(x, rows)
        counts = torch.bincount(cell.flatten(), minlength=self.rows * len(columns))
        return columns, counts.view(self.rows, -1).int()

    def _look_up(self, x: Array, rows: range) -> np.ndarray:
        """Sum the counts that each document of a block falls on, int64 [block]."""
        cell, columns = self._cells(x, rows)
        window = self.counts.index_select(1, columns).flatten()
        counts = window.index_select(0, cell.flatten()).view(cell.shape)
        # Integer sums are exact in any order; int32 sums are several times faster where they cannot overflow.
        wide = torch.int64 if self.documents * self.rows >= 2**31 else torch.int32
        return counts.sum(0, dtype=wide).cpu().numpy().astype(np.int64)

    def _cells(self, x: Array, rows: range) -> tuple[torch.Tensor, torch.Tensor]:
        """Hash one block into a window of the counters: few columns, which stay in cache.

        Returns the flat position in the window, int32 [rows, block], and the window's columns, int64 [width].
        """
        block = float_block(x, slice(rows.start, rows.stop), self.device)
        bucket = self._buckets(block, float(norms(block, rows).max()))
        low, high = (int(v) for v in torch.aminmax(bucket))
        if high - low >= self.buckets:
            bucket, low, high = torch.remainder(bucket, self.buckets), 0, self.buckets - 1
        width = high - low + 1
        shift = torch.arange(self.rows, dtype=torch.int32, device=self.device) * width - low
        columns = (torch.arange(width, device=self.device) + low) % self.buckets
        return bucket.add_(shift[:, None]), columns

    def _buckets(self, x: torch.Tensor, longest: float) -> torch.Tensor:
        """Return floor((a.x + b)/w), int32 [rows, block], before it is taken modulo the buckets."""
        tolerance = self.tolerance(longest)
        if tolerance > 0.01:
            raise ValueError(
                f"vectors as long as {longest:g} are too long for float32 hashes of bandwidth {self.bandwidth:g}"
            )
        # Half a bucket lower, rounding to nearest is flooring, and what is left is the distance to the centre.
        place = torch.addmm(self._offset - 0.5, self._direction, x.T)
        nearest = torch.round(place)
        bucket = nearest.int()
        off_centre = place.sub_(nearest).abs_()
        # Few rows of a block have a projection near an edge: find them by one cheap reduction.
        rows = (off_centre.amax(1) > 0.5 - tolerance).nonzero()[:, 0]
        if len(rows):
            near = (off_centre.index_select(0, rows) > 0.5 - tolerance).nonzero()
            self._decide_exactly(bucket, x, rows[near[:, 0]], near[:, 1])
        return bucket

    def _decide_exactly(
        self, bucket: torch.Tensor, x: torch.Tensor, row: torch.Tensor, column: torch.Tensor
    ) -> None:
        step = max(1, _EXACT_CELLS // self.dim)
        for r, c in zip(row.split(step), column.split(step), strict=True):
            place = dot64(self._direction[r], x[c]) + self._offset[r, 0].double()
            bucket[r, c] = torch.floor(place).int()

    def _room_for(self, documents: int) -> None:
        # A counter never exceeds the number of documents, so this alone keeps int32 from overflowing.
        if self.documents + documents >= 2**31:
            raise OverflowError(
                f"a sketch holds at most 2**31 - 1 documents, not {self.documents + documents}"
            )

    def _same_settings(self, other: RaceSketch) -> None:
        differing = [k for k, v in self.settings.items() if other.settings[k] != v]
        if differing:
            raise ValueError(
                "sketches with different settings cannot be combined: "
                + ", ".join(f"{k} {self.settings[k]} and {other.settings[k]}" for k in differing)
            )

    def _sparse(self, keys: np.ndarray, counts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Validate a sparse sketch; return its keys, counts and number of documents."""
        keys, counts = np.asarray(keys, dtype=np.int64), np.asarray(counts, dtype=np.int64)
        if keys.shape != counts.shape or keys.ndim != 1:
            raise ValueError(
                f"keys and counts must be equally long: {list(keys.shape)}, {list(counts.shape)}"
            )
        if len(keys) and (keys[0] < 0 or keys[-1] >= self.rows * self.buckets or (np.diff(keys) <= 0).any()):
            raise ValueError(f"keys must ascend strictly from 0 to below {self.rows * self.buckets}")
        if (counts < 1).any() or (counts >= 2**31).any():
            raise ValueError("counts of a sparse sketch must lie between 1 and 2**31 - 1")
        per_row = np.bincount(keys // self.buckets, weights=counts, minlength=self.rows)
        if (per_row != per_row[0]).any():
            raise ValueError("the rows of a sketch must all count the same number of documents")
        where, what = torch.from_numpy(keys), torch.from_numpy(counts.astype(np.int32))
        return where.to(self.device), what.to(self.device), int(per_row[0])
