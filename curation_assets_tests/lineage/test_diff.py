"""What came and went between two subsets is what their tables say, read whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets.common.files import write_json, write_table
from curation_assets.engine.reasons import as_data
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.diff import diff, replaced, to_text, two_subsets
from curation_assets.selection.candidates import SUBSET_SCHEMA
from curation_assets_tests.making import commit
from curation_assets_tests.selection.scored import copied, made, make

__all__ = ["made"]

Files = dict[str, set[int]]


def _rows(workspace: Workspace, receipt: Receipt) -> pl.DataFrame:
    return pl.read_parquet(workspace.folder(receipt) / "subset.parquet")


def _changed(to: Path, patch: pytest.MonkeyPatch) -> Workspace:
    """Return a copy in which a file has new documents, some of its documents another text, and another file another name."""
    workspace = copied(to, patch)
    shard = to / "shards" / "s0.jsonl"
    rows = [json.loads(line) for line in shard.read_text("utf-8").splitlines()]
    for row in rows[:12]:
        row["text"] += " And one more sentence."
    more = [
        {"id": f"new.{i}", "text": f"{row['text']} {i}", "source": "elsewhere"}
        for i, row in enumerate(rows[:30])
    ]
    shard.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]), "utf-8")
    (to / "shards" / "s2.jsonl").rename(to / "shards" / "s9.jsonl")
    for key in ("corpus/source", "corpus/shards", "corpus/documents", "corpus/tokens", "corpus/index"):
        make(workspace, key)
    make(workspace, "random/scores")
    make(workspace, "random/subset", "40")
    return workspace


def test_the_current_version_against_the_one_that_it_replaced(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = _changed(tmp_path / "copy", monkeypatch)
    before, after = two_subsets(workspace, "random/subset", "40", [])
    old, new = _rows(workspace, before), _rows(workspace, after)
    assert before.version == made.artifact("random/subset", "40").version
    out = tmp_path / "changes"
    told = diff(workspace, before, after, texts=3, folder=out)
    came = new.filter(~pl.col("doc_hash").is_in(old["doc_hash"].implode()))
    went = old.filter(~pl.col("doc_hash").is_in(new["doc_hash"].implode()))
    assert 0 < len(went) < len(came)
    assert (told.came, told.went, told.kept) == (len(came), len(went), len(new) - len(came))
    assert (told.came_tokens, told.went_tokens) == (came["n_tokens"].sum(), went["n_tokens"].sum())
    both = old.join(new, on="doc_hash")
    assert told.moved == both.filter(pl.col("shard") != pl.col("shard_right")).height > 0, "the renamed file"
    counts = [Counter(rows["shard"].to_list()) for rows in (came, went)]
    assert told.by_shard == {s: (counts[0][s], counts[1][s]) for s in sorted(counts[0] | counts[1])}
    stayed = len(came.filter(~pl.col("doc_id").str.starts_with("new.")))
    assert told.by_source == {"elsewhere": (len(came) - stayed, 0), "stdlib": (stayed, len(went))}
    assert pl.read_parquet(out / "came.parquet").equals(came) and pl.read_parquet(
        out / "went.parquet"
    ).equals(went)
    texts = {row["doc_hash"]: row["text"] for s in workspace.shards() for row in _documents(workspace, s)}
    assert len(told.examples_came) == 3 and len(told.examples_went) == min(3, len(went))
    for one in told.examples_came:
        assert one.doc_hash in came["doc_hash"] and one.text == texts[one.doc_hash]
    assert all(one.doc_hash in went["doc_hash"] and one.text for one in told.examples_went), (
        "also of a text before"
    )
    text = to_text(told)
    assert f"+{told.came} documents" in text and f"-{told.went} (" in text and "replaced since" in text
    assert json.loads(json.dumps(told, default=as_data))["before"]["threshold"] == told.before.threshold
    back = diff(workspace, after, before, texts=3)
    assert (back.came, back.went, back.moved) == (told.went, told.came, told.moved)
    assert back.examples_went == told.examples_came
    with pytest.raises(ValueError, match="exists and is no empty folder"):
        diff(workspace, before, after, folder=out)
    for named in ([before.version[:8]], [before.version, after.version[:10]]):
        assert two_subsets(workspace, "random/subset", "40", named) == (before, after)


def _documents(workspace: Workspace, shard: str) -> list[dict]:
    return pl.read_parquet(workspace.open("corpus/documents", shard) / "documents.parquet").to_dicts()


def test_two_samplers_and_what_cannot_be_compared(made: Workspace) -> None:
    pair = two_subsets(made, "density/subset", "20", ["random/subset"])
    density, random = (_rows(made, receipt) for receipt in pair)
    told = diff(made, *pair, texts=0)
    shared = len(set(density["doc_hash"]) & set(random["doc_hash"]))
    assert (told.kept, told.moved, told.came, told.went) == (
        shared,
        0,
        len(random) - shared,
        len(density) - shared,
    )
    assert (told.before.key, told.after.key) == ("density/subset", "random/subset")
    assert told.examples_came == told.examples_went == ()
    for key, others, problem in (
        ("density/subset", [], "has replaced nothing that is still there"),
        ("density/subset", ["00000000"], "has no version '00000000': there are"),
        ("density/subset", [pair[0].version[:3]], "has no version"),
        ("density/subset", ["random/scores"], "random/scores is no subset"),
        ("density/scores", [], "density/scores is no subset"),
        ("density/subset", ["random/subset", "semdedup/subset"], "compare with one version"),
        ("densty/subset", [], "did you mean 'density/subset'"),
    ):
        with pytest.raises(ValueError, match=problem):
            two_subsets(made, key, "20", others)


def test_what_is_replaced_twice_is_gone(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copied(tmp_path / "copy", monkeypatch)
    versions = [_put(workspace, {"s0.jsonl": {n}}, str(n)) for n in (1, 2, 3)]
    assert two_subsets(workspace, "random/subset", "20", []) == (versions[1], versions[2])
    assert replaced(workspace, versions[1]) is None
    with pytest.raises(
        ValueError, match="what was replaced twice, or collected by `curation gc`, is removed"
    ):
        two_subsets(workspace, "random/subset", "20", [versions[0].version])


def _put(workspace: Workspace, files: Files, version: str) -> Receipt:
    """Make a subset of documents with these hashes current."""
    with workspace.store.staged() as folder:
        rows = [(shard, h) for shard in sorted(files) for h in sorted(files[shard])]
        columns = {
            "doc_id": [str(h) for _, h in rows],
            "shard": [shard for shard, _ in rows],
            "doc_hash": [h for _, h in rows],
        }
        zeros = {name: [0] * len(rows) for name in SUBSET_SCHEMA.names if name not in columns}
        write_table(folder / "subset.parquet", pa.table(columns | zeros, SUBSET_SCHEMA))
        counts = {shard: {"documents": len(hashes), "tokens": 0} for shard, hashes in sorted(files.items())}
        about = {"technique": "top_k", "threshold": None, "documents": len(rows), "tokens": 0}
        write_json(folder / "manifest.json", {**about, "by_shard": counts})
        name = version * 32
        return commit(
            workspace,
            folder,
            Receipt("random/subset", "20", name[:32], name, "c", {}, "", {}, created=float(version)),
        )


_FILES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.sets(st.integers(0, 25), max_size=20), max_size=4
)


@pytest.fixture(scope="module")
def scratch(made: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    with pytest.MonkeyPatch.context() as patch:
        return copied(tmp_path_factory.mktemp("hashes") / "copy", patch)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=_FILES, other=_FILES)
def test_any_two_sets_in_any_files(scratch: Workspace, one: Files, other: Files) -> None:
    for files in (one, other):  # a document is in one file
        seen: set[int] = set()
        for shard in sorted(files):
            files[shard] -= seen
            seen |= files[shard]
    before, after = _put(scratch, one, "1"), _put(scratch, other, "2")
    told, back = (diff(scratch, *pair, texts=0) for pair in ((before, after), (after, before)))
    old, new = ({h: s for s, hashes in files.items() for h in hashes} for files in (one, other))
    assert (told.came, told.went) == (len(new.keys() - old.keys()), len(old.keys() - new.keys()))
    assert told.kept == back.kept == len(new.keys() & old.keys())
    assert told.moved == back.moved == sum(old[h] != new[h] for h in old.keys() & new.keys())
    assert (back.came, back.went) == (told.went, told.came)
    assert back.by_shard == {shard: (went, came) for shard, (came, went) in told.by_shard.items()}
