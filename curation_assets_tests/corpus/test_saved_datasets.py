"""What `datasets` saves to a folder, read as it loads it: real datasets, saved, saved over, and with a split each."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.discover import find_files
from curation_assets.corpus.formats import read_rows

ROWS = [{"id": f"d{i}", "text": f"The text of document {i}."} for i in range(40)]


def ids(folder: Path) -> list[str]:
    files = find_files(str(folder)).files
    return [
        raw.fields["id"] for file in files for raw in read_rows(file.url, DocumentSettings()) if raw.fields
    ]


def test_a_dataset_is_read_as_it_loads_and_its_bookkeeping_is_no_data(tmp_path: Path) -> None:
    chosen = (
        Dataset.from_list(ROWS).select(range(0, 40, 3)).shuffle(seed=0)
    )  # an index over the rows, as it is in memory
    chosen.save_to_disk(tmp_path / "one", num_shards=2)
    listing = find_files(str(tmp_path / "one"))
    assert [file.key for file in listing.files] == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert ids(tmp_path / "one") == load_from_disk(tmp_path / "one")["id"][:] == chosen["id"][:]
    assert (listing.passed_over, listing.ignored) == ([], {"bookkeeping": 2})


def test_a_split_of_a_dataset_dict_is_its_folder(tmp_path: Path) -> None:
    parts = {"train": Dataset.from_list(ROWS[:30]), "test": Dataset.from_list(ROWS[30:])}
    DatasetDict(parts).save_to_disk(tmp_path / "dict")
    assert ids(tmp_path / "dict" / "train") == [row["id"] for row in ROWS[:30]]
    whole = find_files(str(tmp_path / "dict"))
    assert [f.key for f in whole.files] == [
        "test/data-00000-of-00001.arrow",
        "train/data-00000-of-00001.arrow",
    ]
    assert whole.passed_over == [] and whole.ignored == {"bookkeeping": 5}


def test_what_an_earlier_dataset_left_is_not_read(tmp_path: Path) -> None:
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one", num_shards=3)
    Dataset.from_list(ROWS[:9]).save_to_disk(tmp_path / "one", num_shards=1)
    assert ids(tmp_path / "one") == [row["id"] for row in ROWS[:9]]
    passed_over = find_files(str(tmp_path / "one")).passed_over
    assert len(passed_over) == 3 and all("left from an earlier one" in why for _, why in passed_over)


def test_an_index_of_rows_is_told_of(tmp_path: Path) -> None:
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "old")
    state = tmp_path / "old" / "state.json"
    about = json.loads(state.read_text()) | {"_indices_data_files": [{"filename": "indices.arrow"}]}
    state.write_text(json.dumps(about))
    (tmp_path / "old" / "indices.arrow").write_bytes(b"rows")
    [(name, why)] = find_files(str(tmp_path / "old")).passed_over
    assert name == "indices.arrow" and "which is not applied" in why


@pytest.mark.parametrize("content", ["", "[]", '{"_data_files": 3}', '{"step": 1}', "[" * 100_000])
def test_another_programs_state_json_hides_no_file(tmp_path: Path, content: str) -> None:
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text(content)
    assert len(find_files(str(tmp_path / "one")).files) == 1


def test_a_dataset_in_a_store_is_read_alike(tmp_path: Path) -> None:
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one", num_shards=2)
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "one"), "/saved", recursive=True)
    store.pipe("/saved/data-00002-of-00003.arrow", b"left")
    listing = find_files("memory://saved")
    assert len(listing.files) == 2 and [name for name, _ in listing.passed_over] == [
        "data-00002-of-00003.arrow"
    ]
    store.rm("/saved", recursive=True)
