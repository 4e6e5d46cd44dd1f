"""Flipped bits of receipts, in the catalog and beside the files: noticed, told of in one line, and never believed."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from curation_assets.cli.main import main
from curation_assets.config.profile import ProfileError
from curation_assets.engine.catalog import BEFORE, FORMAT
from curation_assets.engine.database import CatalogDamaged
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import FIELDS, Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.takeover import rebuild_catalog
from curation_assets.engine.verify import verify
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.engine.stocked import DOCUMENTS, SHARDS, SOURCE, make, opened, stocked, titles
from curation_assets_tests.making import attempt_of

KEYS = (SOURCE, SHARDS, DOCUMENTS)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A data folder with a few artifacts, and all of its catalog in one file."""
    workspace = stocked(tmp_path, monkeypatch)
    _all_in_one_file(_file(workspace))
    return workspace


def _file(workspace: Workspace) -> Path:
    return workspace.data / "catalog.sqlite"


def _all_in_one_file(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")


def _change(
    workspace: Workspace, column: str, value: object, partition: str = "a", key: str = DOCUMENTS
) -> None:
    with closing(sqlite3.connect(_file(workspace))) as connection, connection:
        at = (value, key, partition)
        connection.execute(f'UPDATE artifacts SET "{column}" = ? WHERE key = ? AND partition = ?', at)


def _receipts(workspace: Workspace) -> dict[tuple[str, str], Receipt]:
    versions = Versions(workspace)
    return {(key, p): one for key in KEYS for p, one in versions.receipts(key).items()}


def _rebuilt(workspace: Workspace) -> dict[tuple[str, str], Receipt]:
    """Return what `curation catalog rebuild` finds; the store is the former catalog's again afterwards."""
    owner = workspace.store.owner
    rebuild_catalog("", workspace.store, workspace.data)
    there = _receipts(opened())
    workspace.store.owner = owner
    return there


def test_no_flip_in_the_catalog_is_believed(workspace: Workspace, tmp_path: Path) -> None:
    """400 of them, anywhere in the file: what is read is as it was written, or missing, or there is one line."""
    path, sound, dice = _file(workspace), _receipts(workspace), random.Random(0)
    original, kept = path.read_bytes(), tmp_path / "kept"
    shutil.copytree(workspace.data, kept)
    written = [at for at, byte in enumerate(original) if byte]  # the rest is room
    missing = refused = 0
    for _ in range(400):
        content = bytearray(original)
        content[dice.choice(written)] ^= 1 << dice.randrange(8)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.write_bytes(content)
        try:
            there = _receipts(opened())
        except ProfileError as error:
            assert "\n" not in str(error)
            refused += 1
            if isinstance(error, CatalogDamaged):  # which says what helps
                assert _rebuilt(workspace) == sound
            continue
        assert all(sound.get(at) == one for at, one in there.items())
        missing += len(there) < len(sound)
    assert missing > 30 and refused > 3


@pytest.mark.parametrize("column", [name for name in FIELDS if name not in ("key", "partition", "folder")])
def test_a_damaged_entry_is_written_anew_from_its_manifest(
    workspace: Workspace, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, sound = titles(workspace), _receipts(workspace)
    _change(workspace, column, 1e9 if column in ("created", "seconds") else '{"x":"y"}')
    there = _receipts(workspace)
    assert there == {at: one for at, one in sound.items() if at != (DOCUMENTS, "a")}
    assert [str(reason) for reason in Versions(workspace).reasons(STEPS[DOCUMENTS], "a")] == [
        "damaged: its receipt was changed, or a file is missing or not as long as the receipt says"
    ]
    assert main(["catalog", "check"]) == 1
    assert capsys.readouterr().out.startswith(
        "corpus/documents[a]: its entry in the catalog was damaged; written anew from its manifest\n"
    )
    assert _receipts(workspace) == sound and titles(workspace) == before
    assert verify(workspace, digests=True).sound


def test_a_damaged_entry_without_a_manifest_is_withdrawn_and_the_plan_says_so(workspace: Workspace) -> None:
    receipt = workspace.artifact(DOCUMENTS, "a")
    workspace.store.fs.rm_file(workspace.store.path(receipt, "receipt.json"))
    _change(workspace, "version", "other")
    problem = "its entry in the catalog is damaged"
    assert verify(workspace, digests=False).damaged == {"corpus/documents[a]": problem}
    assert (DOCUMENTS, "a") not in titles(workspace)
    [reason] = Versions(workspace).reasons(STEPS[DOCUMENTS], "a")
    assert str(reason) == f"damaged, and withdrawn: {problem}"
    make(workspace, DOCUMENTS, "a")
    assert verify(workspace, digests=True).sound and not workspace.catalog.withdrawn()


@pytest.mark.parametrize("folder", ["", ".", "corpus", "corpus/documents/b", "../.."])
def test_no_folder_that_a_damaged_entry_names_is_removed(workspace: Workspace, folder: str) -> None:
    other = workspace.artifact(DOCUMENTS, "b")
    _change(workspace, "folder", folder)
    [damaged] = [one for one, _ in workspace.catalog.all_of(DOCUMENTS) if not one.sound]
    workspace.store.remove([damaged])
    workspace.withdraw(damaged, "x is gone")
    make(workspace, DOCUMENTS, "a")  # replaces it
    make(workspace, DOCUMENTS, "a")
    assert workspace.store.folder(other) and workspace.artifact(DOCUMENTS, "a")
    assert verify(workspace, digests=True).sound


def test_what_is_damaged_is_made_anew_in_its_place(workspace: Workspace) -> None:
    _change(workspace, "inputs", '{"corpus/shards":"x"}')
    made = make(workspace, DOCUMENTS, "a", "anew")
    assert workspace.artifact(DOCUMENTS, "a") == made
    assert verify(workspace, digests=True).entries == ["corpus/documents[a]"], "the one that was replaced"
    assert workspace.artifact(DOCUMENTS, "a") == made and verify(workspace, digests=True).sound


def test_a_catalog_of_the_version_before_is_believed_once_and_has_digests_then(workspace: Workspace) -> None:
    sound, about = _receipts(workspace), workspace.catalog.about()
    _as_before(workspace)
    assert _receipts(opened()) == sound
    assert workspace.catalog.about() == about | {"format": FORMAT}
    _change(workspace, "version", "other")
    assert _receipts(opened()).keys() == sound.keys() - {(DOCUMENTS, "a")}


def test_a_flip_in_a_catalog_of_the_version_before_ends_in_no_traceback(workspace: Workspace) -> None:
    """What it says is believed once more; where it can be read no more, it is made anew of what lies in the store."""
    sound, path, dice = _receipts(workspace), _file(workspace), random.Random(0)
    _as_before(workspace)
    _all_in_one_file(path)
    original = path.read_bytes()
    format_of_it = original.index(b"format2") + 6  # as one of another version it is that one's
    written = [at for at, byte in enumerate(original) if byte and at != format_of_it]
    refused = 0
    for _ in range(120):
        content = bytearray(original)
        content[dice.choice(written)] ^= 1 << dice.randrange(8)
        for left in path.parent.glob(f"{path.name}?*"):
            left.unlink()
        path.write_bytes(content)
        try:
            _receipts(opened())
        except CatalogDamaged as error:
            refused += 1
            assert "\n" not in str(error)
            assert _rebuilt(workspace) == sound
        except ProfileError as error:  # it seems to be another store's
            assert "\n" not in str(error)
    assert refused > 3


def test_a_run_of_the_version_before_is_waited_for(workspace: Workspace) -> None:
    attempt_of(workspace, DOCUMENTS, "c")
    _as_before(workspace)
    with pytest.raises(ProfileError, match=r"of the version before, and process \d+ .* is at work"):
        _receipts(opened())


def _as_before(workspace: Workspace) -> None:
    """Turn the catalog into one of the format before."""
    with closing(sqlite3.connect(_file(workspace))) as connection, connection:
        connection.execute("ALTER TABLE artifacts DROP COLUMN digest")
        connection.execute("DROP TABLE withdrawn")
        connection.execute("UPDATE about SET value = ? WHERE name = 'format'", (BEFORE,))


def test_a_damaged_index_is_one_line(workspace: Workspace) -> None:
    with closing(sqlite3.connect(_file(workspace))) as connection:
        [page] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'one_is_current'"
        ).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(_file(workspace).read_bytes())
    start = content.index(b"corpus/documentsa", (page - 1) * size)
    content[start + 3] ^= 1
    _file(workspace).write_bytes(content)
    with pytest.raises(CatalogDamaged, match="`curation catalog rebuild` makes it anew"):
        verify(opened(), digests=True)


def test_flips_of_manifests_are_written_over(workspace: Workspace) -> None:
    before, dice = _receipts(workspace), random.Random(1)
    for _ in range(60):
        receipt = before[dice.choice(sorted(before))]
        path = Path(workspace.store.path(receipt, "receipt.json"))
        original = path.read_bytes()
        content = bytearray(original)
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        verdict = verify(workspace, digests=True)
        assert not verdict.damaged and len(verdict.manifests) <= 1
        if verdict.manifests:  # else a blank became another one
            assert path.read_bytes() == original
        path.write_bytes(original)
    assert _receipts(workspace) == before
