"""The script of the docs that takes a choice out of a corpus, where ids are numbers and the same in several files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.selection.what_if import what_if
from curation_assets_tests.docs.markdown import ROOT, blocks
from curation_assets_tests.report.hand_made import texts, workspace

pytestmark = pytest.mark.process


def test_numbers_as_ids_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [f"{number}. {text}" for number, (_, text, _) in enumerate(texts(120))]
    rows: list[Any] = [(number % 60, text, "") for number, text in enumerate(every)]
    parts = {"a.jsonl": rows[:60], "more/b.jsonl": [*rows[60:], rows[3]]}  # one stands in both
    found = workspace(tmp_path, monkeypatch, parts, {"random": lambda ids: np.arange(len(ids))})
    (tmp_path / "texts").symlink_to(tmp_path / "shards")
    chosen = what_if(found, ["random"], "33%", folder=tmp_path / "chosen")
    page = ROOT / "docs" / "your-corpus.md"
    script = next(block.text for block in blocks(page) if block.file == "take.py")
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert said.stdout == f"{chosen.documents} of 121 documents\n" and chosen.documents > 30
    taken = [json.loads(line) for line in (tmp_path / "chosen" / "texts.jsonl").read_text().splitlines()]
    subset = pq.read_table(tmp_path / "chosen" / "subset.parquet")
    assert Counter(str(row["id"]) for row in taken) == Counter(subset["doc_id"].to_pylist())
    assert len({row["text"] for row in taken}) == len(taken) == chosen.documents
