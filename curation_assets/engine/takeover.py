"""Which catalog is a store's: a new one is made of the manifests that lie there, and nobody else's is taken for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from curation_assets.common.files import read_json
from curation_assets.config.profile import ProfileError
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.receipt import Receipt, parse_receipt
from curation_assets.engine.store import Store

_SQLITE = "catalog.sqlite"
# What the version before wrote: beside an artifact's folders which one is current and who was making it, and what to learn anew.
_POINTER, _ATTEMPT, _MARKS = "current.json", "attempt.json", "refresh.json"


def open_catalog(url: str, store: Store, data: Path) -> Catalog:
    """Return the catalog of a store: at `url`, or in the data folder.

    A new catalog begins with what lies in the store. Nothing is made again for that.

    Raises
    ------
    ProfileError
        The store is another catalog's, or the catalog another store's.
    """
    catalog = Catalog(url or f"sqlite:///{data / _SQLITE}")
    about, owner, here = catalog.about(), store.owner, store.fs.unstrip_protocol(store.root)
    if not about:
        if owner and not Path(store.root).is_relative_to(data):
            raise ProfileError(
                f"{here} is the store of another catalog than {catalog.name}: name that one in execution.catalog; or, if it is "
                "gone, `curation catalog rebuild` makes one here of what lies there"
            )
        store.owner = catalog.create(here, artifacts_of(store), _marks(data))
        _forget_pointers(store, data)
    elif not owner and (about["store"] == here or not catalog.any()):
        store.owner = about["id"]
    elif owner != about["id"]:
        whose = f"of the store {about['store']}" if not owner else f"not the one of {here}"
        raise ProfileError(
            f"the catalog {catalog.name} is {whose}: give each store a catalog of its own (execution.catalog, execution.store)"
        )
    return catalog


def rebuild_catalog(url: str, store: Store, data: Path) -> Catalog:
    """Make the catalog of a store anew from the manifests that lie there, whichever catalog was its before."""
    catalog = Catalog(url or f"sqlite:///{data / _SQLITE}")
    if catalog.about():
        catalog.rebuild(artifacts_of(store))
        store.owner = catalog.about()["id"]
    else:
        store.owner = catalog.create(store.fs.unstrip_protocol(store.root), artifacts_of(store), _marks(data))
    _forget_pointers(store, data)
    return catalog


def artifacts_of(store: Store) -> Iterator[tuple[Receipt, bool]]:
    """Yield (artifact, whether it is current) of what lies in a store.

    Current is what a pointer of the version before says, or else what was made last: of the same key and partition.
    """
    by_place: dict[tuple[str, str], list[Receipt]] = {}
    for receipt in store.manifests():
        by_place.setdefault((receipt.key, receipt.partition), []).append(receipt)
    pointers = {
        (r.key, r.partition): f"{store.place(r.key, r.partition)}/{r.folder}" for r in _pointers(store)
    }
    for at, receipts in by_place.items():
        last = max(receipts, key=lambda receipt: (receipt.created, receipt.folder))
        current = pointers.get(at, last.folder)
        yield from ((receipt, receipt.folder == current) for receipt in receipts)


def _pointers(store: Store) -> Iterator[Receipt]:
    for path in store.named(_POINTER):
        if (receipt := parse_receipt(store.read(path))) is not None:
            yield receipt


def _marks(data: Path) -> dict[str, float]:
    try:
        marks: Any = read_json(data / _MARKS)
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {str(title): float(when) for title, when in marks.items()} if isinstance(marks, dict) else {}


def _forget_pointers(store: Store, data: Path) -> None:
    _remove(store, (path for name in (_POINTER, _ATTEMPT) for path in store.named(name)))
    (data / _MARKS).unlink(missing_ok=True)


def _remove(store: Store, paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            store.fs.rm_file(path)
