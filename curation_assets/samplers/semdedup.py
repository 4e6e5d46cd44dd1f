"""SemDeDup (paper, appendix B; Abbas et al., 2023): of documents that nearly say the same, one stays."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.common.files import write_json
from curation_assets.common.progress import Progress
from curation_assets.common.record_blocks import (
    BLOCKS,
    OFFSETS,
    DamagedBlocks,
    Records,
    join,
    parse_blocks,
    write_blocks,
)
from curation_assets.config.section import Section
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput
from curation_assets.samplers import clusters
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Column, Sampler, Scores
from curation_assets.samplers.unreadable import READABLE, draw_scores, score_histogram

COUNTS = "counts.npy"
_SHARDS, _HISTOGRAM = "shards.json", "histogram.npy"
_NEAR = 0.9  # cosine similarity from which on a document is a near-duplicate, where nobody says another one


class SemDeDup(Section):
    """A document whose cosine to one that is kept before it is `threshold` or more counts as a near-duplicate; scores do not depend on it."""

    threshold: Annotated[float, Field(gt=0, le=1, multiple_of=0.001)] = _NEAR


def sort_vectors(context: Context) -> BuildOne:
    """Sort a shard's vectors by cluster, but for documents that the encoder could not read: they are compared with none."""
    clusters = context.metadata("clusters/centroids")["clusters"]

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        from curation_assets.scoring.cluster_groups import write_vectors

        documents = Documents(context, shard)
        x, readable = documents.embeddings, documents.readable
        ids = pa.array(documents.ids, pa.string())
        rows = np.flatnonzero(readable)
        write_vectors(folder, x, documents.clusters, documents.hashes, ids, clusters, rows)
        return {
            "documents": len(rows),
            "unreadable_documents": len(x) - len(rows),
            "dimensions": x.shape[1],
            "dtype": x.dtype.name,
        }

    return build


def neighbours(context: Context) -> BuildOne:
    """Find each document's most similar predecessor in its cluster, for a group of clusters: its part of every shard.

    `shards.json` names the shards in the order in which their blocks come, `histogram.npy` counts the scores, `counts.npy` has
    what each of `THRESHOLDS` removes, and in how many groups.
    """
    from curation_assets.scoring.cluster_groups import group_bounds, score_group, vector
    from curation_assets.scoring.semdedup import THRESHOLDS

    near = int(np.searchsorted(THRESHOLDS, _NEAR))
    groups, shards = context.partitions("group"), context.shards()
    clusters = context.metadata("clusters/centroids")["clusters"]
    receipts = [context.artifact("semdedup/vectors", shard) for shard in shards]
    bounds = group_bounds(clusters, len(groups))
    offsets = np.stack([table[bounds] for table in _arrays(context, OFFSETS, receipts)])
    kinds = [vector(r.metadata["dimensions"], r.metadata["dtype"]) for r in receipts]
    dim = receipts[0].metadata["dimensions"]

    def build(group: str, folder: Path, progress: Progress) -> Metadata:
        here = slice(groups.index(group), groups.index(group) + 2)
        documents = int(np.diff(offsets[:, here, 1]).sum())
        ranges = _ranges(context, "semdedup/vectors", shards, offsets[:, here, 0])
        with context.temporary() as scratch:
            scored = score_group(
                _parsed(context, ranges, kinds),
                documents,
                dim,
                scratch,
                memory_mib=context.profile.execution.group_memory_mib,
                device=context.device,
                progress=progress,
            )
        write_blocks(folder, scored.blocks())
        write_json(folder / _SHARDS, shards)
        np.save(folder / _HISTOGRAM, score_histogram(scored.results["score"]))
        np.save(folder / COUNTS, np.stack([scored.removed, scored.groups]))
        return {
            "documents": documents,
            "clusters": len(scored.sizes),
            "largest_cluster": int(scored.sizes.max(initial=0)),
            f"near_duplicates_at_{_NEAR:.2f}": int(scored.removed[near]),
            f"groups_at_{_NEAR:.2f}": int(scored.groups[near]),
        }

    return build


def _arrays(context: Context, name: str, receipts: list[Receipt]) -> Iterator[np.ndarray]:
    return (np.load(io.BytesIO(content)) for content in context.read_files(name, receipts))


