"""Density sampling (paper, section 3.3): a kernel density of the embeddings by a RACE sketch, made shard by shard and added up."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from curation_assets.common.files import write_json
from curation_assets.common.progress import Progress
from curation_assets.config.section import Positive, Section
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers.documents import Documents, blocks
from curation_assets.samplers.spec import Sampler, Scores
from curation_assets.samplers.unreadable import READABLE

if TYPE_CHECKING:
    from curation_assets.scoring.density import RaceSketch


class Density(Section):
    """The RACE sketch (paper, algorithms 1 and 2): rows x buckets, bandwidth of the p-stable hash."""

    rows: Positive
    buckets: Positive
    bandwidth: Annotated[float, Field(gt=0)]
    seed: int


def shard_sketch(context: Context) -> BuildOne:
    """Sketch one shard (first pass of the density estimate): `keys.npy`, `counts.npy`, the filled counters.

    Documents that the encoder could not read are not counted: they would make each other look dense.
    """
    empty = cache(partial(_empty_sketch, context))  # one for all files

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        documents = Documents(context, shard)
        x, readable = documents.embeddings, documents.readable
        sketch = empty(x.shape[1]).clear()
        for rows, part in blocks(x):
            sketch.add(part[readable[rows]])
            progress(rows.stop, len(x), "documents")
        return _write_sketch(sketch, folder)

    return build


def sketch(context: Context) -> BuildOne:
    """Add the shards' sketches up."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = context.shards()
        total = _empty_sketch(context, context.metadata("density/shard_sketch", shards[0])["dimensions"])
        for number, shard in enumerate(shards, 1):
            with context.opened("density/shard_sketch", shard) as sketched:
                total.merge_sparse(*_read_sketch(sketched))
            progress(number, len(shards), "shards")
        return _write_sketch(total, folder)

    return build


def setup(context: Context) -> RaceSketch:
    """Return the sketch of the whole corpus."""
    total = _empty_sketch(context, context.metadata("density/sketch")["dimensions"])
    return total.merge_sparse(*_read_sketch(context.open("density/sketch")))


def score(total: RaceSketch, documents: Documents, progress: Progress) -> Scores:
    """Return the density at each document; one that the encoder could not read is not in the sketch, and has itself beside it."""
    x, readable = documents.embeddings, documents.readable
    density = np.empty(len(x))
    for rows, part in blocks(x):
        density[rows] = total.density(part) + ~readable[rows]
        progress(rows.stop, len(x), "documents")
    return {"score": density, "readable": readable}


def _empty_sketch(context: Context, dim: int) -> RaceSketch:
    from curation_assets.scoring.density import RaceSketch

    return context.profile.samplers.density.to(RaceSketch, dim=dim, device=context.device)


def _write_sketch(sketch: RaceSketch, folder: Path) -> Metadata:
    keys, counts = sketch.to_sparse()
    np.save(folder / "keys.npy", keys)
    np.save(folder / "counts.npy", counts)
    write_json(folder / "settings.json", sketch.settings)
    return {
        "documents": sketch.documents,
        "dimensions": sketch.dim,
        "filled_counters": len(keys),
        "filled_buckets_per_row": round(len(keys) / sketch.rows, 1),
    }


def _read_sketch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a stored sketch's filled counters: keys int64 and counts int32."""
    return np.load(folder / "keys.npy"), np.load(folder / "counts.npy")


_FILES = "`keys.npy` and `counts.npy` (cells that are not 0), `settings.json`"

SAMPLER = Sampler(
    name="density",
    family="coverage",
    technique="ips",
    description="Kernel density estimate of the document's embedding (mean count of a RACE sketch over its rows); "
    "subsets are drawn by inverse propensity, so that rare text is kept and crowded text thinned.",
    paper="Density",
    inputs=("corpus/embeddings", "density/sketch"),
    settings=Density,
    columns=READABLE,
    setup=setup,
    score=score,
    code=3,
    steps=(
        Step(
            "density/shard_sketch",
            "shard",
            ("corpus/embeddings",),
            "coverage",
            ("pytorch",),
            ("samplers.density",),
            code=2,
            accelerated=True,
        ),
        Step(
            "density/sketch",
            "",
            ("density/shard_sketch",),
            "coverage",
            ("numpy",),
            ("samplers.density",),
        ),
    ),
    products=(
        Product(
            "density/shard_sketch",
            shard_sketch,
            "A corpus file's part of the density sketch.",
            "First pass of the density estimate: counts of a p-stable hash, kept sparse. Sketches add up, so a changed file costs one.",
            files=_FILES,
            paper="algorithm 2 (first pass)",
        ),
        Product(
            "density/sketch",
            sketch,
            "The density sketch of the whole corpus: RACE.",
            "The sum of the files' sketches.",
            files=_FILES,
            paper="algorithm 2 (80 MB for all of C4)",
        ),
    ),
)
