"""Where a model comes from: a pip package, a pinned commit on the hub, a folder, or an asset of this graph.

A profile names a model by one string:

    pip:PACKAGE/relative/path    a folder or file inside an installed package, by its import name
    pip:PACKAGE{1..9}/*.bin      one file, split over the one file of that pattern in each of several packages
    hub:ORG/NAME@REVISION        a repository on the hub, at a commit hash
    path:/folder                 a folder or file on this machine
    server:URL#MODEL             a judge behind an OpenAI-compatible server, as it calls it
    asset:KEY#PARTITION@SHARE    a checkpoint of this graph, after a share of its training (default 1: all of it)

`parse` reads the string, `models.sources.resolve` finds the files. What a result depends on is the digest of those files, never
the string: the same weights under another path are the same model. A server shows no files: its model is known by the name MODEL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["pip", "hub", "path", "asset", "server"]

CHECKPOINTS = ("full_data/checkpoint", "judge/checkpoint")
"""The assets that an `asset:` source may name: models learned from the corpus, which no sampler's own chain comes before."""

PARTS = re.compile(r"\{(\d{1,4})\.\.(\d{1,4})\}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARE = re.compile(r"[0-9]*\.?[0-9]+", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class ModelSource:
    """A parsed source; `str()` gives back the string it was parsed from.

    `name` is the package, the repository, the path, the asset key or the server's URL; `within` the path inside the package, the
    commit hash, the partition with the share of its training or the server's model, and empty for a path.
    """

    kind: Kind
    name: str
    within: str = ""

    def __str__(self) -> str:
        """Render the source as it stands in a profile."""
        joint = {"pip": "/", "hub": "@", "path": "", "asset": "#", "server": "#"}[self.kind]
        return f"{self.kind}:{self.name}{joint if self.within else ''}{self.within}"

    @property
    def partition(self) -> str:
        """The partition of an asset source."""
        return self.within.partition("@")[0]

    @property
    def share(self) -> float:
        """The share of its training after which an asset source's weights are taken."""
        return float(self.within.partition("@")[2] or 1)


def parse(spec: str) -> ModelSource:
    """Read a source from its string, without touching disk or network.

    Raises
    ------
    ValueError
        The string is none of the five forms, or a hub source is not pinned to a commit hash.
    """
    kind, colon, rest = spec.partition(":")
    readers: dict[str, Callable[[str], ModelSource]] = {
        "pip": _parse_pip,
        "hub": _parse_hub,
        "path": _parse_path,
        "asset": _parse_asset,
        "server": _parse_server,
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
    parts = PARTS.search(package)
    if not PARTS.sub("1", package, count=1).isidentifier():
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


def _parse_server(rest: str) -> ModelSource:
    url, _, model = rest.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or not model:
        raise ValueError("expected server:URL#MODEL, as in server:http://127.0.0.1:8000/v1#NAME")
    if parts.username or parts.password:
        raise ValueError("leave the key out: set CURATION_SERVER_KEY")
    return ModelSource("server", url, model)
