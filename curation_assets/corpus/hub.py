"""Datasets of the hub as a corpus: `hf://datasets/ORG/NAME?config=CONFIG&split=SPLIT`, at a commit, with digests from the listing.

Which files a config and a split have is what `datasets` finds, by the dataset's card or the names of its files. The branch of converted
Parquet, `@~parquet`, has them as CONFIG/SPLIT/*.parquet. A URL with a path behind the name is a folder or a glob within the repository.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from curation_assets.config.settings import nearest
from curation_assets.corpus.names import visible
from curation_assets.corpus.walk import Entry, IncompleteListing, store_entry

PREFIX = "hf://datasets/"
_URL = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/convert/parquet|refs/pr/\d+|[^/?]+))?"
    r"(/(?P<path>[^?].*)|/?(\?(?P<query>.*))?)"
)
_CONVERTED = "refs/convert/parquet"
_COMMIT = re.compile(re.escape(PREFIX) + r"[^@/]+/[^@/]+@[0-9a-f]{40}(/|\Z)")
_TRIES, _LONGEST_PAUSE = 5, 60.0  # of a hub that is busy

Result = TypeVar("Result")


@dataclass(frozen=True)
class Dataset:
    """What of a repository is asked for: a config and a split, "" for the only or default one, or else a path, "" for none."""

    url: str
    repo: str
    revision: str | None
    path: str = ""
    config: str = ""
    split: str = ""

    def root(self, commit: str) -> str:
        """Return the repository at a commit, as the file system calls it."""
        return f"datasets/{self.repo}@{commit}"


def dataset_of(url: str) -> Dataset | None:
    """Return what a URL of the hub asks for; None for a URL of another place.

    Raises
    ------
    ValueError
        It begins as a dataset's does and is none, or asks for something else than config and split.
    """
    if not url.startswith(PREFIX):
        return None
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(
            f"{url}: expected {PREFIX}ORG/NAME, with @REVISION and ?config=CONFIG&split=SPLIT if you like"
        )
    asked = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
    for name in asked.keys() - {"config", "split"}:
        raise ValueError(f"{url}: {name!r} is neither config nor split{nearest(name, ['config', 'split'])}")
    revision = _CONVERTED if match["revision"] == "~parquet" else match["revision"]
    return Dataset(url, match["repo"], revision, match["path"] or "", **asked)


def at_a_commit(url: str) -> bool:
    """Tell whether a file's URL says the commit: then its content never changes."""
    return bool(_COMMIT.match(url))


def commit_of(dataset: Dataset, options: Mapping[str, Any]) -> str:
    """Return the commit that the revision stands for now, asking the hub once; not where it is a commit itself.

    Raises
    ------
    FileNotFoundError : there is no such dataset or revision, or only for who may see it.
    walk.IncompleteListing : the hub does not answer, or refuses.
    """
    if dataset.revision and re.fullmatch("[0-9a-f]{40}", dataset.revision):
        return dataset.revision
    return str(_explained(dataset.url, lambda: _info(dataset.repo, dataset.revision, options).sha))


def files(dataset: Dataset, commit: str, options: Mapping[str, Any]) -> list[Entry]:
    """Return the files of a config's split, by their paths in the repository.

    Raises
    ------
    ValueError : there is no such config or split, or several and none is named.
    FileNotFoundError, walk.IncompleteListing : as `commit_of`.
    """
    about = (dataset, commit, options.get("token"), options.get("endpoint"))
    return _explained(dataset.url, lambda: _files(*about))


def entries(fs: Any, root: str) -> dict[str, Entry]:
    """Return all files of a repository at a commit, by path."""
    listed = fs.find(root, detail=True)
    return {path: store_entry(path, info) for name, info in listed.items() if (path := name[len(root) + 1 :])}


@lru_cache(maxsize=64)  # what a commit has never changes
def _files(dataset: Dataset, commit: str, token: Any, endpoint: Any) -> list[Entry]:
    from huggingface_hub import HfFileSystem

    options = {"token": token, "endpoint": endpoint}
    there = entries(HfFileSystem(**options), dataset.root(commit))
    if dataset.revision == _CONVERTED:
        layout: dict[str, Any] = {}
        for path in there:  # also .gitattributes, which the hub leaves there
            if path.endswith(".parquet") and path.count("/") == 2:
                config, split, _ = path.split("/")
                layout.setdefault(config, {}).setdefault(split, []).append(path)
        default, resolve = "default", None
    else:
        layout, default, resolve = _by_card(dataset, commit, options)
    config = _choice(dataset, "config", dataset.config, list(layout), default)
    splits = resolve(layout[config]) if resolve else layout[config]
    split = _choice(dataset, "split", dataset.split, list(splits), "")
    return [there[path] for path in splits[split]]


