"""What became of rows that are no documents, in words: a field that no row has, a file without a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from curation_assets.engine.artifacts import Artifacts

_UNREADABLE = ("row_too_long", "invalid_utf8", "invalid_json", "not_an_object", "invalid_csv", "ragged_row")
"""Reasons for which a row has no fields that could be looked at."""


def no_documents(workspace: Artifacts) -> str:
    """Say why the corpus has no document to choose from; "" where it has one, or nothing has been read."""
    counted = []
    for shard in workspace.shards():
        receipt = workspace.receipt("corpus/documents", shard)
        if receipt is not None:
            counted.append(receipt.metadata)
            if receipt.metadata["documents"]:
                return ""
    return why_no_documents(counted) if counted else ""


def why_no_documents(counted: Iterable[Mapping[str, Any]]) -> str:
    """Say why files have no document, by the metadata of their `corpus/documents`; "" where one has."""
    rows, documents, held_out = 0, 0, 0
    reasons, lacks, seen = Counter[str](), Counter[str](), dict[str, None]()
    fields: dict[str, str] = {}
    for about in counted:
        rows, documents = rows + about["rows"], documents + about["documents"]
        held_out += about["validation"]
        reasons.update(about["reasons"])
        lacks.update(about.get("lacks", {}))
        seen.update(dict.fromkeys(about.get("fields_seen", [])))
        fields.update(about.get("fields", {}))
    if documents:
        return ""
    looked_at = rows - sum(reasons[reason] for reason in _UNREADABLE)
    for setting, name in fields.items():
        if looked_at and lacks[name] == looked_at:
            other = ' ("" takes a hash of the text)' if setting == "id_field" else ""
            return (
                f"{looked_at:,} of {rows:,} rows have no field {name!r}; fields seen: {', '.join(seen) or 'none'}. "
                f"They are quarantined: set corpus.{setting}{other}"
            )
    if not rows:
        return "no rows"
    counts = [*reasons.most_common(), *([("held out", held_out)] if held_out else [])]
    return f"none of {rows:,} rows is a document to choose: " + ", ".join(
        f"{name} {n:,}" for name, n in counts
    )
