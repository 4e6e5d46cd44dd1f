"""What people read an export by gives all of its rows: `datasets` (a copy, and a stream in a DataLoader), polars, datatrove."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.selection.export import documents as row_groups
from curation_assets.selection.export.destination import Destination
from curation_assets.selection.export.export import export
from curation_assets_tests.selection.export.test_export import Corpus, how, read

Written = tuple[Path, list[dict[str, Any]]]
KEPT = "corpus_score"
"""A field that some files of the corpus lack."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """A corpus of odd files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROW_GROUP", 16)
        yield Corpus(tmp_path_factory.mktemp("odd"), patch)


@pytest.fixture(params=["parquet", "jsonl.zst"])
def written(
    request: pytest.FixtureRequest, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Written:
    """An export of several files, and its rows as they are read without any of these; nobody reaches a network."""
    manifest = export(corpus.chosen(), how(format=request.param), Destination(str(tmp_path / "out")))
    rows = read(tmp_path / "out", manifest)
    assert {row[KEPT] is None for row in rows} == {True, False}

    def refuse(*_: Any) -> None:
        raise AssertionError("a reader of a folder asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "out", rows


def test_load_dataset_reads_all(written: Written, tmp_path: Path) -> None:
    """With the types that the card names: a field that some lack is null there."""
    from datasets import load_dataset

    out, rows = written
    read = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(read) == ["train"]
    assert read["train"].to_list() == rows
    assert read["train"].num_rows == json.loads((out / "manifest.json").read_text())["rows"]
    assert read["train"].features[KEPT].dtype == "string"


def test_load_dataset_refuses_an_export_that_lacks_a_file(written: Written, tmp_path: Path) -> None:
    """As one that was copied in part, or half uploaded: the card says how many rows there are."""
    from datasets import load_dataset
    from datasets.exceptions import NonMatchingSplitsSizesError

    out, _ = written
    next((out / "data").glob("part-00001.*")).unlink()
    with pytest.raises(NonMatchingSplitsSizesError):
        load_dataset(str(out), cache_dir=str(tmp_path / "cache"))


def test_a_trainers_loader_streams_all(written: Written) -> None:
    """As Trainer of transformers does with a stream: shuffled, in batches, each row once an epoch, another order in each."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    out, rows = written
    stream = load_dataset(str(out), split="train", streaming=True)
    assert stream.num_shards == len(list((out / "data").iterdir())) > 2
    shuffled = stream.shuffle(seed=1, buffer_size=50).select_columns(["id", "text", "n_tokens"])
    orders = []
    for epoch in range(2):
        shuffled.set_epoch(epoch)
        batches = list(DataLoader(shuffled, batch_size=4))
        assert sorted(text for batch in batches for text in batch["text"]) == sorted(
            row["text"] for row in rows
        )
        assert sum(int(batch["n_tokens"].sum()) for batch in batches) == sum(row["n_tokens"] for row in rows)
        orders.append([one for batch in batches for one in batch["id"]])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_rows(written: Written, ranks: int) -> None:
    """Each row comes to one rank of a distributed training."""
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    out, rows = written
    stream = load_dataset(str(out), split="train", streaming=True)
    parts = [list(split_dataset_by_node(stream, rank=rank, world_size=ranks)) for rank in range(ranks)]
    assert sorted(row["id"] for part in parts for row in part) == sorted(row["id"] for row in rows)
    assert all(parts)


def test_polars_reads_all(written: Written) -> None:
    """Lazily, a column at a time if that is all that is wanted. JSON has no types: where the first rows lack a field, it is named."""
    out, rows = written
    if (out / "data" / "part-00000.parquet").exists():
        frame = pl.scan_parquet(out / "data" / "*.parquet")
    else:
        frame = pl.scan_ndjson(out / "data" / "*.jsonl.zst", schema_overrides={KEPT: pl.String})
    assert frame.collect().to_dicts() == rows
    assert frame.select("n_tokens").sum().collect().item() == sum(row["n_tokens"] for row in rows)
    assert frame.filter(pl.col(KEPT).is_null()).select(pl.len()).collect().item() == sum(
        row[KEPT] is None for row in rows
    )


def test_datatrove_reads_all(written: Written) -> None:
    """With its readers' own names for the columns `text` and `id`; all other columns are metadata."""
    from datatrove.pipeline.readers import JsonlReader, ParquetReader

    out, rows = written
    parquet = (out / "data" / "part-00000.parquet").exists()
    if not parquet:
        pytest.importorskip("orjson")  # of datatrove[io]
    kind: Any = ParquetReader if parquet else JsonlReader
    reader = kind(
        str(out / "data"), glob_pattern="*.parquet" if parquet else "*.jsonl.zst", doc_progress=False
    )
    read = [document for rank in range(2) for document in reader.run(rank=rank, world_size=2)]
    assert sorted(document.id for document in read) == sorted(row["id"] for row in rows)
    expected = {row["id"]: row for row in rows}
    for document in read:
        row = dict(expected[document.id])
        assert document.text == row.pop("text")
        assert document.id == row.pop("id")
        assert {name: document.metadata[name] for name in row} == row
