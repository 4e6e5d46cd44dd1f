"""A data folder with a few artifacts that nobody had to compute: a listing of two files, and something made of each."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from curation_assets.common.files import seal
from curation_assets.config.profile import load_profile
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.catalog_tables import UNLISTED
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.making import commit

SOURCE, SHARDS, DOCUMENTS = "corpus/source", "corpus/shards", "corpus/documents"


def stocked(folder: Path, patch: pytest.MonkeyPatch, store: str = "") -> Workspace:
    """Make the data folder."""
    patch.setenv("CURATION_DATA", str(folder / "data"))
    patch.setenv("CURATION_PROFILE", "local")
    workspace = opened(store)
    lists(workspace, "a", "b")
    for key in (SHARDS, DOCUMENTS):
        for shard in ("a", "b"):
            make(workspace, key, shard)
    return workspace


def opened(store: str = "") -> Workspace:
    """Open it as another process would."""
    profile = load_profile()
    execution = profile.execution.model_copy(update={"store": store})
    return Workspace(profile.model_copy(update={"execution": execution}))


def make(
    workspace: Workspace, key: str, partition: str, text: str = "text", *, version: str = "v"
) -> Receipt:
    """Make an artifact of two files current."""
    with workspace.store.staged() as folder:
        (folder / "below").mkdir()
        (folder / "below" / "losses.npy").write_text(text)
        (folder / "table").write_text("a table")
        draft = Receipt(
            key, partition, version, f"recipe of {text}", "code", {}, "", {}, {"rows": 3}, time.time(), 0.5
        )
        return commit(workspace, folder, draft)


def lists(workspace: Workspace, *shards: str) -> None:
    """Make a listing current, as a run does: the catalog hears which files there are."""
    workspace.catalog.note_listed(shards, workspace.catalog.partitions_of(SHARDS))
    with workspace.store.staged() as folder:
        (folder / "shards.json").write_text(json.dumps({shard: {} for shard in shards}))
        commit(workspace, folder, Receipt(SOURCE, "", "v", "r", "c", {}, "", {}, {}, time.time()))


def publish(workspace: Workspace, key: str, partition: str) -> Receipt:
    """Write a folder that nothing refers to."""
    with workspace.store.staged() as folder:
        (folder / "table").write_text("a table")
        return workspace.store.publish(
            folder, Receipt(key, partition, "v", "r", "c", {}, "", {}, {}, time.time())
        )


def titles(workspace: Workspace) -> dict[tuple[str, str], str]:
    """Return {(key, partition): folder} of what is current."""
    catalog = workspace.catalog
    return {
        (key, p): one.folder for key in catalog.asset_keys() for p, one in catalog.current_of(key).items()
    }


def as_before(workspace: Workspace) -> None:
    """Turn a data folder into one of the version before the catalog: pointers beside the folders, and marks in a file."""
    store, catalog = workspace.store, workspace.catalog
    for key in catalog.asset_keys():
        for receipt, current in catalog.all_of(key):
            sealed = seal({**_fields(receipt), "folder": receipt.folder.rpartition("/")[2]})
            store.write(store.path(receipt, "receipt.json"), sealed)
            if current:
                place = f"{store.root}/{store.place(key, receipt.partition)}"
                store.write(f"{place}/current.json", sealed)
                store.write(f"{place}/attempt.json", b"{}")
                store.write(f"{place}/.lock", b"")
    (workspace.data / "refresh.json").write_text(json.dumps(catalog.marks()))
    store.fs.rm_file(f"{store.root}/catalog.json")
    for path in workspace.data.glob("catalog*.sqlite*"):
        path.unlink()


def _fields(receipt: Receipt) -> dict[str, object]:
    return dict(vars(replace(receipt)))


def unlisted(catalog: Catalog) -> dict[str, float]:
    """Return {corpus file: since when it is not listed any more}."""
    return catalog._database.read(lambda c: dict(c.execute(sa.select(UNLISTED)).tuples().all()))


def replaced(catalog: Catalog, key: str, partition: str) -> list[Receipt]:
    """Return the artifacts that the current one replaced, as far as they are kept; the latest first."""
    there = [one for one, current in catalog.all_of(key) if not current]
    return sorted((one for one in there if one.partition == partition), key=lambda one: -one.created)
