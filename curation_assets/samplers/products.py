"""The scoring assets: what the coverage samplers share, and one `scores` asset for each sampler."""

from __future__ import annotations

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.product import Product
from curation_assets.samplers import build, coverage

_SKETCH = "`keys.npy` and `counts.npy` (cells that are not 0), `settings.json`"

SCORING = (
    Product(
        "clusters/centroids",
        coverage.centroids,
        "Spherical k-means of the embeddings: the centroids.",
        "Kept while the corpus changes little, so that scores can be compared.",
        files="`centroids.npy` (float32 [clusters, dimensions])",
        paper="appendix B (10,000 clusters for 364M documents)",
    ),
    Product(
        "clusters/assignments",
        coverage.assignments,
        "Each document's nearest centroid, and how near it is.",
        files="`clusters.npy` (int32 [documents]), `similarity.npy` (cosine, float32 [documents])",
        paper="appendix B",
    ),
    Product(
        "density/shard_sketch",
        coverage.shard_sketch,
        "A corpus file's part of the density sketch.",
        "First pass of the density estimate: counts of a p-stable hash, kept sparse. Sketches add up, so a changed file costs one.",
        files=_SKETCH,
        paper="algorithm 2 (first pass)",
    ),
    Product(
        "density/sketch",
        coverage.sketch,
        "The density sketch of the whole corpus: RACE.",
        "The sum of the files' sketches.",
        files=_SKETCH,
        paper="algorithm 2 (80 MB for all of C4)",
    ),
    Product(
        "semdedup/neighbours",
        coverage.neighbours,
        "For each document the most similar one that is kept before it.",
        "Within its cluster, by exact cosine.",
        files="one Parquet file for each corpus file (score, similarity, duplicate_shard, duplicate_of)",
        paper="appendix B (SemDeDup, Abbas et al. 2023)",
    ),
    *(
        Product(
            f"{name}/scores",
            build.SCORERS[name],
            f"{name}: a score for each document; higher is better.",
            spec.description,
            paper=f"{spec.paper}, appendix B",
            use="compare samplers' scores in `report/correlation`, read documents in `report/documents`; one document's scores: "
            "`curation explain DOC_ID`.",
        )
        for name, spec in SAMPLERS.items()
    ),
)
