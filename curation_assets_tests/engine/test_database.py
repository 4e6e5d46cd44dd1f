"""The catalog's database where things go wrong: a file that is damaged, full, in use, or may only be read."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation_assets.config.profile import ProfileError
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.database import CatalogDamaged, CatalogUnavailable, Database
from curation_assets.engine.errors import one_line
from curation_assets.engine.receipt import Receipt

KEY = "corpus/documents"
MADE = Receipt(KEY, "a", "v", "r", "c", {}, f"{KEY}/a/v-1", {"f": (3, "d")}, created=1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a catalog that has something."""
    path = tmp_path / "odd ?#% folder" / "catalog.sqlite"
    catalog = _catalog(path)
    catalog.create("memory://store", [(MADE, True)], {"a": 1.0})
    return path


def _catalog(path: Path) -> Catalog:
    from sqlalchemy.engine import URL

    return Catalog(URL.create("sqlite", database=str(path)))


@pytest.mark.parametrize("content", [b"no database at all" * 500, b""])
def test_a_file_that_is_no_database_is_told_apart_from_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    catalog = _catalog(path)
    if not content:
        assert catalog.about() == {} and catalog.intact()
        return
    assert not catalog.intact()
    with pytest.raises(CatalogDamaged, match=r"is damaged .*: `curation catalog rebuild` makes it anew"):
        catalog.about()
    aside = catalog.set_aside()
    assert aside.read_bytes() == content and catalog.about() == {}


def test_a_flipped_page_is_damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = bytes(64)
    path.write_bytes(content)
    assert not _catalog(path).intact()
    with pytest.raises(CatalogDamaged) as raised:
        _catalog(path).current(KEY, "a")
    assert "\n" not in str(one_line(raised.value)), "one line for people"


def test_a_full_disk_and_another_writer_are_one_line_each(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = _catalog(path)

    def small(connection: object) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]
        for number in range(200):
            connection.exec_driver_sql("INSERT INTO marks VALUES (?, 1.0)", (f"{number}" * 500,))  # type: ignore[attr-defined]

    with pytest.raises(CatalogUnavailable, match=r"database or disk is full.*free some space"):
        catalog._database.write(small)
    assert catalog.marks() == {"a": 1.0}, "nothing of it was written"
    monkeypatch.setitem(sys.modules[Database.__module__]._OPTIONS, "timeout", 0.05)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogUnavailable, match=r"is in use.*call the same command again"):
            catalog.mark(["b"])
    other.close()


def test_a_file_that_was_replaced_while_it_was_kept_open_is_let_go(path: Path) -> None:
    catalog = _catalog(path)
    with catalog.writer():
        assert catalog.current(KEY, "a") == MADE
        shutil.rmtree(path.parent)
        _catalog(path).create("memory://another", [], {"b": 2.0})
        assert catalog.marks() == {"b": 2.0} and catalog.current(KEY, "a") is None
        catalog.mark(["c"])
    assert _catalog(path).marks().keys() == {"b", "c"}


def test_many_threads_read_and_write_what_is_kept_open(path: Path) -> None:
    catalog = _catalog(path)

    def use(number: int) -> Receipt | None:
        catalog.mark([f"{number}"])
        return catalog.current(KEY, "a")

    with catalog.writer(), ThreadPoolExecutor(12) as pool:
        assert [*pool.map(use, range(60))] == [MADE] * 60
        assert _catalog(path).marks().keys() == {"a", *map(str, range(60))}, "others see it at once"
    assert not path.with_name(f"{path.name}-wal").exists()


_READER = """
import os, sys
from sqlalchemy.engine import URL
from curation_assets.config.profile import ProfileError
from curation_assets.engine.catalog import Catalog
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
catalog = Catalog(URL.create("sqlite", database=sys.argv[1]))
print(catalog.current("corpus/documents", "a").folder, catalog.marks())
try:
    catalog.mark(["b"])
except ProfileError as error:
    print(error)
"""


@pytest.mark.process
@pytest.mark.parametrize("in_use", [False, True])
def test_who_may_not_write_reads(in_use: bool) -> None:
    """A WAL database asks for a file beside it; where that may not be written the file is read as it is."""
    with tempfile.TemporaryDirectory() as folder:  # which others may look into, unlike pytest's
        path = Path(folder, "catalog.sqlite")
        _catalog(path).create("memory://store", [(MADE, True)], {"a": 1.0})
        writer = sqlite3.connect(path) if in_use else None
        if writer is not None:  # then the last commit is in the log alone
            writer.execute("UPDATE marks SET asked = 2.0")
            writer.commit()
        for readable in path.parent.iterdir():
            readable.chmod(0o444)
        path.parent.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", _READER, str(path)], capture_output=True, text=True)
        path.parent.chmod(0o755)
        if writer is not None:
            writer.close()
    read, *refused = done.stdout.splitlines()
    assert read == f"{MADE.folder} {{'a': {2.0 if in_use else 1.0}}}", done.stderr
    assert len(refused) == 1 and "cannot be used (attempt to write a readonly database)" in refused[0]


def test_what_is_read_without_a_lock_is_read_again_when_it_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "_for_reading", lambda database: True)
    database, seen = _catalog(path)._database, []

    def read(connection: object) -> object:
        seen.append(connection.exec_driver_sql("SELECT asked FROM marks").scalar())  # type: ignore[attr-defined]
        if len(seen) == 1:  # another process commits, and SQLite writes its log into the file
            with sqlite3.connect(path) as other:
                other.execute("UPDATE marks SET asked = 7.0")
            other.close()
        return seen[-1]

    assert database.read(read) == 7.0 and seen == [1.0, 7.0]


@pytest.mark.parametrize("url", ["postgresql+psycopg://", "mysql://x/y", "sqlite", "nonsense://", "http://x"])
def test_what_is_no_database_is_a_mistake_in_the_profile(url: str) -> None:
    if url.startswith("postgresql"):
        assert Database(url).name == "postgresql+psycopg://"
        return
    with pytest.raises(ProfileError, match=r"execution\.catalog"):
        Database(url)


def test_no_password_is_shown() -> None:
    assert (
        Database("postgresql+psycopg://me:secret@host/name").name == "postgresql+psycopg://me:***@host/name"
    )
