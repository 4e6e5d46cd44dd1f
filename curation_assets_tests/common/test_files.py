"""Files and folders are whole or absent, whenever the process that writes them dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from weakref import ref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import (
    TEMPORARY,
    atomic_file,
    atomic_folder,
    read_batches,
    write_batches,
    write_bytes,
)

_DIES = """
import os, signal, sys
from pathlib import Path
from curation_assets.common import files
place = Path(sys.argv[1])
with files.atomic_file(place / "file") as draft, files.atomic_folder(place / "folder") as folder:
    draft.write_bytes(b"half")
    (folder / "part").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _drafts(place: Path) -> list[Path]:
    return list(place.glob(f"{TEMPORARY}*"))


@pytest.mark.process
def test_a_kill_leaves_the_old_file_no_folder_and_drafts_that_are_known_by_their_names(
    tmp_path: Path,
) -> None:
    write_bytes(tmp_path / "file", b"old")
    assert subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)]).returncode == -9
    assert (tmp_path / "file").read_bytes() == b"old" and not (tmp_path / "folder").exists()
    assert len(_drafts(tmp_path)) == 2


def test_an_error_leaves_the_old_file_no_folder_and_no_draft(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"old")
    with pytest.raises(OSError, match="disk full"), atomic_file(tmp_path / "file") as draft:
        draft.write_bytes(b"half")
        raise OSError("disk full")
    with pytest.raises(OSError, match="disk full"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "part").write_bytes(b"half")
        raise OSError("disk full")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_folder_appears_with_all_that_lies_in_it_and_never_in_another_ones_place(tmp_path: Path) -> None:
    for _ in range(2):
        with atomic_folder(tmp_path / "deep" / "folder") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "part").write_bytes(b"whole")
            assert not (tmp_path / "deep" / "folder" / "sub" / "part").exists()
        assert (tmp_path / "deep" / "folder" / "sub" / "part").read_bytes() == b"whole"
        assert not _drafts(tmp_path / "deep")
        (tmp_path / "deep" / "folder" / "sub" / "part").unlink()
        (tmp_path / "deep" / "folder" / "sub").rmdir()
    (tmp_path / "deep" / "folder" / "other").touch()
    with pytest.raises(OSError), atomic_folder(tmp_path / "deep" / "folder") as folder:
        (folder / "part").touch()
    assert [path.name for path in (tmp_path / "deep" / "folder").iterdir()] == ["other"]


def test_what_is_durable_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        "curation_assets.common.files._sync",
        lambda path: synced.append((path.name.split(".")[0], (tmp_path / "folder").exists())),
    )
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "part").touch()
    write_bytes(tmp_path / "file", b"", durable=False)
    assert synced == [("part", False), ("", False), (tmp_path.name, True)]


def test_of_a_parquet_file_that_is_read_in_batches_a_row_group_is_held_and_not_all(tmp_path: Path) -> None:
    path, groups, rows = tmp_path / "numbers.parquet", 20, 20_000
    numbers = np.random.default_rng(0).integers(2**63, size=groups * rows)
    pq.write_table(pa.table({"number": numbers}), path, row_group_size=rows)
    before, held, read = pa.total_allocated_bytes(), [], []
    for batch in read_batches(path, size=rows // 4):
        held.append(pa.total_allocated_bytes() - before)
        read.append(batch["number"].to_numpy().copy())
    assert np.array_equal(np.concatenate(read), numbers)
    assert max(held) < 4 * path.stat().st_size / groups


def test_a_batch_that_was_written_is_gone_before_the_next_one_is_made(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            batch = pa.RecordBatch.from_pydict({"number": [number]})
            written = ref(batch)
            yield batch
            del batch
            assert written() is None

    write_batches(path := tmp_path / "numbers.parquet", batches(), pa.schema([("number", pa.int64())]))
    assert pq.read_table(path)["number"].to_pylist() == [0, 1, 2]
