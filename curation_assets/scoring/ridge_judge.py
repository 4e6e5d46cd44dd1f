"""A judge without a language model: ridge regression on embeddings of the log-odds that a teacher would say "yes".

It costs one product with each embedding, and nothing that a document says can talk to it: it reads no prompt. The penalty is the one of
least leave-one-out error, in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.hashing import noise

FILE = "ridge.safetensors"
_PENALTIES = np.logspace(-3, 4, 29)
_SURE = 1e-6  # labels are kept so far from 0 and 1
_SEED = 0x72696467  # of the draws for documents that the encoder cannot read


@dataclass(frozen=True)
class RidgeJudge:
    """Weights float64 [dim] and the intercept of the log-odds; `known` are the scores of what it was fitted to, rising.

    `penalty` is on the squared weights, beside the sum of the squared errors.
    """

    weights: NDArray[np.float64]
    intercept: float
    known: NDArray[np.float64]
    penalty: float

    def score(
        self, x: NDArray[np.floating], readable: NDArray[np.bool_], hashes: NDArray[np.uint64]
    ) -> NDArray[np.float64]:
        """Return log P("yes") of each document, float64 [n]; a row's does not depend on the other rows.

        Of a document that the encoder cannot read nothing is known: its score is drawn by its hash from the scores of those that it can.
        """
        if x.shape[1:] != self.weights.shape:
            raise ValueError(
                f"the judge was fitted to embeddings of {len(self.weights)} dimensions, these have {x.shape[1]}"
            )
        # A sum for each row: a matrix product may add a row up in another order when there are other rows.
        logits = (np.asarray(x, np.float64) * self.weights).sum(axis=1) + self.intercept
        scores = _log_probability(logits)
        places = noise(hashes[~readable], _SEED) * (len(self.known) - 1)
        scores[~readable] = np.interp(places, np.arange(len(self.known)), self.known)
        return scores

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        from safetensors.numpy import save_file

        scalars = np.array([self.intercept, self.penalty])
        save_file({"weights": self.weights, "known": self.known, "scalars": scalars}, folder / FILE)


def load_ridge_judge(folder: Path) -> RidgeJudge:
    """Read what `RidgeJudge.save` wrote."""
    from safetensors.numpy import load_file

    held = load_file(folder / FILE)
    intercept, penalty = held["scalars"].tolist()
    return RidgeJudge(held["weights"], intercept, held["known"], penalty)


def fit_ridge_judge(x: NDArray[np.floating], labels: NDArray[np.float64]) -> RidgeJudge:
    """Fit it to embeddings [n, dim] of documents that the encoder can read, and the P("yes") that each is to have, in [0, 1].

    Memory: a few times the vectors in float64.
    """
    from sklearn.linear_model import RidgeCV

    if len(x) < 2:
        raise ValueError(f"there are {len(x)} embeddings to fit a judge to: it takes 2")
    p = np.clip(labels, _SURE, 1 - _SURE)
    x = np.asarray(x, np.float64)
    fit = RidgeCV(alphas=_PENALTIES).fit(x, np.log(p) - np.log1p(-p))
    known = np.sort(_log_probability((x * fit.coef_).sum(axis=1) + fit.intercept_))
    return RidgeJudge(fit.coef_, float(fit.intercept_), known, float(fit.alpha_))


def _log_probability(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.logaddexp(0.0, -logits)
