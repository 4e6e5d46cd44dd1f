"""Selecting again: as the graph does where it asks the same, and as brute force over whole arrays does elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import read_json, write_table
from curation_assets.common.progress import silent
from curation_assets.config.amount import Amount
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.repeats import describe_repeats
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.lineage.explain import explain
from curation_assets.lineage.status import status
from curation_assets.lineage.status import to_text as status_text
from curation_assets.selection import hash_documents, selection_keys, text_digest
from curation_assets.selection.what_if import to_text, what_if
from curation_assets_tests.conftest import write_shard
from curation_assets_tests.making import commit
from curation_assets_tests.selection.scored import DRAWN, SCORED, copied, made, make

__all__ = ["made"]


def _corpus(workspace: Workspace, sampler: str) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return (hashes, scores, tokens) of every document that stands in no earlier shard."""
    found: dict[int, tuple[float, int]] = {}
    for shard in workspace.shards():
        table = pq.read_table(workspace.open(f"{sampler}/scores", shard) / "scores.parquet")
        offsets = np.load(workspace.open("corpus/tokens", shard) / "documents.offsets.npy")
        rows = zip(
            table["doc_hash"].to_pylist(), table["score"].to_pylist(), np.diff(offsets).tolist(), strict=True
        )
        for doc_hash, score, tokens in rows:
            found.setdefault(doc_hash, (score, tokens))
    scores, tokens = zip(*found.values(), strict=True)
    return list(found), np.array(scores), np.array(tokens)


def _brute(workspace: Workspace, sampler: str, rate: float, technique: str, seed: int) -> set[int]:
    documents, scores, _ = _corpus(workspace, sampler)
    hashes = np.array(documents, np.uint64)
    order = np.lexsort((hashes, -selection_keys(hashes, scores, technique, seed)))
    return {documents[i] for i in order[: round(rate * len(documents))]}


@pytest.mark.parametrize("sampler", DRAWN)
def test_the_graphs_own_question_has_the_graphs_own_answer(
    made: Workspace, tmp_path: Path, sampler: str
) -> None:
    for rate in ("20", "60"):
        own = made.open(f"{sampler}/subset", rate)
        found = what_if(made, [sampler], f"{rate}%", folder=tmp_path / rate)
        assert (tmp_path / rate / "subset.parquet").read_bytes() == (own / "subset.parquet").read_bytes()
        manifest, graphs = found.manifest(), read_json(own / "manifest.json")
        for name in ("seed", "candidates", "documents", "tokens", "by_shard"):
            assert manifest[name] == graphs[name]
        assert manifest["samplers"][0]["threshold"] == graphs["threshold"]
        assert manifest["score_versions"] == {sampler: graphs["score_versions"]}


@pytest.mark.parametrize(
    ("samplers", "rate", "technique", "combine", "seed"),
    [
        (["density", "ask_llm_small"], 0.33, None, "intersection", None),
        (["ask_llm_small", "perplexity_small"], 0.5, None, "union", None),  # the same scores, with ties
        (["density", "semdedup", "random"], 0.47, "uniform", "intersection", 7),
        (["density", "semdedup", "perplexity_small"], 0.21, "bottom_k", "union", 7),
        (["density"], 0.57, "ips", "intersection", 2**64 - 1),
        (["random"], 1.0, "top_k", "union", 3),
        (["semdedup", "density"], 0.003, None, "intersection", None),  # not one document
    ],
)
def test_choices_are_those_of_select_on_whole_arrays(
    made: Workspace,
    tmp_path: Path,
    samplers: list[str],
    rate: float,
    technique: str | None,
    combine: str,
    seed: int | None,
) -> None:
    found = what_if(
        made, samplers, rate, technique=technique, combine=combine, seed=seed, folder=tmp_path / "out"
    )
    used = {name: technique or SAMPLERS[name].technique for name in samplers}
    choices = [_brute(made, name, rate, used[name], seed or 0) for name in samplers]
    expected = set.intersection(*choices) if combine == "intersection" else set.union(*choices)
    table = pq.read_table(tmp_path / "out" / "subset.parquet")
    documents, _, tokens = _corpus(made, samplers[0])
    n_tokens = dict(zip(documents, tokens.tolist(), strict=True))
    assert set(table["doc_hash"].to_pylist()) == expected and table.num_rows == len(expected)
    assert table["n_tokens"].to_pylist() == [n_tokens[i] for i in table["doc_hash"].to_pylist()]
    assert [d.documents for d in found.drawn] == [len(choice) for choice in choices]
    assert [d.tokens for d in found.drawn] == [sum(n_tokens[i] for i in choice) for choice in choices]
    assert found.documents == len(expected) and found.tokens == sum(table["n_tokens"].to_pylist())
    for overlap in found.overlaps:
        members = [choices[samplers.index(name)] for name in overlap.samplers]
        assert overlap.documents == len(set.intersection(*members))
        expected_count = len(documents) * np.prod([len(member) / len(documents) for member in members])
        assert overlap.expected == pytest.approx(expected_count)
    assert len(found.overlaps) == {1: 0, 2: 1, 3: 4}[len(samplers)]


