"""Which files a corpus consists of, and opening one."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from curation_assets.common.files import file_system
from curation_assets.corpus import hub
from curation_assets.corpus.names import decoded, key_of, url_of, visible
from curation_assets.corpus.saved_datasets import only_saved
from curation_assets.corpus.skipped_files import BOOKKEEPING, set_aside, why_not_read
from curation_assets.corpus.walk import (
    Below,
    Entry,
    IncompleteListing,
    no_file,
    or_incomplete,
    store_entry,
    walk_local,
    walk_store,
)

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",  # one array, or one object a line, as C4 has it
    ".parquet": "parquet",
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_COMPRESSED_WITHIN = ("parquet", "arrow")
READ = f"{' '.join(FORMATS)}, the text formats also with {' '.join(COMPRESSIONS)}"
_ENCODED_ALREADY = ("http://", "https://")
_UNDERSCORE = 'a name that begins with "_", as bookkeeping has: rename it to have it read'
_FOLDER = "a folder, which the glob does not look into: one that ends in /** does"


@dataclass(frozen=True)
class ShardFile:
    """One corpus file.

    `key` is its path relative to the corpus, without a compression suffix, as `names.key_of` writes it. `url` is for
    `open_file`. `size` is in bytes; `mtime` in seconds since the epoch, or None where the store has none. `mtime` is a
    hint: only `digest` says what the content is. `leads_to` is the URL of the file that links lead to, "" without any.
    `sha256` is the digest where the listing gives it, else "". `source` and `read_as` are of `corpus.sources`.
    """

    key: str
    url: str
    size: int
    mtime: float | None
    leads_to: str = ""
    sha256: str = ""
    source: str = ""
    read_as: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The files of a corpus by key, and what else was seen; names are as `names.visible` writes them.

    Attributes
    ----------
    passed_over : (name, reason) of what is not read and may be meant as data; the name of a folder ends with "/".
    ignored : {kind: how many} of names that nobody means as data; see `skipped_files.set_aside`.
    alike : the names of files that differ in their compression alone: all are read, each under its whole name.
    commit : of a dataset of the hub, the one that is listed.
    """

    files: list[ShardFile]
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    alike: list[list[str]] = field(default_factory=list)
    commit: str = ""

    def of_source(self, name: str, read_as: Mapping[str, str]) -> Listing:
        """Return the listing of one of several sources: all names begin with the source's."""
        files = [replace(f, key=f"{name}/{f.key}", source=name, read_as=read_as) for f in self.files]
        passed_over = [(f"{name}/{file}", why) for file, why in self.passed_over]
        alike = [[f"{name}/{file}" for file in files] for files in self.alike]
        return replace(self, files=files, passed_over=passed_over, alike=alike)


def split_suffixes(name: str) -> tuple[str, str, str]:
    """Split a file name into (name without compression suffix, format, compression suffix); suffixes count in any case.

    The format is "jsonl", "json" (one array, or one object a line), "parquet", "text", "csv", "tsv" or "arrow"; the
    compression ".gz", ".zst", ".bz2", ".xz" or "". Raises ValueError for a name that is no corpus file.
    """
    suffix = _suffix(name)
    compression = _plain(suffix) if _plain(suffix) in COMPRESSIONS else ""
    bare = name.removesuffix(suffix) if compression else name
    kind = FORMATS.get(_plain(_suffix(bare)))
    if kind is None or (kind in _COMPRESSED_WITHIN and compression):
        raise ValueError(f"{visible(name)} is no corpus file ({why_not_read(name)}): expected {READ}")
    return bare, kind, compression


def _suffix(name: str) -> str:
    """Return what `PurePosixPath.suffix` does, which takes most of the time of a listing."""
    stem, dot, end = name.rpartition(".")
    return f"{dot}{end}" if stem and not stem.endswith("/") and "/" not in end else ""


def _plain(suffix: str) -> str:
    return (decoded(suffix) if "%" in suffix else suffix).strip().lower()


