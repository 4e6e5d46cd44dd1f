"""How a shard's embeddings are made: documents stream through the encoder into one array on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation_assets.corpus.reading import open_documents
from curation_assets.embeddings.encoder import Encoder
from curation_assets.files import read_batches
from curation_assets.models.sources import resolve
from curation_assets.progress import Progress, after
from curation_assets.workspace import BuildOne, Metadata, Workspace

_BATCH = 2048


def embeddings(workspace: Workspace) -> BuildOne:
    """Load the encoder once, then embed shard by shard: `embeddings.npy`, unit float32 [n, dim], row by row."""
    settings, execution = workspace.profile.embeddings, workspace.profile.execution
    model = resolve(settings.model, cache=workspace.scratch / "models")
    encoder = Encoder(
        model.folder,
        device=workspace.device,
        max_tokens=settings.max_tokens,
        batch_tokens=settings.batch_tokens,
        dtype="float32" if execution.dtype == "auto" else execution.dtype,
    )

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        path = open_documents(workspace, shard)
        n = pq.ParquetFile(path).metadata.num_rows
        out = np.lib.format.open_memmap(
            folder / "embeddings.npy", mode="w+", dtype=np.float32, shape=(n, encoder.dim)
        )
        done = 0
        for batch in read_batches(path, ["text"], _BATCH):
            texts = batch["text"].to_pylist()
            out[done : done + len(texts)] = encoder.encode(texts, progress=after(progress, done, n))
            done += len(texts)
        out.flush()
        return {
            "documents": n,
            "dimensions": encoder.dim,
            "model": settings.model,
            "weights_digest": model.digest,
            "parameters": model.parameters,
            "device": workspace.device,
        }

    return build
