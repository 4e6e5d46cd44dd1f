"""`curation ask` and `curation score`: what they print, write and refuse."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation_assets.cli.main import main
from curation_assets.config.profile import Profile
from curation_assets.engine.workspace import Workspace
from curation_assets.selection.placement import Corpus
from curation_assets_tests.conftest import make_current, work_in, write_tiny

TEXT = "Water boils at 100 degrees at sea level."


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Iterator[Profile]:
    """A corpus with scores of a sampler, and two of its subsets."""
    home = tmp_path_factory.mktemp("scoring")
    write_tiny(home, teacher)
    with pytest.MonkeyPatch.context() as patch:
        profile = work_in(home, patch)
        make_current(Workspace(profile), "heuristic/subset")
        yield profile


def test_a_text_is_put_to_a_judge(
    tiny: Profile,
    teacher: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = f"path:{teacher}"
    assert main(["ask", model, TEXT]) == 0
    told = capsys.readouterr().out
    assert "P(yes)" in told and "log P(yes)" in told and "asked:" in told and TEXT in told
    file = tmp_path / "text.txt"
    file.write_text(TEXT, "utf-8")
    assert main(["ask", model, "--file", str(file)]) == 0
    assert capsys.readouterr().out == told
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert main(["ask", model, "-", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert f"{answer['p_yes']:.4g}" in told and answer["model"] == model and not answer["cut"]
    assert main(["ask", model, "--perplexity", "--json", TEXT]) == 0
    assert json.loads(capsys.readouterr().out)["perplexity"] > 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ask", "density", TEXT], "`curation score density FILE`"),
        (["ask", "asset:judge/checkpoint#small", TEXT], "judge/checkpoint[small] has not been materialized"),
        (["ask", "gguf:x", TEXT], "model source 'gguf:x' must begin with one of"),
        (["score", "semdedup_density", "texts.jsonl"], "draws by those of density; score with that"),
        (["score", "heuristic", "nowhere.jsonl"], "no corpus at"),
        (["score", "density", "shards/s0.jsonl"], "has not been materialized"),
    ],
)
def test_what_cannot_be_is_one_line(
    tiny: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert why in errors and errors.count("\n") == 1


def test_a_text_that_is_no_utf_8_is_refused(
    tiny: Profile, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes(b"caf\xe9")
    assert main(["ask", f"path:{teacher}", "--file", str(file)]) == 1
    assert "is no UTF-8 text: byte 3" in capsys.readouterr().err


@pytest.mark.slow
def test_files_are_scored_with_their_place_in_the_corpus(
    scored: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the terminal, and in one file of several; rows that are no documents are named."""
    shard = Path(scored.source).parent / "shards" / "s0.jsonl"
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"id": "x"}\n' + json.dumps({"id": "prose", "text": TEXT * 3}) + "\n", "utf-8")
    assert main(["score", "heuristic", str(shard), str(odd)]) == 0
    out, errors = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert f"{odd}: row 1 is no document: missing_text" in errors
    assert rows[-1]["doc_id"] == "prose" and rows[-1]["file"] == str(odd) and rows[-1]["source_row"] == 2
    assert 0 <= rows[-1]["percentile"] <= 100 and rows[-1]["kept_80"] >= rows[-1]["kept_10"]
    workspace = Workspace(scored)
    subset = pq.read_table(workspace.open("heuristic/subset", "20") / "subset.parquet")
    chosen = {
        i
        for i, s in zip(subset["doc_id"].to_pylist(), subset["shard"].to_pylist(), strict=True)
        if s == "s0.jsonl"
    }
    held_out = pq.read_table(workspace.open("corpus/documents", "s0.jsonl") / "validation.parquet")[
        "doc_id"
    ].to_pylist()
    assert {row["doc_id"] for row in rows[:-1] if row["kept_20"]} - set(held_out) == chosen
    out_file = tmp_path / "scores.parquet"
    passes, percentiles = [], Corpus.percentiles
    monkeypatch.setattr(Corpus, "percentiles", lambda *given: passes.append(given) or percentiles(*given))
    assert main(["score", "heuristic", str(shard), str(odd), "--out", str(out_file)]) == 0
    assert len(passes) == 1, "one pass over the corpus for all files"
    assert pq.read_table(out_file).to_pylist() == rows and not capsys.readouterr().out


def test_without_scores_of_the_corpus_there_are_no_places(
    tiny: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing has been made at all, and the heuristic needs nothing."""
    page = tmp_path / "page.txt"
    page.write_text(TEXT, "utf-8")
    assert main(["score", "heuristic", str(page)]) == 0
    out, errors = capsys.readouterr()
    row = json.loads(out)
    assert row["score"] > 0 and row["percentile"] is None and row["kept_20"] is None
    assert "heuristic/subset at 10, 20, 40, 60, 80" in errors
