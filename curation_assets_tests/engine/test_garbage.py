"""`curation gc`: what nothing refers to goes when it is old; what a run may commit or read stays, and so does all else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from curation_assets.cli.main import main
from curation_assets.engine import store
from curation_assets.engine.attempts import SILENCE
from curation_assets.engine.catalog import LeaseLost
from curation_assets.engine.garbage import Garbage, Removed, collect_garbage, remove_abandoned
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.store import Folder, Store
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.engine.conftest import Clock
from curation_assets_tests.engine.stocked import (
    DOCUMENTS,
    SHARDS,
    lists,
    make,
    opened,
    publish,
    replaced,
    stocked,
    titles,
    unlisted,
)
from curation_assets_tests.making import attempted

DAY = 86_400.0


@pytest.fixture(params=["local", "memory"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A data folder with a few artifacts."""
    return stocked(tmp_path, monkeypatch, "" if request.param == "local" else f"memory://{tmp_path.name}")


def _there(workspace: Workspace, receipt: Receipt) -> bool:
    return bool(workspace.store.intact([receipt], listed=True))


def _folders(garbage: Garbage) -> dict[str, int]:
    return {kind: removed["folders"] for kind, removed in asdict(garbage).items() if removed["folders"]}


def test_what_nothing_refers_to_goes_when_it_is_old(workspace: Workspace, clock: Clock) -> None:
    before, orphan = titles(workspace), publish(workspace, DOCUMENTS, "a")
    assert collect_garbage(workspace, DAY) == Garbage() and _there(workspace, orphan)
    clock.ahead = 2 * DAY
    found = collect_garbage(workspace, DAY, dry_run=True)
    assert (
        _folders(found) == {"unreferenced": 1} and found.unreferenced.bytes > 7 and _there(workspace, orphan)
    )
    assert collect_garbage(workspace, DAY) == found and not _there(workspace, orphan)
    assert titles(workspace) == before and all(_there(workspace, workspace.artifact(*at)) for at in before)
    assert collect_garbage(workspace, DAY) == Garbage()


def test_what_a_living_run_may_commit_is_kept_however_old_it_is(workspace: Workspace, clock: Clock) -> None:
    with workspace.catalog.writer() as writer:
        lease = workspace.catalog.begin(writer, DOCUMENTS, {"c": ("w", "")}, "")["c"]
        uploaded = publish(workspace, DOCUMENTS, "c")
        assert collect_garbage(workspace, 0.0) == Garbage()
        clock.ahead = 5.0  # the run's heart beats, and the folder is older than everything asked for
        assert collect_garbage(workspace, -1e9) == Garbage() and _there(workspace, uploaded)
        workspace.catalog.commit(uploaded, lease)
    assert collect_garbage(workspace, -1e9) == Garbage() and _there(workspace, uploaded)


