"""How each artifact of the corpus stage is made: listing, shards, documents, tokenizer, tokens, index, validation."""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.corpus import builtin, discover, tokens
from curation_assets.corpus.documents import parse_shard, write_documents
from curation_assets.corpus.reading import open_documents
from curation_assets.corpus.repeats import find_repeats
from curation_assets.corpus.settings import DocumentSettings
from curation_assets.corpus.tokenizer import load_tokenizer, train_tokenizer
from curation_assets.corpus.watch import places, state
from curation_assets.files import fingerprint, read_batches, read_json, write_bytes, write_json, write_table
from curation_assets.models.sources import resolve
from curation_assets.profile import Profile
from curation_assets.progress import Progress
from curation_assets.report.tables import preview
from curation_assets.workspace import BuildOne, Markdown, Metadata, Workspace

VALIDATION_SETS = ("in_distribution", "hq")
_SHOWN = ["doc_id", "text", "n_chars"]


def document_settings(profile: Profile) -> DocumentSettings:
    """Return the corpus section in the form that the reader takes."""
    corpus = profile.corpus
    return DocumentSettings(
        text_field=corpus.text_field,
        id_field=corpus.id_field or None,
        keep_fields=tuple(corpus.keep_fields),
        max_chars=corpus.max_chars,
        validation_share=corpus.validation_share,
        sample_by=corpus.sample_by,
    )


def source(workspace: Workspace) -> BuildOne:
    """List the corpus: {shard: url, bytes, modified}; first build it where the profile says "builtin"."""
    profile = workspace.profile

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        if "builtin" in (profile.corpus.url, profile.corpus.hq_url):
            home = workspace.data / "builtin"
            wanted = profile.corpus.builtin.model_dump()
            wanted["documents"] = tuple(wanted["documents"].items())
            builtin.build(home, builtin.BuiltinSettings(**wanted), progress)
        url, hq_url = places(workspace)
        files = discover.list_shards(url, profile.corpus.storage_options)
        if not files:
            raise ValueError(f"{url}: no corpus files there (.jsonl, .parquet or .txt, also .gz and .zst)")
        listing = state(files)
        write_json(folder / "shards.json", listing)
        hq = _high_quality(hq_url, profile)
        write_json(folder / "hq.json", hq)
        rows = [{"shard": key, **about} for key, about in list(listing.items())[:10]]
        return {
            "version": fingerprint("corpus/source", hq.get("sha256")),
            "url": url,
            "shards": len(listing),
            "bytes": sum(f.size for f in files),
            "hq_url": hq_url,
            "first_shards": Markdown(preview(rows)),
        }

    return build


def _high_quality(url: str, profile: Profile) -> dict[str, Any]:
    if not url:
        return {}
    options = profile.corpus.storage_options
    files = discover.list_shards(url, options)
    return {
        "url": url,
        "files": [[f.key, f.url] for f in files],
        "sha256": [discover.digest(f.url, options) for f in files],
        "state": state(files),
    }


def shards(workspace: Workspace) -> BuildOne:
    """Record a corpus file's digest: it is the shard's version, whatever the file's name or date."""

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        listed = workspace.listing().get(shard)
        if listed is None:
            raise ValueError(
                f"{shard} is not in the corpus any more; materialize corpus/source to list it again"
            )
        sha256 = discover.digest(listed["url"], workspace.profile.corpus.storage_options)
        about = {"version": fingerprint("corpus/shards", sha256), "sha256": sha256, **listed}
        twin = _seen_as(workspace, sha256, shard)
        return {**about, "same_as": twin} if twin else about

    return build


def _seen_as(workspace: Workspace, sha256: str, shard: str) -> str:
    """Return the name under which a file of this content was last seen, "" if it was not: a renamed file is scored already."""
    note = workspace.scratch / "digests" / sha256[:2] / sha256
    before = note.read_text("utf-8") if note.exists() else ""
    write_bytes(note, shard.encode(), durable=False)
    return before if before != shard else ""


def documents(workspace: Workspace) -> BuildOne:
    """Parse a shard into documents, held-out documents and quarantined rows."""
    profile = workspace.profile
    options = profile.corpus.storage_options

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        known = workspace.metadata("corpus/shards", shard)
        counts = write_documents(
            known["url"], document_settings(profile), folder, options, file=shard, progress=progress
        )
        if discover.digest(known["url"], options) != known["sha256"]:
            raise ValueError(
                f"{known['url']} changed while it was read; materialize corpus/shards[{shard}] again"
            )
        table = pq.ParquetFile(folder / "documents.parquet")
        first = next(table.iter_batches(10), None)
        shown: Metadata = (
            {"first_documents": Markdown(preview(pa.Table.from_batches([first])))}
            if first is not None
            else {}
        )
        if counts.quarantined:
            quarantine = pq.read_table(folder / "quarantine.parquet")
            shown["quarantine"] = Markdown(preview(quarantine))
        return {
            "rows": counts.rows,
            "documents": counts.documents,
            "validation": counts.validation,
            "quarantined": counts.quarantined,
            "characters": counts.chars,
            "reasons": dict(counts.reasons),
            **shown,
        }

    return build


