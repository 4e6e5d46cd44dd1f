"""A store without its catalog: of the version before, with one that is lost or damaged, or of another machine's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets.config.profile import ProfileError
from curation_assets.engine import takeover
from curation_assets.engine.catalog import FORMAT
from curation_assets.engine.store import Store
from curation_assets.engine.takeover import Rebuilt, open_catalog, rebuild_catalog
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.engine.stocked import (
    DOCUMENTS,
    as_before,
    lists,
    make,
    opened,
    publish,
    replaced,
    stocked,
    titles,
    unlisted,
)


def _rebuild(workspace: Workspace) -> Rebuilt:
    return rebuild_catalog("", workspace.store, workspace.data)


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of the store: "" for one in the data folder."""
    return "" if request.param == "local" else f"memory://{tmp_path.name}"


@pytest.fixture
def workspace(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A data folder with a few artifacts, one of which was replaced, and a mark."""
    workspace = stocked(tmp_path, monkeypatch, url)
    make(workspace, DOCUMENTS, "a", "newer")
    workspace.catalog.mark(["corpus/tokenizer"])
    return workspace


def _sqlite(workspace: Workspace) -> Path:
    return Path(workspace.catalog.name)


# Of the version before


def test_a_data_folder_of_the_version_before_is_taken_over_as_it_was(workspace: Workspace, url: str) -> None:
    before, marks = titles(workspace), workspace.catalog.marks()
    older = replaced(workspace.catalog, DOCUMENTS, "a")
    as_before(workspace)
    after = opened(url)
    assert titles(after) == before and after.catalog.marks() == marks
    assert replaced(after.catalog, DOCUMENTS, "a") == older
    with after.catalog.writer() as writer:
        assert not after.catalog.adopt_unannounced(writer, DOCUMENTS, ["a", "b"])
    left = [path for name in ("current.json", "attempt.json", ".lock") for path in after.store.named(name)]
    assert not left and not (after.data / "refresh.json").exists()
    assert (after.open(DOCUMENTS, "a") / "below" / "losses.npy").read_text() == "newer"


def test_what_was_current_before_is_current_and_not_what_was_made_last(
    workspace: Workspace, url: str
) -> None:
    """A run that was killed before it wrote the pointer; a folder that was withdrawn, which had none any more."""
    before = titles(workspace)
    publish(workspace, DOCUMENTS, "a")
    as_before(workspace)
    place = f"{workspace.store.root}/{workspace.store.place(DOCUMENTS, 'b')}"
    workspace.store.fs.rm_file(f"{place}/current.json")
    del before[DOCUMENTS, "b"]
    assert titles(opened(url)) == before


def test_a_damaged_pointer_points_to_what_was_made_last(workspace: Workspace, url: str) -> None:
    before = titles(workspace)
    as_before(workspace)
    place = f"{workspace.store.root}/{workspace.store.place(DOCUMENTS, 'a')}"
    workspace.store.write(f"{place}/current.json", b'{"sha256": "torn')
    assert titles(opened(url)) == before


@pytest.mark.parametrize("kill", ["artifacts", "pointers", "owner"])
def test_killed_in_the_middle_of_a_takeover_the_next_start_goes_on(
    workspace: Workspace, url: str, monkeypatch: pytest.MonkeyPatch, kill: str
) -> None:
    before, marks = titles(workspace), workspace.catalog.marks()
    publish(workspace, DOCUMENTS, "a")
    as_before(workspace)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if kill == "artifacts":
            patch.setattr(takeover, "_current", killed)
        elif kill == "pointers":
            patch.setattr(
                takeover, "_remove", lambda store, paths: [store.fs.rm_file(next(iter(paths))), killed()]
            )
        else:
            patch.setattr(type(workspace.store), "claim", killed)
        titles(opened(url))
    after = opened(url)
    assert titles(after) == before and after.catalog.marks() == marks
    newer = make(after, DOCUMENTS, "a", "after the kill")
    _rebuild(opened(url))
    assert titles(opened(url)) == before | {(DOCUMENTS, "a"): newer.folder}, (
        "a pointer that is left is believed no more"
    )


# Of two at once

_OPENS = """
import sys
from pathlib import Path
from curation_assets.config.profile import ProfileError
from curation_assets.engine.store import Store
from curation_assets.engine.takeover import open_catalog
stores, data = map(Path, sys.argv[1:])
for name in sys.stdin:
    try:
        print(open_catalog("", Store(str(stores / name.strip()), data), data).about()["id"], flush=True)
    except ProfileError:
        print("", flush=True)
"""


@pytest.mark.process
def test_a_folder_is_the_store_of_one_of_two_that_open_it_at_one_instant(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", _OPENS, str(tmp_path), str(tmp_path / data)] for data in ("a", "b")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    for number in range(20):
        for process in processes:
            process.stdin.write(f"store-{number}\n")
            process.stdin.flush()
        ids = {process.stdout.readline().strip() for process in processes}
        assert ids == {"", Store(str(tmp_path / f"store-{number}"), tmp_path).owner} and len(ids) == 2
    for process in processes:
        process.communicate()


# Made anew of the manifests


@pytest.mark.parametrize("lost", ["nothing", "file", "damaged", "page", "format", "empty"])
def test_the_catalog_is_made_anew_of_the_manifests_whatever_came_of_it(
    workspace: Workspace, url: str, lost: str
) -> None:
    before, path = titles(workspace), _sqlite(workspace)
    if lost == "file":
        path.unlink()
    elif lost == "damaged":
        path.write_bytes(b"nothing of SQLite" * 999)
    elif lost == "page":
        content = path.read_bytes()
        path.write_bytes(content[:4096] + bytes(4096) + content[8192:])
    elif lost == "empty":
        path.write_bytes(b"")
    elif lost == "format":
        workspace.catalog._database.write(
            lambda c: c.exec_driver_sql("UPDATE about SET value='0' WHERE name='format'")
        )
        with pytest.raises(
            ProfileError, match=rf"format 0, and this version reads format {FORMAT}.*catalog rebuild"
        ):
            _ = opened(url).catalog
    rebuilt = _rebuild(opened(url))
    assert titles(opened(url)) == before and rebuilt.current.total() == len(before)
    assert rebuilt.replaced == {key: int(key == DOCUMENTS) for key in rebuilt.replaced}
    assert (rebuilt.set_aside is not None) == (lost in ("damaged", "page"))
    assert rebuilt.began_anew == (lost != "nothing") == (not opened(url).catalog.marks())
    again = _rebuild(opened(url))
    assert again.current == rebuilt.current and not again.began_anew and titles(opened(url)) == before


def test_what_is_not_whole_is_no_artifact(workspace: Workspace, url: str) -> None:
    store = workspace.store
    older, damaged = replaced(workspace.catalog, DOCUMENTS, "a")[0], workspace.artifact(DOCUMENTS, "a")
    store.fs.rm_file(store.path(damaged, "table"))
    torn = workspace.artifact(DOCUMENTS, "b")
    store.write(store.path(torn, "receipt.json"), b'{"sha256": "0", "key": "corpus/documents"}')
    rebuilt = _rebuild(opened(url))
    assert sorted(rebuilt.incomplete) == sorted([damaged.folder, torn.folder])
    assert titles(opened(url)).get((DOCUMENTS, "a")) == older.folder and (DOCUMENTS, "b") not in titles(
        opened(url)
    )


def test_what_was_withdrawn_stays_so(workspace: Workspace, url: str) -> None:
    workspace.withdraw(workspace.artifact(DOCUMENTS, "b"), "x is gone")
    _rebuild(workspace)
    assert (DOCUMENTS, "b") not in titles(opened(url))


def test_nothing_is_rebuilt_beside_who_is_at_work(workspace: Workspace, url: str) -> None:
    with (
        workspace.catalog.writer(),
        pytest.raises(
            ProfileError, match=r"process \d+ of .* is at work here: rebuild the catalog when it has ended"
        ),
    ):
        _rebuild(opened(url))


def test_a_store_of_another_catalog_is_refused_until_it_is_rebuilt_here(
    workspace: Workspace, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine that has the same store, and a catalog of its own."""
    if not url:
        url = str(workspace.data / "artifacts")
    before = titles(workspace)
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(
        ProfileError, match=r"the store of another catalog than .*`curation catalog rebuild` makes one here"
    ):
        _ = opened(url).catalog
    _rebuild(opened(url))
    assert titles(opened(url)) == before
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    with pytest.raises(ProfileError, match="give each store a catalog of its own"):
        _ = opened("" if Path(url).exists() else url).catalog


def test_a_catalog_of_another_store_is_not_made_this_ones(
    workspace: Workspace, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stores and one `execution.catalog`: neither loses anything."""
    before, named = titles(workspace), f"sqlite:///{_sqlite(workspace)}"
    other = opened(str(tmp_path / "other store"))
    with pytest.raises(ProfileError, match="is of the store"):
        rebuild_catalog(named, other.store, other.data)
    assert titles(opened(url)) == before


def test_a_catalog_with_nothing_in_it_becomes_another_stores_and_is_the_first_ones_no_more(
    tmp_path: Path,
) -> None:
    """Two profiles name one database before either has made anything; who corrects a store's name is not refused."""
    named, stores = f"sqlite:///{tmp_path / 'shared.sqlite'}", []
    for name in ("one", "other"):
        stores.append(Store(str(tmp_path / name), tmp_path / "scratch"))
        with open_catalog(named, stores[-1], tmp_path / "data").writer():
            pass
    with pytest.raises(ProfileError, match="give each store a catalog of its own"):
        open_catalog(named, stores[0], tmp_path / "data")
    third = Store(str(tmp_path / "third"), tmp_path / "scratch")
    with (
        open_catalog(named, stores[1], tmp_path / "data").writer(),
        pytest.raises(ProfileError, match="give each store a catalog of its own"),
    ):
        open_catalog(named, third, tmp_path / "data")


def test_a_catalog_that_was_begun_for_another_store_takes_over_what_the_version_before_left(
    workspace: Workspace, tmp_path: Path
) -> None:
    before, named = titles(workspace), f"sqlite:///{tmp_path / 'shared.sqlite'}"
    open_catalog(named, Store(str(tmp_path / "mistaken"), tmp_path / "scratch"), tmp_path / "elsewhere")
    as_before(workspace)
    catalog = open_catalog(named, workspace.store, workspace.data)
    assert {
        (key, p): one.folder for key in catalog.asset_keys() for p, one in catalog.current_of(key).items()
    } == before


def test_a_listing_made_after_a_rebuild_starts_the_time_of_what_is_gone(
    workspace: Workspace, url: str
) -> None:
    _sqlite(workspace).unlink()
    _rebuild(opened(url))
    lists(after := opened(url), "b")
    assert unlisted(after.catalog).keys() == {"a"}
