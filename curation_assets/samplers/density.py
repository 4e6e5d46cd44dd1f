"""Density sampling (paper, section 3.3): a kernel density of the embeddings by a RACE sketch, made shard by shard and added up."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from curation_assets.common.files import write_json
from curation_assets.common.progress import Progress
from curation_assets.config.section import Positive, Section
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput
from curation_assets.samplers.documents import Documents, blocks
from curation_assets.samplers.spec import Sampler, Scores
from curation_assets.samplers.unreadable import READABLE

if TYPE_CHECKING:
    from curation_assets.scoring.density import RaceSketch

SKETCH = "sketch.parquet"


class Density(Section):
    """The RACE sketch (paper, algorithms 1 and 2): its kernel, and how much of it there is.

    `bits = 0` goes by the number of documents (`default_bits`). The paper's is `kernel = "l2"` with `bits = 1`.
    """

    kernel: Literal["cosine", "l2"]
    bits: Annotated[int, Field(ge=0)]
    pool: Positive
    rows: Positive
    buckets: Positive
    bandwidth: Annotated[float, Field(gt=0)]
    seed: int

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kernel == "cosine" and 2**self.bits > self.buckets:
            raise ValueError(
                f"{self.bits} bits of the cosine kernel are {2**self.bits:,} cells, but buckets = {self.buckets}"
            )
        if self.bits != 1 and self.pool < max(self.rows, self.bits):
            raise ValueError(f"pool must be at least rows and bits, got {self.pool} for {self.rows} rows")
        return self

    @property
    def projections(self) -> int:
        """How many projections a vector is multiplied with."""
        return self.rows if self.bits == 1 else self.pool


def bits(context: Context) -> BuildOne:
    """Say how many hashes a row concatenates: nothing but its metadata. The version is that number, so that reasons name it."""
    from curation_assets.scoring.density_hashes import default_bits

    settings = context.profile.samplers.density

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        embedded = (context.metadata("corpus/embeddings", shard) for shard in context.shards())
        documents = sum(one["documents"] - one["unreadable_documents"] for one in embedded)
        number = settings.bits or default_bits(documents, settings.buckets)
        return {"version": f"{number} bit{'s' * (number > 1)}", "bits": number}

    return build


def shard_sketch(context: Context) -> BuildOne:
    """Sketch one shard (first pass of the density estimate): `sketch.parquet`, the filled counters.

    Documents that the encoder could not read are not counted: they would make each other look dense.
    """
    number = context.metadata("density/bits")["bits"]
    empty = cache(partial(_empty_sketch, context, bits=number))  # one for all files

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        documents = Documents(context, shard)
        x, readable = documents.embeddings, documents.readable
        sketch = empty(dim=x.shape[1]).clear()
        for rows, part in blocks(x):
            sketch.add(part[readable[rows]])
            progress(rows.stop, len(x), "documents")
        return write_sketch(sketch, folder)

    return build


def sketch(context: Context) -> BuildOne:
    """Add the shards' sketches up."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = context.shards()
        kinds = {_kind(context.metadata("density/shard_sketch", shard)) for shard in shards}
        if len(kinds) > 1:
            raise MissingInput(
                "density/shard_sketch: its sketches are not of one number of bits and dimensions; make all of them current first"
            )
        dim, number = kinds.pop()
        total = _empty_sketch(context, dim=dim, bits=number)
        for done, shard in enumerate(shards, 1):
            with context.opened("density/shard_sketch", shard) as sketched:
                total.merge_sparse(*_read_sketch(sketched))
            progress(done, len(shards), "shards")
        return write_sketch(total, folder)

    return build


def setup(context: Context) -> RaceSketch:
    """Return the sketch of the whole corpus."""
    dim, number = _kind(context.metadata("density/sketch"))
    total = _empty_sketch(context, dim=dim, bits=number)
    return total.merge_sparse(*_read_sketch(context.open("density/sketch")))


def score(total: RaceSketch, documents: Documents, progress: Progress) -> Scores:
    """Return the density at each document; one that the encoder could not read is not in the sketch, and has itself beside it.

    No document has less than itself, whatever an estimate that is corrected for chance says.
    """
    x, readable = documents.embeddings, documents.readable
    density = np.empty(len(x))
    for rows, part in blocks(x):
        density[rows] = np.maximum(total.density(part) + ~readable[rows], 1.0)
        progress(rows.stop, len(x), "documents")
    return {"score": density, "readable": readable}


def _kind(sketched: Metadata) -> tuple[int, int]:
    return sketched["dimensions"], sketched["bits"]


def _empty_sketch(context: Context, *, dim: int, bits: int) -> RaceSketch:
    from curation_assets.scoring.density import RaceSketch

    return context.profile.samplers.density.to(RaceSketch, dim=dim, bits=bits, device=context.device)


def write_sketch(sketch: RaceSketch, folder: Path) -> Metadata:
    """Store a sketch's filled counters, and say what it is of."""
    keys, counts = sketch.to_sparse()
    # Gaps between filled cells and counts are small numbers: 2 to 6 bits for a filled cell.
    pq.write_table(
        pa.table({"key": keys, "count": counts}),
        folder / SKETCH,
        compression="zstd",
        use_dictionary=["count"],
        column_encoding={"key": "DELTA_BINARY_PACKED"},
    )
    write_json(folder / "settings.json", sketch.settings)
    return {
        "documents": sketch.documents,
        "dimensions": sketch.dim,
        "bits": sketch.hashes.bits,
        "filled_counters": len(keys),
        "filled_cells_per_row": round(len(keys) / sketch.rows, 1),
    }


def _read_sketch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a stored sketch's filled counters: keys and counts, int32."""
    table = pq.read_table(folder / SKETCH)
    return table["key"].to_numpy(), table["count"].to_numpy()


_FILES = "`sketch.parquet` (row * cells + cell, and count, of cells that are not 0), `settings.json`"

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
    code=4,
    steps=(
        Step(
            "density/bits",
            "",
            ("corpus/embeddings",),
            "coverage",
            settings=("samplers.density.bits", "samplers.density.buckets"),
        ),
        Step(
            "density/shard_sketch",
            "shard",
            ("corpus/embeddings", "density/bits"),
            "coverage",
            ("pytorch",),
            ("samplers.density",),
            code=3,
            accelerated=True,
        ),
        Step(
            "density/sketch",
            "",
            ("density/shard_sketch",),
            "coverage",
            ("numpy",),
            ("samplers.density",),
            code=2,
        ),
    ),
    products=(
        Product(
            "density/bits",
            bits,
            "How many hashes a row of the density sketch concatenates.",
            "By the rule log2 of the number of documents that the encoder could read less 1, from 4 to 14: it changes when the corpus passes a power of two, and then all "
            "sketches are made anew (no model runs). `samplers.density.bits` keeps it where it is.",
            files="nothing but the number in its metadata",
        ),
        Product(
            "density/shard_sketch",
            shard_sketch,
            "A corpus file's part of the density sketch.",
            "First pass of the density estimate: counts of hashes, kept sparse. Sketches add up, so a changed file costs one.",
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
