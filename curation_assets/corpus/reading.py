"""Getting at what the corpus steps made, shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.workspace import Workspace

Repeats = Mapping[str, NDArray[np.int64]]
"""{shard: rows of its documents table whose id an earlier shard has}."""

NO_ROWS = np.zeros(0, np.int64)


def open_documents(workspace: Workspace, shard: str) -> Path:
    """Return the path of a shard's documents, a Parquet file."""
    return workspace.open("corpus/documents", shard) / "documents.parquet"


def open_hashes(workspace: Workspace, shard: str) -> NDArray[np.uint64]:
    """Return the `doc_hash` column of a shard's documents, uint64 [n]."""
    return pq.read_table(open_documents(workspace, shard), columns=["doc_hash"])["doc_hash"].to_numpy()


def read_repeats(workspace: Workspace) -> Repeats:
    """Return what `corpus/index` found; memory: 8 bytes for each repeat."""
    table = pq.read_table(workspace.open("corpus/index") / "repeats.parquet", columns=["shard", "row"])
    shards = table["shard"].combine_chunks().dictionary_encode()
    codes = shards.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(1, len(shards.dictionary)))
    parts = np.split(table["row"].to_numpy()[order], ends)
    return dict(zip(shards.dictionary.to_pylist(), parts, strict=False))
