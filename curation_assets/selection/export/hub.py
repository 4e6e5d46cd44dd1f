"""An export folder as a dataset on the Hugging Face hub: uploaded when it is whole, and private where it is new."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.common.progress import Progress, silent
from curation_assets.selection.export.destination import CARD, DATA, MANIFEST
from curation_assets.selection.export.exported import open_export

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LOG_IN = "log in (hf auth login), or set HF_TOKEN to a token that may write"


def parse_repository(text: str) -> tuple[str, str]:
    """Return repository and branch of "ORG/NAME" or "ORG/NAME@BRANCH"; ValueError for anything else."""
    name, at, branch = text.partition("@")
    if not _REPOSITORY.fullmatch(name) or (at and not branch):
        raise ValueError(f"{text!r} is no dataset on the hub: expected ORG/NAME or ORG/NAME@BRANCH")
    return name, branch or "main"


def check_target(folder: str | Path, to: str) -> None:
    """Raise ValueError where a folder can be pushed by nobody, or to no such place."""
    parse_repository(to)
    if "://" in str(folder):
        raise ValueError(f"{folder} is no folder of this machine; only such a one can be pushed")


def check_login(to: str) -> None:
    """Raise ValueError where nobody is logged in, or the hub cannot be reached: before an export takes its time."""
    from huggingface_hub import HfApi

    with _in_one_line(to):
        HfApi().whoami()


def push(folder: str | Path, to: str, progress: Progress = silent) -> str:
    """Upload a finished export of this machine to "ORG/NAME" or "ORG/NAME@BRANCH"; return its address.

    A dataset that is not there is made private; one that is there stays as visible as it is, and has this export's files alone in
    `data/` afterwards. Stopped, the same call goes on: what the hub has is not sent again. The card goes first, and says how many
    rows there are, so that `load_dataset` refuses what is half uploaded.

    Raises
    ------
    ValueError
        The folder is no whole export, nobody is logged in, or the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    check_target(folder, to)
    place = Path(folder).expanduser()
    exported = open_export(str(place))
    if not (place / CARD).is_file():
        raise ValueError(f"{folder} has no {CARD}: export to another folder")
    exported.check(progress)
    names = [CARD, MANIFEST, *(str(file["name"]) for file in exported.files)]
    with _in_one_line(to):
        return _upload(HfApi(), place, names, *parse_repository(to))


@contextmanager
def _in_one_line(to: str) -> Iterator[None]:
    """Turn what the hub refuses into a ValueError that says what to do."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # under this name whichever version the hub's client stands on

    try:
        yield
    except errors.LocalTokenNotFoundError:
        raise ValueError(f"nobody is logged in to the hub: {_LOG_IN}") from None
    except (errors.OfflineModeIsEnabled, httpx.TransportError) as error:
        raise ValueError(f"{to}: the hub cannot be reached ({error})") from error
    except errors.HfHubHTTPError as error:
        raise ValueError(f"{to}: {_refusal(error.response.status_code)}") from error


def _upload(api: HfApi, place: Path, names: list[str], repository: str, branch: str) -> str:
    api.whoami()  # before anything is made
    api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
    if branch != "main":
        api.create_branch(repository, repo_type="dataset", branch=branch, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repository,
        repo_type="dataset",
        revision=branch,
        folder_path=place,
        allow_patterns=names,
        delete_patterns=f"{DATA}/*",
        commit_message=f"Export of {len(names) - 2} files",
    )
    return str(commit.repo_url)


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"the hub does not let this account write there (HTTP status {status}): {_LOG_IN}"
    return f"the hub answered with HTTP status {status}"