def find_files(url: str, storage_options: Mapping[str, Any] | None = None) -> Listing:
    """List the corpus files under a folder (recursively), by a glob, or at a single file's URL, sorted by key.

    Links to files and folders are followed. What is no corpus file is told of in the listing: see `Listing`.

    Raises
    ------
    FileNotFoundError : nothing is there, and for a glob: nothing matches. An existing, empty folder gives no files.
    walk.IncompleteListing : a part of it cannot be listed.
    ValueError : a single file that is asked for by name is no corpus file.
    """
    options = storage_options or {}
    dataset = hub.dataset_of(url)
    if dataset is None:
        return _find(url, options)
    commit = hub.commit_of(dataset, options)
    found = (
        _find(f"hf://{dataset.root(commit)}/{dataset.path}", options)
        if dataset.path
        else _of_the_hub(dataset, commit, options)
    )
    return replace(found, commit=commit)


def _find(url: str, options: Mapping[str, Any]) -> Listing:
    fs, path = _place(url, options)
    if fs is not None:
        fs.invalidate_cache()  # what was there at the last look
    kind = _kind(fs, path)
    if kind == "file":
        split_suffixes(path)
        root, _, name = path.rpartition("/")
        return _listing(fs, root, [_entry(fs, path, name)], _Sieve(Below()))
    if kind == "directory":
        root, pattern = path.rstrip("/"), "**"
    else:
        root, pattern = _split_glob(fs, path)
        if not pattern or _kind(fs, root) != "directory":
            raise FileNotFoundError(f"no corpus at {url}")
    below = Below(pattern)
    sieve = _Sieve(below)
    walk = walk_local(root, below, sieve.enter) if fs is None else walk_store(fs, root, below, sieve.enter)
    seen = [entry for entry in walk if sieve.lets_through(entry)]
    for folder, state in sieve.saved.items():
        content = or_incomplete(state, partial(_read_small, fs, f"{root}/{state}"))
        seen = only_saved(seen, folder, content, sieve.passed_over)
    if kind != "directory" and not (seen or sieve.passed_over or sieve.ignored):
        raise FileNotFoundError(f"no corpus at {url}: nothing matches")
    return _listing(fs, root, seen, sieve)


def _of_the_hub(dataset: hub.Dataset, commit: str, options: Mapping[str, Any]) -> Listing:
    """Return the listing of a config and split of a dataset of the hub; keys are paths in its repository."""
    root, sieve = dataset.root(commit), _Sieve(Below())
    fs, _ = file_system(f"hf://{root}", options)
    seen = [entry for entry in hub.files(dataset, commit, options) if sieve.lets_through(entry)]
    return _listing(fs, root, seen, sieve)


class _Sieve:
    """Lets corpus files through, and keeps what it did not and why."""

    def __init__(self, below: Below) -> None:
        self._below = below
        self.passed_over: dict[str, str] = {}
        self.ignored: Counter[str] = Counter()
        self.saved: dict[str, str] = {}  # folders as `datasets` saves them: what each has
        self._datasets: set[str] = set()

    def enter(self, folder: str) -> bool:
        """Tell whether to look into a folder."""
        if self._aside(f"{folder}/"):
            return False
        if not self._below.enters(folder):
            self.passed_over[f"{folder}/"] = _FOLDER
        return self._below.enters(folder)

    def lets_through(self, entry: Entry) -> bool:
        """Tell whether this is a corpus file."""
        folder, _, name = entry.path.rpartition("/")
        if self._aside(entry.path):
            if name == "dataset_info.json":
                self._datasets.add(folder)
            return False
        if name == "state.json" and folder in self._datasets:
            self.ignored[BOOKKEEPING] += 1
            self.saved[folder] = entry.path
            return False
        if why := entry.problem or ("" if _readable(entry.path) else why_not_read(entry.path)):
            self.passed_over[entry.path] = why
        return not why

    def _aside(self, path: str) -> bool:
        aside = set_aside(path)
        if aside is None:
            return False
        place, kind = aside
        if kind or not (place.endswith("/") or _readable(place)):
            self.ignored[kind or BOOKKEEPING] += 1  # _SUCCESS, _metadata
        else:
            self.passed_over[place] = _UNDERSCORE
        return True


def _readable(name: str) -> bool:
    with suppress(ValueError):
        split_suffixes(name)
        return True
    return False


