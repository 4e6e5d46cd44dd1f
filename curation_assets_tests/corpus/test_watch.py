"""Noticing a changed corpus by its listing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from curation_assets.config.profile import Profile
from curation_assets.corpus.source import source
from curation_assets.corpus.walk import IncompleteListing
from curation_assets.corpus.watch import check_listing
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current, write_shard
from curation_assets_tests.corpus.shut_folders import unlistable
from curation_assets_tests.making import load, materialize


@pytest.fixture
def listed(tiny: Profile, tmp_path: Path) -> Workspace:
    for path in [*(tmp_path / "shards").iterdir(), tmp_path / "hq.jsonl"]:
        os.utime(path, (1e9, 1e9))
    workspace = Workspace(tiny)
    make_current(workspace, "corpus/source")
    return workspace


def test_nothing_changed(listed: Workspace) -> None:
    found = check_listing(listed, None)
    assert not found.changed and found.reason == "3 files, as listed before"


def test_before_the_first_listing_everything_is_new(tiny: Profile) -> None:
    found = check_listing(Workspace(tiny), None, now=time.time() + 60)
    assert found.changed and "3 new or changed (" in found.reason


def test_a_file_that_is_being_written_is_waited_for(listed: Workspace, tmp_path: Path) -> None:
    path, now = tmp_path / "shards" / "new.jsonl", time.time()
    cursor = None
    for length in (1, 2, 3):  # it grows from look to look
        write_shard(path, [(str(i), "a text that is long enough") for i in range(length)])
        found = check_listing(listed, cursor, now)
        assert not found.changed and "new.jsonl" in found.reason and "still being written" in found.reason
        cursor = found.cursor
    found = check_listing(listed, cursor, now)
    assert found.changed, "it did not grow any more"
    again = check_listing(listed, found.cursor, now)
    assert not again.changed and "asked for" in again.reason, "asked for once"
    again = check_listing(listed, found.cursor, now + 90)
    assert again.changed, "and again, where the listing did not come"
    assert not check_listing(listed, again.cursor, now + 180).changed, "the pauses grow"
    assert check_listing(listed, again.cursor, now + 240).changed


def test_an_old_file_that_is_moved_in_counts_at_once(listed: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "moved.jsonl"
    write_shard(path, [("x", "a text that is long enough")])
    os.utime(path, (1e9, 1e9))
    path.rename(tmp_path / "shards" / "moved.jsonl")
    assert check_listing(listed, None).changed


def test_what_went_is_noticed_and_a_folder_that_is_not_there_is_an_error(
    listed: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "shards" / "s1.jsonl").unlink()
    found = check_listing(listed, None)
    assert found.changed and found.reason == "0 new or changed, 1 gone (s1.jsonl)"
    (tmp_path / "shards").rename(tmp_path / "not mounted")
    with pytest.raises(FileNotFoundError, match="no corpus at"):
        check_listing(listed, None)


def test_other_high_quality_texts_are_a_change(listed: Workspace, tmp_path: Path) -> None:
    os.utime(tmp_path / "hq.jsonl", (2e9, 2e9))
    assert check_listing(listed, None, now=3e9).changed


def test_the_cursor_does_not_grow_with_the_corpus(listed: Workspace, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / "shards" / f"n{number}.txt").write_text("text")
    found = check_listing(listed, None, now=time.time() + 60)
    assert (
        found.changed
        and len(found.cursor) < 200
        and set(json.loads(found.cursor)) == {"seen", "asked", "at", "times"}
    )


def test_a_folder_that_cannot_be_listed_is_an_error_and_no_change(listed: Workspace, tmp_path: Path) -> None:
    (tmp_path / "shards" / "part").mkdir()
    for folder in (tmp_path / "shards" / "part", tmp_path / "shards"):
        with unlistable(folder), pytest.raises(IncompleteListing, match="stays as it was listed last"):
            check_listing(listed, None)


def test_what_is_passed_over_is_listed_anew(listed: Workspace, tmp_path: Path) -> None:
    (tmp_path / "shards" / "_SUCCESS").touch()
    assert not check_listing(listed, None).changed, "nobody means that as data"
    (tmp_path / "shards" / "crawl.warc.gz").touch()
    found = check_listing(listed, None)
    assert found.changed and found.reason == "0 new or changed, 0 gone, 1 passed over"


def test_a_corpus_that_is_its_own_high_quality_texts_settles(tiny: Profile, tmp_path: Path) -> None:
    (tmp_path / "shards" / "crawl.warc.gz").touch()
    corpus = tiny.corpus.model_copy(update={"hq_url": tiny.corpus.url})
    profile = tiny.model_copy(update={"corpus": corpus})
    workspace = Workspace(profile)
    materialize(
        workspace, STEPS["corpus/source"], "", lambda inputs: load(source, workspace, STEPS["corpus/source"])
    )
    assert not check_listing(workspace, None).changed


def test_a_link_that_leads_elsewhere_is_a_change(listed: Workspace, tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        write_shard(tmp_path / f"{name}.jsonl", [("x", f"a text that is long enough, {name}")])
        os.utime(tmp_path / f"{name}.jsonl", (1e9, 1e9))
    link = tmp_path / "shards" / "now.jsonl"
    link.symlink_to("../v1.jsonl")
    assert check_listing(listed, None).changed
    make_current(listed, "corpus/shards")
    assert not check_listing(listed, None).changed and Versions(listed).current(
        STEPS["corpus/shards"], "now.jsonl"
    )
    before = listed.metadata("corpus/shards", "now.jsonl")["sha256"]
    link.unlink()
    link.symlink_to("../v2.jsonl")
    assert check_listing(listed, None).changed, "of the same size and time, but another file"
    make_current(listed, "corpus/shards")
    assert listed.metadata("corpus/shards", "now.jsonl")["sha256"] != before
