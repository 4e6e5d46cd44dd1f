"""What a selection with strata keeps of each, beside what it would keep without them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curation_assets.config.amount import Amount
from curation_assets.selection.threshold import Threshold

if TYPE_CHECKING:
    from curation_assets.selection.candidates import Candidates, Counts, Draw


@dataclass
class StrataTally:
    """Counts the documents of each stratum as the last pass reads them: those that stay, and those that would without strata."""

    draw: Draw
    cut: Threshold
    one_cut: Threshold
    counts: Counts
    amount: Amount

    def __post_init__(self) -> None:
        """Start all counts at nothing."""
        self._kept, self._without, self._both = np.zeros((3, len(self.counts.documents)), np.int64)

    @classmethod
    def of(cls, draw: Draw, cut: Threshold, amount: Amount, counts: Counts) -> StrataTally:
        """Return a tally of a draw; looks for the cut that it would have without strata."""
        totals = {name: values.sum(keepdims=True) for name, values in vars(counts).items()}
        whole = replace(counts, **totals)
        return cls(draw, cut, replace(draw, strata=None).threshold(amount, whole), counts, amount)

    def __call__(self, draws: list[Draw], blocks: list[Candidates]) -> None:
        """Count some documents."""
        for one in blocks:
            stratum = one.stratum
            assert stratum is not None
            kept, without = one.keep(self.cut), replace(one, stratum=None).keep(self.one_cut)
            for counts, mask in ((self._kept, kept), (self._without, without), (self._both, kept & without)):
                counts += np.bincount(stratum[mask], minlength=len(counts))

    def table(self) -> pa.Table:
        """Return one row for each stratum, by its name; where strata have weights, with these and what of the amount falls to each."""
        assert self.draw.strata is not None
        table = pa.table(
            {
                "stratum": pa.array(self.draw.strata.names, pa.string()),
                "candidates": self.counts.documents,
                "candidate_tokens": self.counts.tokens,
                "admitted": self.counts.admitted,
                "documents": self._kept,
                "without_strata": self._without,
                "in_both": self._both,
            }
        )
        if weights := self.draw.strata.weights:
            wanted = self.draw.wanted(self.amount, self.counts)
            shares = np.array(weights) / sum(weights)
            table = table.append_column("weight", pa.array(shares)).append_column("wanted", pa.array(wanted))
        return table