def tokenizer(workspace: Workspace) -> BuildOne:
    """Train the tokenizer on the corpus, or copy the one that the profile names."""
    settings = workspace.profile.tokenizer

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        about: Metadata = {"model": settings.model}
        if settings.model == "train":
            texts = _sample(workspace, settings.training_documents)
            about["training_documents"] = len(texts)
            made = train_tokenizer(texts, settings.vocab_size, folder)
        else:
            found = resolve(settings.model, cache=workspace.scratch / "models", weights=False)
            for name in (
                "tokenizer.json",
                "spiece.model",
                "tokenizer_config.json",
                "special_tokens_map.json",
            ):
                if (found.folder / name).exists():
                    shutil.copyfile(found.folder / name, folder / name)
            about["digest"] = found.digest
            made = load_tokenizer(folder)
        return {**about, "vocab_size": made.vocab_size, "first_sentinel": made.first_sentinel_id}

    return build


def _sample(workspace: Workspace, limit: int) -> list[str]:
    """Return the texts of the `limit` documents with the smallest hashes, by hash: the same for any shard layout."""
    kept: list[tuple[int, str]] = []  # a heap of (-hash, text)
    for shard in workspace.shards():
        for batch in read_batches(open_documents(workspace, shard), ["doc_hash", "text"]):
            for doc_hash, text in zip(batch["doc_hash"].to_pylist(), batch["text"].to_pylist(), strict=True):
                push = heapq.heappush if len(kept) < limit else heapq.heappushpop
                push(kept, (-doc_hash, text))
    return [text for _, text in sorted(kept, reverse=True)]


def token_ids(workspace: Workspace) -> BuildOne:
    """Encode a shard's documents and its held-out documents, row by row as in `corpus/documents`."""
    loaded = load_tokenizer(workspace.open("corpus/tokenizer"))

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        found = workspace.open("corpus/documents", shard)
        counts = {}
        for name in ("documents", "validation"):
            path = found / f"{name}.parquet"
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
    total, done = pq.ParquetFile(path).metadata.num_rows, 0
    for batch in read_batches(path, ["text"], 1024):
        yield batch["text"].to_pylist()
        done += batch.num_rows
        progress(done, total, "documents")


def index(workspace: Workspace) -> BuildOne:
    """Count the corpus, and name the documents whose id already stands in an earlier shard."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards_, aside = workspace.shards(), workspace.set_aside()
        repeats = find_repeats(shards_, lambda s: open_documents(workspace, s), progress)
        write_table(folder / "repeats.parquet", repeats)
        totals: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        by_shard = {}
        for shard in shards_:
            about = workspace.metadata("corpus/documents", shard)
            counted = {name: about[name] for name in ("rows", "documents", "validation", "quarantined")}
            counted["tokens"] = workspace.metadata("corpus/tokens", shard)["tokens"]
            by_shard[shard] = counted
            totals.update(counted)
            reasons.update(about["reasons"])
        write_json(folder / "shards.json", by_shard)
        totals["tokens"] -= _tokens_of(workspace, repeats)
        return {
            **totals,
            "shards": len(shards_),
            "documents": totals["documents"] - len(repeats),
            "repeated_in_later_shards": len(repeats),
            "left_out": len(aside),
            "reasons": dict(reasons),
            "by_shard": Markdown(preview([{"shard": s, **c} for s, c in by_shard.items()])),
        }

    return build


def _tokens_of(workspace: Workspace, repeats: pa.Table) -> int:
    total = 0
    for shard in set(repeats["shard"].to_pylist()):
        _, offsets = tokens.read_tokens(workspace.open("corpus/tokens", shard), "documents")
        rows = repeats.filter(pc.equal(repeats["shard"], shard))["row"].to_numpy()
        total += int(np.diff(offsets)[rows].sum())
    return total


def validation(workspace: Workspace) -> BuildOne:
    """Gather the evaluation sets as token ids: held-out documents of the corpus, and the high-quality texts."""
    profile = workspace.profile
    loaded = load_tokenizer(workspace.open("corpus/tokenizer"))

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        about: Metadata = {}
        candidates = validation_candidates(workspace)
        for name in VALIDATION_SETS:
            chosen = heapq.nsmallest(profile.evaluation.max_documents, candidates[name])
            write_table(
                folder / f"{name}.parquet",
                pa.table(
                    {
                        "doc_id": pa.array([d for _, d, _ in chosen], pa.string()),
                        "doc_hash": pa.array([h for h, _, _ in chosen], pa.uint64()),
                    }
                ),
            )
            n, ids = tokens.write_tokens([[text for _, _, text in chosen]], loaded, folder, name)
            about |= {f"{name}_documents": n, f"{name}_tokens": ids}
        return about

    return build


def validation_candidates(workspace: Workspace) -> dict[str, Iterator[tuple[int, str, str]]]:
    """Return {evaluation set: (doc_hash, doc_id, text) of all that it is chosen from}; texts are read as they are asked for."""
    return {"in_distribution": _held_out(workspace), "hq": _high_quality_texts(workspace)}


def _held_out(workspace: Workspace) -> Iterator[tuple[int, str, str]]:
    seen: set[int] = set()
    for shard in workspace.shards():
        path = workspace.open("corpus/documents", shard) / "validation.parquet"
        for batch in read_batches(path, ["doc_hash", "doc_id", "text"]):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if row[0] not in seen:
                    seen.add(row[0])
                    yield row


def _high_quality_texts(workspace: Workspace) -> Iterator[tuple[int, str, str]]:
    settings = document_settings(workspace.profile)
    settings = DocumentSettings(
        settings.text_field, settings.id_field, (), settings.max_chars, 0.0, settings.sample_by
    )
    for key, url in read_json(workspace.open("corpus/source") / "hq.json").get("files", []):
        for batch in parse_shard(url, settings, workspace.profile.corpus.storage_options, key):
            columns = (batch.documents.column(name).to_pylist() for name in ("doc_hash", "doc_id", "text"))
            yield from zip(*columns, strict=True)
