"""Getting at what is known of the corpus, shard by shard: documents, and which of them are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.config.settings import SOURCE_NAME
from curation_assets.engine.artifacts import Artifacts

Repeats = Mapping[str, NDArray[np.int64]]
"""{shard: rows of its documents table that are left out, rising}: those that an earlier shard has, and what `left_out` adds."""

NO_ROWS = np.zeros(0, np.int64)


def open_documents(workspace: Artifacts, shard: str) -> Path:
    """Return the path of a shard's documents, a Parquet file."""
    return workspace.open("corpus/documents", shard) / "documents.parquet"


def open_table(
    workspace: Artifacts, shard: str, name: str = "documents"
) -> AbstractContextManager[pq.ParquetFile]:
    """Open a shard's documents, or its held-out ones (`name` "validation"), to read some columns or rows of them."""
    return workspace.open_parquet("corpus/documents", shard, f"{name}.parquet")


def source_field(documents: pa.Schema) -> str | None:
    """Return the column of documents that says where they are from: which of several sources, or else their own field `source`."""
    return next((field for field in (SOURCE_NAME, "source") if field in documents.names), None)


def open_hashes(workspace: Artifacts, shard: str, name: str = "documents") -> NDArray[np.uint64]:
    """Return the `doc_hash` column of a shard's documents, uint64 [n], and read nothing else of them."""
    with open_table(workspace, shard, name) as table:
        return table.read(columns=["doc_hash"])["doc_hash"].to_numpy()


def read_repeats(workspace: Artifacts) -> Repeats:
    """Return what `corpus/index` found; memory: 8 bytes for each repeat."""
    path = workspace.open("corpus/index") / "repeats.parquet"
    return rows_by_shard(pq.read_table(path, columns=["shard", "row"], read_dictionary=["shard"]))


def rows_by_shard(table: pa.Table) -> Repeats:
    """Return {shard: its rows} of a table of such, each in the order of the table."""
    return {shard: part["row"].to_numpy() for shard, part in by_shard(table).items()}


def by_shard(table: pa.Table) -> dict[str, pa.Table]:
    """Return {shard: what a table has of it, without that column}, each in the order of the table."""
    shards = table["shard"].combine_chunks()
    if not pa.types.is_dictionary(shards.type):
        shards = shards.dictionary_encode()
    codes = shards.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(shards.dictionary) + 1))
    rest = table.drop_columns("shard").take(order)
    return {
        shard: rest.slice(start, end - start)
        for shard, (start, end) in zip(shards.dictionary.to_pylist(), pairwise(ends), strict=True)
    }


def left_out(workspace: Artifacts) -> Repeats:
    """Return the rows that no subset and no training on full data may have.

    These are the repeats and, if the profile says `evaluation.decontaminate`, documents that share n-grams with
    evaluation inputs. Scores are not concerned: a document that is left out has one, and the others' are the same.

    Raises
    ------
    MissingInput
        `corpus/index` is not there, or `evaluation/contamination` of a shard where the profile asks for it.
    """
    repeats = read_repeats(workspace)
    if not workspace.profile.evaluation.decontaminate:
        return repeats
    return with_contaminated(workspace, repeats, workspace.shards())


def with_contaminated(workspace: Artifacts, repeats: Repeats, shards: Iterable[str]) -> Repeats:
    """Return `repeats` and, of some shards, the documents that share n-grams with evaluation inputs."""
    rows = {s: np.union1d(repeats.get(s, NO_ROWS), read_contaminated(workspace, s)) for s in shards}
    return {**repeats, **rows}


def read_contaminated(workspace: Artifacts, shard: str) -> NDArray[np.int64]:
    """Return the rows of a shard's documents that share n-grams with evaluation inputs, rising, int64 [k]."""
    path = workspace.open("evaluation/contamination", shard) / "contamination.parquet"
    return np.unique(pq.read_table(path, columns=["row"])["row"].to_numpy())
