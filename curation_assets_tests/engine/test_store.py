"""Artifacts are whole or absent, damage is noticed, and remote stores behave like local ones."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.common.files import fingerprint, safe_name, seal, write_bytes, write_json
from curation_assets.engine.store import DamagedArtifact, Receipt, Store


def _receipt(version: str = "v1", partition: str = "a.jsonl") -> Receipt:
    return Receipt(
        "corpus/documents", partition, version, "r", "c", {"corpus/shards": "s"}, "", {}, {"rows": 3}
    )


def _put(store: Store, content: str, version: str = "v1") -> Receipt:
    with store.staged("corpus/documents", "a.jsonl") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "part.txt").write_text(content)
        return store.commit(folder, _receipt(version))


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"
    return Store(url, tmp_path / "cache")


def test_what_is_committed_can_be_opened(store: Store) -> None:
    done = _put(store, "hello")
    assert store.receipt("corpus/documents", "a.jsonl") == done
    assert (store.open("corpus/documents", "a.jsonl") / "sub" / "part.txt").read_text() == "hello"
    assert done.files["sub/part.txt"][0] == 5 and done.metadata == {"rows": 3}


def test_a_new_version_replaces_the_old_and_only_one_old_one_stays(store: Store) -> None:
    for number in range(4):
        _put(store, f"text {number}", f"v{number}")
    assert (store.open("corpus/documents", "a.jsonl") / "sub" / "part.txt").read_text() == "text 3"
    folders = [
        e
        for e in store.fs.ls(store.place("corpus/documents", "a.jsonl"), detail=True)
        if e["type"] == "directory"
    ]
    assert len(folders) == 2


@pytest.mark.parametrize("change", [{"newer": 1}, {"files": 3}, {"files": {"a": [1]}}])
def test_a_receipt_of_another_version_counts_as_none(store: Store, change: dict[str, object]) -> None:
    done = _put(store, "hello")
    place = store.place("corpus/documents", "a.jsonl")
    store.write(f"{place}/current.json", seal(asdict(done) | change))
    assert store.receipt("corpus/documents", "a.jsonl") is None
    store.write(f"{place}/current.json", seal({"key": "corpus/documents"}))
    assert store.receipt("corpus/documents", "a.jsonl") is None
    assert [receipt.folder for receipt in store.replaced("corpus/documents", "a.jsonl")] == [done.folder]
    _put(store, "made anew")


def test_a_failed_write_leaves_the_old_artifact_and_no_rubbish(store: Store) -> None:
    _put(store, "old")
    with pytest.raises(OSError, match="disk full"), store.staged("corpus/documents", "a.jsonl") as folder:
        (folder / "half").write_text("x")
        raise OSError("disk full")
    assert (store.open("corpus/documents", "a.jsonl") / "sub" / "part.txt").read_text() == "old"
    assert not list(Path(store.root).rglob(".staging-*")) and not list(store.cache.rglob(".staging-*"))


_WRITER = """
import sys
from pathlib import Path
from curation_assets.engine.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
with store.staged("corpus/documents", "a.jsonl") as staged, store.temporary() as meanwhile:
    for folder in (staged, meanwhile):
        (folder / "half").write_text("x")
    print(staged, meanwhile, flush=True)
    input()