def _ranges(
    context: Context, key: str, partitions: list[str], places: np.ndarray
) -> list[tuple[Receipt, int, int]]:
    """Return from where to where to read of each partition of an input: places int64 [partitions, 2]."""
    pairs = zip(partitions, places, strict=True)
    return [(context.artifact(key, partition), int(a), int(b)) for partition, (a, b) in pairs]


def _parsed(
    context: Context, ranges: list[tuple[Receipt, int, int]], kinds: Iterable[np.dtype]
) -> Iterator[Records]:
    """Yield the records in ranges of blocks; DamagedArtifact where they are not as they were written."""
    contents = context.read_ranges(BLOCKS, ranges)
    for (receipt, _, _), content, kind in zip(ranges, contents, kinds, strict=True):
        try:
            yield parse_blocks(content, kind)
        except DamagedBlocks:
            context.open(receipt.key, receipt.partition)  # says so, by the digest of the file
            raise


class Neighbours(NamedTuple):
    """What `semdedup/neighbours` has of each shard, by its number: in each group's file the bytes `offsets`, int64 [groups, shards + 1]."""

    context: Context
    groups: list[str]
    offsets: np.ndarray
    number: dict[str, int]
    shards: pa.Array
    histogram: np.ndarray


def setup(context: Context) -> Neighbours:
    """Look where each shard's neighbours are."""
    groups = context.partitions("group")
    receipts = [context.artifact("semdedup/neighbours", group) for group in groups]
    if len({receipt.recipe for receipt in receipts}) > 1:
        raise MissingInput(
            "semdedup/neighbours: its groups are not of one corpus; make all of them current first"
        )
    shards = json.loads(*context.read_files(_SHARDS, receipts[:1]))
    return Neighbours(
        context,
        groups,
        np.stack([table[:, 0] for table in _arrays(context, OFFSETS, receipts)]),
        {shard: number for number, shard in enumerate(shards)},
        pa.array(shards, pa.string()),
        np.sum([*_arrays(context, _HISTOGRAM, receipts)], axis=0),
    )


def score(neighbours: Neighbours, documents: Documents, progress: Progress) -> Scores:
    """Gather what each document is nearest to.

    One that the encoder could not read has a score as the others have that are no near-duplicates: a threshold spares it.
    """
    from curation_assets.scoring.cluster_groups import RESULT

    number = neighbours.number[documents.shard]
    places = neighbours.offsets[:, number : number + 2]
    ranges = _ranges(neighbours.context, "semdedup/neighbours", neighbours.groups, places)
    found = join([*_parsed(neighbours.context, ranges, repeat(RESULT, len(ranges)))], RESULT)
    rows, duplicate_shard = found.fields["row"], np.full(len(documents), -1)
    score, place = draw_scores(neighbours.histogram, documents.hashes, -_NEAR), np.full(len(documents), -1)
    score[rows], duplicate_shard[rows] = found.fields["score"], found.fields["duplicate_shard"]
    place[rows] = np.arange(len(rows))
    alone = duplicate_shard < 0
    return {
        "score": score,
        "readable": place >= 0,
        "similarity": pa.array(-score, mask=alone),
        "duplicate_shard": neighbours.shards.take(pa.array(duplicate_shard, mask=alone)),
        "duplicate_of": found.texts().take(pa.array(place, mask=alone)),
    }