def test_the_columns_of_several_samplers_are_their_scores_and_keys(made: Workspace, tmp_path: Path) -> None:
    what_if(made, ["density", "random"], 0.6, combine="union", folder=tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "subset.parquet")
    assert table.column_names[:4] == ["doc_id", "shard", "row", "n_tokens"]
    for name in ("density", "random"):
        documents, scores, _ = _corpus(made, name)
        keys = selection_keys(np.array(documents, np.uint64), scores, SAMPLERS[name].technique, 0)
        at = [documents.index(doc_hash) for doc_hash in table["doc_hash"].to_pylist()]
        assert np.array_equal(table[f"{name}_score"].to_numpy(), scores[at])
        assert np.array_equal(table[f"{name}_key"].to_numpy(), keys[at])
    for chosen in table.select(["shard", "row", "doc_id", "doc_hash", "source_row"]).to_pylist():
        rows = pq.read_table(made.open("corpus/documents", chosen["shard"]) / "documents.parquet")
        document = rows.slice(chosen["row"], 1).to_pylist()[0]
        assert (document["doc_id"], document["doc_hash"]) == (chosen["doc_id"], chosen["doc_hash"])
        assert document["row"] == chosen["source_row"]


@pytest.mark.parametrize("budget", [1, 400, 5_000])
def test_a_token_budget_takes_the_largest_keys_that_fit(made: Workspace, tmp_path: Path, budget: int) -> None:
    found = what_if(made, ["ask_llm_small"], f"{budget} tokens", folder=tmp_path / "out")
    documents, scores, tokens = _corpus(made, "ask_llm_small")
    order = np.lexsort((np.array(documents, np.uint64), -scores))
    fits = np.cumsum(tokens[order]) <= budget
    expected = {documents[i] for i in order[: int(fits.argmin()) if not fits.all() else len(order)]}
    kept = pq.read_table(tmp_path / "out" / "subset.parquet")["doc_hash"].to_pylist()
    assert set(kept) == expected and found.tokens <= budget
    assert found.drawn[0].threshold == (min(scores[documents.index(i)] for i in kept) if kept else None)


def test_a_number_of_documents(made: Workspace) -> None:
    assert what_if(made, ["density"], "17 documents").documents == 17


@pytest.mark.parametrize("kind", ["documents", "tokens"])
def test_more_than_there_is(made: Workspace, kind: Literal["documents", "tokens"]) -> None:
    own = {
        "documents": made.metadata("corpus/index")["documents"],
        "tokens": sum(_corpus(made, "density")[2]),
    }
    assert getattr(what_if(made, ["density"], f"{own[kind]} {kind}"), kind) == own[kind]
    more = Amount(kind, own[kind] + 1)
    with pytest.raises(
        ValueError, match=re.escape(f"cannot keep {more}: there are {own[kind]:,} to choose from")
    ):
        what_if(made, ["density"], more)


