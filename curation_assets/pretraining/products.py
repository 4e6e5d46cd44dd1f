"""The training assets: one run for each sampler, amount and size, and the ladder on the full data."""

from __future__ import annotations

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.product import Product, imported

_FILES = "`seed-N/step-M/` (weights and configuration of each snapshot), `seed-N/losses.npy`, `training.json`"
_BUDGET = (
    "Span corruption for `pretraining.tokens` tokens, whatever the data (iso-compute): less data is read more often. Killed at any "
    "step, it continues from its last resume point."
)

PRETRAINING = (
    Product(
        "full_data/checkpoint",
        imported("curation_assets.pretraining.build:full_data_checkpoint"),
        "T5 pre-trained on the whole corpus.",
        f"The baseline, the reference for over-scaling, and the source of perplexity scorers and judges. {_BUDGET}",
        files=_FILES,
        paper="T5-Small and T5-Large, 524B tokens each, section 4",
    ),
    *(
        Product(
            f"{name}/checkpoint",
            imported("curation_assets.pretraining.build:subset_checkpoint", name),
            f"{name}: T5 pre-trained on its subset.",
            _BUDGET,
            files=_FILES,
            paper="T5-Small and T5-Large at equal tokens, section 4",
            use="job `train_and_evaluate_one_cell` trains one amount and size and measures it.",
        )
        for name in SAMPLERS
    ),
)
