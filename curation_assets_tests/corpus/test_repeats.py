"""What stands in two files: a document counts once, in the first file by name; an id of several texts is told, and all stay."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.files import write_table
from curation_assets.common.hashing import hash_documents, text_digest
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.documents import write_documents
from curation_assets.corpus.repeats import Repeats, describe_repeats, find_repeats

Document = tuple[str, str]
SETTINGS = DocumentSettings(validation_share=0.3)
LAYOUTS = st.lists(
    st.lists(st.tuples(st.integers(0, 6).map(str), st.sampled_from("abcd")), max_size=20),
    min_size=1,
    max_size=4,
)
"""Files of rows (id, text), in which both ids and texts come back."""


def _read(folder: Path, layout: list[list[Document]]) -> tuple[list[str], Callable[[str], Path]]:
    """Write each list as a file and read it into the tables of `corpus/documents`."""
    names = [f"s{number}.jsonl" for number in range(len(layout))]
    for name, rows in zip(names, layout, strict=True):
        lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in rows)
        (folder / name).write_text(lines)
        (folder / f"{name}.made").mkdir()
        write_documents(str(folder / name), SETTINGS, folder / f"{name}.made", file=name)
    return names, lambda name: folder / f"{name}.made" / "documents.parquet"


def _find(names: list[str], path: Callable[[str], Path], scratch: Path, in_memory: int = 1_000) -> Repeats:
    def tables(shard: str, name: str) -> pq.ParquetFile:
        return pq.ParquetFile(path(shard).with_name(f"{name}.parquet"))

    total = sum(
        pq.read_metadata(path(shard).with_name(f"{name}.parquet")).num_rows
        for shard in names
        for name in ("documents", "validation")
    )
    return find_repeats(names, tables, total, scratch, in_memory=in_memory)


def _table(path: Path) -> list[Document]:
    rows = pq.read_table(path, columns=["doc_id", "text"])
    return list(zip(rows["doc_id"].to_pylist(), rows["text"].to_pylist(), strict=True))


def _kept(names: list[str], path: Callable[[str], Path], found: Repeats) -> list[tuple[str, Document]]:
    """Return the candidates that are left, with the file that keeps each."""
    gone = {(row["shard"], row["row"]) for row in found.repeats.to_pylist()}
    return [
        (name, document)
        for name in names
        for row, document in enumerate(_table(path(name)))
        if (name, row) not in gone
    ]


def _held_out(names: list[str], path: Callable[[str], Path]) -> set[Document]:
    return {one for name in names for one in _table(path(name).with_name("validation.parquet"))}


@given(LAYOUTS, st.integers(1, 100), st.randoms())
@settings(max_examples=40, deadline=None)
def test_any_layout_keeps_every_document_once_and_drops_no_text(
    tmp_path_factory: pytest.TempPathFactory, layout: list[list[Document]], in_memory: int, random: object
) -> None:
    folder = tmp_path_factory.mktemp("repeats")
    names, path = _read(folder, layout)
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = _find(shuffled, path, folder, in_memory)
    kept = _kept(names, path, found)
    every = {document for rows in layout for document in rows}
    documents = [document for _, document in kept]
    assert len(documents) == len(set(documents))
    assert {*documents} | _held_out(names, path) == every
    assert not {*documents} & _held_out(names, path)
    for name, document in kept:
        assert name == next(n for n, rows in zip(names, layout, strict=True) if document in rows)


@given(LAYOUTS, st.randoms())
@settings(max_examples=20, deadline=None)
def test_the_same_documents_in_other_files_are_the_same_candidates(
    tmp_path_factory: pytest.TempPathFactory, layout: list[list[Document]], random: object
) -> None:
    rows = [document for part in layout for document in part]
    random.shuffle(rows)  # type: ignore[attr-defined]
    kept, told_of = [], []
    for number, other in enumerate((layout, [rows], [rows[::2], rows[1::2]])):
        folder = tmp_path_factory.mktemp(f"layout{number}")
        names, path = _read(folder, other)
        found = _find(names, path, folder)
        kept.append({document for _, document in _kept(names, path, found)})
        told_of.append((found.ids, found.documents, found.examples.drop(["shards", "first_shards"])))
    assert kept[0] == kept[1] == kept[2]
    assert told_of[0] == told_of[1] == told_of[2]


@given(LAYOUTS, st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_repeats_and_ids_of_several_texts_are_those_of_brute_force(
    tmp_path_factory: pytest.TempPathFactory, layout: list[list[Document]], in_memory: int
) -> None:
    folder = tmp_path_factory.mktemp("brute")
    names, path = _read(folder, layout)
    found = _find(names, path, folder, in_memory)
    first: dict[Document, str] = {}
    expected = []
    for name in names:
        for row, document in enumerate(_table(path(name))):
            if first.setdefault(document, name) != name:
                expected.append((name, row, document[0], first[document]))
    assert [tuple(row.values()) for row in found.repeats.to_pylist()] == expected
    texts, shards = defaultdict(set), defaultdict(list)
    for name, rows in zip(names, layout, strict=True):
        for doc_id, text in rows:
            texts[doc_id].add(text)
            if name not in shards[doc_id]:
                shards[doc_id].append(name)
    several = [doc_id for doc_id in sorted(texts) if len(texts[doc_id]) > 1]
    assert (found.ids, found.documents) == (len(several), sum(len(texts[i]) for i in several))
    assert [tuple(row.values()) for row in found.examples.to_pylist()] == [
        (i, len(texts[i]), len(shards[i]), shards[i][:3]) for i in several
    ]


def test_documents_of_equal_hash_are_no_repeat(tmp_path: Path) -> None:
    ids = {"a": ["one", "two"], "b": ["three", "one"]}
    hashes = {"a": np.array([7, 9], np.uint64), "b": np.array([9, 7], np.uint64)}
    for shard, own in ids.items():
        (tmp_path / shard).mkdir()
        table = pa.table({"doc_id": pa.array(own, pa.string()), "doc_hash": hashes[shard]})
        write_table(tmp_path / shard / "documents.parquet", table)
        write_table(tmp_path / shard / "validation.parquet", table.slice(0, 0))
    found = _find(["a", "b"], lambda s: tmp_path / s / "documents.parquet", tmp_path)
    assert found.repeats.to_pylist() == [{"shard": "b", "row": 1, "doc_id": "one", "first_shard": "a"}]
    assert found.ids == 0


def test_of_many_ids_ten_are_named_whatever_the_memory(tmp_path: Path) -> None:
    names, path = _read(tmp_path, [[(str(i), f"{name} {i}") for i in range(500)] for name in "abcde"])
    found = [_find(names, path, tmp_path, n) for n in (40, 10_000)]
    assert found[0] == found[1] and (found[0].ids, found[0].documents) == (500, 2_500)
    assert found[0].repeats.num_rows == 0
    assert [tuple(row.values())[1:] for row in found[0].examples.to_pylist()] == [(5, 5, names[:3])] * 10


def test_what_is_said_of_ids() -> None:
    assert (
        describe_repeats({})
        == describe_repeats({"repeated_in_later_shards": 0, "ids_with_several_texts": 0})
        == []
    )
    repeated, several = describe_repeats(
        {
            "repeated_in_later_shards": 1_200,
            "ids_with_several_texts": 60,
            "documents_of_such_ids": 180,
            "such_ids": "'7' in 'a', 'b'",
        }
    )
    assert repeated.startswith("1,200 documents stand in an earlier file as well")
    assert "60 ids stand for several texts: '7' in 'a', 'b'. All 180 documents stay" in several
    assert describe_repeats({"repeated_in_later_shards": 1})[0].startswith("1 document stands")


def test_files_that_number_their_rows_from_0_share_no_hash() -> None:
    numbers = [str(i) for i in range(1000)]
    parts = [hash_documents(numbers, [text_digest(f"{part} {i}") for i in numbers]) for part in range(3)]
    assert len(np.unique(np.concatenate(parts))) == 3_000
