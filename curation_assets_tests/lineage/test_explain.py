"""What is told of a document is what the tables say, read whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from curation_assets.files import read_json
from curation_assets.lineage.explain import explain, to_json, to_text
from curation_assets.lineage.finding import alike, find, near_ids, position_of
from curation_assets.lineage.standing import Standing
from curation_assets.progress import silent
from curation_assets.registry import RATES, SAMPLERS
from curation_assets.sampling import hash_ids, selection_keys
from curation_assets.storage import DamagedArtifact
from curation_assets.versions import Versions
from curation_assets.workspace import Workspace
from curation_assets_tests.sampling.scored import DRAWN, SCORED, copied, made, make

__all__ = ["made"]


def _table(workspace: Workspace, shard: str, name: str) -> list[dict]:
    return pq.read_table(workspace.open("corpus/documents", shard) / f"{name}.parquet").to_pylist()


def _holders(workspace: Workspace, name: str) -> dict[str, list[tuple[str, int]]]:
    """Return {id: (shard, row) of each place} of a table."""
    found: dict[str, list[tuple[str, int]]] = {}
    for shard in workspace.shards():
        for row, document in enumerate(_table(workspace, shard, name)):
            found.setdefault(document["doc_id"], []).append((shard, row))
    return found


def _scores(workspace: Workspace, sampler: str) -> dict[str, dict]:
    """Return {id: row of the score table} of all candidates."""
    found: dict[str, dict] = {}
    for shard in workspace.shards():
        for row in pq.read_table(workspace.open(f"{sampler}/scores", shard) / "scores.parquet").to_pylist():
            found.setdefault(row["doc_id"], row)
    return found


def test_every_id_is_found_wherever_it_stands(made: Workspace) -> None:
    versions = Versions(made)
    for name in ("documents", "validation"):
        holders = _holders(made, name)
        some = list(holders)[::4] if name == "documents" else list(holders)
        for doc_id in {*some, *(i for i, places in holders.items() if len(places) > 1)}:
            expected = holders[doc_id]
            places = find(versions, doc_id, silent).places
            assert [(p.shard, p.position) for p in places] == expected and {p.table for p in places} == {name}
            assert [p.kept_by for p in places] == ["", *[expected[0][0]] * (len(expected) - 1)]


def test_ids_whose_hashes_collide_are_told_apart(tmp_path: Path) -> None:
    table = pa.table({"doc_id": ["a", "c", "b", "d"], "doc_hash": pa.array([7, 7, 7, 8], pa.uint64())})
    pq.write_table(table, tmp_path / "documents.parquet", row_group_size=2)
    with pq.ParquetFile(tmp_path / "documents.parquet") as file:
        found = {doc_id: position_of(file, doc_id, np.uint64(7)) for doc_id in ("a", "b", "c", "bb", "d")}
    assert found == {"a": 0, "b": 2, "c": 1, "bb": None, "d": None}


def test_a_document_is_shown_as_its_row_has_it(made: Workspace) -> None:
    for name, row in (("documents", 17), ("validation", 1)):
        expected = _table(made, "s1.jsonl", name)[row]
        offsets = np.load(made.open("corpus/tokens", "s1.jsonl") / f"{name}.offsets.npy")
        (place,) = explain(made, expected["doc_id"], ["random"]).places
        assert place.text == expected["text"][:200] and place.n_chars == len(expected["text"])
        assert place.n_tokens == offsets[row + 1] - offsets[row]
        assert place.row == expected["row"] and place.fields == {"source": "stdlib"}
        line = Path(place.url.removeprefix("file://")).read_text().splitlines()[place.row - 1]
        assert json.loads(line)["id"] == expected["doc_id"]


@pytest.mark.parametrize("sampler", SCORED)
def test_scores_percentiles_and_ranks(made: Workspace, sampler: str) -> None:
    table = _scores(made, sampler)
    scores = np.array([row["score"] for row in table.values()])
    middle, low = rankdata(scores), rankdata(-scores, "min")
    ids = list(table)
    for at in {int(scores.argmin()), int(scores.argmax()), 5, 60, len(ids) - 1}:
        (found,) = explain(made, ids[at], [sampler]).standings
        assert found.score == scores[at] and found.candidates == len(ids) and not found.stale
        assert found.percentile == pytest.approx((middle[at] - 1) / len(ids)) and found.rank == low[at]
        more = {name: value for name, value in table[ids[at]].items() if name not in ("doc_id", "score")}
        assert found.details == more and found.unscored == 0
    assert (len(set(scores)) < len(scores)) == (sampler != "random")


@pytest.mark.parametrize("sampler", DRAWN)
def test_subsets_and_why_not(made: Workspace, sampler: str) -> None:
    drawn, least = {}, {}
    for rate in RATES:
        folder = made.open(f"{sampler}/subset", rate)
        rows = pq.read_table(folder / "subset.parquet").to_pylist()
        drawn[rate] = {row["doc_id"]: row["key"] for row in rows}
        least[rate] = read_json(folder / "manifest.json")["threshold"]
    states = set()
    for doc_id, row in list(_scores(made, sampler).items())[::16]:
        key = selection_keys(hash_ids([doc_id]), np.array([row["score"]]), SAMPLERS[sampler].technique, 0)[0]
        (found,) = explain(made, doc_id, [sampler]).standings
        for choice in found.choices:
            states.add(choice.state)
            assert choice.key == key and choice.threshold == least[choice.rate] and not choice.stale
            if choice.state == "in":
                assert drawn[choice.rate][doc_id] == key and choice.why == ""
            else:
                assert doc_id not in drawn[choice.rate] and key < choice.threshold
                assert choice.why.startswith("its key") and "below the threshold" in choice.why
    assert states == {"in", "out"}


def test_what_has_not_been_made_is_said(made: Workspace) -> None:
    doc_id = next(iter(_scores(made, "random")))
    found = {s.sampler: s for s in explain(made, doc_id).standings}
    assert list(found) == list(SAMPLERS)
    assert found["prototypes"] == Standing(
        "prototypes", note="no scores yet", choices=found["prototypes"].choices
    )
    assert {c.why for c in found["ask_llm_small"].choices} == {"no subset yet"}
    text = to_text(explain(made, doc_id))
    assert "no scores yet: prototypes, perplexity_base" in text
    assert "no subset yet: perplexity_small, ask_llm_small" in text


def test_repeats_count_in_the_first_shard(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc_id = next(i for i, places in _holders(made, "documents").items() if len(places) == 3)
    found = explain(made, doc_id)
    assert [(p.shard, p.kept_by) for p in found.places] == [
        ("s0.jsonl", ""),
        ("s1.jsonl", "s0.jsonl"),
        ("s2.jsonl", "s0.jsonl"),
    ]
    assert to_text(found).count("; the document of s0.jsonl counts") == 2
    workspace = copied(tmp_path / "copy", monkeypatch)
    workspace.store.forget("corpus/index")
    again = explain(workspace, doc_id)
    assert again.places == found.places, "also found where no index names the shards"
    assert any("corpus/index is missing" in note for note in again.notes)


def test_held_out_documents(made: Workspace) -> None:
    doc_id = next(iter(_holders(made, "validation")))
    found = explain(made, doc_id)
    assert found.state == "held out" and not found.standings
    assert "held out for validation" in to_text(found)


def test_quarantined_rows(made: Workspace) -> None:
    (empty,) = explain(made, "broken.empty").set_aside
    assert (empty.shard, empty.reason) == ("s1.jsonl", "empty_text") and "empty" in empty.meaning
    (broken,) = explain(made, "broken.json").set_aside
    assert broken.reason == "invalid_json" and broken.row == empty.row + 1
    text = to_text(explain(made, "broken.json"))
    assert "quarantined: it is no document" in text and f"line {broken.row} of s1.jsonl" in text
    taken = next(r for r in _table(made, "s1.jsonl", "quarantine") if r["reason"] == "repeated_id")
    found = explain(made, taken["detail"].removeprefix("id "), ["random"])
    assert found.state == "document" and [s.row for s in found.set_aside] == [taken["row"]]
    for other in ("brokenXempty", "broken.empt", "empty", "Another text with an id that is taken."):
        with pytest.raises(ValueError, match="no document"):
            explain(made, other)


def test_an_unknown_id_and_those_like_it(made: Workspace) -> None:
    known = list(_holders(made, "documents"))
    near = known[40][:-1] + "#"
    with pytest.raises(ValueError, match="in 3 shards, held out or quarantined; near ids: ") as error:
        explain(made, near)
    assert repr(known[40]) in str(error.value)
    assert near_ids(Versions(made), "COLLECTIONS.USERDICT")[0].startswith("collections.UserDict")
    with pytest.raises(ValueError, match=r"in 3 shards, held out or quarantined$"):
        explain(made, "\u4e2d" * 40)
    with pytest.raises(ValueError, match="unknown sampler 'randm'; did you mean 'random'"):
        explain(made, known[0], ["randm"])


@given(
    ids=st.lists(st.text("abAB\u00e9", max_size=8), max_size=12),
    wanted=st.text("abAB\u00e9", min_size=1, max_size=8),
)
def test_alike_counts_what_both_ends_have_in_common(ids: list[str], wanted: str) -> None:
    def common(a: bytes, b: bytes) -> int:
        return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

    found = alike(pa.array(["-", *ids], pa.string()).slice(1), wanted)
    for doc_id, share in zip(ids, found, strict=True):
        a, b = doc_id.lower().encode(), wanted.lower().encode()
        shared = min(common(a, b) + common(a[::-1], b[::-1]), len(a), len(b)) / max(len(a), len(b))
        assert share == (max(shared, 0.6) if b in a else shared)


def test_scores_that_are_out_of_date_and_subsets_of_earlier_scores(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    other = workspace.profile.density.model_copy(update={"bandwidth": 0.9})
    workspace.profile = workspace.profile.model_copy(update={"density": other})
    doc_id = next(iter(_scores(made, "density")))
    (before,) = explain(made, doc_id, ["density"]).standings
    (stale,) = explain(workspace, doc_id, ["density"]).standings
    assert stale.stale and stale.score == before.score and not any(c.stale for c in stale.choices)
    assert f"{stale.score:.4g}"[:5] in (text := to_text(explain(workspace, doc_id, ["density"])))
    assert "* " in text and "*: stale, something that it was made from changed since" in text
    for key in ("density/shard_sketch", "density/sketch", "density/scores"):
        make(workspace, key)
    (now,) = explain(workspace, doc_id, ["density"]).standings
    assert not now.stale and now.score != before.score
    assert [c.state for c in now.choices] == [c.state for c in before.choices]
    assert {c.why for c in now.choices} == {"scores changed since the subset was drawn"}
    assert all(c.stale for c in now.choices)
    seed = workspace.profile.selection.model_copy(update={"seed": 1})
    workspace.profile = workspace.profile.model_copy(update={"selection": seed})
    (drawn,) = explain(workspace, doc_id, ["semdedup"]).standings
    assert {c.why for c in drawn.choices} == {"settings changed since the subset was drawn"}


def test_what_lies_in_an_object_store_is_told_alike(made: Workspace) -> None:
    profile = made.profile
    execution = profile.execution.model_copy(update={"store": "memory://explained"})
    remote = Workspace(profile.model_copy(update={"execution": execution}))
    remote.store.fs.put(made.store.root, remote.store.root, recursive=True)
    assert not remote.store.local
    for doc_id in (
        next(iter(_scores(made, "random"))),
        next(iter(_holders(made, "validation"))),
        "broken.empty",
    ):
        assert explain(remote, doc_id, SCORED) == explain(made, doc_id, SCORED)


def test_numbers_as_ids_and_text_that_a_terminal_must_not_obey(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    rows = [{"id": 42, "text": "read \u202e backwards"}, {"id": 43, "text": ""}, {"text": "", "id": 430}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "copy" / "shards" / "s3.jsonl").write_text(lines)
    for key in ("corpus/source", "corpus/shards", "corpus/documents"):
        make(workspace, key)
    text = to_text(explain(workspace, "42", ["random"]))
    assert "read \N{REPLACEMENT CHARACTER} backwards" in text and "\u202e" not in text
    assert "corpus/tokens[s3.jsonl] is missing or out of date" in text
    assert [row.row for row in explain(workspace, "43").set_aside] == [2]
    assert [row.row for row in explain(workspace, "430").set_aside] == [3]


@pytest.mark.parametrize("at", [40, -20], ids=["in the middle", "in the footer"])
def test_damaged_scores_are_told_of_as_that(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    doc_id = next(iter(_scores(made, "random")))
    workspace = copied(tmp_path / "copy", monkeypatch)
    file = workspace.open("random/scores", "s0.jsonl") / "scores.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:at] + bytes(15) + content[at:][15:])
    fresh = Workspace(workspace.profile)  # that has not checked the digests yet
    with pytest.raises(DamagedArtifact, match=r"random/scores\[s0.jsonl\]: scores.parquet changed on disk"):
        explain(fresh, doc_id, ["random"])
    assert fresh.store.receipt("random/scores", "s0.jsonl") is None, "it counts as missing from now on"


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_wider_than_the_terminal(
    made: Workspace, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for doc_id in (
        next(iter(_scores(made, "semdedup"))),
        next(iter(_holders(made, "validation"))),
        "broken.empty",
    ):
        text = to_text(explain(made, doc_id))
        assert max(map(len, text.splitlines())) <= max(columns, 80)


def test_text_and_json(made: Workspace) -> None:
    doc_id = list(_scores(made, "semdedup"))[2]
    found = explain(made, doc_id, ["semdedup", "random", "ask_llm_small"])
    assert [s.sampler for s in found.standings] == ["random", "semdedup", "ask_llm_small"]
    said = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert said["doc_id"] == doc_id and said["places"][0]["shard"] == "s0.jsonl"
    assert [s["choices"][1]["rate"] for s in said["standings"]] == ["20"] * 3
    text = to_text(found)
    assert text.startswith(f"{doc_id}: a document for samplers to choose\nfrom line")
    semdedup = found.standings[1]
    assert semdedup.details and f"most like {semdedup.details['duplicate_of']}" in text
    flagged = next(i for i, row in _scores(made, "ask_llm_small").items() if row["flags"])
    assert "talks to the judge: heading; cut" in to_text(explain(made, flagged, ["ask_llm_small"]))
