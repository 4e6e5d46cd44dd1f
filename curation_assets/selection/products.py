"""One `subset` asset for each sampler."""

from __future__ import annotations

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.product import Product
from curation_assets.selection.build import subset

_TECHNIQUES = {
    "top_k": "the highest scores stay",
    "bottom_k": "the lowest scores stay",
    "ips": "drawn without replacement with probability proportional to 1/score (inverse propensity sampling)",
    "uniform": "drawn uniformly",
}

SAMPLING = tuple(
    Product(
        f"{name}/subset",
        subset(spec),
        f"{name}: the documents that it keeps at each rate.",
        f"Exactly `round(rate * documents)` of them, or as many as have that share of the tokens (`selection.rate_of`): {_TECHNIQUES[spec.technique]}. A smaller rate's subset lies in every larger one's.",
        files="`manifest.json` (threshold, counts of each file, versions of the scores)",
        paper=f"{spec.paper}, section {'3.3' if spec.technique == 'ips' else '3'}",
        use="the Parquet file is the subset: join it with your corpus by `shard` and `source_row`, or by `doc_id` where ids are unique. Other amounts and "
        f"combinations: `curation select {name} --keep 33% --out chosen/`, from the same scores.",
    )
    for name, spec in SAMPLERS.items()
)
