"""SemDeDup (paper, appendix B; Abbas et al., 2023): of documents that nearly say the same, one stays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import safe_name, write_table
from curation_assets.common.progress import Progress
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers import clusters
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Column, Sampler, Scores
from curation_assets.samplers.unreadable import READABLE, draw_scores, score_histogram

_NEAR = 0.95  # similarity above which a document is counted as a near-duplicate, for people


def neighbours(context: Context) -> BuildOne:
    """Find each document's most similar predecessor in its cluster: one Parquet file a shard, row by row.

    Documents that the encoder could not read are compared with none, and their scores are null here. `semdedup.npy` is a
    histogram of the others' scores.
    """
    from curation_assets.scoring.cluster_store import semdedup_shards

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = context.shards()
        k, dim = np.load(context.open("clusters/centroids") / "centroids.npy").shape
        unreadable = np.array([int((~Documents(context, shard).readable).sum()) for shard in shards])
        counts = np.zeros(k + unreadable.sum(), np.int64)  # each unreadable document is a cluster of its own
        counts[k:] = 1
        first = k + unreadable.cumsum() - unreadable
        for number, shard in enumerate(shards):
            own = _comparable_clusters(context, shard, first[number])
            counts[:k] += np.bincount(own[own < k], minlength=k)

        def read(number: int, shard: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return (
                Documents(context, shard).embeddings,
                _comparable_clusters(context, shard, first[number]),
                Documents(context, shard).hashes,
            )

        near, histogram = 0, score_histogram(np.zeros(0))
        with context.temporary() as scratch:
            compared = semdedup_shards(
                [partial(read, number, shard) for number, shard in enumerate(shards)],
                counts,
                dim,
                scratch,
                device=context.device,
                progress=progress,
            )
            for shard, scores in zip(shards, compared, strict=True):
                readable = Documents(context, shard).readable
                near += int((scores.similarity > _NEAR).sum())
                histogram += score_histogram(scores.score[readable])
                write_table(
                    folder / f"{safe_name(shard)}.parquet",
                    pa.table(
                        {
                            "score": pa.array(scores.score, mask=~readable),
                            "similarity": pa.array(scores.similarity, from_pandas=True),
                            "duplicate_shard": pa.array(
                                [shards[i] if i >= 0 else None for i in scores.duplicate_shard], pa.string()
                            ),
                            "duplicate_of": _ids_at(
                                context, shards, scores.duplicate_shard, scores.duplicate_row
                            ),
                        }
                    ),
                )
        np.save(folder / "semdedup.npy", histogram)
        return {
            "documents": len(counts) - k + int(counts[:k].sum()),
            "unreadable_documents": int(unreadable.sum()),
            "clusters": k,
            "largest_cluster": int(counts[:k].max()),
            "empty_clusters": int((counts == 0).sum()),
            f"above_{_NEAR}": near,
        }

    return build


def _comparable_clusters(context: Context, shard: str, first: int) -> np.ndarray:
    """Return each document's cluster, int64 [n]; documents that the encoder could not read get new ones, from `first` on."""
    documents = Documents(context, shard)
    cluster, unreadable = documents.clusters.astype(np.int64), ~documents.readable
    cluster[unreadable] = first + np.arange(unreadable.sum())
    return cluster


def _ids_at(context: Context, shards: list[str], where: np.ndarray, rows: np.ndarray) -> pa.Array:
    """Return the doc_id at each (number of a shard, row), null where the number is negative."""
    ids = np.full(len(where), None, dtype=object)
    for number in np.unique(where[where >= 0]):
        column = pq.read_table(open_documents(context, shards[number]), columns=["doc_id"])["doc_id"]
        here = np.flatnonzero(where == number)
        ids[here] = column.take(pa.array(rows[here])).to_pylist()
    return pa.array(ids, pa.string())


class Neighbours(NamedTuple):
    """Where `semdedup/neighbours` is, and the histogram of its scores."""

    folder: Path
    histogram: np.ndarray


def setup(context: Context) -> Neighbours:
    """Open the neighbours of the whole corpus."""
    folder = context.open("semdedup/neighbours")
    return Neighbours(folder, np.load(folder / "semdedup.npy"))


def score(neighbours: Neighbours, documents: Documents, progress: Progress) -> Scores:
    """Read what each document is nearest to; one that the encoder could not read has a score as the others have."""
    table = pq.read_table(neighbours.folder / f"{safe_name(documents.shard)}.parquet")
    score, readable = table["score"].to_numpy(), table["score"].is_valid().to_numpy()
    return {
        "score": np.where(readable, score, draw_scores(neighbours.histogram, documents.hashes)),
        "readable": readable,
        "similarity": table["similarity"],
        "duplicate_shard": table["duplicate_shard"],
        "duplicate_of": table["duplicate_of"],
    }


SAMPLER = Sampler(
    name="semdedup",
    family="coverage",
    technique="top_k",
    description="Minus the largest cosine similarity to a document of the same cluster that is kept before it: the most "
    "similar go first, and a group of near-duplicates keeps one representative.",
    paper="SemDeDup",
    inputs=("semdedup/neighbours",),
    shared_settings=clusters.SETTINGS,
    columns={
        **READABLE,
        "similarity": Column(
            "float64", "Largest cosine similarity to a document of its cluster that is kept before it"
        ),
        "duplicate_of": Column("string", "Id of that document; empty where there is none"),
        "duplicate_shard": Column("string", "Corpus file that it is in"),
    },
    setup=setup,
    score=score,
    code=3,
    placed=True,
    steps=(
        *clusters.STEPS,
        Step(
            "semdedup/neighbours",
            "",
            ("corpus/documents", "corpus/embeddings", "clusters/assignments", "clusters/centroids"),
            "coverage",
            ("pytorch",),
            code=3,
            accelerated=True,
        ),
    ),
    products=(
        *clusters.PRODUCTS,
        Product(
            "semdedup/neighbours",
            neighbours,
            "For each document the most similar one that is kept before it.",
            "Within its cluster, by exact cosine.",
            files="one Parquet file for each corpus file (score, similarity, duplicate_shard, duplicate_of)",
            paper="appendix B (SemDeDup, Abbas et al. 2023)",
        ),
    ),
)
