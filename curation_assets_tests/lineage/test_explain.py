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

from curation_assets.common.files import read_json
from curation_assets.common.progress import silent
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.reasons import as_data
from curation_assets.engine.staleness import Versions
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.explain import Explanation, explain, to_text
from curation_assets.lineage.locate import alike, locate, near_ids, positions_of
from curation_assets.lineage.sampler_view import SamplerView
from curation_assets.selection import selection_keys
from curation_assets_tests.making import withdraw
from curation_assets_tests.selection.scored import DRAWN, SCORED, copied, made, make

__all__ = ["made"]


def _table(workspace: Workspace, shard: str, name: str) -> list[dict]:
    return pq.read_table(workspace.open("corpus/documents", shard) / f"{name}.parquet").to_pylist()


def _holders(workspace: Workspace, name: str) -> dict[str, list[tuple[str, int, int]]]:
    """Return {id: (shard, row, doc_hash) of each place} of a table."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for shard in workspace.shards():
        for row, document in enumerate(_table(workspace, shard, name)):
            found.setdefault(document["doc_id"], []).append((shard, row, document["doc_hash"]))
    return found


def _scores(workspace: Workspace, sampler: str) -> list[dict]:
    """Return the rows of the score table of all candidates."""
    found: dict[int, dict] = {}
    for shard in workspace.shards():
        for row in pq.read_table(workspace.open(f"{sampler}/scores", shard) / "scores.parquet").to_pylist():
            found.setdefault(row["doc_hash"], row)
    return list(found.values())


def _explained(workspace: Workspace, row: dict, samplers: list[str]) -> Explanation:
    """Return what is told of the document of a row."""
    found = explain(workspace, row["doc_id"], samplers)
    return next(one for one in found if one.places[0].doc_hash == row["doc_hash"])


def test_every_id_is_found_wherever_it_stands(made: Workspace) -> None:
    versions = Versions(made)
    documents, held_out = (_holders(made, name) for name in ("documents", "validation"))
    several = [i for i, places in documents.items() if len(places) > 1]
    assert len(several) == 4, "two that repeat a document, two that stand for two texts"
    for doc_id in {*list(documents)[::4], *held_out, *several}:
        places = locate(versions, doc_id, silent).places
        expected = [("documents", *place) for place in documents.get(doc_id, [])]
        expected += [("validation", *place) for place in held_out.get(doc_id, [])]
        assert [(p.table, p.shard, p.position, p.doc_hash) for p in places] == expected
        for place in places:
            keeper = next(p.shard for p in places if p.doc_hash == place.doc_hash)
            assert place.kept_by == ("" if keeper == place.shard else keeper)


def test_an_id_is_found_in_every_row_group_that_may_hold_it(tmp_path: Path) -> None:
    hashes = pa.array([7, 7, 7, 8, 9], pa.uint64())
    table = pa.table({"doc_id": ["a", "c", "b", "d", "b"], "doc_hash": hashes})
    pq.write_table(table, tmp_path / "documents.parquet", row_group_size=2)
    with pq.ParquetFile(tmp_path / "documents.parquet") as file:
        found = {doc_id: positions_of(file, doc_id) for doc_id in ("a", "b", "c", "bb")}
    assert found == {"a": {0: 7}, "b": {2: 7, 4: 9}, "c": {1: 7}, "bb": {}}


def test_an_id_of_several_texts_is_told_document_by_document(made: Workspace) -> None:
    doc_id, places = next(
        (i, p)
        for i, p in _holders(made, "documents").items()
        if len({h for _, _, h in p}) > 1 and p[0][0] != p[1][0]
    )
    first, second = explain(made, doc_id, ["random", "semdedup"])
    assert [p.places[0].shard for p in (first, second)] == ["s0.jsonl", "s1.jsonl"]
    assert [p.places[0].doc_hash for p in (first, second)] == [h for _, _, h in places]
    for number, one in enumerate((first, second)):
        assert len(one.places) == 1 and one.places[0].kept_by == ""
        assert f"document {number + 1} of 2 that have this id" in to_text(one)
        for found in one.samplers:
            rows = pq.read_table(made.open(f"{found.sampler}/scores", one.places[0].shard) / "scores.parquet")
            assert found.score == rows["score"][one.places[0].position].as_py()
    assert first.samplers[0].score != second.samplers[0].score, "they share no noise"
    assert second.places[0].text == "A text of its own under an id of the first file."
    (alone,) = explain(made, doc_id, ["random"], shard="s1.jsonl")
    assert alone.places == second.places and alone.samplers == second.samplers[:1]
    with pytest.raises(ValueError, match=r"no shard 's1.json' in the corpus; did you mean 's1.jsonl'"):
        explain(made, doc_id, shard="s1.json")
    with pytest.raises(ValueError, match="in 1 of 3 shards"):
        explain(made, doc_id, shard="s2.jsonl")


def test_an_id_of_very_many_texts_is_told_as_far_as_people_read(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    lines = "".join(json.dumps({"id": "same", "text": f"this is text {i} of many"}) + "\n" for i in range(60))
    (tmp_path / "copy" / "shards" / "s3.jsonl").write_text(lines)
    for key in ("corpus/source", "corpus/shards", "corpus/documents"):
        make(workspace, key)
    monkeypatch.setenv("COLUMNS", "1000")  # else sentences are broken
    found = explain(workspace, "same", ["random"])
    assert len(found) == 20 and sum(len(one.samplers) for one in found) == 5
    assert "document 20 of 20 that have this id" in to_text(found[-1])
    assert ", and 40 more rows have it" in to_text(found[0])
    assert "name a shard for others" in to_text(found[5])


def test_a_document_is_shown_as_its_row_has_it(made: Workspace) -> None:
    for name, row in (("documents", 17), ("validation", 1)):
        expected = _table(made, "s1.jsonl", name)[row]
        offsets = np.load(made.open("corpus/tokens", "s1.jsonl") / f"{name}.offsets.npy")
        (place,) = _explained(made, expected, ["random"]).places
        assert place.text == expected["text"][:200] and place.n_chars == len(expected["text"])
        assert place.n_tokens == offsets[row + 1] - offsets[row]
        assert place.row == expected["row"] and place.fields == {"source": "stdlib"}
        line = Path(place.url.removeprefix("file://")).read_text().splitlines()[place.row - 1]
        assert json.loads(line)["id"] == expected["doc_id"]


@pytest.mark.parametrize("sampler", SCORED)
def test_scores_percentiles_and_ranks(made: Workspace, sampler: str) -> None:
    table = _scores(made, sampler)
    scores = np.array([row["score"] for row in table])
    middle, low = rankdata(scores), rankdata(-scores, "min")
    own = ("doc_id", "doc_hash", "source_row", "score")
    for at in {int(scores.argmin()), int(scores.argmax()), 5, 60, len(table) - 1}:
        (found,) = _explained(made, table[at], [sampler]).samplers
        assert found.score == scores[at] and found.candidates == len(table) and not found.stale
        assert found.percentile == pytest.approx((middle[at] - 1) / len(table)) and found.rank == low[at]
        more = {name: value for name, value in table[at].items() if name not in own}
        assert found.details == more and found.unscored == 0
    assert (len(set(scores)) < len(scores)) == (sampler != "random")


@pytest.mark.parametrize("sampler", DRAWN)
def test_subsets_and_why_not(made: Workspace, sampler: str) -> None:
    drawn, least = {}, {}
    for rate in RATES:
        folder = made.open(f"{sampler}/subset", rate)
        rows = pq.read_table(folder / "subset.parquet").to_pylist()
        drawn[rate] = {row["doc_hash"]: row["key"] for row in rows}
        least[rate] = read_json(folder / "manifest.json")["threshold"]
    states = set()
    for row in _scores(made, sampler)[::16]:
        doc_hash = row["doc_hash"]
        hashes = np.array([doc_hash], np.uint64)
        key = selection_keys(hashes, np.array([row["score"]]), SAMPLERS[sampler].technique, 0)[0]
        (found,) = _explained(made, row, [sampler]).samplers
        for choice in found.choices:
            states.add(choice.state)
            assert choice.key == key and choice.threshold == least[choice.rate] and not choice.stale
            if choice.state == "in":
                assert drawn[choice.rate][doc_hash] == key and choice.why == ""
            else:
                assert doc_hash not in drawn[choice.rate] and key < choice.threshold
                assert choice.why.startswith("its key") and "below the threshold" in choice.why
    assert states == {"in", "out"}


def test_what_has_not_been_made_is_said(made: Workspace) -> None:
    (explained,) = explain(made, _scores(made, "random")[0]["doc_id"])
    found = {s.sampler: s for s in explained.samplers}
    assert list(found) == list(SAMPLERS)
    assert found["prototypes"] == SamplerView(
        "prototypes", note="no scores yet", choices=found["prototypes"].choices
    )
    assert {c.why for c in found["ask_llm_small"].choices} == {"no subset yet"}
    text = to_text(explained)
    assert "no scores yet: prototypes, perplexity_base" in text
    assert "no subset yet: perplexity_small, ask_llm_small" in text


def test_repeats_count_in_the_first_shard(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc_id = next(i for i, places in _holders(made, "documents").items() if len(places) == 3)
    (found,) = explain(made, doc_id)
    assert [(p.shard, p.kept_by) for p in found.places] == [
        ("s0.jsonl", ""),
        ("s1.jsonl", "s0.jsonl"),
        ("s2.jsonl", "s0.jsonl"),
    ]
    assert to_text(found).count("; that of s0.jsonl counts") == 2
    workspace = copied(tmp_path / "copy", monkeypatch)
    withdraw(workspace, "corpus/index")
    (again,) = explain(workspace, doc_id)
    assert again.places == found.places, "also found where no index names the shards"
    assert any("corpus/index is missing" in note for note in again.notes)


def test_held_out_documents(made: Workspace) -> None:
    doc_id = next(iter(_holders(made, "validation")))
    (found,) = explain(made, doc_id)
    assert found.state == "held out" and not found.samplers
    assert "held out for validation" in to_text(found)


def test_quarantined_rows(made: Workspace) -> None:
    (empty,) = explain(made, "broken.empty")[0].set_aside
    assert (empty.shard, empty.reason) == ("s1.jsonl", "empty_text") and "empty" in empty.meaning
    (broken,) = explain(made, "broken.json")[0].set_aside
    assert broken.reason == "invalid_json" and broken.row == empty.row + 1
    text = to_text(explain(made, "broken.json")[0])
    assert "quarantined: it is no document" in text and f"line {broken.row} of s1.jsonl" in text
    taken = next(r for r in _table(made, "s1.jsonl", "quarantine") if r["reason"] == "repeated_id")
    for found in explain(made, taken["detail"].removeprefix("id "), ["random"]):
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
    samplers = workspace.profile.samplers
    density = samplers.density.model_copy(update={"seed": 9})
    samplers = samplers.model_copy(update={"density": density})
    workspace.profile = workspace.profile.model_copy(update={"samplers": samplers})
    row = _scores(made, "density")[0]
    (before,) = _explained(made, row, ["density"]).samplers
    (stale,) = _explained(workspace, row, ["density"]).samplers
    assert stale.stale and stale.score == before.score and not any(c.stale for c in stale.choices)
    assert f"{stale.score:.4g}"[:5] in (text := to_text(_explained(workspace, row, ["density"])))
    assert "* " in text and "*: stale, something that it was made from changed since" in text
    for key in ("density/shard_sketch", "density/sketch", "density/scores"):
        make(workspace, key)
    (now,) = _explained(workspace, row, ["density"]).samplers
    assert not now.stale and now.score != before.score
    assert [c.state for c in now.choices] == [c.state for c in before.choices]
    assert {r.kind for c in now.choices for r in c.reasons} == {"input_changed_in"}
    assert all(c.stale for c in now.choices)
    seed = workspace.profile.selection.model_copy(update={"seed": 1})
    workspace.profile = workspace.profile.model_copy(update={"selection": seed})
    (drawn,) = _explained(workspace, row, ["semdedup"]).samplers
    assert {str(r) for c in drawn.choices for r in c.reasons} == {"settings or code changed"}


def test_what_lies_in_an_object_store_is_told_alike(made: Workspace) -> None:
    profile = made.profile
    execution = profile.execution.model_copy(update={"store": "memory://explained"})
    remote = Workspace(profile.model_copy(update={"execution": execution}))
    remote.store.fs.put(made.store.root, remote.store.root, recursive=True)
    remote.store.fs.rm_file(f"{remote.store.root}/catalog.json")  # it becomes that of another catalog
    assert not remote.store.local
    for doc_id in (
        _scores(made, "random")[0]["doc_id"],
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
    text = to_text(explain(workspace, "42", ["random"])[0])
    assert "read \N{REPLACEMENT CHARACTER} backwards" in text and "\u202e" not in text
    assert "corpus/tokens[s3.jsonl] is missing: not made yet" in text
    assert [row.row for row in explain(workspace, "43")[0].set_aside] == [2]
    lines += 2 * (json.dumps({"id": "odd \u202e id", "text": "a text of its own"}) + "\n")
    (tmp_path / "copy" / "shards" / "s3.jsonl").write_text(lines)
    for key in ("corpus/source", "corpus/shards", "corpus/documents"):
        make(workspace, key)
    text = to_text(explain(workspace, "odd \u202e id", ["random"])[0])
    assert "repeated_id" in text and "\u202e" not in text
    assert [row.row for row in explain(workspace, "430")[0].set_aside] == [3]


@pytest.mark.parametrize("at", [40, -20], ids=["in the middle", "in the footer"])
def test_damaged_scores_are_told_of_as_that(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    doc_id = _scores(made, "random")[0]["doc_id"]
    workspace = copied(tmp_path / "copy", monkeypatch)
    file = workspace.open("random/scores", "s0.jsonl") / "scores.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:at] + bytes(15) + content[at:][15:])
    fresh = Workspace(workspace.profile)  # that has not checked the digests yet
    with pytest.raises(DamagedArtifact, match=r"random/scores\[s0.jsonl\]: scores.parquet changed since"):
        explain(fresh, doc_id, ["random"])
    assert fresh.receipt("random/scores", "s0.jsonl") is None, "it counts as missing from now on"


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_wider_than_the_terminal(
    made: Workspace, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for doc_id in (
        _scores(made, "semdedup")[0]["doc_id"],
        next(iter(_holders(made, "validation"))),
        "broken.empty",
    ):
        text = to_text(explain(made, doc_id)[0])
        assert max(map(len, text.splitlines())) <= max(columns, 80)


def test_text_and_json(made: Workspace) -> None:
    row = _scores(made, "semdedup")[1]
    doc_id, found = row["doc_id"], _explained(made, row, ["semdedup", "random", "ask_llm_small"])
    assert [s.sampler for s in found.samplers] == ["random", "semdedup", "ask_llm_small"]
    said = json.loads(json.dumps(found, default=as_data, allow_nan=False))
    assert said["doc_id"] == doc_id and said["places"][0]["shard"] == "s0.jsonl"
    assert [s["choices"][1]["rate"] for s in said["samplers"]] == ["20"] * 3
    text = to_text(found)
    assert text.startswith(f"{doc_id}: a document for samplers to choose\nfrom line")
    semdedup = found.samplers[1]
    assert semdedup.details
    other = f"{semdedup.details['duplicate_of']} of {semdedup.details['duplicate_shard']}"
    assert f"most like {other} (similarity" in text
    flagged = next(row for row in _scores(made, "ask_llm_small") if row["flags"])
    assert "talks to the judge: heading; cut" in to_text(_explained(made, flagged, ["ask_llm_small"]))
