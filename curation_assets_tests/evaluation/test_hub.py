"""Reading a mirror and the hub: rows as they are, and one line that says what is missing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.evaluation.hub import BadRow, MissingData, Row, Source

ROWS: list[dict[str, Any]] = [
    {
        "id": "1",
        "day": "1937-05-01",
        "n": 3,
        "ok": True,
        "choices": {"text": ["a", "b"], "label": ["A", "B"]},
    },
    {"id": "2", "day": "", "n": -1, "ok": False, "choices": {"text": ["ü"], "label": ["A"]}},
]


def put(root: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = root / "org" / "set" / "cfg" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines, "utf-8")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_rows_come_out_as_they_are_as_often_as_wanted(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, f"test{suffix}", ROWS)
    source = Source(str(tmp_path))
    rows = source.rows("org/set", "cfg", "test")
    for _ in range(2):
        assert [dict(row) for row in rows] == ROWS
    assert source.splits("org/set", "cfg") == {"test"}
    assert source.files("org/set", "cfg", "test") == [path]


def test_splits_are_those_with_a_file_of_rows(tmp_path: Path) -> None:
    for name in ("train.jsonl", "validation_standin.parquet", "test.jsonl.gz"):
        put(tmp_path, name, ROWS)
    (tmp_path / "org" / "set" / "cfg" / "README.md").write_text("no split")
    assert Source(str(tmp_path)).splits("org/set", "cfg") == {"train", "validation_standin", "test"}


def test_what_is_missing_is_named_with_the_place(tmp_path: Path) -> None:
    put(tmp_path, "train.jsonl", ROWS)
    source = Source(str(tmp_path))
    with pytest.raises(MissingData, match=rf"org/set cfg test.*{tmp_path}"):
        source.rows("org/set", "cfg", "test")
    with pytest.raises(MissingData, match=rf"org/other cfg.*{tmp_path}"):
        source.splits("org/other", "cfg")
    assert issubclass(MissingData, LookupError)


def test_a_split_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "test.jsonl", ROWS)
    put(tmp_path, "test.parquet", ROWS)
    with pytest.raises(ValueError, match=r"org/set cfg test is there twice"):
        Source(str(tmp_path)).rows("org/set", "cfg", "test")


def test_a_bad_line_is_named_with_dataset_split_and_row(tmp_path: Path) -> None:
    path = put(tmp_path, "test.jsonl", ROWS)
    for line in ("{not json", "[1, 2]", '{"id": "\xff"}'.encode("latin-1").decode("latin-1")):
        path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n\n" + line.encode("latin-1") + b"\n")
        with pytest.raises(BadRow, match="org/set cfg test row 1"):
            list(Source(str(tmp_path)).rows("org/set", "cfg", "test"))


def test_a_missing_column_names_its_row_and_what_there_is() -> None:
    with pytest.raises(BadRow, match=r"org/set cfg test row 4 has no column 'label'; it has a, b"):
        Row({"b": 1, "a": 2}, "org/set cfg test row 4")["label"]


def test_the_hub_is_read_with_its_own_library(tmp_path: Path) -> None:
    """A folder that `datasets` reads as it would a hub repository."""
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    source = Source("", tmp_path / "cache")
    assert source.splits(str(repository), "default") == {"validation"}
    rows = source.rows(str(repository), "default", "validation")
    assert [row["choices"] for row in rows] == [row["choices"] for row in ROWS]
    assert [row["n"] for row in rows] == [3, -1]
    assert source.files(str(repository), "default", "validation") == []
    with pytest.raises(MissingData, match=r"default test: the hub did not give it .*eval_root"):
        source.rows(str(repository), "default", "test")


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    monkeypatch.setattr(datasets, "get_dataset_split_names", fail)
    with pytest.raises(
        MissingData, match=r"org/set cfg test: the hub .*no route to host.*eval_root.*org/set/cfg/test"
    ):
        Source("").rows("org/set", "cfg", "test")
    with pytest.raises(MissingData, match=r"org/set cfg.*eval_root"):
        Source("").splits("org/set", "cfg")


def test_a_set_that_is_on_no_hub_is_not_looked_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.delattr(datasets, "load_dataset")
    monkeypatch.delattr(datasets, "get_dataset_split_names")
    for ask in (
        lambda: Source("").splits("unified_qa", "x"),
        lambda: Source("").rows("unified_qa", "x", "test"),
    ):
        with pytest.raises(MissingData, match=r"unified_qa x .*not on the hub; set evaluation.eval_root"):
            ask()