def test_who_was_taken_to_be_dead_commits_nothing_whose_files_went(
    workspace: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("curation_assets.engine.catalog.this_machine", lambda: "another boot/pid:[1]")
        entered = workspace.catalog.writer()
        writer = entered.__enter__()
    lease = workspace.catalog.begin(writer, DOCUMENTS, {"c": ("w", "")}, "")["c"]
    uploaded = publish(workspace, DOCUMENTS, "c")
    clock.ahead = SILENCE + 1
    assert _folders(collect_garbage(workspace, 0.0, dry_run=True)) == {"unreferenced": 1}
    assert _folders(collect_garbage(workspace, 0.0)) == {"unreferenced": 1}
    with pytest.raises(LeaseLost):
        workspace.catalog.commit(uploaded, lease)
    assert workspace.catalog.attempt(DOCUMENTS, "c").number == 1, "that it was tried is known still"
    entered.__exit__(None, None, None)


def test_what_was_replaced_goes_when_that_is_long_ago(workspace: Workspace, clock: Clock) -> None:
    older, newer = workspace.artifact(DOCUMENTS, "a"), make(workspace, DOCUMENTS, "a", "newer")
    assert collect_garbage(workspace, DAY) == Garbage()
    clock.ahead = 2 * DAY
    with workspace.catalog.writer() as writer:
        workspace.catalog.begin(
            writer, DOCUMENTS, {"b": ("w", workspace.artifact(DOCUMENTS, "b").folder)}, ""
        )
        assert _folders(collect_garbage(workspace, 0.0)) == {"replaced": 1}, (
            "this run began after it was replaced"
        )
    assert not _there(workspace, older) and _there(workspace, newer)
    assert not replaced(workspace.catalog, DOCUMENTS, "a")


def test_what_was_current_when_a_run_began_stays_as_long_as_that(workspace: Workspace) -> None:
    older = workspace.artifact(DOCUMENTS, "a")
    with workspace.catalog.writer() as writer:
        workspace.catalog.begin(writer, DOCUMENTS, {"c": ("w", "")}, "")
        make(workspace, DOCUMENTS, "a", "newer")
        assert collect_garbage(workspace, 0.0) == Garbage() and _there(workspace, older)
    assert _folders(collect_garbage(workspace, 0.0)) == {"replaced": 1}


def test_artifacts_of_a_deleted_corpus_file_are_kept_for_a_while(workspace: Workspace, clock: Clock) -> None:
    clock.ahead = 30 * DAY  # since they were made; they were listed all that time
    lists(workspace, "a")
    gone = [workspace.artifact(key, "b") for key in (SHARDS, DOCUMENTS)]
    workspace.catalog.mark(["corpus/tokenizer"])
    assert "unlisted" not in _folders(collect_garbage(workspace, DAY))
    clock.ahead += 2 * DAY
    assert _folders(collect_garbage(workspace, DAY)) == {"unlisted": 2}
    assert not any(_there(workspace, receipt) for receipt in gone) and not unlisted(workspace.catalog)
    assert titles(workspace).keys() == {("corpus/source", ""), (SHARDS, "a"), (DOCUMENTS, "a")}


def test_artifacts_of_an_amount_that_the_profile_names_no_more_are_kept_for_a_while(
    workspace: Workspace, clock: Clock
) -> None:
    named = workspace.profile
    run = named.run.model_copy(update={"amounts": ["20%", "4k tokens"]})
    workspace.profile = named.model_copy(update={"run": run})
    of = {
        key: make(workspace, key, at, "")
        for key, at in (("random/subset", "4k-tokens"), ("random/checkpoint", "4k-tokens|small"))
    }
    stays = make(
        workspace, "random/subset", "40", ""
    )  # the paper's rates have subsets whatever is trained at
    clock.ahead = 30 * DAY
    assert collect_garbage(workspace, DAY) == Garbage()
    workspace.profile = named
    assert collect_garbage(workspace, DAY) == Garbage(), "it is named no more since now"
    clock.ahead += DAY / 2
    workspace.profile = named.model_copy(update={"run": run})
    assert collect_garbage(workspace, DAY) == Garbage() and not unlisted(workspace.catalog), "named again"
    workspace.profile = named
    assert collect_garbage(workspace, DAY) == Garbage()
    clock.ahead += 2 * DAY
    assert _folders(collect_garbage(workspace, DAY, dry_run=True)) == {"unlisted": 2}
    assert _folders(collect_garbage(workspace, DAY)) == {"unlisted": 2}
    assert not any(_there(workspace, receipt) for receipt in of.values()) and _there(workspace, stays)


def test_a_file_that_is_listed_again_in_time_keeps_its_artifacts(workspace: Workspace, clock: Clock) -> None:
    lists(workspace, "a")
    clock.ahead = 2 * DAY
    lists(workspace, "a", "b")
    collect_garbage(workspace, DAY)
    assert (DOCUMENTS, "b") in titles(workspace)


def test_a_file_that_is_listed_again_while_garbage_is_collected_keeps_its_artifacts(
    workspace: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collection looks which files are not listed, then what lies in the store; meanwhile a run lists one again."""
    lists(workspace, "a")
    clock.ahead = 2 * DAY
    folders, runs = Store.folders, iter([lambda: lists(opened(workspace.profile.execution.store), "a", "b")])

    def listed_again(store: Store, key: str) -> list[Folder]:
        next(runs, lambda: None)()
        return folders(store, key)

    monkeypatch.setattr(Store, "folders", listed_again)
    assert "unlisted" not in _folders(collect_garbage(workspace, DAY))
    assert (SHARDS, "b") in titles(workspace) and (DOCUMENTS, "b") in titles(workspace)


def test_what_a_renamed_file_has_taken_over_stays(workspace: Workspace, clock: Clock) -> None:
    first = workspace.artifact(DOCUMENTS, "b")
    with workspace.catalog.writer() as writer:
        lease = workspace.catalog.begin(writer, DOCUMENTS, {"c": ("w", "")}, "")["c"]
        workspace.catalog.commit(replace(first, partition="c"), lease, another=True)
    lists(workspace, "a", "c")
    clock.ahead = 2 * DAY
    assert _folders(collect_garbage(workspace, DAY))["unlisted"] == 1, (
        "of the file's own, not what was taken over"
    )
    assert _there(workspace, workspace.artifact(DOCUMENTS, "c")) and (DOCUMENTS, "b") not in titles(workspace)


def test_without_a_listing_no_file_counts_as_deleted(workspace: Workspace, clock: Clock) -> None:
    workspace.withdraw(workspace.artifact("corpus/source"), "x is gone")
    clock.ahead = 2 * DAY
    collect_garbage(workspace, DAY)
    clock.ahead = 4 * DAY
    collect_garbage(workspace, DAY)
    assert (DOCUMENTS, "b") in titles(workspace) and (SHARDS, "b") in titles(workspace)


def test_a_store_that_does_not_say_when_is_left_alone(
    workspace: Workspace, clock: Clock, monkeypatch
) -> None:
    orphan = publish(workspace, DOCUMENTS, "a")
    clock.ahead = 2 * DAY
    monkeypatch.setattr("curation_assets.engine.store.mtime_of", lambda about: None)
    assert workspace.store.local or (
        collect_garbage(workspace, DAY) == Garbage() and _there(workspace, orphan)
    )


@pytest.mark.parametrize("killed_at", range(4))
def test_killed_in_the_middle_the_next_one_goes_on(
    workspace: Workspace, clock: Clock, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    make(workspace, DOCUMENTS, "a", "newer")
    publish(workspace, DOCUMENTS, "a")
    lists(workspace, "a")
    clock.ahead = 2 * DAY
    wanted = {key for key in titles(workspace) if key[1] != "b"}
    removed, remove = [], Store.remove_folder

    def dies(store: Store, folder: str, names: object) -> None:
        if len(removed) == killed_at:
            raise KeyboardInterrupt
        removed.append(folder)
        remove(store, folder, names)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "remove_folder", dies)
        collect_garbage(workspace, DAY)
    assert all(_there(workspace, workspace.artifact(*at)) for at in titles(workspace)), (
        "nothing refers to what is gone"
    )
    collect_garbage(workspace, DAY)
    assert titles(workspace).keys() == wanted and all(
        _there(workspace, workspace.artifact(*at)) for at in wanted
    )
    lie = {folder.path for key in workspace.store.asset_keys() for folder in workspace.store.folders(key)}
    assert lie == set(titles(workspace).values())


_STAGES = """
import sys
from pathlib import Path
from curation_assets.engine.store import Folder, Store
with Store(sys.argv[1], Path(sys.argv[2])).staged() as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    input()
"""


@pytest.mark.process
def test_what_a_killed_process_was_writing_goes_at_once(workspace: Workspace) -> None:
    url = workspace.store.fs.unstrip_protocol(workspace.store.root)
    command = [sys.executable, "-c", _STAGES, url, str(workspace.store.cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        folder = Path(process.stdout.readline().strip())
        assert collect_garbage(workspace, DAY) == Garbage() and folder.exists()
        process.kill()
    assert collect_garbage(workspace, DAY, dry_run=True).staged == Removed(1, 4) and folder.exists()
    assert collect_garbage(workspace, DAY).staged == Removed(1, 4) and not folder.exists()


def test_what_another_machine_writes_stays_as_long_as_a_lease_is_as_old(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock may not be seen here. A run begins an artifact before it writes it."""
    monkeypatch.setattr(store, "_kernel", lambda: "another")
    with workspace.store.staged() as folder, workspace.store.temporary() as meanwhile:
        left = [path.with_name(f"{path.name[:-1]}_") for path in (folder, meanwhile)]
    monkeypatch.undo()

    def tidied(days: float) -> list[bool]:
        for path in left:
            path.mkdir(parents=True, exist_ok=True)
            path.with_name(f"{path.name}.lock").touch()
            os.utime(path, times=(began - days * DAY,) * 2)
        remove_abandoned(workspace)
        return [not path.exists() for path in left]

    began = workspace.catalog.time()
    assert tidied(0.5) == [False, False] and tidied(1.5) == [True, True]
    with attempted(workspace, DOCUMENTS, "a"), sqlite3.connect(workspace.catalog.name) as catalog:
        catalog.execute("UPDATE attempts SET started = ?", (began - 2 * DAY,))
        catalog.commit()
        assert tidied(1.5) == [False, False] and tidied(2.5) == [True, True]


def test_the_command_says_what_it_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = stocked(tmp_path, monkeypatch)
    orphan = publish(workspace, DOCUMENTS, "a")
    for path in Path(workspace.store.path(orphan)).iterdir():
        os.utime(path, (0, 0))
    assert main(["gc", "--dry-run"]) == 0
    line = "1 folder that nothing refers to: "
    assert capsys.readouterr().out.startswith(f"would remove {line}") and _there(workspace, orphan)
    assert main(["gc", "--older-than", "1d"]) == 0
    assert capsys.readouterr().out.startswith(f"removed {line}") and not _there(workspace, orphan)
    assert main(["gc"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    with pytest.raises(SystemExit):
        main(["gc", "--older-than", "a week"])
    assert "'a week' is no time" in capsys.readouterr().err
    assert opened().catalog.asset_keys()
