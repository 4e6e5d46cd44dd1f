"""A field that no row has stops a run with one message; a file without a document is told, and stops nobody."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.cli.summary import report_end
from curation_assets.config.profile import Profile, load_profile
from curation_assets.corpus.rejected_rows import no_documents, why_no_documents
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.notices import notices
from curation_assets.lineage.status import status
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

READ = ["corpus/source", "corpus/shards", "corpus/documents"]


def make(profile: Profile, *keys: str) -> Workspace:
    """Make steps of the corpus without Dagster; the listing as well."""
    workspace = Workspace(profile)
    for key in keys:
        for partition in targets(workspace, STEPS[key]):
            build = load(CORPUS[key], workspace, STEPS[key])
            materialize(workspace, STEPS[key], partition, lambda _, b=build: b)
    return workspace


def of(profile: Profile, **corpus: object) -> Profile:
    return profile.model_copy(update={"corpus": profile.corpus.model_copy(update=corpus)})


@pytest.fixture
def shards(tiny: Profile, tmp_path: Path) -> Path:
    """Return the corpus folder, with one file of 40 documents."""
    for path in (tmp_path / "shards").iterdir():
        path.unlink()
    write_shard(tmp_path / "shards" / "a.jsonl", stdlib_texts()[:40])
    return tmp_path / "shards"


@pytest.mark.graph
def test_a_field_that_no_row_has_stops_the_run_with_one_message(
    tiny: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [STEPS[key] for key in (*READ, "corpus/tokenizer", "random/scores")]
    path, right = Path(tiny.source), Path(tiny.source).read_text("utf-8")
    path.write_text(right.replace("[corpus]", '[corpus]\ntext_field = "body"'), "utf-8")
    wrong = load_profile()
    for _ in range(2):  # also where the documents have been read already
        outcome = run_graph(wrong, lambda line: None, steps)
        rows = sum(Workspace(wrong).metadata("corpus/documents", f"s{n}.jsonl")["rows"] for n in range(3))
        assert outcome.failed == {
            "corpus/documents": f"{rows} of {rows} rows have no field 'body'; fields seen: id, text, source. "
            "They are quarantined: set corpus.text_field"
        }
        assert outcome.blocked == ["corpus/tokenizer", "random/scores"]
        report_end(Workspace(wrong), 0, outcome.failed, outcome.blocked, 0.0)
        assert "BLOCKED  2 assets wait for corpus/documents: corpus/tokenizer, random/scores\n" in (
            capsys.readouterr().err
        )
        blocked = dict(status(Workspace(wrong)).blocked)
        assert blocked["corpus/tokenizer"] == blocked["random/scores[s0.jsonl]"] == "corpus/documents"
    [by_reason, whole] = notices(Versions(Workspace(wrong)))
    assert by_reason.startswith(f"{rows} of {rows} rows quarantined: {rows} missing_text")
    assert whole == f"no document in 3 files: {outcome.failed['corpus/documents']}"
    path.write_text(right, "utf-8")
    assert not status(Workspace(tiny)).blocked, "its files are read again first"
    outcome = run_graph(tiny, lambda line: None, steps)
    assert not outcome.failed and not outcome.blocked


@pytest.mark.parametrize("step", ["corpus/tokenizer", "corpus/index"])
def test_what_reads_the_whole_corpus_says_so_as_well(tiny: Profile, step: str) -> None:
    workspace = make(of(tiny, id_field="uid"), *READ)
    with pytest.raises(
        ValueError, match=r"rows have no field 'uid'; fields seen: id, text, source.*takes a hash"
    ):
        load(CORPUS[step], workspace, STEPS[step])("", workspace.scratch, lambda *_: None)


def test_a_file_without_a_document_is_told_and_stops_nobody(tiny: Profile, shards: Path) -> None:
    rows = [{"id": f"b{i}", "content": {"text": "some text of it"}} for i in range(30)]
    (shards / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (shards / "c.json").write_text("[1, 2, 3]")
    pq.write_table(pa.table({"id": ["p"], "body": ["x"]}), shards / "d.parquet")
    (shards / "e.csv").write_text("id,text\n1,ok\n2,.\n")
    (shards / "empty.jsonl").write_text("")
    workspace = make(tiny, *READ)
    assert no_documents(workspace) == ""
    assert notices(Versions(workspace)) == [
        "36 of 76 rows quarantined: 31 missing_text (the text field is absent or null), "
        "3 not_an_object (the line is JSON, but not an object), "
        "2 too_short (the text has fewer visible characters or words than a document must have)",
        "b.jsonl: 30 of 30 rows have no field 'text'; fields seen: id, content.text. They are quarantined: set corpus.text_field",
        "c.json: none of 3 rows is a document to choose: not_an_object 3",
        "d.parquet: 1 of 1 rows have no field 'text'; fields seen: id, body. They are quarantined: set corpus.text_field",
        "e.csv: none of 2 rows is a document to choose: too_short 2",
    ]


def test_kept_values_that_cannot_be_text_are_told(tiny: Profile, shards: Path) -> None:
    table = pa.table(
        {
            "id": ["x", "y"],
            "text": ["some text of x", "some text of y"],
            "source": pa.array([1, 2**30], pa.date32()),
        }
    )
    pq.write_table(table, shards / "b.parquet")
    assert notices(Versions(make(tiny, *READ))) == [
        "1 value of kept fields cannot be text and are null: 1 source"
    ]


def test_rows_that_cannot_be_looked_at_do_not_hide_that_the_others_lack_a_field() -> None:
    about = {"rows": 5, "documents": 0, "validation": 0, "lacks": {"text": 3, "id": 5}, "fields_seen": ["a"]}
    about["fields"] = {"text_field": "text", "id_field": "id"}
    reasons = {"missing_text": 3, "invalid_json": 2}
    assert why_no_documents([{**about, "reasons": reasons}]).startswith(
        "3 of 5 rows have no field 'text'; fields seen: a"
    )
    some = {**about, "lacks": {"text": 2}, "reasons": {"missing_text": 2, "empty_text": 1, "invalid_json": 2}}
    assert why_no_documents([some]).startswith("none of 5 rows is a document to choose: missing_text 2, ")
    assert why_no_documents([{**about, "rows": 0, "lacks": {}, "reasons": {}}]) == "no rows"


@pytest.mark.parametrize(
    ("before", "after"),
    [("b.txt", "b.jsonl"), ("b.jsonl", "b.txt"), ("b.csv", "b.tsv"), ("b.csv", "b.txt"), ("b.json", "b.txt")],
)
def test_a_file_read_in_another_format_is_other_documents(
    tiny: Profile, shards: Path, before: str, after: str
) -> None:
    rows = [{"id": f"b{i}", "text": f"this is the text of document {i}"} for i in range(3)]
    (shards / before).write_text("id,text\n" if before == "b.csv" else "\n".join(map(json.dumps, rows)))
    first = make(tiny, *READ).receipt("corpus/documents", before)
    (shards / before).rename(shards / after)
    again = make(tiny, *READ).receipt("corpus/documents", after)
    assert first and again and first.version != again.version
    assert "taken_over_from" not in again.metadata


def test_a_file_renamed_within_its_format_is_taken_over(tiny: Profile, shards: Path) -> None:
    write_shard(shards / "b.jsonl", stdlib_texts()[40:50])
    first = make(tiny, *READ).receipt("corpus/documents", "b.jsonl")
    (shards / "b.jsonl").rename(shards / "c.NDJSON")
    again = make(tiny, *READ).receipt("corpus/documents", "c.NDJSON")
    assert first and again and first.version == again.version


def test_folders_give_fields_and_moving_a_file_to_another_changes_its_version(
    tiny: Profile, shards: Path
) -> None:
    kept = of(tiny, keep_fields=["lang", "date", "source"])
    folder = shards / "lang=en%20GB" / "date=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    rows = [{"id": "x", "text": "some text of x"}, {"id": "y", "text": "some text of y", "lang": "fr"}]
    packed = bz2.compress("\n".join(map(json.dumps, rows)).encode())
    (folder / "part=1.jsonl.bz2").write_bytes(packed)

    def documents() -> tuple[str, list[tuple[str, ...]]]:
        workspace = make(kept, *READ)
        [shard] = [shard for shard in workspace.listed() if "part" in shard]
        found = workspace.open("corpus/documents", shard)
        tables = [pq.read_table(found / f"{name}.parquet") for name in ("documents", "validation")]
        told = [
            tuple(row.values())
            for row in pa.concat_tables(tables).select(["doc_id", "lang", "date"]).to_pylist()
        ]
        receipt = workspace.receipt("corpus/documents", shard)
        assert receipt is not None
        return receipt.version, sorted(told)

    version, told = documents()
    assert told == [("x", "en GB", None), ("y", "fr", None)], "a row's own field comes first"
    (shards / "lang=en%20GB").rename(shards / "lang=de")
    other, told = documents()
    assert told == [("x", "de", None), ("y", "fr", None)] and other != version
