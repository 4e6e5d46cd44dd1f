"""A `subset` and an `export` asset for each sampler."""

from __future__ import annotations

from curation_assets.config.registry import SAMPLERS, SamplerSpec
from curation_assets.engine.product import Product
from curation_assets.selection.build import subset
from curation_assets.selection.export.build import exports

_TECHNIQUES = {
    "top_k": "the highest scores stay",
    "bottom_k": "the lowest scores stay",
    "ips": "drawn without replacement with probability proportional to 1/score (inverse propensity sampling)",
    "uniform": "drawn uniformly",
}

_SIZE = (
    "Exactly `round(rate * documents)` of them, or as many as have that share of the tokens (`selection.rate_of`), of the whole corpus or of each "
    "of its strata (`selection.within`); at an amount in documents just so many, in tokens as many as fit"
)
_NESTED = "A smaller subset lies in every larger one."


def _product(spec: SamplerSpec) -> Product:
    name, how = spec.name, f"{_SIZE}: {_TECHNIQUES[spec.technique]}. {_NESTED}"
    if spec.hybrid:
        how = (
            f"{spec.description} It chooses by the scores of {spec.then}, of the whole corpus, what `samplers.{name}.first` leaves. {how} A rate is a share "
            "of the whole corpus: where the first stage leaves less, the subset is all of that."
        )
    return Product(
        f"{name}/subset",
        subset(spec),
        f"{name}: the documents that it keeps at each amount.",
        how,
        files="`manifest.json` (threshold, counts of each file, versions of the scores)",
        paper=f"{spec.paper}, section {'3.3' if spec.technique == 'ips' else '3'}" if spec.paper else "",
        use=f"the texts of what was chosen: `curation export {name}/subset --partition 20 --to chosen/`. Other amounts and combinations, from the "
        f"same scores: `curation select {name} --keep 33% --to chosen/`.",
    )


def _export(spec: SamplerSpec) -> Product:
    name = spec.name
    return Product(
        f"{name}/export",
        exports(spec),
        f"{name}: the texts that it keeps, as a dataset.",
        "Text as it stands in the corpus (or as it was scored: `export.normalized`), id, source, kept fields, score, its percentile, near-duplicates "
        "where they are known, tokens. In the order of the corpus; what `export.repeat` has appear again comes behind it. Each text is compared "
        "with what was scored.",
        files="`data/part-*` and `manifest.json` (which choice of which versions, and a digest of each file)",
        use=f"`datasets.load_dataset(FOLDER)`. Every run makes it where `export.samplers` names {name}, a click on it anyhow. To another place: "
        f"`curation export {name}/subset --partition 20 --to URL`.",
    )


SAMPLING = (*map(_product, SAMPLERS.values()), *map(_export, SAMPLERS.values()))
