"""The cache of fetched artifacts: bounded, shared by processes, and what somebody reads stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.files import fingerprint, sha256
from curation_assets.engine.artifact_cache import ArtifactCache, Files, Hold, NotAsStored

SIZE = 1000


class Remote(LocalFileSystem):
    """Stands for a store elsewhere; counts what is fetched."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.pause = 0.0

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        self.fetched.append(rpath)
        time.sleep(self.pause)
        super().get_file(rpath, lpath, **options)


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[str], tuple[str, Files]]:
    """Gives a remote folder of SIZE bytes in two files, by its name."""

    def give(name: str) -> tuple[str, Files]:
        folder = tmp_path / "store" / name
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        (folder / "a.bin").write_bytes(name[-1:].encode() * (SIZE - 1))
        (folder / "sub" / "b").write_bytes(b"b")
        files = ("a.bin", "sub/b")
        return str(folder), {file: ((folder / file).stat().st_size, sha256(folder / file)) for file in files}

    return give


def _names(folder: Path) -> set[str]:
    return {entry.name.partition("-")[0] for entry in folder.iterdir() if not entry.name.startswith(".")}


def test_what_is_fetched_once_is_there_for_this_process_and_the_next(remote, stored, tmp_path) -> None:
    url, files = stored("one")
    first = ArtifactCache(remote, tmp_path / "cache", 10 * SIZE).folder(url, files, Hold())
    again = ArtifactCache(remote, tmp_path / "cache", 10 * SIZE).folder(url, files, Hold())
    assert first == again and (first / "sub" / "b").read_bytes() == b"b"
    assert sorted(remote.fetched) == [f"{url}/a.bin", f"{url}/sub/b"]


def test_what_was_used_least_recently_makes_room(remote, stored, tmp_path) -> None:
    cache = ArtifactCache(remote, tmp_path / "cache", 4 * SIZE)
    for name in ("a", "b", "c", "a", "d", "e"):
        cache.folder(*stored(name), Hold())
    kept = {name for name in "abcde" if fingerprint(stored(name)[0]) in _names(tmp_path / "cache")}
    assert kept == {"a", "d", "e"}


