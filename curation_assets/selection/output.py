"""A folder that the user names, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation_assets.common.files import atomic_folder


def free_place(folder: str | Path) -> Path:
    """Return the absolute path of a folder that is not there yet, or empty.

    Raises
    ------
    ValueError
        It holds something, or is no folder.
    """
    path = Path(folder).expanduser().resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is no empty folder: name another, or remove it first")
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside `path` to write into, which takes that name when all went well.

    Raises
    ------
    ValueError
        Something has been put at `path` in the meantime.
    """
    with atomic_folder(path) as draft:
        yield draft
        free_place(path)
