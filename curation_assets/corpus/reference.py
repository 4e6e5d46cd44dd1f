"""Texts beside the corpus, in two halves by a hash of the text: what models are measured on, and what samplers are fitted to.

A text is on one side whatever its id is, in whichever file it lies, and whatever else there is. So the high-quality set of
`corpus/validation` and `corpus/reference` share no text, also where both come from one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.common.files import read_json, write_table
from curation_assets.common.hashing import splitmix64, text_digest
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.corpus.documents import Counts, parse_shard, read_as
from curation_assets.corpus.rejected_rows import why_no_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata

CHOSEN = pa.schema([("doc_id", pa.string()), ("doc_hash", pa.uint64()), ("text", pa.string())])
_SALT = np.uint64(0x94D0_49BB_2545_F491)  # fixed for good: another value is another split


def in_reference(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Tell of each text whether it is of the half that samplers are fitted to, bool [n]; models are measured on the other."""
    digests = np.frombuffer(b"".join(map(text_digest, texts)), "<u8")[::2].astype(np.uint64)
    return splitmix64(digests ^ _SALT) >> np.uint64(63) == 1


def high_quality_texts(context: Context, limit: int) -> pa.Table:
    """Return what models are measured on of the high-quality texts."""
    return _half(context, "hq", limit, reference=False)


def reference(context: Context) -> BuildOne:
    """Gather the reference: `reference.parquet` (doc_id, doc_hash, text), by hash."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        listed = read_json(context.open("corpus/source") / "reference.json")
        name = "reference" if listed else "hq"
        table = _half(context, name, context.profile.corpus.reference_documents, reference=True)
        if not len(table):
            raise ValueError(
                "there is no reference text: corpus.reference_url names none, and neither does corpus.hq_url"
            )
        write_table(folder / "reference.parquet", table)
        shown = table.slice(0, 10).select(["doc_id", "text"])
        return {
            "documents": len(table),
            "setting": f"corpus.{name}_url",
            "first_documents": Markdown(preview(shown)),
        }

    return build


def _half(context: Context, name: str, limit: int, *, reference: bool) -> pa.Table:
    """Return the texts of one half with the smallest hashes, each once; memory: twice as many, and what is read at a time."""
    settings = context.profile.corpus.documents(keep_fields=(), validation_share=0.0)
    counts, kept, waiting = Counts(), CHOSEN.empty_table(), []
    for key, url in read_json(context.open("corpus/source") / f"{name}.json").get("files", []):
        for batch in parse_shard(url, settings, context.profile.corpus.storage_options, key):
            counts.add(batch)
            table = pa.Table.from_batches([batch.documents]).select(CHOSEN.names)
            side = in_reference(table["text"].to_pylist()) == reference
            waiting.append(table.filter(pa.array(side)))
            if sum(map(len, waiting)) >= limit:
                kept, waiting = _smallest([kept, *waiting], limit), []
    if counts.rows and not counts.documents:
        raise ValueError(f"corpus.{name}_url: {why_no_documents([read_as(counts, settings)])}")
    return _smallest([kept, *waiting], limit)


def _smallest(tables: list[pa.Table], limit: int) -> pa.Table:
    """Return the rows with the smallest hashes, by hash, each hash once: the first."""
    table = pa.concat_tables(one.cast(CHOSEN) for one in tables)
    _, first = np.unique(table["doc_hash"].to_numpy(), return_index=True)
    return table.take(pa.array(first[:limit]))