def test_a_manifest_is_enough_to_choose_the_same_again(made: Workspace, tmp_path: Path) -> None:
    what_if(
        made, ["density", "semdedup"], "900 tokens", technique="uniform", seed=5, folder=tmp_path / "a" / "b"
    )
    said = read_json(tmp_path / "a" / "b" / "manifest.json")
    what_if(
        made,
        [drawn["sampler"] for drawn in said["samplers"]],
        Amount(**said["amount"]),
        technique=said["samplers"][0]["technique"],
        combine=said["combine"],
        seed=said["seed"],
        folder=tmp_path / "c",
    )
    for name in ("subset.parquet", "manifest.json"):
        assert (tmp_path / "a" / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_a_folder_is_written_whole_or_not_at_all(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, empty = tmp_path / "taken", tmp_path / "empty"
    for folder in (taken, empty):
        folder.mkdir()
    (taken / "mine.txt").write_text("mine")
    for place in (taken, taken / "mine.txt"):
        with pytest.raises(ValueError, match="no empty folder"):
            what_if(made, ["random"], 0.1, folder=place)
    what_if(made, ["random"], 0.1, folder=empty)
    assert sorted(path.name for path in empty.iterdir()) == ["manifest.json", "subset.parquet"]
    before = sorted(tmp_path.iterdir())

    def breaks(done: float, total: float, unit: str, note: str = "") -> None:
        if note == "choosing" and done == 2:
            assert len(list(tmp_path.glob(".tmp-new.*"))) == 1
            raise RuntimeError("the power is cut")

    with pytest.raises(RuntimeError, match="power"):
        what_if(made, ["random"], 0.1, folder=tmp_path / "new", progress=breaks)
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"


@pytest.mark.parametrize(
    ("samplers", "options", "said"),
    [
        (["densty"], {}, "unknown sampler 'densty'; did you mean 'density'"),
        (["density", "density"], {}, "'density' is named twice"),
        ([], {}, "at least one"),
        (["density"], {"technique": "topk"}, "unknown technique 'topk'; did you mean 'top_k'"),
        (["density", "random"], {"combine": "xor"}, "unknown way .*'xor'; there are intersection, union"),
        (["ask_llm_small"], {"technique": "ips"}, r"ask_llm_small/scores\[s0.jsonl\]: .*positive for ips"),
    ],
)
def test_mistakes_get_one_line(
    made: Workspace, samplers: list[str], options: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        what_if(made, samplers, 0.5, **options)
    assert "\n" not in str(error.value)


def test_scores_that_are_missing_or_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Workspace
) -> None:
    with pytest.raises(MissingInput, match=r"prototypes/scores\[s0.jsonl\] has not been materialized"):
        what_if(made, ["density", "prototypes"], 0.5)
    workspace = copied(tmp_path / "copy", monkeypatch)
    other = workspace.profile.samplers.density.model_copy(update={"seed": 7})
    samplers = workspace.profile.samplers.model_copy(update={"density": other})
    workspace.profile = workspace.profile.model_copy(update={"samplers": samplers})
    with pytest.raises(
        ValueError, match=r"density/scores\[s0.jsonl\] \(and 2 more\) is out of date.*allow stale"
    ):
        what_if(workspace, ["density", "random"], 0.5)
    found = what_if(workspace, ["density", "random"], 0.5, allow_stale=True)
    assert found.stale == tuple(f"density/scores[s{i}.jsonl]" for i in range(3))
    assert found.manifest()["stale"] == list(found.stale)
    assert "out of date, taken all the same: density/scores[s0.jsonl]" in to_text(found)
    assert found.drawn == what_if(made, ["density", "random"], 0.5).drawn, "the scores are the same ones"


def test_scores_of_other_documents_are_refused_however_stale_they_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Workspace
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    shard = tmp_path / "copy" / "shards" / "s0.jsonl"
    lines = shard.read_text().splitlines()
    shard.write_text("\n".join(reversed(lines)) + "\n")  # as many documents as before
    make(workspace, "corpus/source")
    for key in ("corpus/shards", "corpus/documents", "corpus/tokens"):
        make(workspace, key)
    with pytest.raises(ValueError, match=r"^corpus/index is out of date: run the graph first$"):
        what_if(workspace, ["random"], 0.5, allow_stale=True)
    make(workspace, "corpus/index")
    for samplers in (["random"], ["density", "random"]):
        with pytest.raises(ValueError, match=r"/scores\[s0.jsonl\] is of other documents"):
            what_if(workspace, samplers, 0.5, allow_stale=True)
    with pytest.raises(ValueError, match=r"density/scores\[s0.jsonl\] is out of date"):
        what_if(workspace, ["density"], 0.5)
    write_shard(shard, [("one", "A single document, longer than no text at all.")])
    for key in ("corpus/source", "corpus/shards", "corpus/documents", "corpus/tokens", "corpus/index"):
        make(workspace, key)
    with pytest.raises(ValueError, match=r"random/scores\[s0.jsonl\] is of other documents"):
        what_if(workspace, ["random"], 0.5, allow_stale=True)


def test_scores_that_change_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Workspace
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    other = workspace.profile.selection.model_copy(update={"seed": 1})
    now = Workspace(workspace.profile.model_copy(update={"selection": other}))

    def changes(done: float, total: float, unit: str, note: str = "") -> None:
        if note == "choosing" and done == total:
            make(now, "random/scores", "s1.jsonl")

    with pytest.raises(ValueError, match="ask again"):
        what_if(workspace, ["random"], 0.5, allow_stale=True, progress=changes, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_the_text_says_what_was_chosen(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # else sentences are broken
    found = what_if(made, ["density", "random"], "33%", folder=tmp_path / "out")
    text = to_text(found)
    assert text.startswith(
        f"density, random: 33% of {found.candidates} documents; kept is what all of them keeps"
    )
    assert f"density, random share {found.documents} documents; independent choices would share" in text
    assert "density, random draw with the same noise (seed 0)" in text
    assert f"kept: {found.documents} documents" in text
    assert "noise" not in to_text(what_if(made, ["density", "semdedup"], "33%", progress=silent))


def test_every_sampler_that_is_scored_can_be_asked_for_together(made: Workspace) -> None:
    found = what_if(made, SCORED, 0.8)
    assert len(found.overlaps) == 11 and found.overlaps[-1].documents == found.documents > 0


def test_a_choice_names_the_lines_of_the_corpus_whatever_the_ids(made: Workspace, tmp_path: Path) -> None:
    what_if(made, ["density"], 1.0, folder=tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "subset.parquet").to_pylist()
    assert len({row["doc_id"] for row in rows}) < len(rows) == len({row["doc_hash"] for row in rows})
    for row in rows:
        lines = Path(made.listing()[row["shard"]]["url"].removeprefix("file://")).read_text().splitlines()
        document = json.loads(lines[row["source_row"] - 1])
        assert hash_documents([row["doc_id"]], [text_digest(document["text"])])[0] == row["doc_hash"]
        assert document["id"] == row["doc_id"]


def test_index_status_run_subsets_and_select_count_the_same_documents(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # else sentences are broken
    index = made.metadata("corpus/index")
    n = index["documents"]
    assert index["repeated_in_later_shards"] == 3 and index["ids_with_several_texts"] == 2
    assert index["documents_of_such_ids"] == 4
    read = sum(made.metadata("corpus/documents", shard)["documents"] for shard in made.shards())
    assert n == read - 3 == len(_corpus(made, "density")[0])
    assert status(made).documents == n == what_if(made, ["density"], 0.5).candidates
    for sampler in DRAWN:
        manifest = read_json(made.open(f"{sampler}/subset", "60") / "manifest.json")
        assert manifest["candidates"] == n and manifest["documents"] == round(0.6 * n)
    lines = status_text(status(made)).splitlines()
    assert f"{n:,} documents" in lines[0]
    notes = [line for line in lines if line.startswith("NOTE") and "quarantined" not in line]
    assert notes == [f"NOTE  {said}" for said in describe_repeats(index)]


def test_scores_of_an_earlier_release_are_refused_in_one_line(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    receipt = workspace.receipt("random/scores", "s0.jsonl")
    assert receipt is not None
    with workspace.store.staged() as folder:
        old = pq.read_table(workspace.open("random/scores", "s0.jsonl") / "scores.parquet")
        write_table(folder / "scores.parquet", old.select(["doc_id", "score"]))
        commit(workspace, folder, replace(receipt, code="1", folder="", files={}))
    with pytest.raises(
        ValueError, match=r"^random/scores\[s0.jsonl\] were made by an earlier release.*again$"
    ):
        what_if(workspace, ["random"], 0.5, allow_stale=True)
    (explained,) = explain(workspace, _unique_id(workspace), ["random"])
    assert explained.samplers[0].note == "its scores were of other documents than the shard has now"


def _unique_id(workspace: Workspace) -> str:
    path = workspace.open("corpus/documents", "s0.jsonl") / "documents.parquet"
    return str(pq.read_table(path)["doc_id"][0].as_py())
