"""A quality classifier: logistic regression on embeddings tells text of a reference from text of the corpus.

Both sides count alike in the fit, however many there are of each: the score is the probability that a text is of the reference, if it
were one or the other with equal odds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Classifier(NamedTuple):
    """Weights float64 [dim] and the intercept."""

    weights: NDArray[np.float64]
    intercept: float

    def probability(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how probably each vector is of the reference, float64 [n]; a row's value does not depend on the other rows."""
        # A sum for each row: a matrix product may add a row up in another order when there are other rows.
        logits = (np.asarray(x, np.float64) * self.weights).sum(axis=1) + self.intercept
        return 0.5 * (1.0 + np.tanh(0.5 * logits))


def fit_classifier(
    reference: NDArray[np.floating], corpus: NDArray[np.floating], penalty: float = 1.0
) -> Classifier:
    """Fit the classifier; `penalty` / 2 times the squared weights is added to the losses, which are weighted so that the sides weigh alike.

    Memory: a few times the vectors in float64.
    """
    from sklearn.linear_model import LogisticRegression

    if not len(reference) or not len(corpus):
        raise ValueError(
            f"there are {len(reference)} vectors of the reference and {len(corpus)} of the corpus: it takes both"
        )
    x = np.concatenate([reference, corpus]).astype(np.float64)
    y = np.repeat([1, 0], [len(reference), len(corpus)])
    fit = LogisticRegression(C=1 / penalty, class_weight="balanced", solver="newton-cholesky", tol=1e-8).fit(
        x, y
    )
    return Classifier(fit.coef_[0], float(fit.intercept_[0]))
