"""The oracle goes by a label that the corpus carries, and by nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.products import BUILDERS
from curation_assets.samplers.scorer import Scorer, TextScorer

LABELLED = '[corpus]\nkeep_fields = ["kind"]\n[labels]\nfield = "kind"\npositive = ["good", "better"]\n'


def _profile(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = LABELLED) -> Profile:
    monkeypatch.setenv("CURATION_DATA", str(folder / "data"))
    (folder / "mine.toml").write_text(text, "utf-8")
    return load_profile(folder / "mine.toml")


def test_good_labels_are_1_bad_ones_and_none_are_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["good", "bad", None, "better", "Good "]
    rows = [{"id": str(n), "text": f"Document {n} of a test.", "kind": kind} for n, kind in enumerate(kinds)]
    file = tmp_path / "file.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with Scorer(_profile(tmp_path, monkeypatch), "oracle", BUILDERS) as scorer:
        scores, _ = scorer.score_file(*scorer.files(file))
    assert scores["score"].to_pylist() == [1.0, 0.0, 0.0, 1.0, 1.0]


def test_without_labels_it_says_what_it_goes_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"labels\.field names no field of the corpus: oracle goes by it"):
        Scorer(_profile(tmp_path, monkeypatch, ""), "oracle", BUILDERS)
    with (
        TextScorer(_profile(tmp_path, monkeypatch), "oracle", BUILDERS) as scorer,
        pytest.raises(ValueError, match="these documents carry no field 'kind'"),
    ):
        scorer.table(["A text of some words without any label."])


def test_it_is_made_where_it_is_named_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever brings labels to measure scores by would train a model on the labels, and be told to use it."""
    labelled = _profile(tmp_path, monkeypatch)
    assert "oracle" not in labelled.chosen_samplers and "goes by labels" in labelled.left_out["oracle"]
    named = _profile(tmp_path, monkeypatch, LABELLED + '[run]\nsamplers = ["random", "oracle"]\n')
    assert named.chosen_samplers == ["random", "oracle"] and "oracle" not in named.left_out
