"""Near-duplicates by the cosine from which on two documents count as such: how many go, and at which cosine fixed rates cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.report.schemas import schema
from curation_assets.scoring.semdedup import THRESHOLDS

Ints = NDArray[np.int64]

CURVE = schema("real threshold", "whole removed", "real share", "whole groups kept")
"""Columns of the curve: at cosine `threshold` so many documents are `removed` (`share` of all) in so many `groups`, and `kept`."""
_EVERY = 5  # of the thresholds is a row: steps of 0.005


@dataclass(frozen=True)
class Duplicates:
    """What thresholds remove.

    Attributes
    ----------
    documents : that were compared.
    removed, groups : int64 [t], at each of `THRESHOLDS`.
    threshold : from which on documents are called near-duplicates (`samplers.semdedup.threshold`).
    cuts : {rate in percent: cosine at which the subset of that rate is cut}, of those that there are.
    unreadable : documents that were not compared, since the encoder cannot read them.
    """

    documents: int
    removed: Ints
    groups: Ints
    threshold: float
    cuts: Mapping[str, float]
    unreadable: int = 0

    def at(self, threshold: float) -> tuple[int, int]:
        """Return how many documents a threshold removes, and of how many groups."""
        place = int(np.abs(THRESHOLDS - threshold).argmin())
        return int(self.removed[place]), int(self.groups[place])

    def share(self, threshold: float) -> float:
        """Return the share of the documents that a threshold removes."""
        return self.at(threshold)[0] / max(self.documents, 1)

    def curve(self) -> pl.DataFrame:
        """Return the curve (CURVE), the highest threshold first."""
        rows = slice(None, None, -_EVERY)
        removed = self.removed[rows]
        return pl.DataFrame(
            {
                "threshold": THRESHOLDS[rows],
                "removed": removed,
                "share": removed / max(self.documents, 1),
                "groups": self.groups[rows],
                "kept": self.documents - removed,
            },
            schema=CURVE,
        )
