"""Files of models: found in installed packages, joined from parts, digested, counted. Nothing is loaded here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import math
import re
import shutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from curation_assets.common.files import TEMPORARY, atomic_file, sha256
from curation_assets.models.vetting import read_shapes

_LOG = logging.getLogger(__name__)
_HEX = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_GGUF_MAGIC = b"GGUF"


def find_packaged(package: str, pattern: str = "*.gguf", *, install: str | None = None) -> Path:
    """Return the one file of an installed package that matches `pattern`, without importing the package.

    Parameters
    ----------
    package : import name of a top-level package.
    pattern : glob, relative to the package's folder.
    install : the command that an error suggests; None for `pip install` of the package's name.

    Raises
    ------
    ModuleNotFoundError : the package is not installed.
    FileNotFoundError : it has no such file, or several.
    """
    if not package.isidentifier():  # find_spec imports the parents of a dotted name
        raise ValueError(f"{package!r} is not the import name of a top-level package")
    spec = importlib.util.find_spec(package)
    if spec is None:
        command = install or f"pip install {package.replace('_', '-')}"
        raise ModuleNotFoundError(f"package {package} is not installed: {command}", name=package)
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    files = sorted(file for root in roots for file in root.glob(pattern) if file.is_file())
    if len(files) != 1:
        raise FileNotFoundError(
            f"package {package} has {len(files)} files that match {pattern}, expected one"
        )
    return files[0]


def join_parts(parts: Sequence[str | Path], cache: str | Path, *, suffix: str = ".gguf") -> Path:
    """Return a file in `cache` that holds `parts` one after the other, writing it unless it is there.

    For a model that is too large for one package: `join_parts([find_packaged(f"model_part{n}", "data/*.bin") for n in
    range(1, 23)], cache)`. The file's name is a digest of the parts' contents and order, so that other parts make another
    file. It appears whole or not at all, also when several processes join at once; one that is not the parts any more is joined anew.
    Memory: one copy buffer.

    Raises
    ------
    FileNotFoundError : a part is missing.
    ValueError : there are no parts, or the first of a `.gguf` does not begin as GGUF does.
    """
    files = [Path(part) for part in parts]
    if not files:
        raise ValueError("there are no parts to join")
    for number, file in enumerate(files, 1):
        if not file.is_file():
            raise FileNotFoundError(f"part {number} of {len(files)} is missing: {file}")
    if suffix == ".gguf":
        check_gguf(files[0])
    name, content = _joined_digests(tuple(_state(file) for file in files))
    whole = Path(cache) / f"{name[:32]}{suffix}"
    if whole.is_file() and file_digest(whole) == content:
        return whole
    whole.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(whole.with_name(f".{whole.name}.lock")):
        if whole.is_file():
            if file_digest(whole) == content:
                return whole  # another process has joined it meanwhile
            _LOG.warning("%s is damaged: joined anew from its %d parts", whole, len(files))
        for abandoned in whole.parent.glob(f"{TEMPORARY}{whole.name}.*"):
            abandoned.unlink()
        with atomic_file(whole) as draft:
            with draft.open("wb") as out:
                for file in files:
                    with file.open("rb") as source:
                        shutil.copyfileobj(source, out, 1 << 20)
            if sha256(draft) != content:
                raise OSError(f"a part of {whole} changed while it was joined")
    return whole


def check_gguf(file: Path) -> None:
    with file.open("rb") as opened:
        if opened.read(4) != _GGUF_MAGIC:
            raise ValueError(f"{file} is not GGUF: it does not begin with {_GGUF_MAGIC.decode()}")


def blob_holds(path: Path) -> bool:
    """Tell whether a file of the hub's cache is what it was at the hub: a blob is named by its SHA-256, a small one as git names it.

    A mirror may name it by its SHA-1. Where the cache has no blobs, since its disk has no links, nothing says what a file was.
    """
    blob = path.resolve()
    if blob.parent.name != "blobs" or not _HEX.fullmatch(blob.name):
        return True
    if len(blob.name) == hashlib.sha256().digest_size * 2:
        return file_digest(blob) == blob.name
    return blob.name in (_sha1(blob, b"blob %d\0" % blob.stat().st_size), _sha1(blob))


def _sha1(path: Path, before: bytes = b"") -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.sha1(before, usedforsecurity=False)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, hex; kept in this process for as long as size and mtime stay."""
    return _file_digest(*_state(path))


def _state(path: Path) -> tuple[Path, int, int]:
    real = path.resolve()
    state = real.stat()
    return real, state.st_size, state.st_mtime_ns


@lru_cache
def _joined_digests(states: tuple[tuple[Path, int, int], ...]) -> tuple[str, str]:
    """Return the digests of the parts' digests, and of their contents one after the other; each part is read once."""
    parts, content = [], hashlib.sha256()
    for path, _, _ in states:
        part = hashlib.sha256()
        with path.open("rb") as source:
            while block := source.read(1 << 20):
                part.update(block)
                content.update(block)
        parts.append(part.hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), content.hexdigest()


@lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    return sha256(path)


def count_parameters(paths: Iterable[Path]) -> int:
    """Count the floating-point weights stored in safetensors files, reading their headers alone.

    Integer buffers are left out. Where a folder has an index of shards, only the shards it names count, so that
    a second copy of the weights beside them does not. Tied weights count once if they are stored once.

    Raises
    ------
    ValueError
        A file is not safetensors.
    """
    paths = list(paths)
    named: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        for index in folder.glob("*.safetensors.index.json"):
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            named.setdefault(folder, set()).update(shards)
    counted = [path for path in paths if path.name in named.get(path.parent, {path.name})]
    return sum(_count_in_file(path) for path in counted)


def _count_in_file(path: Path) -> int:
    return sum(math.prod(shape) for kind, shape in read_shapes(path).values() if kind.startswith(("F", "BF")))
