"""The assets that samplers bring: what several share, where a model is, and the scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.product import Product
from curation_assets.models.build import model_note
from curation_assets.samplers.build import scores
from curation_assets.samplers.spec import Sampler


def _products(sampler: Sampler) -> Iterator[Product]:
    name = sampler.name
    yield from sampler.products
    if sampler.model:
        yield Product(
            f"{name}/model",
            model_note(lambda p: p.model_source(name)),
            f"{name}: the model that it scores with.",
            f"Where `{sampler.model}` was found, its digest and size. Scores follow the digest: the same weights in "
            "another place change nothing.",
            files="`model.json` (digest, parameters, files)",
        )
    yield Product(
        f"{name}/scores",
        scores(sampler),
        f"{name}: a score for each document; higher is better.",
        sampler.description,
        paper=f"{sampler.paper}, appendix B" if sampler.paper else "",
        use="compare samplers' scores in `report/correlation`, read documents in `report/documents`; one document's scores: "
        "`curation explain DOC_ID`.",
    )


_SCORERS = cast(
    "list[Sampler]", [SAMPLERS[name] for name in SAMPLERS.scored]
)  # the rooms below know a `SamplerSpec`
SCORING = tuple({product.key: product for s in _SCORERS for product in _products(s)}.values())
"""One product for each asset: those that several samplers bring stand here once."""