"""


@pytest.mark.process
def test_what_a_killed_process_staged_goes_and_what_a_living_one_does_stays(store: Store) -> None:
    command = [sys.executable, "-c", _WRITER, store.root if store.local else f"memory://{store.root}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen([*command, str(store.cache)], **pipes) as killed,
        subprocess.Popen([*command, str(store.cache)], **pipes) as living,
        store.staged("corpus/documents", "a.jsonl") as own,
    ):
        dead, others = ([Path(p) for p in process.stdout.readline().split()] for process in (killed, living))
        killed.kill()
        killed.wait()
        assert all((folder / "half").exists() for folder in [*dead, *others])
        assert store.receipt("corpus/documents", "a.jsonl") is None
        _put(store, "new")  # whoever commits leaves the rest alone
        store.remove_abandoned()
        assert not any(folder.exists() for folder in dead)
        assert all((folder / "half").exists() for folder in others) and own.exists()
        living.communicate("\n")
        assert living.returncode == 0
    assert not any(folder.exists() for folder in [*others, own])
    assert store.open("corpus/documents", "a.jsonl")


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_damage_on_disk_is_noticed_and_the_artifact_counts_as_missing(tmp_path: Path, damage: str) -> None:
    _put(Store(str(tmp_path), tmp_path / "cache"), "hello")
    store = Store(str(tmp_path), tmp_path / "cache")  # another process would have no memory of having checked
    receipt = store.receipt("corpus/documents", "a.jsonl")
    assert receipt is not None
    path = Path(store.place("corpus/documents", "a.jsonl"), receipt.folder, "sub", "part.txt")
    if damage == "delete":
        path.unlink()
    else:
        path.write_text("hell" if damage == "truncate" else "jello")
    with pytest.raises((DamagedArtifact, FileNotFoundError), match="corpus/documents"):
        store.open("corpus/documents", "a.jsonl")
    assert store.receipt("corpus/documents", "a.jsonl") is None
    _put(store, "hello")
    assert (store.open("corpus/documents", "a.jsonl") / "sub" / "part.txt").read_text() == "hello"


def test_a_torn_receipt_counts_as_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path), tmp_path / "cache")
    _put(store, "hello")
    path = Path(store.place("corpus/documents", "a.jsonl"), "current.json")
    path.write_text(path.read_text()[:40])
    assert store.receipt("corpus/documents", "a.jsonl") is None


@given(st.data())
def test_no_changed_byte_of_a_receipt_is_believed(data: st.DataObject) -> None:
    """One flipped bit anywhere: the receipt reads as it was written, or counts as none. Nothing raises."""
    store = Store(f"memory://flip-{uuid.uuid4().hex}", Path("unused"))
    done = Receipt(
        "k", "p", "v", "r", "c", {"corpus/shards": "s"}, "", {}, {"rows": 31, "share": 0.25, "by": {7: 1}}
    )
    place = f"{store.place('k', 'p')}/current.json"
    content = bytearray(seal(asdict(done)))
    store.fs.pipe_file(place, bytes(content))
    read = store.receipt("k", "p")
    assert read is not None and read.metadata == {"rows": 31, "share": 0.25, "by": {"7": 1}}
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    content[at] ^= 1 << bit
    store.fs.pipe_file(place, bytes(content))
    assert store.receipt("k", "p") in (None, read)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '"x"', "null", '{"sha256": 1}', "[" * 100_000, "NaN", "\x00"]
)
def test_what_is_no_receipt_counts_as_none(tmp_path: Path, content: str) -> None:
    store = Store(str(tmp_path), tmp_path / "cache")
    _put(store, "hello")
    Path(store.place("corpus/documents", "a.jsonl"), "current.json").write_text(content)
    assert store.receipt("corpus/documents", "a.jsonl") is None


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_local_copy_is_fetched_again(tmp_path: Path, damage: str) -> None:
    url = f"memory://copy-{uuid.uuid4().hex}"
    _put(Store(url, tmp_path / "cache"), "hello")
    copy = Store(url, tmp_path / "cache").open("corpus/documents", "a.jsonl") / "sub" / "part.txt"
    copy.unlink() if damage == "delete" else copy.write_text("jello")
    again = Store(url, tmp_path / "cache")
    assert (again.open("corpus/documents", "a.jsonl") / "sub" / "part.txt").read_text() == "hello"
    assert again.receipt("corpus/documents", "a.jsonl") is not None


def test_an_object_that_is_gone_counts_as_damage(tmp_path: Path) -> None:
    url = f"memory://gone-{uuid.uuid4().hex}"
    store = Store(url, tmp_path / "cache")
    done = _put(store, "hello")
    store.fs.rm_file(f"{store.place('corpus/documents', 'a.jsonl')}/{done.folder}/sub/part.txt")
    with pytest.raises(DamagedArtifact, match=r"sub/part.txt is gone"):
        Store(url, tmp_path / "cache").open("corpus/documents", "a.jsonl")
    assert store.receipt("corpus/documents", "a.jsonl") is None, "so that it is made anew"


def test_what_was_made_anew_meanwhile_is_not_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path), tmp_path / "cache")
    _put(store, "old")

    def made_anew(folder: Path, receipt: Receipt) -> str:
        _put(store, "new")
        return "part.txt changed on disk"

    with monkeypatch.context() as patch, pytest.raises(DamagedArtifact):
        patch.setattr("curation_assets.engine.store._damaged", made_anew)
        Store(str(tmp_path), tmp_path / "cache").open("corpus/documents", "a.jsonl")
    assert (store.open("corpus/documents", "a.jsonl") / "sub" / "part.txt").read_text() == "new"


def test_a_pinned_artifact_is_known_by_its_content_not_its_preview(store: Store) -> None:
    versions = []
    for preview in ("one", "two"):
        with store.staged("k", "") as folder:
            write_json(folder / "preview.json", {"shown": preview})
            write_bytes(folder / "weights", b"same")
            versions.append(store.commit(folder, Receipt("k", "", "", "r", "c", {}, "", {})).version)
    assert versions[0] == versions[1] != ""


def test_opening_what_is_not_there_says_what_to_materialize(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match=r"clusters/centroids has not been materialized"):
        store.open("clusters/centroids")


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_partition_keys_become_distinct_safe_names(one: str, other: str) -> None:
    try:
        one.encode(), other.encode()
    except UnicodeEncodeError:
        return
    name = safe_name(one)
    assert "/" not in name and name not in (".", "..") and not name.startswith(".") and len(name) <= 160
    assert (name == safe_name(other)) == (one == other)


def test_fingerprints_are_fixed_for_good() -> None:
    assert fingerprint("a", {"y": 1, "x": [None, 2.5]}) == fingerprint("a", {"x": [None, 2.5], "y": 1})
    assert fingerprint("corpus/documents", 1, None) == "528046bf546ddad16cc1"
    with pytest.raises(ValueError):
        fingerprint(float("nan"))


def test_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1})
    write_json(tmp_path / "a.json", {"b": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_writers_at_once_leave_one_whole_artifact(tmp_path: Path) -> None:
    """What one has just put in place and not yet named in its receipt is no rubbish for another to clear away."""

    def write(version: str) -> None:
        _put(Store(str(tmp_path / "store"), tmp_path / "cache"), version, version)

    with ThreadPoolExecutor(6) as pool:
        for number in range(25):
            list(pool.map(write, [f"v{number}-{writer}" for writer in range(6)]))
            last = Store(str(tmp_path / "store"), tmp_path / "cache")
            assert last.receipt("corpus/documents", "a.jsonl") is not None, f"lost in round {number}"