def unseen(context_of: Callable[[str], Context], documents: Documents, progress: Progress) -> Scores:
    """Compare documents that are no part of the corpus with all of their cluster, as if these were kept before them.

    One that is part of the corpus is compared with the others, those after it as well: it scores at most as high as it does there.
    """
    from curation_assets.scoring.cluster_groups import block_of, vector
    from curation_assets.scoring.nearest import NearestInCluster

    context, own = context_of("semdedup/neighbours"), documents.within(context_of("semdedup/vectors"))
    clusters, shards = context.metadata("clusters/centroids")["clusters"], context.shards()
    readable = own.readable
    rows = np.flatnonzero(readable)
    nearest = NearestInCluster(own.embeddings[rows], own.clusters[rows], own.hashes[rows])
    wanted = np.unique(block_of(own.clusters[rows], clusters))
    receipts = [context.artifact("semdedup/vectors", shard) for shard in shards]
    duplicate_of, duplicate_shard = np.full((2, len(readable)), None, object)
    for number, (receipt, table) in enumerate(
        zip(receipts, _arrays(context, OFFSETS, receipts), strict=True)
    ):
        kind = vector(receipt.metadata["dimensions"], receipt.metadata["dtype"])
        ranges = [(receipt, int(table[block, 0]), int(table[block + 1, 0])) for block in wanted]
        for records in _parsed(context, ranges, repeat(kind, len(ranges))):
            fields = records.fields
            better, theirs = nearest.add(fields["x"], fields["cluster"], fields["doc_hash"])
            duplicate_of[rows[better]] = records.texts().take(pa.array(theirs)).to_pylist()
            duplicate_shard[rows[better]] = shards[number]
        progress(number + 1, len(shards), "shards", "comparing")
    score = draw_scores(setup(context_of("semdedup/scores")).histogram, own.hashes, -_NEAR)
    score[rows] = np.where(np.isfinite(nearest.similarity), -nearest.similarity, 1.0)
    ids = pa.array(duplicate_of, pa.string())
    return {
        "score": score,
        "readable": readable,
        "similarity": pa.array(-score, mask=ids.is_null().to_numpy(zero_copy_only=False)),
        "duplicate_of": ids,
        "duplicate_shard": pa.array(duplicate_shard, pa.string()),
    }


def summary(table: pa.Table) -> Metadata:
    """Count the near-duplicates of a corpus file."""
    return {
        f"near_duplicates_at_{_NEAR:.2f}": pc.sum(pc.greater_equal(table["similarity"], _NEAR)).as_py() or 0
    }


def about_cut(lowest: float) -> Metadata:
    """Tell at which cosine a choice is cut whose lowest score is this one, and what that means."""
    outliers = f"picks outliers, not copies: below {_NEAR:.2f} most of what goes is no near-duplicate"
    copies = f"drops copies alone: near-duplicates begin at {_NEAR:.2f}"
    return {"cut_at_cosine": -lowest, "what_that_does": copies if -lowest >= _NEAR else outliers}


SAMPLER = Sampler(
    name="semdedup",
    family="coverage",
    technique="top_k",
    minus="cosine similarity",
    description="Minus the largest cosine similarity to a document of the same cluster that is kept before it: the most "
    "similar go first, and a group of near-duplicates keeps one representative. A cosine threshold t keeps the scores above -t.",
    paper="SemDeDup",
    inputs=("semdedup/neighbours",),
    shared_settings={**clusters.SETTINGS, "semdedup": SemDeDup},
    columns={
        **READABLE,
        "similarity": Column(
            "float64", "Largest cosine similarity to a document of its cluster that is kept before it"
        ),
        "duplicate_of": Column(
            "string",
            "Id of that document, which stands for this one where a threshold removes it; empty where there is none",
        ),
        "duplicate_shard": Column("string", "Corpus file that it is in"),
    },
    setup=setup,
    score=score,
    unseen=unseen,
    summary=summary,
    about_cut=about_cut,
    code=4,
    placed=True,
    steps=(
        *clusters.STEPS,
        Step(
            "semdedup/vectors",
            "shard",
            ("corpus/documents", "corpus/embeddings", "clusters/assignments", "clusters/centroids"),
            "coverage",
            ("numpy",),
        ),
        Step(
            "semdedup/neighbours",
            "group",
            ("semdedup/vectors", "clusters/centroids"),
            "coverage",
            ("pytorch",),
            code=5,
            accelerated=True,
        ),
    ),
    products=(
        *clusters.PRODUCTS,
        Product(
            "semdedup/vectors",
            sort_vectors,
            "A corpus file's embeddings sorted by cluster.",
            "So that whoever compares the documents of some clusters reads one range of each file. A second copy of the embeddings.",
            files="`blocks.bin` (hash, row, cluster, vector and id of each document), `offsets.npy` (where each block of clusters begins)",
        ),
        Product(
            "semdedup/neighbours",
            neighbours,
            "For each document the most similar one that is kept before it.",
            "Within its cluster, by exact cosine. Groups of clusters are compared side by side; results are the same for any number of groups.",
            files="`blocks.bin` (score, row, duplicate's file and id of each document, by corpus file), `offsets.npy`, `shards.json`, "
            "`histogram.npy`, `counts.npy` (documents and groups that each of 1,001 cosine thresholds removes)",
            paper="appendix B (SemDeDup, Abbas et al. 2023)",
        ),
    ),
)
