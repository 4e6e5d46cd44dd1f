"""Scores of judges that were made before there were caveats stay current, and have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.invariants import INVARIANTS
from curation_assets_tests.report.hand_made import texts, workspace


def test_scores_of_before_have_no_caveat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workspace(
        tmp_path, monkeypatch, {"a.jsonl": texts(30)}, {"ask_llm_small": lambda ids: [-1.0] * len(ids)}
    )
    documents = made.metadata("corpus/documents", "a.jsonl")["documents"]
    outcome = INVARIANTS["ask_llm_small/scores"]["few_caveats"](made)
    assert outcome.passed and outcome.description == f"{documents} scores, none with a caveat"
