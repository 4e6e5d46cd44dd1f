"""The hashes of a density sketch: each of its rows puts a vector into a cell, and two vectors into one with a known probability.

A row concatenates `bits` hashes, so that its collision probability, the kernel, is that of one hash to the power of `bits`:

- cosine: signs of random projections (Charikar 2002), p = (1 - angle / pi) ** bits. The signs are the cell's number.
- L2: p-stable hashes floor((a.x + b) / w) (Datar et al. 2004). A single one is the paper's: its cell is that number modulo the cells,
  and nothing meets by chance as long as projections span fewer cells than there are. Several are hashed into the cells once more,
  where different ones meet with probability 1 / cells.

Rows draw their projections from a pool of them: row r has those at r, r + s1, r + s2, ... of a circle, for shifts s that are drawn
once. So one matrix product with the pool serves all rows, few rows share more than one projection, and nothing is gathered. Each row
is as if its projections were its own, so an estimate stays unbiased; its variance grows by what rows share.

Purity: a sign or floor() would flip near an edge when a matrix product rounds differently for another batch or device. Projections
closer to an edge than `tolerance` are therefore decided by a float64 dot product with a fixed order of summation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from curation_assets.scoring.exact import EXACT_CELLS, dot64

_SALT = 0x52414345
# Error allowed to an fp32 projection a.x, in units of |a| |x|, |a| about sqrt(dim) / w. Of 10^7 projections of 24 to
# 768 dimensions the largest was a third of it for x parallel to a, and a seventh or less for random x.
_ROUNDING = 32 * 2.0**-24


def default_bits(documents: int, buckets: int) -> int:
    """Return how many hashes a row concatenates for so many documents: log2 of them, rounded down, less 1; from 4 to 14.

    It is another one when the number of documents passes a power of two, and at no other time. 2 ** bits is at most `buckets`.
    """
    return max(1, min(max(documents.bit_length() - 2, 4), 14, buckets.bit_length() - 1))


class RowHashes:
    """What both kinds share: normal projections, drawn by NumPy so that all devices have the same ones, and who has which.

    Attributes
    ----------
    cells : int
        How many a row has.
    chance : float
        Probability that two vectors meet in a row although their hashes differ.
    """

    cells: int
    chance = 0.0

    def __init__(
        self, dim: int, rows: int, bits: int, pool: int, width: float, seed: int, device: torch.device
    ) -> None:
        if bits < 1 or (bits > 1 and pool < max(rows, bits)):
            raise ValueError(
                f"bits must be positive, and pool at least rows and bits: bits {bits}, pool {pool}, rows {rows}"
            )
        self.dim, self.rows, self.bits, self.device = dim, rows, bits, device
        self.projections = pool if bits > 1 else rows
        # Salted, since vectors that someone draws from the same seed must not be the projections themselves.
        self._draw = np.random.Generator(np.random.PCG64([_SALT, seed]))
        # The width is folded in here: the float32 values define the hash, and the matrix product needs no division.
        normal = self._draw.standard_normal((self.projections, dim)) / width
        self._direction = torch.from_numpy(normal.astype(np.float32)).to(device)

    def cell(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return in which cell of each row each vector is, integers [rows, n], for float32 [n, dim] with their norms."""
        raise NotImplementedError

    def _draw_shifts(self) -> list[int]:
        later = self._draw.choice(self.projections - 1, self.bits - 1, replace=False) if self.bits > 1 else ()
        return [0, *(1 + int(shift) for shift in later)]

    def _circle(self, hashes: torch.Tensor) -> torch.Tensor:
        """Repeat the first rows of [projections, n], so that what a row has at any shift is a slice."""
        return torch.cat([hashes, hashes[: self.rows]]) if self.bits > 1 else hashes

    def _exact(
        self, x: torch.Tensor, row: torch.Tensor, column: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield projections in float64, with which projection and vector they are of."""
        step = max(1, 2 * EXACT_CELLS.get(self.device.type, 1 << 17) // self.dim)
        for r, c in zip(row.split(step), column.split(step), strict=True):
            yield r, c, dot64(self._direction[r], x[c])


class CosineHashes(RowHashes):
    """Signs of projections: 2 ** bits cells, p = (1 - angle / pi) ** bits."""

    def __init__(
        self, dim: int, rows: int, buckets: int, bits: int, pool: int, seed: int, device: torch.device
    ) -> None:
        super().__init__(dim, rows, bits, pool, 1.0, seed, device)
        if 2**bits > buckets:
            raise ValueError(f"{bits} bits are {2**bits} cells, more than {buckets} buckets")
        self.cells = 2**bits
        self._shifts = self._draw_shifts()
        self._kind = torch.int16 if bits < 16 else torch.int32

    def tolerance(self, longest: float = 1.0) -> float:
        """Distance to 0 under which a sign is decided in float64, for vectors of at most that norm."""
        return _ROUNDING * math.sqrt(self.dim) * longest

    def cell(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Put the signs of a row's projections together, the first one lowest."""
        place = self._direction @ x.T
        bit = (place >= 0).to(self._kind)
        tolerance = self.tolerance(float(lengths.max()))
        # Few projections of a block are near 0 for any vector: find them by one cheap reduction.
        rows = (place.abs_().amin(1) < tolerance).nonzero()[:, 0]
        if len(rows):
            near = (place.index_select(0, rows) < tolerance).nonzero()
            for row, column, exact in self._exact(x, rows[near[:, 0]], near[:, 1]):
                bit[row, column] = (exact >= 0).to(self._kind)
        circle = self._circle(bit)
        cell = circle[: self.rows].clone()
        for number, shift in enumerate(self._shifts[1:], 1):
            cell.add_(circle[shift : shift + self.rows], alpha=1 << number)
        return cell


class L2Hashes(RowHashes):
    """p-stable hashes of width `bandwidth`: as many cells as `buckets`."""

    def __init__(
        self,
        dim: int,
        rows: int,
        buckets: int,
        bits: int,
        pool: int,
        bandwidth: float,
        seed: int,
        device: torch.device,
    ) -> None:
        if not (bandwidth > 0 and math.isfinite(bandwidth)):
            raise ValueError(f"bandwidth must be positive and finite, not {bandwidth}")
        super().__init__(dim, rows, bits, pool, bandwidth, seed, device)
        self.cells, self.bandwidth = buckets, float(bandwidth)
        offset = self._draw.random((self.projections, 1)).astype(np.float32)
        self._offset = torch.from_numpy(offset).to(device)
        self._shifts = self._draw_shifts()
        if bits > 1:
            self.chance = 1 / buckets
            mixing = self._draw.integers(-(2**31), 2**31, (bits + 1, rows, 1), dtype=np.int32)
            self._mixing = torch.from_numpy(mixing).to(device)

    def tolerance(self, longest: float = 1.0) -> float:
        """Distance to an edge, in widths, under which a hash is decided in float64, for vectors of at most that norm."""
        return _ROUNDING * (1 + math.sqrt(self.dim) * longest / self.bandwidth)

    def cell(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Put a row's hash into a cell by its remainder, or several by a random sum of them (multiply-shift: Dietzfelbinger 1996).

        Sums wrap around at 2 ** 32. The cell is their place on that circle, so that different hashes meet with probability 1 / cells.
        """
        step = self._steps(x, float(lengths.max()))
        if self.bits == 1:
            inside = -self.cells <= int(step.min()) and int(step.max()) < self.cells
            return torch.where(step < 0, step + self.cells, step) if inside else step.remainder(self.cells)
        circle = self._circle(step)
        mixed = self._mixing[0].repeat(1, x.shape[0])
        for factor, shift in zip(self._mixing[1:], self._shifts, strict=True):
            mixed.addcmul_(circle[shift : shift + self.rows], factor)
        return mixed.long().add_(2**31).mul_(self.cells).bitwise_right_shift_(32)

    def _steps(self, x: torch.Tensor, longest: float) -> torch.Tensor:
        """Return floor((a.x + b) / w), int32 [projections, n]."""
        tolerance = self.tolerance(longest)
        if tolerance > 0.01:
            raise ValueError(
                f"vectors as long as {longest:g} are too long for float32 hashes of bandwidth {self.bandwidth:g}"
            )
        # Half a width lower, rounding to nearest is flooring, and what is left is the distance to the centre.
        place = torch.addmm(self._offset - 0.5, self._direction, x.T)
        nearest = torch.round(place)
        step = nearest.int()
        off_centre = place.sub_(nearest).abs_()
        rows = (off_centre.amax(1) > 0.5 - tolerance).nonzero()[:, 0]
        if len(rows):
            near = (off_centre.index_select(0, rows) > 0.5 - tolerance).nonzero()
            for row, column, exact in self._exact(x, rows[near[:, 0]], near[:, 1]):
                step[row, column] = torch.floor(exact + self._offset[row, 0].double()).int()
        return step
