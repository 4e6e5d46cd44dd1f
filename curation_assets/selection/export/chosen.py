"""The choice that is exported: rows of a subset's table, a corpus file at a time, and what is looked up beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.common.files import fingerprint, parquet_file, read_batches
from curation_assets.common.hashing import noise
from curation_assets.engine.artifacts import Artifacts

_BLOCK = 1 << 17
_EXACT = 4_000_000  # scores that are held for percentiles: 32 MB; of more, a hash sample
_SAMPLE_SEED = 0x70C7

SEMDEDUP = "semdedup/scores"


@dataclass(frozen=True)
class Chosen:
    """A choice: the table of a subset, or of what several samplers choose together (`selection.joint`).

    Attributes
    ----------
    table : the Parquet file. Its row groups are of one corpus file each, in the order of the corpus.
    scores : {prefix of its columns `score` and `key`: asset key of the scores that they are of}.
    documents, tokens : how much it is.
    selection, corpus : what the manifest tells of it, as plain data.
    duplicates : whether near-duplicates are named.
    """

    artifacts: Artifacts
    table: Path
    scores: dict[str, str]
    documents: int
    tokens: int
    seed: int
    selection: dict[str, Any]
    corpus: dict[str, Any] = field(default_factory=dict)
    duplicates: bool = False

    def by_file(self, columns: list[str]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield each corpus file of which something was chosen, and numbers of these documents, by column."""
        with parquet_file(self.table) as source:

            def shard(group: int) -> str:
                first = next(source.iter_batches(1, row_groups=[group], columns=["shard"]))
                return str(first["shard"][0].as_py())

            filled = (n for n in range(source.num_row_groups) if source.metadata.row_group(n).num_rows)
            for name, groups in groupby(filled, shard):
                of_file = list(groups)
                yield (
                    name,
                    {
                        column: source.read_row_groups(of_file, columns=[column])[column].to_numpy()
                        for column in columns  # one by one, so that no more than one is held twice
                    },
                )

    def by_source(self) -> dict[str, tuple[int, int]]:
        """Return {corpus file: (documents that were chosen of it, their tokens)}."""
        tokens = ((shard, numbers["n_tokens"]) for shard, numbers in self.by_file(["n_tokens"]))
        return {shard: (len(counts), int(counts.sum())) for shard, counts in tokens}

    def ranked(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the selection keys and hashes of a single sampler's choice."""
        for batch in read_batches(self.table, ["key", "doc_hash"], _BLOCK):
            yield batch["key"].to_numpy(), batch["doc_hash"].to_numpy()

    @cached_property
    def percentiles(self) -> dict[str, Percentiles]:
        """The scores of the corpus, by prefix."""
        return {prefix: percentiles(self.artifacts, key) for prefix, key in self.scores.items()}

    @cached_property
    def near_duplicates(self) -> dict[str, Any] | None:
        """The similarity from which on documents are near-duplicates, and the version of the scores that say so; None where none are named."""
        if not self.duplicates:
            return None
        receipts = {shard: self.artifacts.receipt(SEMDEDUP, shard) for shard in self.artifacts.shards()}
        versions = {shard: receipt and receipt.version for shard, receipt in receipts.items()}
        threshold = self.artifacts.profile.samplers.semdedup.threshold
        return {"threshold": threshold, "versions": {SEMDEDUP: fingerprint(versions)}}

    def duplicate_of(self, shard: str, rows: NDArray[np.int64]) -> pa.Array:
        """Return the ids of the documents that some of a corpus file, by rows that rise, are near-duplicates of; null where of none."""
        threshold = self.artifacts.profile.samplers.semdedup.threshold
        pieces, start = [pa.array([], pa.string())], 0
        with self.artifacts.opened(SEMDEDUP, shard) as folder:
            for batch in read_batches(folder / "scores.parquet", ["similarity", "duplicate_of"], _BLOCK):
                low, high = np.searchsorted(rows, [start, start + len(batch)])
                some = batch.take(pa.array(rows[low:high] - start))
                near = pc.greater_equal(some["similarity"], threshold)
                pieces.append(pc.if_else(near, some["duplicate_of"], None).cast(pa.string()))
                start += len(batch)
        return pa.concat_arrays(pieces)


@dataclass(frozen=True)
class Percentiles:
    """The scores of a corpus in order: of all `documents`, or of a hash sample of them."""

    scores: NDArray[np.float64]
    documents: int

    def of(self, scores: np.ndarray) -> NDArray[np.float64]:
        """Return the percentage of the corpus's scores that are not above each score, float64 [n]."""
        at = np.searchsorted(self.scores, scores, side="right")
        return 100.0 * at / max(len(self.scores), 1)

    def about(self) -> dict[str, int]:
        """Return what a manifest says of them."""
        sample = {"sample": len(self.scores)} if len(self.scores) < self.documents else {}
        return {"documents": self.documents, **sample}


def percentiles(artifacts: Artifacts, key: str) -> Percentiles:
    """Read the scores of a corpus, at most about four million of them: beyond that a sample by hash, off by at most 0.1 points."""
    shards = artifacts.shards()
    sizes = [artifacts.metadata(key, shard)["documents"] for shard in shards]
    documents, parts = sum(sizes), [np.zeros(0)]
    share = min(1.0, _EXACT / max(documents, 1))
    for shard in shards:
        with artifacts.opened(key, shard) as folder:
            for batch in read_batches(folder / "scores.parquet", ["doc_hash", "score"], _BLOCK):
                scores = batch["score"].to_numpy()
                if share < 1:
                    scores = scores[noise(batch["doc_hash"].to_numpy(), _SAMPLE_SEED) < share]
                parts.append(scores)
    return Percentiles(np.sort(np.concatenate(parts)), documents)
