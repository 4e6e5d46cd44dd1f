"""Density: kernel density estimates of all documents in two linear passes over their embeddings.

A RACE sketch (Coleman and Shrivastava 2020) is R rows of counters. Each row hashes a vector into one of its cells
(`scoring.density_hashes`) and counts it there. The mean over rows of the counts that a query falls on is an unbiased estimate of

    sum over documents y of p(x, y),   p the probability that one row puts both into one cell: the kernel (section 3.2 there).

Its error falls as O(sqrt(log R / R)) (paper, theorem A.2). It is the score of the paper's Density sampler
(section 3.3, algorithm 2), whose selection weight is 1/score.

A cell is a function of (vector, settings, seed) alone, adding and subtracting are exact inverses in any batching, and counts
are integers.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from curation_assets.scoring.density_hashes import CosineHashes, L2Hashes
from curation_assets.scoring.exact import (
    Array,
    blocks_of,
    check_directions,
    check_matrix,
    float_block,
    full_precision,
    map_blocks,
    norms,
)

DEFAULT_BANDWIDTH = 0.5  # unit vectors lie 0 to 2 apart; p(0.1) = 0.84, p(0.5) = 0.37, p(1.4) = 0.14
_BLOCK_CELLS = {"cpu": 1 << 20, "cuda": 1 << 24}  # cells per block: on the CPU 4 MiB, to stay in cache
_DENSE_ROWS = 64  # rows that are looked through at a time
_SPARSE = 16  # a sketch of at most one document for so many cells of a row knows which of them are filled


class RaceSketch:
    """A RACE sketch: `rows` times 2 ** `bits` int32 counters for the cosine kernel, times `buckets` for L2.

    The paper's is `kernel="l2", bits=1` of 1,000 rows and 20,000 buckets: 80 MB.

    Parameters
    ----------
    dim
        Length of the vectors.
    rows, buckets
        R and B of the paper; of the cosine kernel B is the most that 2 ** `bits` may be.
    kernel
        "cosine": (1 - angle / pi) ** bits; "l2": the p-stable hash's collision probability to the power of `bits`.
    bits
        Hashes that a row concatenates.
    pool
        Projections that rows draw theirs from; with one bit each row has its own.
    bandwidth
        w of the L2 hash, in the units of the vectors. The default suits unit vectors and one bit.
    seed
        Of the projections, which NumPy draws, so that all devices share them.
    device
        "cpu" or "cuda": where the counters are and the work is done. It never changes a count.

    Attributes
    ----------
    counts : int32 tensor [rows, cells]
    documents : int
        Vectors counted; every row of `counts` sums to it.
    """

    def __init__(
        self,
        dim: int,
        rows: int = 1000,
        buckets: int = 20000,
        kernel: Literal["cosine", "l2"] = "cosine",
        bits: int = 10,
        pool: int = 2000,
        bandwidth: float = DEFAULT_BANDWIDTH,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        if min(dim, rows, buckets) < 1 or rows * buckets >= 2**31:
            raise ValueError(
                f"dim, rows and buckets must be positive with rows * buckets < 2**31: {dim}, {rows}, {buckets}"
            )
        self.dim, self.rows, self.device = dim, rows, torch.device(device)
        self.hashes: CosineHashes | L2Hashes
        self.settings: dict[str, float | str] = {"dim": dim, "rows": rows, "kernel": kernel, "bits": bits}
        """What two sketches must share to be merged, subtracted or compared."""
        if kernel == "cosine":
            self.hashes = CosineHashes(dim, rows, buckets, bits, pool, seed, self.device)
        elif kernel == "l2":
            self.hashes = L2Hashes(dim, rows, buckets, bits, pool, bandwidth, seed, self.device)
            self.settings |= {"bandwidth": float(bandwidth)}
        else:
            raise ValueError(f'kernel must be "cosine" or "l2", not "{kernel}"')
        self.cells = self.hashes.cells
        self.settings |= {"cells": self.cells, "projections": self.hashes.projections, "seed": seed}
        self.documents = 0
        self.counts = torch.zeros(rows, self.cells, dtype=torch.int32, device=self.device)
        self._filled: (
            list[torch.Tensor] | None
        ) = []  # cells of all vectors, [rows, n]; None where they are too many

    def add(self, x: Array) -> RaceSketch:
        """Count the vectors `x`, floating [n, dim]. If one of them is bad, none is counted."""
        check_matrix(x, self.dim)
        self._room_for(x.shape[0])
        blocks, done = self._blocks(x.shape[0]), 0
        with full_precision(self.device):
            try:
                for cell in map_blocks(lambda rows: self._cells(x, rows), blocks, self.device):
                    self._note(
                        cell
                    )  # before it is counted: whatever interrupts this, `clear` leaves nothing behind
                    self._count(cell, 1)
                    done += 1
            except ValueError:
                for rows in blocks[:done]:  # hashing again gives the very same cells
                    self._count(self._cells(x, rows), -1)
                raise
        self.documents += x.shape[0]
        return self

    def density(self, x: Array) -> np.ndarray:
        """Estimate the kernel sum at each vector: float64 [n], in documents (mean count over the rows, less chance)."""
        check_matrix(x, self.dim)
        total = [np.empty(0, dtype=np.int64)]
        with full_precision(self.device):
            total += map_blocks(lambda rows: self._look_up(x, rows), self._blocks(x.shape[0]), self.device)
        mean, chance = np.concatenate(total) / self.rows, self.hashes.chance
        # Documents that do not meet by their hashes do so by chance: mean = kernel sum + chance * (documents - kernel sum).
        return (mean - chance * self.documents) / (1 - chance)

    def merge(self, other: RaceSketch) -> RaceSketch:
        """Add the counts of a sketch with the same settings (library API: the graph merges sparse ones)."""
        self._same_settings(other)
        self._room_for(other.documents)
        self.counts += other.counts.to(self.device)
        self.documents, self._filled = self.documents + other.documents, None
        return self

    def subtract(self, other: RaceSketch) -> RaceSketch:
        """Take away the counts of a sketch with the same settings, whose vectors are part of this one (library API)."""
        self._same_settings(other)
        counts = other.counts.to(self.device)
        if other.documents > self.documents or bool((self.counts < counts).any()):
            raise ValueError("cannot subtract a sketch that holds documents which this one does not")
        self.counts -= counts
        self.documents, self._filled = self.documents - other.documents, None
        return self

    def to_sparse(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the filled counters: keys int32 (row * cells + cell, ascending) and counts int32."""
        if (places := self._places()) is not None:
            filled = places[self.counts.view(-1)[places] > 0]
            return filled.int().cpu().numpy(), self.counts.view(-1)[filled].cpu().numpy()
        keys, counts = [], []
        for first, rows in enumerate(self.counts.split(_DENSE_ROWS)):
            flat = rows.reshape(-1).cpu().numpy()
            cells = np.flatnonzero(flat)
            keys.append((cells + first * _DENSE_ROWS * self.cells).astype(np.int32))
            counts.append(flat[cells])
        return np.concatenate(keys), np.concatenate(counts)

    def clear(self) -> RaceSketch:
        """Take all vectors away: cheaper than another sketch, whose projections would be made anew."""
        if (places := self._places()) is not None:
            self.counts.view(-1)[places] = 0
        else:
            self.counts.zero_()
        self.documents, self._filled = 0, []
        return self

    def merge_sparse(self, keys: np.ndarray, counts: np.ndarray) -> RaceSketch:
        """Add the counts of a sparse sketch with the same settings; cheaper than `merge` for a shard."""
        where, what, documents = self._sparse(keys, counts)
        self._room_for(documents)
        self.counts.view(-1)[where] += what
        self.documents, self._filled = self.documents + documents, None
        return self

    def _blocks(self, n: int) -> list[range]:
        cells = _BLOCK_CELLS.get(self.device.type, 1 << 20)
        return blocks_of(n, max(1, cells // self.rows))

    def _cells(self, x: Array, rows: range) -> torch.Tensor:
        """Hash a block: the cell of each of its vectors in each row, integers [rows, block]."""
        block = float_block(x, slice(rows.start, rows.stop), self.device)
        lengths = norms(block, rows)
        if isinstance(self.hashes, CosineHashes):
            check_directions(lengths, rows)
        return self.hashes.cell(block, lengths)

    def _count(self, cell: torch.Tensor, times: int) -> None:
        ones = torch.full(cell.shape, times, dtype=torch.int32, device=self.device)
        self.counts.scatter_add_(1, cell.long(), ones)

    def _note(self, cell: torch.Tensor) -> None:
        """Note which counters vectors fall on, as long as these are few: who clears or stores a small sketch need not look at all of them."""
        if self._filled is not None:
            self._filled.append(cell)
            if sum(one.shape[1] for one in self._filled) * _SPARSE > self.cells:
                self._filled = None

    def _places(self) -> torch.Tensor | None:
        """Return the numbers of all counters that may be filled, int64, ascending; None where that is not known."""
        if not self._filled:
            return None if self._filled is None else torch.zeros(0, dtype=torch.int64, device=self.device)
        first = torch.arange(self.rows, device=self.device)[:, None] * self.cells
        return (torch.cat(self._filled, 1).long() + first).unique()

    def _look_up(self, x: Array, rows: range) -> np.ndarray:
        """Sum the counts that each document of a block falls on, int64 [block]."""
        counts = self.counts.gather(1, self._cells(x, rows).long())
        # Integer sums are exact in any order; int32 sums are several times faster where they cannot overflow.
        wide = torch.int64 if self.documents * self.rows >= 2**31 else torch.int32
        return counts.sum(0, dtype=wide).cpu().numpy().astype(np.int64)

    def _room_for(self, documents: int) -> None:
        # A counter never exceeds the number of documents, so this alone keeps int32 from overflowing.
        if self.documents + documents >= 2**31:
            raise OverflowError(
                f"a sketch holds at most 2**31 - 1 documents, not {self.documents + documents}"
            )

    def _same_settings(self, other: RaceSketch) -> None:
        names = dict.fromkeys([*self.settings, *other.settings])
        differing = [k for k in names if self.settings.get(k) != other.settings.get(k)]
        if differing:
            raise ValueError(
                "sketches with different settings cannot be combined: "
                + ", ".join(f"{k} {self.settings.get(k)} and {other.settings.get(k)}" for k in differing)
            )

    def _sparse(self, keys: np.ndarray, counts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Validate a sparse sketch; return its keys, counts and number of documents."""
        keys, counts = np.asarray(keys), np.asarray(counts, dtype=np.int64)
        if keys.shape != counts.shape or keys.ndim != 1:
            raise ValueError(
                f"keys and counts must be equally long: {list(keys.shape)}, {list(counts.shape)}"
            )
        if len(keys) and (keys[0] < 0 or keys[-1] >= self.rows * self.cells or (keys[1:] <= keys[:-1]).any()):
            raise ValueError(f"keys must ascend strictly from 0 to below {self.rows * self.cells}")
        if (counts < 1).any() or (counts >= 2**31).any():
            raise ValueError("counts of a sparse sketch must lie between 1 and 2**31 - 1")
        ends = np.searchsorted(keys, np.arange(self.rows + 1) * self.cells)
        per_row = np.diff(np.concatenate([[0], np.cumsum(counts)])[ends])
        if (per_row != per_row[0]).any():
            raise ValueError("the rows of a sketch must all count the same number of documents")
        where, what = torch.from_numpy(keys.astype(np.int64)), torch.from_numpy(counts.astype(np.int32))
        return where.to(self.device), what.to(self.device), int(per_row[0])
