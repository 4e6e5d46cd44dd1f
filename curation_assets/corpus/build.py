"""How each artifact of the corpus stage is made, but for the listing: shards, documents, tokens, index, validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import fingerprint, parquet_file, read_batches, write_json, write_table
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.corpus import discover, tokens
from curation_assets.corpus.documents import read_as, write_documents
from curation_assets.corpus.formats import folder_fields
from curation_assets.corpus.hub import at_a_commit
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.reading import open_table, rows_by_shard
from curation_assets.corpus.reference import CHOSEN, high_quality_texts
from curation_assets.corpus.rejected_rows import no_documents
from curation_assets.corpus.repeats import find_repeats
from curation_assets.corpus.smallest import find_smallest, read_chosen
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata
from curation_assets.models.tokenizer import load_tokenizer

VALIDATION_SETS = ("in_distribution", "hq")
_SHOWN = ["doc_id", "text", "n_chars"]


def shards(context: Context) -> BuildOne:
    """Record what is read of a corpus file, which is the shard's version: its digest, format, compression and folders' fields."""
    listing = context.listing()

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        listed = listing.get(shard)
        if listed is None:
            raise ValueError(
                f"{shard} is not in the corpus any more; materialize corpus/source to list it again"
            )
        options = context.profile.corpus.storage_options
        sha256 = listed.get("sha256") or discover.digest(listed["url"], options)
        _, kind, compression = discover.split_suffixes(listed["url"])
        how = {"kind": kind, "compression": compression, "of_folders": folder_fields(shard)}
        how |= {name: listed[name] for name in ("source", "read_as") if name in listed}
        return {
            "version": fingerprint("corpus/shards", sha256, how),
            "sha256": sha256,
            **how,
            **listed,
        }

    return build


def documents(context: Context) -> BuildOne:
    """Parse a shard into documents, held-out documents and quarantined rows."""
    profile = context.profile
    options = profile.corpus.storage_options

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        listed = context.metadata("corpus/shards", shard)
        settings = profile.corpus.documents(**listed.get("read_as", {}))
        name = visible(decoded(shard))
        counts = write_documents(
            listed["url"],
            settings,
            folder,
            options,
            file=name,
            progress=progress,
            of_folders=listed["of_folders"],
            source=listed.get("source", ""),
        )
        if not at_a_commit(listed["url"]) and discover.digest(listed["url"], options) != listed["sha256"]:
            raise ValueError(
                f"{listed['url']} changed while it was read; materialize corpus/shards[{shard}] again"
            )
        table = parquet_file(folder / "documents.parquet")
        first = next(table.iter_batches(10), None)
        shown: Metadata = (
            {"first_documents": Markdown(preview(pa.Table.from_batches([first])))}
            if first is not None
            else {}
        )
        if counts.quarantined:
            quarantine = pq.read_table(folder / "quarantine.parquet")
            shown["quarantine"] = Markdown(preview(quarantine))
        return {**read_as(counts, settings), **shown}

    return build


def token_ids(context: Context) -> BuildOne:
    """Encode a shard's documents and its held-out documents, row by row as in `corpus/documents`."""
    loaded = load_tokenizer(context.open("corpus/tokenizer"))

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        source = context.open("corpus/documents", shard)
        counts = {}
        for name in ("documents", "validation"):
            path = source / f"{name}.parquet"
            counts[name] = tokens.write_tokens(_texts(path, progress), loaded, folder, name)
        (n, ids), (_, held_out) = counts["documents"], counts["validation"]
        return {
            "documents": n,
            "tokens": ids,
            "tokens_per_document": round(ids / max(n, 1), 1),
            "unknown_share": tokens.count_id(folder, "documents", loaded.unk_id) / max(ids, 1),
            "validation_tokens": held_out,
        }

    return build


def _texts(path: Path, progress: Progress) -> Iterator[list[str]]:
    total, done = pq.read_metadata(path).num_rows, 0
    for batch in read_batches(path, ["text"], 1024):
        yield batch["text"].to_pylist()
        done += batch.num_rows
        progress(done, total, "documents")


def index(context: Context) -> BuildOne:
    """Count the corpus, name the documents that an earlier shard has as well, and ids that stand for several texts."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        if lost := no_documents(context):
            raise ValueError(lost)
        shards_, aside = context.shards(), context.set_aside()
        read = [context.metadata("corpus/documents", shard) for shard in shards_]
        total = sum(about["documents"] + about["validation"] for about in read)
        with context.temporary() as scratch:
            repeated = find_repeats(shards_, partial(open_table, context), total, scratch, progress)
        write_table(folder / "repeats.parquet", repeated.repeats)
        write_table(folder / "shared_ids.parquet", repeated.examples)
        totals: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        by_shard = {}
        for shard, about in zip(shards_, read, strict=True):
            counted = {name: about[name] for name in ("rows", "documents", "validation", "quarantined")}
            counted["tokens"] = context.metadata("corpus/tokens", shard)["tokens"]
            by_shard[shard] = counted
            totals.update(counted)
            reasons.update(about["reasons"])
        write_json(folder / "shards.json", by_shard)
        totals["tokens"] -= _tokens_of(context, repeated.repeats)
        return {
            **totals,
            "shards": len(shards_),
            "documents": totals["documents"] - len(repeated.repeats),
            **repeated.about(),
            "left_out": len(aside),
            "reasons": dict(reasons),
            "by_shard": Markdown(preview([{"shard": s, **c} for s, c in by_shard.items()])),
        }

    return build


def _tokens_of(context: Context, repeats: pa.Table) -> int:
    total = 0
    for shard, rows in rows_by_shard(repeats).items():
        _, offsets = tokens.read_tokens(context.open("corpus/tokens", shard), "documents")
        total += int((offsets[rows + 1] - offsets[rows]).sum())
    return total


def validation(context: Context) -> BuildOne:
    """Gather the evaluation sets, as texts and as token ids: held-out documents of the corpus, and the high-quality texts."""
    profile = context.profile
    loaded = load_tokenizer(context.open("corpus/tokenizer"))

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        about: Metadata = {}
        limit = profile.evaluation.max_documents
        chosen = {"in_distribution": _held_out(context, limit), "hq": high_quality_texts(context, limit)}
        for name in VALIDATION_SETS:
            table = chosen[name]
            write_table(folder / f"{name}.parquet", table)
            n, ids = tokens.write_tokens([table["text"].to_pylist()], loaded, folder, name)
            about |= {f"{name}_documents": n, f"{name}_tokens": ids}
        return about

    return build


def _held_out(context: Context, limit: int) -> pa.Table:
    """Return the held-out documents with the smallest hashes, each once."""
    chosen = find_smallest(context, limit, once=True, name="validation")
    return read_chosen(context, chosen, CHOSEN.names, "validation").cast(CHOSEN)
