"""Which files a corpus consists of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import fsspec

from curation_assets.files import file_system

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
_TEMPORARY = (".tmp", ".part", ".crdownload")
# Dagster forbids "..." and control characters in partition keys; "," and "|" separate keys; "::" chains URLs. Names are
# printed wherever a shard is told of, so what steers a terminal or reverses writing is no part of one either.
_UNSAFE = re.compile(
    r"\.\.\.|::|[,|\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MTIME_FIELDS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


@dataclass(frozen=True)
class ShardFile:
    """One corpus file.

    `key` is its path relative to the corpus, without a compression suffix. `size` is in bytes; `mtime` in seconds
    since the epoch, or None where the store has none. `mtime` is a hint: only `digest` says what the content is.
    """

    key: str
    url: str
    size: int
    mtime: float | None


def split_suffixes(name: str) -> tuple[str, str, str]:
    """Split a file name into (name without compression suffix, format, compression suffix); suffixes count in any case.

    The format is "jsonl", "json" (one array, or one object a line), "parquet", "text", "csv", "tsv" or "arrow"; the
    compression ".gz", ".zst", ".bz2", ".xz" or "". Raises ValueError for a name that is no corpus file.
    """
    suffix = PurePosixPath(name).suffix
    compression = suffix.lower() if suffix.lower() in COMPRESSIONS else ""
    bare = name.removesuffix(suffix) if compression else name
    kind = FORMATS.get(PurePosixPath(bare).suffix.lower())
    if kind is None or (kind in _COMPRESSED_WITHIN and compression):
        known, packed = " ".join(FORMATS), " ".join(COMPRESSIONS)
        raise ValueError(f"{name} is no corpus file: expected {known}, the text formats also with {packed}")
    return bare, kind, compression


def list_shards(url: str, storage_options: Mapping[str, Any] | None = None) -> list[ShardFile]:
    """List the corpus files under a folder (recursively), a glob, or at a single file's URL, sorted by key.

    Hidden and unfinished files (a part of the path that starts with "." or "_"; suffixes .tmp, .part, .crdownload)
    and files of other formats are passed over.

    Raises
    ------
    FileNotFoundError : nothing is there, and for a glob: nothing matches. An existing, empty folder gives [].
    ValueError : a path cannot be a partition key, or two files would have the same key.
    """
    fs, path = file_system(url, storage_options or {})
    root, found = _find(fs, path, url)
    shards: dict[str, ShardFile] = {}
    for name, info in sorted(found.items()):
        relative = name[len(root) :].lstrip("/")
        if any(part.startswith((".", "_")) for part in relative.split("/")) or relative.endswith(_TEMPORARY):
            continue
        try:
            key, _, _ = split_suffixes(relative)
        except ValueError:
            if name == path:  # asked for by name, so say why not
                raise
            continue
        address = fs.unstrip_protocol(name)
        if bad := _UNSAFE.search(relative):
            raise ValueError(f"{address!r} cannot be a partition key because of {bad[0]!r}: rename the file")
        if key in shards:
            raise ValueError(f"{shards[key].url} and {address} have the same partition key {key!r}: keep one")
        shards[key] = ShardFile(key, address, int(info.get("size") or 0), _mtime(info))
    return [shards[key] for key in sorted(shards)]


def _find(fs: Any, path: str, url: str) -> tuple[str, dict[str, dict]]:
    """Return the folder that keys are relative to and `{path: info}` of every file."""
    if fs.isfile(path):
        return path.rpartition("/")[0], {path: fs.info(path)}
    if fs.isdir(path):
        return path.rstrip("/"), fs.find(path, detail=True)
    magic = re.search(r"[*?\[]", path)
    found = fs.glob(path, detail=True) if magic else {}
    if not magic or not found:
        raise FileNotFoundError(f"no corpus at {url}")
    files = {name: info for name, info in found.items() if info["type"] == "file"}
    return path[: magic.start()].rpartition("/")[0], files


def _mtime(info: Mapping[str, Any]) -> float | None:
    for field in _MTIME_FIELDS:
        value = info.get(field)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).timestamp()
            except ValueError:
                continue
    return None


def digest(url: str, storage_options: Mapping[str, Any] | None = None) -> str:
    """Return the SHA-256 (hex) of the file's bytes as stored, read in pieces of 1 MiB."""
    seen = hashlib.sha256()
    with fsspec.open(url, "rb", **(storage_options or {})) as file:
        while piece := file.read(1 << 20):
            seen.update(piece)
    return seen.hexdigest()
