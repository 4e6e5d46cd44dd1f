"""What somebody might miss of a corpus is told in one line, and nothing is told of what is as it should be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation_assets.config.profile import Profile
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.notices import notices
from curation_assets_tests.lineage.conftest import make


def _told(profile: Profile, **metadata: dict[str, Any]) -> list[str]:
    """Return the notices where some artifacts' metadata say more than they do."""
    versions = Versions(Workspace(profile))
    for name, more in metadata.items():
        key = f"corpus/{name}"
        for partition in versions.partitions("" if name in ("source", "index") else "shard"):
            receipt = versions.receipt(key, partition) or versions.receipt("corpus/documents", partition)
            assert receipt is not None
            versions.receipts(key)[partition] = replace(receipt, metadata=receipt.metadata | more)
    return notices(versions)


def test_a_corpus_without_a_fault_has_none(made: Profile) -> None:
    assert _told(made) == []
    assert _told(made, index={"ids_with_several_texts": 0}) == []


def test_quarantined_rows_are_told_by_reason(made: Profile, root: Path) -> None:
    with (root / "shards" / "s1.jsonl").open("a", encoding="utf-8") as out:
        out.write("{broken\n{broken\n" + json.dumps({"id": "x", "text": "  "}) + "\n")
    make(made, ["corpus/source", "corpus/shards", "corpus/documents"])
    [line] = _told(made)
    assert " rows quarantined: 2 invalid_json (the line is not JSON), 1 empty_text (" in line
    assert line.startswith("3 of ")


def test_ids_are_told(made: Profile) -> None:
    about = {
        "ids_with_several_texts": 1,
        "such_ids": "'7' in s0.jsonl and s1.jsonl",
        "documents_of_such_ids": 2,
    }
    [line] = _told(made, index=about)
    assert line.startswith(
        "1 id stands for several texts: '7' in s0.jsonl and s1.jsonl. All 2 documents stay"
    )


def test_a_new_workspace_has_nothing_to_tell(made: Profile, tmp_path: Path) -> None:
    elsewhere = made.execution.model_copy(update={"store": str(tmp_path)})
    assert notices(Versions(Workspace(made.model_copy(update={"execution": elsewhere})))) == []
