"""Q-Classifier: logistic regression on the embeddings tells reference text from a sample of the corpus; its probability is the score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field

from curation_assets.common.progress import Progress
from curation_assets.config.section import Positive, Section
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers import clusters
from curation_assets.samplers.cluster_sample import SAMPLE, SHARE, training_points
from curation_assets.samplers.documents import Documents, blocks
from curation_assets.samplers.spec import Sampler, Scores
from curation_assets.samplers.unreadable import READABLE, draw_scores, score_histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation_assets.scoring.q_classifier import Classifier


class QClassifier(Section):
    """[samplers.q_classifier]: `documents` of the corpus, by hash, are told from the reference; `penalty` on the squared weights.

    They are among what k-means is fitted to, so at most `samplers.clusters.max_training_points`.
    """

    documents: Positive
    penalty: Annotated[float, Field(gt=0)]


class Fitted(NamedTuple):
    """The classifier, and a histogram of its scores on the sample of the corpus."""

    classifier: Classifier
    histogram: NDArray[np.int64]


def classifier(context: Context) -> BuildOne:
    """Fit the classifier: `classifier.npz` with `weights`, `intercept` and a `histogram` of the scores of the corpus's sample."""
    from curation_assets.scoring.q_classifier import fit_classifier

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        settings = context.profile.samplers.q_classifier
        wanted = context.open("corpus/reference_embeddings")
        reference = np.load(wanted / "embeddings.npy")[np.load(wanted / "readable.npy")]
        points = training_points(context, settings.documents, progress)
        if not points.readable or not len(reference):
            raise ValueError("the encoder can read no document of the reference, or none of the corpus")
        fit = fit_classifier(reference, points.vectors, settings.penalty)
        own, others = fit.probability(reference), fit.probability(points.vectors)
        np.savez(
            folder / "classifier.npz",
            weights=fit.weights,
            intercept=fit.intercept,
            histogram=score_histogram(others),
        )
        return {
            "reference_documents": len(reference),
            "corpus_documents": len(points.vectors),
            "mean_score_of_reference": float(own.mean()),
            "mean_score_of_corpus": float(others.mean()),
        }

    return build


def setup(context: Context) -> Fitted:
    """Load the classifier."""
    from curation_assets.scoring.q_classifier import Classifier

    with np.load(context.open("q_classifier/classifier") / "classifier.npz") as file:
        return Fitted(Classifier(file["weights"], float(file["intercept"])), file["histogram"])


def score(fitted: Fitted, documents: Documents, progress: Progress) -> Scores:
    """Return how probably each document is of the reference; one that the encoder could not read has the score of a random other."""
    x, readable = documents.embeddings, documents.readable
    scores = np.empty(len(x))
    for rows, part in blocks(x):
        scores[rows] = fitted.classifier.probability(part)
        progress(rows.stop, len(x), "documents")
    scores[~readable] = draw_scores(fitted.histogram, documents.hashes[~readable])
    return {"score": scores, "readable": readable}


SAMPLER = Sampler(
    name="q_classifier",
    family="quality",
    technique="top_k",
    description="Probability that the document is of the reference and not of the corpus, by logistic regression on its embedding.",
    paper="Q-Classifier",
    inputs=("corpus/embeddings", "q_classifier/classifier"),
    settings=QClassifier,
    shared_settings=clusters.SETTINGS,
    columns=READABLE,
    setup=setup,
    score=score,
    highest=1.0,
    steps=(
        *(step for step in clusters.STEPS if step.key in (SHARE, SAMPLE)),
        Step(
            "q_classifier/classifier",
            "",
            (SAMPLE, "corpus/reference_embeddings"),
            "quality",
            ("scikit-learn",),
            ("samplers.q_classifier",),
        ),
    ),
    products=(
        *(product for product in clusters.PRODUCTS if product.key in (SHARE, SAMPLE)),
        Product(
            "q_classifier/classifier",
            classifier,
            "Logistic regression of embeddings: of the reference, or of the corpus?",
            "Fitted anew when the corpus or the reference changes: that takes a second, and no model runs. Both sides weigh alike.",
            files="`classifier.npz` (weights, intercept, histogram of the corpus's scores)",
        ),
    ),
)
