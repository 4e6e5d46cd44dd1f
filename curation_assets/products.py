"""What each asset is, how it is made, and what is checked of it: the module that workers import. Nothing here knows Dagster."""

from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.products import CORPUS
from curation_assets.embeddings.products import EMBEDDINGS
from curation_assets.evaluation.products import EVALUATION
from curation_assets.invariants import INVARIANTS
from curation_assets.judges.products import MODELS
from curation_assets.pretraining.products import PRETRAINING
from curation_assets.report.products import REPORT
from curation_assets.samplers.products import SCORING
from curation_assets.selection.products import SAMPLING

PRODUCTS = (
    *CORPUS,
    *EMBEDDINGS,
    *MODELS,
    *SCORING,
    *SAMPLING,
    *PRETRAINING,
    *EVALUATION,
    *REPORT,
)
"""What each asset is and how it is made."""

BUILDERS = {product.key: product.build for product in PRODUCTS}
"""{asset key: how it is made}."""

CHECKS = INVARIANTS
"""{asset key: {name: check}}."""

CHECKED_WITH = {f"{name}/subset": (f"{name}/metrics",) for name in SAMPLERS}
"""Whose checks are evaluated with an asset's own: a new subset leaves metrics behind."""
