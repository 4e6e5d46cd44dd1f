"""Noticing a changed corpus by its listing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from curation_assets.corpus.watch import look
from curation_assets.graph import STEPS
from curation_assets.jobs import run_graph
from curation_assets.profile import Profile
from curation_assets.workspace import Workspace
from curation_assets_tests.conftest import write_shard


@pytest.fixture
def listed(tiny: Profile, tmp_path: Path) -> Workspace:
    for path in [*(tmp_path / "shards").iterdir(), tmp_path / "hq.jsonl"]:
        os.utime(path, (1e9, 1e9))
    run_graph(tiny, lambda line: None, [STEPS["corpus/source"]])
    return Workspace(tiny)


def test_nothing_changed(listed: Workspace) -> None:
    found = look(listed, None)
    assert not found.changed and found.said == "3 files, as listed before"


def test_before_the_first_listing_everything_is_new(tiny: Profile) -> None:
    found = look(Workspace(tiny), None, now=time.time() + 60)
    assert found.changed and "3 new or changed (" in found.said


def test_a_file_that_is_being_written_is_waited_for(listed: Workspace, tmp_path: Path) -> None:
    path, now = tmp_path / "shards" / "new.jsonl", time.time()
    cursor = None
    for length in (1, 2, 3):  # it grows from look to look
        write_shard(path, [(str(i), "a text that is long enough") for i in range(length)])
        found = look(listed, cursor, now)
        assert not found.changed and "new.jsonl" in found.said and "still being written" in found.said
        cursor = found.cursor
    found = look(listed, cursor, now)
    assert found.changed, "it did not grow any more"
    again = look(listed, found.cursor, now)
    assert not again.changed and "asked for" in again.said, "asked for once"
    again = look(listed, found.cursor, now + 90)
    assert again.changed, "and again, where the listing did not come"
    assert not look(listed, again.cursor, now + 180).changed, "the pauses grow"
    assert look(listed, again.cursor, now + 240).changed


def test_an_old_file_that_is_moved_in_counts_at_once(listed: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "moved.jsonl"
    write_shard(path, [("x", "a text that is long enough")])
    os.utime(path, (1e9, 1e9))
    path.rename(tmp_path / "shards" / "moved.jsonl")
    assert look(listed, None).changed


def test_what_went_is_noticed_and_a_folder_that_is_not_there_is_an_error(
    listed: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "shards" / "s1.jsonl").unlink()
    found = look(listed, None)
    assert found.changed and found.said == "0 new or changed, 1 gone (s1.jsonl)"
    (tmp_path / "shards").rename(tmp_path / "not mounted")
    with pytest.raises(FileNotFoundError, match="no corpus at"):
        look(listed, None)


def test_other_high_quality_texts_are_a_change(listed: Workspace, tmp_path: Path) -> None:
    os.utime(tmp_path / "hq.jsonl", (2e9, 2e9))
    assert look(listed, None, now=3e9).changed


def test_the_cursor_does_not_grow_with_the_corpus(listed: Workspace, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / "shards" / f"n{number}.txt").write_text("text")
    found = look(listed, None, now=time.time() + 60)
    assert (
        found.changed
        and len(found.cursor) < 200
        and set(json.loads(found.cursor)) == {"seen", "asked", "at", "times"}
    )
