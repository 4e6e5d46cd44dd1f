"""SemDeDup in the graph: by groups of clusters, which change nothing but who does what."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.record_blocks import BLOCKS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import Workspace
from curation_assets.scoring.semdedup import semdedup_scores
from curation_assets_tests.conftest import write_shard
from curation_assets_tests.samplers.test_unreadable import BUILDERS, make, write_corpus

NEEDED = [key for key in BUILDERS if not key.startswith(("density", "prototypes"))]
VECTORS, NEIGHBOURS, SCORES = "semdedup/vectors", "semdedup/neighbours", "semdedup/scores"


def tables(workspace: Workspace) -> dict[str, bytes]:
    """Return the bytes of each shard's scores."""
    return {
        s: (workspace.open(SCORES, s) / "scores.parquet").read_bytes() for s in workspace.partitions("shard")
    }


def made(workspace: Workspace) -> list[tuple[str, str]]:
    """Make the scores current, and return what of SemDeDup was made for that."""
    return [at for at in make(workspace, *NEEDED) if at[0].startswith("semdedup/")]


def test_the_number_of_groups_changes_no_byte_and_remakes_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = write_corpus(tmp_path, monkeypatch, 150, 20)
    make(workspace, *NEEDED)
    before = tables(workspace)
    for groups in (3, 40):  # more than there are clusters
        workspace = write_corpus(tmp_path, monkeypatch, 150, 20, f"groups = {groups}\ngroup_memory_mib = 1\n")
        assert not Versions(workspace).current(STEPS[SCORES], "s0.jsonl"), "its inputs are not there yet"
        assert made(workspace) == [(NEIGHBOURS, group) for group in workspace.partitions("group")]
        for shard in before:
            workspace.withdraw(workspace.artifact(SCORES, shard), "x is gone")
        assert made(workspace) == [(SCORES, shard) for shard in before]
        assert tables(workspace) == before


def test_it_is_what_the_library_says_of_all_documents_in_one_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = write_corpus(tmp_path, monkeypatch, 150, 0, "groups = 3\n")
    make(workspace, *NEEDED)
    shards = workspace.partitions("shard")
    parts = [pq.read_table(workspace.open(SCORES, s) / "scores.parquet").to_pydict() for s in shards]
    column = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    x = np.concatenate([np.load(workspace.open("corpus/embeddings", s) / "embeddings.npy") for s in shards])
    cluster = np.concatenate(
        [np.load(workspace.open("clusters/assignments", s) / "clusters.npy") for s in shards]
    )
    order = np.argsort(column["doc_hash"].astype(np.uint64), kind="stable")
    score, duplicate = semdedup_scores(x[order], cluster[order])
    assert np.array_equal(column["score"][order], score)
    named = [None if row < 0 else column["doc_id"][order][row] for row in duplicate]
    assert column["duplicate_of"][order].tolist() == named


def test_a_changed_shard_is_sorted_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = write_corpus(tmp_path, monkeypatch, 60, 0, "groups = 2\n")
    make(workspace, *NEEDED)
    rows = [(f"k{i}", f"number {i + 2} of the documents") for i in range(1, 60, 2)]
    write_shard(tmp_path / "shards" / "s1.jsonl", rows)
    assert made(workspace) == [
        (VECTORS, "s1.jsonl"),
        *((NEIGHBOURS, group) for group in ("0-of-2", "1-of-2")),
        *((SCORES, shard) for shard in ("s0.jsonl", "s1.jsonl")),
    ]


def test_of_a_remote_store_a_group_reads_its_range_of_a_file_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = f'groups = 2\nstore = "memory://{tmp_path.name}"\n'
    workspace = write_corpus(tmp_path, monkeypatch, 150, 5, execution)
    make(workspace, *NEEDED[: NEEDED.index(NEIGHBOURS)])
    shutil.rmtree(tmp_path / "data" / "scratch" / "fetched")  # copies of what was made here
    asked: list[tuple[int, int]] = []
    fetch = workspace.store.fs.cat_ranges

    def counted(paths: list[str], starts: list[int], ends: list[int], **options: object) -> list[bytes]:
        ranges = zip(paths, starts, ends, strict=True)
        asked.extend((start, end) for path, start, end in ranges if path.endswith(BLOCKS))
        return fetch(paths, starts, ends, **options)

    monkeypatch.setattr(workspace.store.fs, "cat_ranges", counted)
    make(workspace, NEIGHBOURS)
    receipts = workspace.receipts(VECTORS).values()
    assert len(asked) == 2 * len(receipts)
    assert sum(end - start for start, end in asked) == sum(receipt.files[BLOCKS][0] for receipt in receipts)
    make(workspace, SCORES)
    copies = [*(tmp_path / "data" / "scratch").rglob(BLOCKS)]
    assert len(copies) == 2, (
        "those of the groups, which were made here; of the files nothing was fetched as a whole"
    )
    local = write_corpus(tmp_path / "local", monkeypatch, 150, 5)
    make(local, *NEEDED)
    assert tables(workspace) == tables(local)


@pytest.mark.parametrize(
    ("key", "partition", "reader"), [(VECTORS, "s0.jsonl", NEIGHBOURS), (NEIGHBOURS, "0-of-1", SCORES)]
)
def test_damage_is_noticed_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, partition: str, reader: str
) -> None:
    workspace = write_corpus(tmp_path, monkeypatch, 60, 5)
    make(workspace, *NEEDED)
    before = tables(workspace)
    for each in workspace.partitions(STEPS[reader].by):
        workspace.withdraw(workspace.artifact(reader, each), "x is gone")
    path = workspace.open(key, partition) / BLOCKS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    workspace = Workspace(workspace.profile)  # which has checked nothing yet
    with pytest.raises(DamagedArtifact, match=BLOCKS):
        make(workspace, reader)
    make(workspace, *NEEDED)
    assert tables(workspace) == before