def test_what_is_held_stays_even_beyond_the_limit_and_that_is_said_once(
    remote, stored, tmp_path, caplog
) -> None:
    cache = ArtifactCache(remote, tmp_path / "cache", 2 * SIZE)
    outer, inner = Hold(), Hold()
    held = [cache.folder(*stored("outer"), outer)]
    for name in ("a", "b", "c", "d"):
        inner.release()
        held[1:] = [cache.folder(*stored(name), inner), cache.folder(*stored("deep"), inner)]
        assert all((folder / "a.bin").exists() for folder in held)
        assert cache.folder(*stored("outer"), inner) == held[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cache_gb" in caplog.text
    for name in ("a", "b"):
        cache.folder(*stored(name), Hold())
    assert held[0].exists()
    outer.release()
    inner.release()
    for name in ("c", "d"):
        cache.folder(*stored(name), Hold())
    assert not held[0].exists()


@settings(max_examples=30, deadline=None)
@given(uses=st.lists(st.sampled_from("abcdefgh"), max_size=40), limit=st.integers(1, 6))
def test_the_cache_is_never_larger_than_its_limit_and_what_is_held(uses: list[str], limit: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        cache = ArtifactCache(Remote(), root / "cache", limit * SIZE)
        for name in uses:
            folder = root / "store" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "a").write_bytes(name.encode() * SIZE)
            hold = Hold()
            copy = cache.folder(str(folder), {"a": (SIZE, sha256(folder / "a"))}, hold)
            assert (copy / "a").read_bytes() == name.encode() * SIZE
            hold.release()
            assert len(_names(root / "cache")) <= max(limit, 1)
            assert int((root / "cache" / ".usage").read_text()) == SIZE * len(_names(root / "cache"))


def test_what_was_stored_from_here_is_a_copy_already(remote, stored, tmp_path) -> None:
    url, files = stored("one")
    cache = ArtifactCache(remote, tmp_path / "cache", 2 * SIZE)
    for name in ("x", "y"):
        cache.folder(*stored(name), Hold())
    made = shutil.copytree(url, tmp_path / "made")
    cache.adopt(made, url, files)
    assert not made.exists() and len(_names(tmp_path / "cache")) == 1, "it makes room as what is fetched does"
    fetched = len(remote.fetched)
    assert (cache.folder(url, files, Hold()) / "sub" / "b").read_bytes() == b"b" and len(
        remote.fetched
    ) == fetched


def test_many_threads_and_caches_fetch_one_thing_once(remote, stored, tmp_path) -> None:
    url, files = stored("one")
    remote.pause = 0.2
    with ThreadPoolExecutor(6) as pool:
        caches = [ArtifactCache(remote, tmp_path / "cache", 10 * SIZE) for _ in range(6)]
        copies = set(pool.map(lambda cache: cache.folder(url, files, Hold()), caches))
    assert len(copies) == 1 and len(remote.fetched) == len(files)


def test_files_of_an_artifact_are_fetched_side_by_side(remote, stored, tmp_path) -> None:
    url, files = stored("one")
    both = threading.Barrier(2, timeout=20)
    remote.get_file = lambda rpath, lpath: (both.wait(), LocalFileSystem.get_file(remote, rpath, lpath))
    assert ArtifactCache(remote, tmp_path / "cache", 10 * SIZE).folder(url, files, Hold())


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_what_is_not_as_it_was_stored_is_refused_and_leaves_nothing(
    remote, stored, tmp_path, damage: str
) -> None:
    url, files = stored("one")
    file = Path(url, "a.bin")
    file.write_bytes(b"?" * (SIZE - 1)) if damage == "changed" else file.unlink()
    cache = ArtifactCache(remote, tmp_path / "cache", 10 * SIZE)
    with pytest.raises(NotAsStored, match=rf"a\.bin.*{damage}"):
        cache.folder(url, files, Hold())
    assert not _names(tmp_path / "cache") and (tmp_path / "cache" / ".usage").read_text() == "0"
    stored("one")
    assert cache.folder(url, files, Hold())


def test_a_damaged_copy_is_fetched_again(remote, stored, tmp_path) -> None:
    url, files = stored("one")
    copy = ArtifactCache(remote, tmp_path / "cache", 10 * SIZE).folder(url, files, Hold())
    (copy / "a.bin").write_bytes(b"?")
    again = ArtifactCache(remote, tmp_path / "cache", 10 * SIZE).folder(url, files, Hold())
    assert sha256(again / "a.bin") == files["a.bin"][1]
    assert (tmp_path / "cache" / ".usage").read_text() == str(SIZE)


_READER = """
import json, sys
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from curation_assets.engine.artifact_cache import ArtifactCache, Hold
cache = ArtifactCache(LocalFileSystem(), Path(sys.argv[1]), int(sys.argv[2]))
hold = Hold()
print(cache.folder(sys.argv[3], json.loads(sys.argv[4]), hold), flush=True)
input()
"""


@pytest.mark.process
def test_what_another_process_holds_stays_until_it_ends_also_by_a_kill(remote, stored, tmp_path) -> None:
    import json

    url, files = stored("held")
    command = [sys.executable, "-c", _READER, str(tmp_path / "cache"), str(2 * SIZE), url, json.dumps(files)]
    cache = ArtifactCache(remote, tmp_path / "cache", 2 * SIZE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        held = Path(reader.stdout.readline().strip())
        for name in ("a", "b", "c"):
            cache.folder(*stored(name), Hold())
            assert (held / "a.bin").exists()
        reader.kill()
    for name in ("a", "b"):
        cache.folder(*stored(name), Hold())
    assert not held.exists()


_DIES = """
import os, signal, sys
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from curation_assets.engine.artifact_cache import ArtifactCache, Hold
class Dying(LocalFileSystem):
    def get_file(self, rpath, lpath, **options):
        Path(lpath).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
ArtifactCache(Dying(), Path(sys.argv[1]), 2000).folder(sys.argv[2], {"a.bin": (999, "x"), "sub/b": (1, "y")}, Hold())
"""


@pytest.mark.process
def test_a_killed_fetch_leaves_nothing_that_counts(remote, stored, tmp_path) -> None:
    url, files = stored("one")
    subprocess.run([sys.executable, "-c", _DIES, str(tmp_path / "cache"), url], check=False)
    assert not _names(tmp_path / "cache") and list((tmp_path / "cache").glob(".partial-*"))
    cache = ArtifactCache(remote, tmp_path / "cache", 2 * SIZE)
    for name in ("x", "y"):  # beyond the limit, by the count of the killed one: what there is is looked at
        cache.folder(*stored(name), Hold())
    assert not list((tmp_path / "cache").glob(".partial-*"))
    assert cache.folder(url, files, Hold())
