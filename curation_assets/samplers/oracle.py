"""Oracle: what a judge without a fault would choose, by labels that the corpus carries. No way to choose data: what the others can be measured by."""

from __future__ import annotations

import numpy as np

from curation_assets.common.progress import Progress
from curation_assets.config.settings import Labels
from curation_assets.corpus.label_files import labels_of
from curation_assets.engine.context import Context
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Sampler, Scores


def setup(context: Context) -> Labels:
    """Return which field has the labels, and which of them are good; ValueError where the profile names none."""
    labels = context.profile.labels
    if not labels.field:
        raise ValueError("labels.field names no field of the corpus: oracle goes by it")
    return Labels(url="", field=labels.field, positive=labels.positive)


def score(labels: Labels, documents: Documents, progress: Progress) -> Scores:
    """Score each document by its label: 1 for a good one, 0 for a bad one, and for one without a label."""
    good = labels_of(
        documents.kept(labels.field), labels.positive, f"{documents.shard}, field {labels.field}"
    )
    return {"score": (good == 1).astype(np.float64)}


SAMPLER = Sampler(
    name="oracle",
    family="oracle",
    technique="top_k",
    description="1 where the label that the corpus carries (`labels.field`) is good, else 0: among the good ones the hash decides. "
    "What a judge without a fault would choose, for corpora in which that is known.",
    paper="",
    reads=("labels.field", "labels.positive"),
    setup=setup,
    score=score,
    highest=1.0,
)
