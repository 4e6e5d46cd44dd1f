"""What is worth knowing of a corpus besides that it was read: rows, files and ids that somebody might miss.

One line each, for `curation status` and the end of `curation run`. Everything comes from metadata and the listing, so it costs
nothing; what an artifact does not say is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from curation_assets.config.amount import label, ordered
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.quarantine import REASONS
from curation_assets.corpus.rejected_rows import why_no_documents
from curation_assets.corpus.repeats import describe_repeats
from curation_assets.corpus.skipped_files import grouped
from curation_assets.engine.staleness import Versions

_FILES = 10  # that are named


def notices(versions: Versions) -> list[str]:
    """Return the lines; none where there is nothing to say, or nothing has been read yet."""
    return [*_files(versions), *_rows(versions), *_lost(versions), *_ids(versions), *_short(versions)]


def _metadata(versions: Versions, key: str) -> Iterator[dict[str, Any]]:
    """Yield the metadata of an asset's artifacts that are there."""
    by_shard = key not in ("corpus/source", "corpus/index")
    for partition in versions.partitions("shard" if by_shard else ""):
        receipt = versions.receipt(key, partition)
        if receipt is not None:
            yield receipt.metadata


def _files(versions: Versions) -> Iterator[str]:
    passed_over = versions.workspace.passed_over()
    reasons = grouped(passed_over["files"])
    yield from (f"passed over: {names}: {reason}" for names, reason in reasons[:_FILES])
    if len(reasons) > _FILES:
        yield f"passed over for {len(reasons) - _FILES:,} more reasons: see passed_over.json of corpus/source"
    for names in passed_over["alike"][:_FILES]:
        yield f"same name: {', '.join(names)}: all are read; remove those that hold the same documents"


def _rows(versions: Versions) -> Iterator[str]:
    rows, reasons = 0, Counter[str]()
    for about in _metadata(versions, "corpus/documents"):
        rows += about.get("rows", 0)
        reasons.update(about.get("reasons") or {})
    if reasons:
        counts = _by_count(reasons, {name: f" ({meaning})" for name, meaning in REASONS.items()})
        yield f"{sum(reasons.values()):,} of {_s(rows, 'row')} quarantined: {counts}"


def _lost(versions: Versions) -> Iterator[str]:
    """Yield why files have no document, and which kept fields have values that cannot be text."""
    receipts = (versions.receipt("corpus/documents", shard) for shard in versions.partitions("shard"))
    read = {receipt.partition: receipt.metadata for receipt in receipts if receipt is not None}
    kept: Counter[str] = Counter()
    for about in read.values():
        kept.update(about.get("kept_fields_lost", {}))
    files = [
        f"{visible(decoded(shard))}: {why_no_documents([about])}"
        for shard, about in read.items()
        if _is_lost(about)
    ]
    if len(files) == len(read) > 1:
        files = [f"no document in {_s(len(read), 'file')}: {why_no_documents(read.values())}"]
    yield from files[:_FILES]
    if len(files) > _FILES:
        yield f"{len(files) - _FILES:,} more files without a document to choose"
    if kept:
        yield f"{_s(sum(kept.values()), 'value')} of kept fields cannot be text and are null: {_by_count(kept)}"


def _is_lost(about: dict[str, Any]) -> bool:
    return not about["documents"] and about["quarantined"] > 0


def _ids(versions: Versions) -> Iterator[str]:
    for about in _metadata(versions, "corpus/index"):
        yield from describe_repeats(about)


def _short(versions: Versions) -> Iterator[str]:
    """Yield which sources have too few documents for their weight, and at which amounts."""
    weights = versions.profile.corpus.weights
    amounts: dict[str, set[str]] = {}
    for name in SAMPLERS if weights else ():
        for amount, receipt in versions.receipts(f"{name}/subset").items():
            for source in receipt.metadata.get("short_sources", {}):
                amounts.setdefault(source, set()).add(amount)
    for source, short in sorted(amounts.items()):
        share = weights.get(source, 0.0) / sum(weights.values())
        yield (
            f"source {source} has too few documents for its weight of {share:.1%} at {label(*ordered(short))}: all of them are kept, and "
            "other sources make up for the rest"
        )


def _by_count(counts: dict[str, int], meanings: dict[str, str] | None = None) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {name}{(meanings or {}).get(name, '')}" for name, number in ordered)


def _s(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