def _by_card(
    dataset: Dataset, commit: str, options: dict[str, Any]
) -> tuple[dict[str, Any], str, Callable[[Any], dict[str, list[str]]]]:
    """Return (the configs, the default one's name, what gives {split: paths} of a config), as `datasets` has them."""
    from datasets import DownloadConfig
    from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    card = _info(dataset.repo, commit, options).card_data or DatasetCardData()
    configs = MetadataConfigs.from_dataset_card_data(card)
    base = f"hf://{dataset.root(commit)}"
    hub = {name: value for name, value in options.items() if value is not None}
    download = DownloadConfig(token=options["token"], storage_options={"hf": hub})

    def resolve(config: dict[str, Any]) -> dict[str, list[str]]:
        given, inside = config.get("data_files"), str(config.get("data_dir") or "")
        named = sanitize_patterns(given) if given else {}
        for path in (inside, *(str(pattern) for patterns in named.values() for pattern in patterns)):
            if path.startswith("/") or urlsplit(path).scheme or "::" in path or ".." in path.split("/"):
                raise ValueError(
                    f"{dataset.url}: its card names files that are not in the repository, which are not read: {visible(path)}"
                )
        folder = f"{base}/{inside}" if inside else base
        patterns = named or get_data_patterns(folder, download_config=download)
        found = DataFilesDict.from_patterns(patterns, base_path=folder, download_config=download)
        return {str(split): [path[len(base) + 1 :] for path in paths] for split, paths in found.items()}

    return configs or {"default": {}}, configs.get_default_config_name() or "", resolve


def _choice(dataset: Dataset, what: str, asked: str, there: list[str], default: str) -> str:
    if asked and asked not in there:
        raise ValueError(
            f"{dataset.url}: no {what} {asked!r}{nearest(asked, there)}; there are {_some(there)}"
        )
    if asked or default in there:
        return asked or default
    if len(there) != 1:
        raise ValueError(
            f"{dataset.url}: add ?{what}=NAME: there are {_some(there)}"
            if there
            else f"{dataset.url}: no {what} there"
        )
    return there[0]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return ", ".join(map(visible, names[:20])) + more


def _info(repo: str, revision: str | None, options: Mapping[str, Any]) -> Any:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=options.get("endpoint"), token=options.get("token"))
    return api.dataset_info(repo, revision=revision)


def _explained(url: str, call: Callable[[], Result]) -> Result:
    """Call the hub, again after a pause where it is busy; what it refuses or lacks becomes one line."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    for number in range(_TRIES):
        try:
            return call()
        except errors.GatedRepoError as error:
            where = url.partition("?")[0].replace("hf://", "https://huggingface.co/")
            why = f"it is gated: accept its terms at {where}, and log in (hf auth login, or HF_TOKEN)"
            raise IncompleteListing(url, PermissionError(why)) from error
        except errors.RepositoryNotFoundError as error:
            raise FileNotFoundError(
                f"no corpus at {url}: no such dataset, or a private one (hf auth login, or HF_TOKEN)"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise FileNotFoundError(f"no corpus at {url}: no such revision") from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            if number + 1 == _TRIES or not (status == 429 or status >= 500):
                what = "too many requests" if status == 429 else f"the hub answers {status}"
                raise IncompleteListing(url, ConnectionError(what)) from error
            time.sleep(_pause(error.response.headers.get("Retry-After"), number))
        except (errors.OfflineModeIsEnabled, HTTPError) as error:
            offline = isinstance(error, errors.OfflineModeIsEnabled)
            why = "HF_HUB_OFFLINE is set" if offline else f"the hub cannot be reached: {error}"
            raise IncompleteListing(url, ConnectionError(why)) from error
    raise AssertionError("unreachable")


def _pause(retry_after: str | None, number: int) -> float:
    wanted = float(retry_after) if retry_after and retry_after.isdigit() else 2.0**number
    return min(wanted, _LONGEST_PAUSE)


@contextmanager
def opened(url: str, open_: Callable[[], Any]) -> Iterator[Any]:
    """Give a file of the hub to read; where the hub fails meanwhile that is an OSError with a number, and no damage of the file."""
    with _explained(url, open_) as file, io.BufferedReader(_HubFile(url, file), 1 << 16) as reader:
        yield reader


class _HubFile(io.RawIOBase):
    """A file of the hub whose errors are told from damage."""

    def __init__(self, url: str, file: Any) -> None:
        self._url, self._file = url, file

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the place."""
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits."""
        place = self.tell()

        def read() -> bytes:
            self._file.seek(place)
            return bytes(self._file.read(len(buffer)))

        try:
            piece = _explained(self._url, read)
        except OSError as error:
            raise OSError(5, f"{self._url} cannot be read on: {error}") from error
        buffer[: len(piece)] = piece
        return len(piece)
