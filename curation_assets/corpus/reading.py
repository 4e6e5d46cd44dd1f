"""Getting at what the corpus steps made, shard by shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.workspace import Workspace


def open_documents(workspace: Workspace, shard: str) -> Path:
    """Return the path of a shard's documents, a Parquet file."""
    return workspace.open("corpus/documents", shard) / "documents.parquet"


def open_hashes(workspace: Workspace, shard: str) -> NDArray[np.uint64]:
    """Return the `doc_hash` column of a shard's documents, uint64 [n]."""
    return pq.read_table(open_documents(workspace, shard), columns=["doc_hash"])["doc_hash"].to_numpy()
