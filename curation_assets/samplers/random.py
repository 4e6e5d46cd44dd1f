"""Random: the baseline that every other sampler is compared with."""

from __future__ import annotations

from curation_assets.common.progress import Progress
from curation_assets.engine.context import Context
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Sampler, Scores
from curation_assets.scoring.random import random_scores


def setup(context: Context) -> int:
    """Return the seed, which is that of selection."""
    return context.profile.selection.seed


def score(seed: int, documents: Documents, progress: Progress) -> Scores:
    """Draw a number for each document."""
    return {"score": random_scores(documents.hashes, seed)}


SAMPLER = Sampler(
    name="random",
    family="random",
    technique="uniform",
    description="A uniform number that depends on the document and the seed alone: the baseline.",
    paper="random sampling",
    reads=("selection.seed",),
    setup=setup,
    score=score,
    code=2,
)
