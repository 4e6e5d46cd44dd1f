"""DSIR (Xie et al. 2023): importance weights on hashed n-grams of a reference against the corpus, counted file by file and added up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field

from curation_assets.common.files import read_batches
from curation_assets.common.progress import Progress, after
from curation_assets.config.section import Section
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Column, Sampler, Scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 2048  # documents read at a time


class Dsir(Section):
    """[samplers.dsir]: uni- and bigrams of words are hashed into so many buckets; `seed` decides which share one."""

    buckets: Annotated[int, Field(ge=2)]
    seed: Annotated[int, Field(ge=0)]


class Ratios(NamedTuple):
    """log(p_reference / p_corpus) of each bucket, and the seed of the hash."""

    ratios: NDArray[np.float64]
    seed: int


def shard_counts(context: Context) -> BuildOne:
    """Count the n-grams of one corpus file: `counts.npy`, int64 [buckets]."""

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        path = context.open("corpus/documents", shard) / "documents.parquet"
        counts = _count(context.profile.samplers.dsir, path, progress)
        np.save(folder / "counts.npy", counts)
        return {"ngrams": int(counts.sum()), "filled_buckets": int(np.count_nonzero(counts))}

    return build


def log_ratios(context: Context) -> BuildOne:
    """Add the files' counts up and compare them with the reference's: `ratios.npy`, float64 [buckets]."""
    from curation_assets.scoring import dsir

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        settings, shards = context.profile.samplers.dsir, context.shards()
        corpus = np.zeros(settings.buckets, np.int64)
        for number, shard in enumerate(shards, 1):
            with context.opened("dsir/shard_counts", shard) as counted:
                corpus += np.load(counted / "counts.npy")
            progress(number, len(shards), "shards")
        reference = _count(settings, context.open("corpus/reference") / "reference.parquet", progress)
        ratios = dsir.log_ratios(reference, corpus)
        np.save(folder / "ratios.npy", ratios)
        return {
            "corpus_ngrams": int(corpus.sum()),
            "reference_ngrams": int(reference.sum()),
            "buckets_not_in_the_reference": int((reference == 0).sum()),
            "lowest": float(ratios.min()),
            "highest": float(ratios.max()),
        }

    return build


def _count(settings: Dsir, path: Path, progress: Progress) -> NDArray[np.int64]:
    from curation_assets.scoring.dsir import ngram_counts

    total, done, n = np.zeros(settings.buckets, np.int64), 0, pq.read_metadata(path).num_rows
    for batch in read_batches(path, ["text"], _BATCH):
        texts = batch["text"].to_pylist()
        total += ngram_counts(texts, settings.buckets, settings.seed, after(progress, done, n))
        done += len(texts)
    return total


def setup(context: Context) -> Ratios:
    """Return what the corpus's and the reference's counts say of each bucket."""
    ratios = np.load(context.open("dsir/log_ratios") / "ratios.npy")
    return Ratios(ratios, context.profile.samplers.dsir.seed)


def score(ratios: Ratios, documents: Documents, progress: Progress) -> Scores:
    """Return the mean log ratio of each document's n-grams, and how many they are."""
    from curation_assets.scoring.dsir import dsir_scores

    scores, ngrams = dsir_scores(documents.texts, *ratios, progress)
    return {"score": scores, "ngrams": ngrams}


SAMPLER = Sampler(
    name="dsir",
    family="quality",
    technique="top_k",
    description="Mean over the document's hashed uni- and bigrams of log(frequency in the reference / frequency in the corpus): text that is worded "
    "like the reference is kept.",
    paper="DSIR",
    inputs=("dsir/log_ratios",),
    settings=Dsir,
    columns={
        "ngrams": Column(
            "int64", "Words and pairs of words that the score is the mean of; one without any has 0"
        )
    },
    setup=setup,
    score=score,
    steps=(
        Step("dsir/shard_counts", "shard", ("corpus/documents",), "quality", ("numpy",), ("samplers.dsir",)),
        Step(
            "dsir/log_ratios",
            "",
            ("dsir/shard_counts", "corpus/reference"),
            "quality",
            ("numpy",),
            ("samplers.dsir",),
        ),
    ),
    products=(
        Product(
            "dsir/shard_counts",
            shard_counts,
            "How often each hashed n-gram occurs in a corpus file.",
            "Counts add up, so a changed file costs one.",
            files="`counts.npy` (int64 [buckets])",
        ),
        Product(
            "dsir/log_ratios",
            log_ratios,
            "How much likelier each n-gram is in the reference than in the corpus.",
            "The sum of the files' counts against the reference's, one added to each.",
            files="`ratios.npy` (float64 [buckets])",
        ),
    ),
)
