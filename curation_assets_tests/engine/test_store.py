"""Artifacts are whole or absent, damage is noticed, and remote stores behave like local ones."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.common.files import fingerprint, safe_name, seal, write_bytes, write_json
from curation_assets.engine import store as storage
from curation_assets.engine.receipt import Receipt, parse_receipt
from curation_assets.engine.store import MANIFEST, DamagedArtifact, Store


def _draft(version: str = "v1", partition: str = "a.jsonl") -> Receipt:
    return Receipt(
        "corpus/documents", partition, version, "r", "c", {"corpus/shards": "s"}, "", {}, {"rows": 3}
    )


def _publish(store: Store, content: str, version: str = "v1") -> Receipt:
    with store.staged() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "part.txt").write_text(content)
        return store.publish(folder, _draft(version))


def _manifests(store: Store) -> list[Receipt]:
    """Return what the manifests of a store say."""
    folders = [folder for key in store.asset_keys() for folder in store.folders(key)]
    return [receipt for folder, receipt in store.manifests(folders) if receipt and folder.holds(receipt)]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"
    return Store(url, tmp_path / "cache")


def test_what_is_published_can_be_read_and_its_manifest_says_what_it_is(store: Store) -> None:
    done = _publish(store, "hello")
    assert (store.folder(done) / "sub" / "part.txt").read_text() == "hello"
    assert done.files["sub/part.txt"][0] == 5 and done.metadata == {"rows": 3}
    assert _manifests(store) == [done] == store.intact([done], listed=True)


def test_folders_of_one_artifact_stay_apart_and_are_removed_alone(store: Store) -> None:
    one, other = _publish(store, "text"), _publish(store, "text")
    assert one.folder != other.folder and one.version == other.version
    store.remove([one])
    assert store.intact([one, other], listed=True) == [other]
    store.disown(other)
    assert not _manifests(store) and store.intact([other], listed=True) == [other]
    store.remove([one, other])


def test_a_failed_write_leaves_no_rubbish(store: Store) -> None:
    with pytest.raises(OSError, match="disk full"), store.staged() as folder:
        (folder / "half").write_text("x")
        raise OSError("disk full")
    assert not _manifests(store)
    assert not list(Path(store.root).rglob(".staging-*")) and not list(store.cache.rglob(".staging-*"))


_WRITER = """
import sys
from pathlib import Path
from curation_assets.engine.store import Store
store = Store(sys.argv[1], Path(sys.argv[2]))
with store.staged() as staged, store.temporary() as meanwhile:
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
        store.staged() as own,
    ):
        dead, others = ([Path(p) for p in process.stdout.readline().split()] for process in (killed, living))
        killed.kill()
        killed.wait()
        assert all((folder / "half").exists() for folder in [*dead, *others])
        made = _publish(store, "new")  # whoever publishes leaves the rest alone
        store.remove_abandoned()
        assert not any(folder.exists() for folder in dead)
        assert all((folder / "half").exists() for folder in others) and own.exists()
        living.communicate("\n")
        assert living.returncode == 0
    assert not any(folder.exists() for folder in [*others, own])
    assert store.folder(made)


