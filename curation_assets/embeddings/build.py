"""How a shard's embeddings are made: documents stream through the encoder into one array on disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation_assets.common.files import read_batches
from curation_assets.common.progress import Progress, after
from curation_assets.corpus.reading import open_documents
from curation_assets.embeddings.encoder import Encoder
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.models.sources import resolve

_BATCH = 2048


def embeddings(context: Context) -> BuildOne:
    """Load the encoder once, then embed shard by shard, row by row: as `Embedder` writes them."""
    embedder = Embedder(context)

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        return embedder.write(open_documents(context, shard), folder, progress)

    return build


def reference_embeddings(context: Context) -> BuildOne:
    """Embed the reference, row by row."""
    embedder = Embedder(context)

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        return embedder.write(context.open("corpus/reference") / "reference.parquet", folder, progress)

    return build


def label_embeddings(context: Context) -> BuildOne:
    """Embed the documents that the teacher labelled, row by row."""
    embedder = Embedder(context)

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        return embedder.write(context.open("judge/labels") / "labels.parquet", folder, progress)

    return build


class Embedder:
    """The profile's encoder, and what it makes of a table of texts.

    `embeddings.npy`: unit float32 [n, dim]. `readable.npy`: bool [n], False where more than a fifth of a document's
    characters are unknown to the encoder, so that its vector says little of it. Samplers do not compare such documents.
    """

    def __init__(self, context: Context) -> None:
        settings, execution = context.profile.embeddings, context.profile.execution
        model = resolve(settings.model, cache=context.scratch / "models")
        self._encoder = settings.to(
            Encoder,
            folder=model.folder,
            device=context.device,
            dtype="float32" if execution.dtype == "auto" else execution.dtype,
        )
        self._about: Metadata = {
            "dimensions": self._encoder.dim,
            "model": settings.model,
            "weights_digest": model.digest,
            "parameters": model.parameters,
            "device": context.device,
        }

    def write(self, path: Path, folder: Path, progress: Progress) -> Metadata:
        """Embed the column `text` of a Parquet file into a folder."""
        encoder, n = self._encoder, pq.read_metadata(path).num_rows
        out = np.lib.format.open_memmap(
            folder / "embeddings.npy", mode="w+", dtype=np.float32, shape=(n, encoder.dim)
        )
        readable, done, counts = np.zeros(n, bool), 0, Counter[str]()
        for batch in read_batches(path, ["text"], _BATCH):
            tokens = encoder.tokenize(batch["text"].to_pylist(), first_row=done)
            rows = slice(done, done + batch.num_rows)
            out[rows] = encoder.embed(tokens, progress=after(progress, done, n))
            readable[rows] = tokens.readable
            lengths, seen = np.diff(tokens.offsets), encoder.seen(tokens)
            counts["tokens"] += int(lengths.sum())
            counts["unknown"] += int(tokens.unknown.sum())
            counts["cut"] += int((lengths - seen).sum())
            counts["cut_documents"] += int((seen < lengths).sum())
            counts["mostly_cut_documents"] += int((seen < lengths / 2).sum())
            done = rows.stop
        out.flush()
        np.save(folder / "readable.npy", readable)
        return {
            "documents": n,
            "tokens": counts["tokens"],
            "unknown_share": counts["unknown"] / max(counts["tokens"], 1),
            "unreadable_documents": int((~readable).sum()),
            "cut_share": counts["cut"] / max(counts["tokens"], 1),
            "cut_documents": counts["cut_documents"],
            "mostly_cut_documents": counts["mostly_cut_documents"],
            **self._about,
        }
