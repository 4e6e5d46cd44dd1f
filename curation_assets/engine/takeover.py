"""Which catalog is a store's: a new one is made of the manifests that lie there, and nobody else's is taken for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy.engine import URL

from curation_assets.common.files import fingerprint, read_json
from curation_assets.common.progress import Progress, silent
from curation_assets.config.profile import ProfileError
from curation_assets.engine.catalog import ALONE, BEFORE, FORMAT, Catalog, RoleTaken
from curation_assets.engine.database import CatalogDamaged
from curation_assets.engine.receipt import Receipt, parse_receipt
from curation_assets.engine.store import Store

_SQLITE = "catalog.sqlite"
# What the version before wrote: beside an artifact's folders which one is current and who was making it, and what to learn anew.
_POINTER, _ATTEMPT, _LOCK, _MARKS = "current.json", "attempt.json", ".lock", "refresh.json"


@dataclass(frozen=True)
class Rebuilt:
    """What came of making a catalog anew.

    Attributes
    ----------
    current, replaced : artifacts, by asset key.
    incomplete : folders that have no whole manifest, or not the files that it names: of runs that were killed, or damaged.
    set_aside : what the damaged file of before is called now; None where it was not damaged.
    began_anew : whether attempts and marks are forgotten, since there was no catalog that could be read.
    """

    current: Counter[str]
    replaced: Counter[str]
    incomplete: list[str]
    set_aside: Path | None
    began_anew: bool


def open_catalog(url: str, store: Store, data: Path) -> Catalog:
    """Return the catalog of a store: at `url`, or in the data folder.

    A new catalog begins with what lies in the store. Nothing is made again for that.

    Raises
    ------
    ProfileError
        The store is another catalog's, or the catalog another store's, or of another format.
    """
    catalog = _catalog(url, store, data)
    owner, here = store.owner, _url(store)
    about = _about(catalog)  # after the owner: who begins a catalog has it before it has the store
    if not about:
        if (owner and not Path(store.root).is_relative_to(data)) or not _take_over(catalog, store, data):
            raise ProfileError(
                f"{here} is the store of another catalog than {catalog.name}: name that one in execution.catalog; or, if it is "
                "gone, `curation catalog rebuild` makes one here of what lies there"
            )
    elif about["format"] != FORMAT:
        raise ProfileError(
            f"the catalog {catalog.name} has format {about['format']}, and this version reads format {FORMAT}: use the version "
            "that wrote it, or have `curation catalog rebuild` make it anew of what lies in the store"
        )
    elif not owner and (about["store"] == here or catalog.leave_store()):
        if not _take_over(catalog, store, data):  # a first try may have been killed in the middle
            _refuse(catalog, about, store.owner, here)
    elif owner != about["id"]:
        _refuse(catalog, about, owner, here)
    return catalog


def _catalog(url: str, store: Store, data: Path) -> Catalog:
    """Return the catalog as it is; in the data folder each store has one of its own."""
    inside = Path(store.root).is_relative_to(data)
    name = _SQLITE if inside else f"catalog-{fingerprint(_url(store))}.sqlite"
    return Catalog(url or URL.create("sqlite", database=str(data / name)))


def _about(catalog: Catalog) -> dict[str, str]:
    """Return what a catalog says of itself; one of the format before becomes one of this first."""
    if catalog.about().get("format") == BEFORE:
        catalog.upgrade()
    return catalog.about()


def _about_or_aside(catalog: Catalog) -> tuple[dict[str, str], Path | None]:
    """Return what a catalog says of itself, or nothing and what its file is called now, since it was damaged."""
    with suppress(CatalogDamaged):
        about = _about(catalog)
        if catalog.intact():
            return about, None
    return {}, catalog.set_aside()


def _url(store: Store) -> str:
    return str(store.fs.unstrip_protocol(store.root))


def _refuse(catalog: Catalog, about: Mapping[str, str], owner: str, here: str) -> NoReturn:
    whose = f"of the store {about['store']}" if not owner else f"not the one of {here}"
    raise ProfileError(
        f"the catalog {catalog.name} is {whose}: give each store a catalog of its own (execution.catalog, execution.store)"
    )


def _take_over(catalog: Catalog, store: Store, data: Path) -> bool:
    """Begin a catalog, where none was, of what lies in the store; False where it became another one's meanwhile.

    What the version before wrote is not needed any more then.
    """
    there = () if catalog.about() else _artifacts(store)
    owner = catalog.create(_url(store), there, _marks(data))
    _forget_pointers(store, data)
    return store.claim(owner)


def rebuild_catalog(url: str, store: Store, data: Path, progress: Progress = silent) -> Rebuilt:
    """Make the catalog of a store anew from the manifests that lie there, whichever catalog was its before.

    Raises
    ------
    ProfileError
        The catalog is another store's, or somebody is making artifacts.
    """
    catalog, here = _catalog(url, store, data), _url(store)
    about, aside = _about_or_aside(catalog)
    if about and about["store"] != here and store.owner != about["id"]:
        _refuse(catalog, about, store.owner, here)
    rebuilt = Rebuilt(Counter(), Counter(), [], aside, about.get("format") != FORMAT)
    if rebuilt.began_anew:
        catalog.create(here, (), _marks(data))
    try:
        with catalog.writer(ALONE):
            _read_manifests(catalog, store, rebuilt, progress)
    except RoleTaken as taken:
        raise ProfileError(f"{taken} is at work here: rebuild the catalog when it has ended") from None
    if not store.owner:
        _forget_pointers(store, data)
    store.owner = catalog.about()["id"]
    return rebuilt


def _read_manifests(catalog: Catalog, store: Store, rebuilt: Rebuilt, progress: Progress) -> None:
    pointers = None if store.owner else _pointers(store)  # what a kill left of them is older than the catalog
    keys = sorted({*store.asset_keys(), *catalog.asset_keys()})
    for number, key in enumerate(keys):
        there = list(_artifacts_of(store, key, pointers, rebuilt.incomplete))
        catalog.rebuild(key, there)
        for kind, is_current in ((rebuilt.current, True), (rebuilt.replaced, False)):
            kind[key] += sum(current == is_current for _, current in there)
        progress(number + 1, len(keys), "assets", f"{sum(rebuilt.current.values()):,} artifacts")


def _artifacts(store: Store) -> Iterator[tuple[Receipt, bool]]:
    """Yield (artifact, whether it is current) of what lies in a store."""
    pointers = _pointers(store)
    for key in store.asset_keys():
        yield from _artifacts_of(store, key, pointers, [])


def _artifacts_of(
    store: Store, key: str, pointers: _Pointers | None, incomplete: list[str]
) -> Iterator[tuple[Receipt, bool]]:
    """Yield (artifact, whether it is current) of what lies in a store of a key."""
    by_place: dict[str, list[Receipt]] = {}
    for folder, receipt in store.manifests(store.folders(key)):
        place = folder.path.rpartition("/")[0]
        whole = receipt is not None and folder.holds(receipt)
        if receipt is None or not whole or store.place(receipt.key, receipt.partition) != place:
            incomplete.append(folder.path)
        else:
            by_place.setdefault(place, []).append(receipt)
    for place, receipts in by_place.items():
        current = _current(place, receipts, pointers)
        yield from ((receipt, receipt.folder == current) for receipt in receipts)


def _current(place: str, receipts: list[Receipt], pointers: _Pointers | None) -> str:
    """Return which folder is current: what a pointer of the version before says, or else what was made last.

    What had no pointer was withdrawn; what is withdrawn now has no manifest.
    """
    pointed = pointers.get(place, "") if pointers is not None else None
    return max(receipts, key=lambda one: (one.created, one.folder)).folder if pointed is None else pointed


_Pointers = Mapping[str, str | None]
"""{place of an artifact's folders: the one that is current}; None: whichever was made last, since the pointer is damaged."""


def _pointers(store: Store) -> _Pointers | None:
    """Return what the version before wrote; None where it wrote nothing."""
    pointers = {}
    for path in store.named(_POINTER):
        place = path.removeprefix(f"{store.root}/").removesuffix(f"/{_POINTER}")
        receipt = parse_receipt(store.read(path))
        pointers[place] = f"{place}/{receipt.folder}" if receipt else None
    return pointers or None


def _marks(data: Path) -> dict[str, float]:
    try:
        marks: Any = read_json(data / _MARKS)
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {str(title): float(when) for title, when in marks.items()} if isinstance(marks, dict) else {}


def _forget_pointers(store: Store, data: Path) -> None:
    _remove(store, (path for name in (_ATTEMPT, _LOCK, _POINTER) for path in store.named(name)))
    (data / _MARKS).unlink(missing_ok=True)


def _remove(store: Store, paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            store.fs.rm_file(path)