def test_what_is_another_machines_goes_once_it_is_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock may not be seen here: it stays as long as it may be written to."""
    monkeypatch.setattr(storage, "_kernel", lambda: "another")
    with store.staged() as folder:
        theirs = folder.with_name(f"{folder.name[:-1]}_")
    theirs.mkdir()
    (theirs / "half").write_text("half")
    lock = theirs.with_name(f"{theirs.name}.lock")
    lock.touch()
    monkeypatch.undo()
    written = (theirs / "half").stat().st_mtime
    assert store.remove_abandoned() == store.remove_abandoned(written) == [] and theirs.exists()
    assert store.remove_abandoned(written + 1, dry_run=True) == [4] and theirs.exists()
    assert store.remove_abandoned(written + 1) == [4] and not theirs.exists() and not lock.exists()


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_damage_on_disk_is_noticed(tmp_path: Path, damage: str) -> None:
    done = _publish(Store(str(tmp_path), tmp_path / "cache"), "hello")
    store = Store(str(tmp_path), tmp_path / "cache")  # another process would have no memory of having checked
    path = Path(store.path(done, "sub/part.txt"))
    if damage == "delete":
        path.unlink()
    else:
        path.write_text("hell" if damage == "truncate" else "jello")
    with pytest.raises(DamagedArtifact, match="corpus/documents") as damaged:
        store.folder(done)
    assert damaged.value.receipt == done
    assert bool(store.intact([done], listed=False)) == (damage == "flip"), "sizes are looked at, not content"


@given(st.data())
def test_no_changed_byte_of_a_manifest_is_believed(data: st.DataObject) -> None:
    """One flipped bit anywhere: the receipt reads as it was written, or counts as none. Nothing raises."""
    done = Receipt(
        "k", "p", "v", "r", "c", {"corpus/shards": "s"}, "", {}, {"rows": 31, "share": 0.25, "by": {7: 1}}
    )
    content = bytearray(seal(asdict(done)))
    read = parse_receipt(bytes(content))
    assert read is not None and read.metadata == {"rows": 31, "share": 0.25, "by": {"7": 1}}
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    content[at] ^= 1 << bit
    assert parse_receipt(bytes(content)) in (None, read)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '"x"', "null", '{"sha256": 1}', "[" * 100_000, "NaN", "\x00"]
)
def test_what_is_no_manifest_counts_as_none(store: Store, content: str) -> None:
    done, damaged = _publish(store, "hello"), _publish(store, "hello")
    store.write(store.path(damaged, MANIFEST), content.encode())
    assert _manifests(store) == [done]


@pytest.mark.parametrize("change", [{"newer": 1}, {"files": 3}, {"files": {"a": [1]}}])
def test_a_manifest_of_another_version_counts_as_none(change: dict[str, object]) -> None:
    assert parse_receipt(seal(asdict(_draft()))) == _draft()
    assert parse_receipt(seal(asdict(_draft()) | change)) is None
    assert parse_receipt(seal({"key": "corpus/documents"})) is None


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_local_copy_is_fetched_again(tmp_path: Path, damage: str) -> None:
    url = f"memory://copy-{uuid.uuid4().hex}"
    done = _publish(Store(url, tmp_path / "cache"), "hello")
    copy = Store(url, tmp_path / "cache").folder(done) / "sub" / "part.txt"
    copy.unlink() if damage == "delete" else copy.write_text("jello")
    assert (Store(url, tmp_path / "cache").folder(done) / "sub" / "part.txt").read_text() == "hello"


def test_an_object_that_is_gone_counts_as_damage(tmp_path: Path) -> None:
    store = Store(f"memory://gone-{uuid.uuid4().hex}", tmp_path / "cache")
    done, whole = _publish(store, "hello"), _publish(store, "hello")
    store.fs.rm_file(store.path(done, "sub/part.txt"))
    assert store.folder(done), "who made it has a copy"
    with pytest.raises(DamagedArtifact, match=r"sub/part.txt is gone"):
        Store(store.fs.unstrip_protocol(store.root), tmp_path / "another machine").folder(done)
    assert store.intact([done, whole], listed=False) == [done, whole], "believed where nobody lists"
    assert store.intact([done, whole], listed=True) == [whole]


def test_a_pinned_artifact_is_known_by_its_content_not_its_preview(store: Store) -> None:
    versions = []
    for preview in ("one", "two"):
        with store.staged() as folder:
            write_json(folder / "preview.json", {"shown": preview})
            write_bytes(folder / "weights", b"same")
            versions.append(store.publish(folder, Receipt("k", "", "", "r", "c", {}, "", {})).version)
    assert versions[0] == versions[1] != ""


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
