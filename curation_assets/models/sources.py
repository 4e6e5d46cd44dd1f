"""Where a model comes from: a pip package, a pinned commit on the hub, a folder, or an asset of this graph.

A profile names a model by one string:

    pip:PACKAGE/relative/path    a folder or file inside an installed package, by its import name
    hub:ORG/NAME@REVISION        a repository on the hub, at a commit hash
    path:/folder                 a folder or file on this machine
    asset:KEY#SNAPSHOT           what an asset of this graph has made

`parse` reads the string, `resolve` finds the files. What a result depends on is the digest of those files, never
the string: the same weights under another path are the same model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

Kind = Literal["pip", "hub", "path", "asset"]

# File names, in any folder of the model: these are downloaded and digested, and nothing else is.
_WEIGHTS = ("*.safetensors", "*.gguf")
_SETTINGS = (
    "config.json",
    "generation_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "*.model",
    "*.safetensors.index.json",
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class ModelSource:
    """A parsed source; `str()` gives back the string it was parsed from.

    `name` is the package, the repository, the path or the asset key; `within` the path inside the package, the
    commit hash or the snapshot, and empty for a path.
    """

    kind: Kind
    name: str
    within: str = ""

    def __str__(self) -> str:
        """Render the source as it stands in a profile."""
        joint = {"pip": "/", "hub": "@", "path": "", "asset": "#"}[self.kind]
        return f"{self.kind}:{self.name}{joint if self.within else ''}{self.within}"


@dataclass(frozen=True)
class ResolvedModel:
    """A model's files on this machine.

    `files` are relative to `folder`, sorted; they are the weights, settings and tokenizer, and `digest` (sha256,
    hex) covers their names and contents. `parameters` counts the floating-point weights of safetensors files and
    is None where there are none (GGUF, or a tokenizer alone).
    """

    folder: Path
    digest: str
    files: tuple[str, ...]
    parameters: int | None


def parse(spec: str) -> ModelSource:
    """Read a source from its string, without touching disk or network.

    Raises
    ------
    ValueError
        The string is none of the four forms, or a hub source is not pinned to a commit hash.
    """
    kind, colon, rest = spec.partition(":")
    readers: dict[str, Callable[[str], ModelSource]] = {
        "pip": _parse_pip,
        "hub": _parse_hub,
        "path": _parse_path,
        "asset": _parse_asset,
    }
    if not colon or kind not in readers:
        raise ValueError(
            f"model source {spec!r} must begin with one of {', '.join(k + ':' for k in readers)}"
        )
    if rest != rest.strip() or not rest.isprintable():
        raise ValueError(f"model source {spec!r} has white space around it or control characters in it")
    try:
        return readers[kind](rest)
    except ValueError as error:
        raise ValueError(f"model source {spec!r}: {error}") from None


def _parse_pip(rest: str) -> ModelSource:
    package, _, inside = rest.partition("/")
    if not package.isidentifier():
        raise ValueError(f"{package!r} is not the import name of a package")
    path = PurePosixPath(inside)
    if not inside or path.is_absolute() or ".." in path.parts or str(path) != inside:
        raise ValueError("expected pip:PACKAGE/relative/path, without '..', '.' or a slash at the end")
    return ModelSource("pip", package, inside)


def _parse_hub(rest: str) -> ModelSource:
    name, _, revision = rest.partition("@")
    if not _REPOSITORY.fullmatch(name):
        raise ValueError("expected hub:ORG/NAME@REVISION")
    if not _COMMIT.fullmatch(revision):
        got = f"{revision!r} is a name that can move to other weights" if revision else "no revision is given"
        raise ValueError(f"{got}; pin the commit: hub:{name}@ and its 40 hexadecimal digits")
    return ModelSource("hub", name, revision)


def _parse_path(rest: str) -> ModelSource:
    if not rest:
        raise ValueError("expected path:/folder")
    return ModelSource("path", rest)


def _parse_asset(rest: str) -> ModelSource:
    key, mark, snapshot = rest.partition("#")
    if not all(key.split("/")) or (mark and not snapshot) or "#" in snapshot:
        raise ValueError("expected asset:KEY#SNAPSHOT, with parts of the key between single slashes")
    return ModelSource("asset", key, snapshot)


def resolve(
    source: ModelSource | str,
    *,
    cache: str | Path,
    resolve_asset: Callable[[ModelSource], Path] | None = None,
    weights: bool = True,
) -> ResolvedModel:
    """Find the files of a model, downloading a hub source into `cache` unless they are there.

    Parameters
    ----------
    cache
        The hub's cache folder. A complete snapshot in it is used without asking the network.
    resolve_asset
        Gives the folder of an `asset:` source.
    weights
        False for what needs settings and tokenizer only: weights are then neither fetched, digested nor required.

    Raises
    ------
    ModuleNotFoundError
        The package of a pip source is not installed.
    FileNotFoundError
        There is no such folder, file, repository or revision.
    PermissionError
        The repository is gated.
    ConnectionError
        The hub cannot be reached and the cache has no complete copy.
    ValueError
        The folder has no weights in a format that is safe to load.
    """
    if isinstance(source, str):
        source = parse(source)
    if source.kind == "pip":
        place = _in_package(source)
    elif source.kind == "hub":
        place = _from_hub(source, Path(cache), weights)
    elif source.kind == "path":
        place = Path(source.name)
    elif resolve_asset is None:
        raise ValueError(f"model source {source} needs resolve_asset to find the asset")
    else:
        place = Path(resolve_asset(source))
    return _describe(source, place, weights)


def _in_package(source: ModelSource) -> Path:
    """Return the path inside an installed package, which is found but not imported."""
    found = importlib.util.find_spec(source.name)
    if found is None:
        message = (
            f"model source {source} needs a package that is missing: pip install 'curation-assets[local]'"
        )
        raise ModuleNotFoundError(message, name=source.name)
    places = [Path(root) / source.within for root in found.submodule_search_locations or ()]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"model source {source}: package {source.name} is installed but has no {source.within}"
    )


def _from_hub(source: ModelSource, cache: Path, weights: bool) -> Path:
    """Return the snapshot folder of a pinned repository, downloading what is missing."""
    from huggingface_hub import errors, snapshot_download

    names = _SETTINGS + _WEIGHTS if weights else _SETTINGS
    wanted = [pattern for name in names for pattern in (name, f"*/{name}")]
    try:
        return Path(
            snapshot_download(source.name, revision=source.within, cache_dir=cache, allow_patterns=wanted)
        )
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"model source {source}: the repository is gated; accept its terms on the hub and log in (hf auth login)"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"model source {source}: no such repository on the hub, or it is private and you are not logged in"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"model source {source}: the repository has no such commit") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"model source {source}: the hub cannot be reached (or HF_HUB_OFFLINE is set), and {cache} has no "
            "complete copy"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise ConnectionError(f"model source {source}: the hub answered with HTTP status {status}") from error


def _describe(source: ModelSource, place: Path, weights: bool) -> ResolvedModel:
    """Collect, check and digest the model's files at `place`, which is a folder or one file."""
    if not place.exists():
        raise FileNotFoundError(f"model source {source}: {place} does not exist")
    folder = place if place.is_dir() else place.parent
    found = place.rglob("*") if place.is_dir() else [place]
    here = sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())
    loadable = [name for name in here if _matches(name, _WEIGHTS)] if weights else []
    if weights and not loadable:
        pickles = [name for name in here if name.endswith(_PICKLES)]
        raise ValueError(
            f"model source {source}: no weights in safetensors or GGUF"
            + (f", only pickled ones ({pickles[0]}), which run code when they are loaded" if pickles else "")
            + ("; look for a commit that has safetensors and pin that" if source.kind == "hub" else "")
        )
    files = tuple(name for name in here if name in loadable or _matches(name, _SETTINGS))
    if not files:
        raise ValueError(f"model source {source}: {place} has neither settings nor a tokenizer")
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{name}\0{file_digest(folder / name)}\n".encode())
    tensors = [folder / name for name in loadable if name.endswith(".safetensors")]
    return ResolvedModel(folder, digest.hexdigest(), files, count_parameters(tensors) if tensors else None)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(PurePosixPath(path).name, pattern) for pattern in patterns)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, hex; kept in this process for as long as size and mtime stay."""
    real = path.resolve()
    state = real.stat()
    return _file_digest(real, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    """Sum the sizes of a safetensors file's tensors; its layout is a length (u64, little-endian), JSON, data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError(f"{path} is not a safetensors file: its header claims {length} bytes")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            tensors = [(entry["dtype"], entry["shape"]) for entry in header.values()]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{path} is not a safetensors file: its header cannot be read ({error})"
            ) from error
    return sum(math.prod(shape) for dtype, shape in tensors if dtype.startswith(("F", "BF")))