def _listing(fs: Any, root: str, entries: list[Entry], sieve: _Sieve) -> Listing:
    bare = {entry.path: split_suffixes(entry.path)[0] for entry in entries}
    alike: dict[str, list[str]] = {}
    for path in sorted(bare):
        alike.setdefault(bare[path], []).append(path)
    files = {}
    for entry in entries:
        key = key_of(bare[entry.path] if len(alike[bare[entry.path]]) == 1 else entry.path)
        leads_to = f"file://{url_of(entry.leads_to)}" if entry.leads_to else ""
        path = f"{root}/{entry.path}" if root or fs is None else entry.path
        files[key] = ShardFile(key, _url(fs, path), entry.size, entry.mtime, leads_to, entry.sha256)
    return Listing(
        [files[key] for key in sorted(files)],
        [(visible(name), why) for name, why in sorted(sieve.passed_over.items())],
        dict(sieve.ignored),
        [[visible(name) for name in names] for names in alike.values() if len(names) > 1],
    )


# ---- places: `fs` is None for this machine's files, which are found and opened by path


def _place(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    scheme, _, rest = url.partition("://")
    if not rest:
        return None, str(Path(url).expanduser().absolute())
    if scheme == "file":
        return None, str(Path(rest).absolute())
    fs, path = file_system(url, options)
    return (None if isinstance(fs, LocalFileSystem) else fs), path


def _kind(fs: Any, path: str) -> str:
    """Return "file", "directory", or "" where nothing is."""
    try:
        if fs is not None:
            return "directory" if fs.info(path)["type"] == "directory" else "file"
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise IncompleteListing(path, error) from error
    if problem := no_file(mode):
        raise ValueError(f"{visible(path)} is {problem}")
    return "directory" if stat.S_ISDIR(mode) else "file"


def _read_small(fs: Any, path: str) -> bytes:
    return Path(path).read_bytes() if fs is None else bytes(fs.cat_file(path))


def _split_glob(fs: Any, path: str) -> tuple[str, str]:
    """Return the folder in which a glob begins, and the rest of it; no rest where the path is no glob."""
    parts = path.rstrip("/").split("/")
    for number, part in enumerate(parts):
        root = "/".join(parts[:number])
        if re.search(r"[*?\[]", part) and not _kind(fs, f"{root}/{part}"):  # "[" may stand in a folder's name
            return root, "/".join(parts[number:])
    return path, ""


def _entry(fs: Any, path: str, name: str) -> Entry:
    if fs is not None:
        info = fs.info(path)
        return store_entry(name, info)
    state = Path(path).stat()
    return Entry(
        name, state.st_size, state.st_mtime, os.path.realpath(path) if Path(path).is_symlink() else ""
    )


def _url(fs: Any, path: str) -> str:
    if fs is None:
        return f"file://{url_of(path)}"
    address = str(fs.unstrip_protocol(path))
    return address if address.startswith(_ENCODED_ALREADY) else url_of(address)


def open_file(url: str, storage_options: Mapping[str, Any] | None = None) -> Any:
    """Open a corpus file (a `ShardFile.url`, or a plain local path) to read its bytes; a context manager.

    A local path that is no regular file any more, a pipe, say, is an OSError: to open one might wait for ever.
    """
    options = storage_options or {}
    if url.startswith(_ENCODED_ALREADY):
        return fsspec.open(url, "rb", **options)
    if url.startswith(hub.PREFIX):
        fs, path = file_system(url, options)
        return hub.opened(url, lambda: fs.open(decoded(path), "rb"))
    if "://" not in url:
        return _open_regular(url)
    if url.startswith("file://"):
        return _open_regular(decoded(url.removeprefix("file://")))
    fs, path = file_system(url, options)
    return fs.open(decoded(path), "rb")


def _open_regular(path: str) -> Any:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise OSError(f"{visible(path)} is {no_file(mode) or 'a folder, no file'}")
    return os.fdopen(handle, "rb")


def digest(url: str, storage_options: Mapping[str, Any] | None = None) -> str:
    """Return the SHA-256 (hex) of the file's bytes as stored, read in pieces of 1 MiB."""
    seen = hashlib.sha256()
    with open_file(url, storage_options) as file:
        while piece := file.read(1 << 20):
            seen.update(piece)
    return seen.hexdigest()
