"""Whole files and whole folders: they appear by rename, after fsync, so that a kill leaves the old or the new and nothing torn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation_assets.common.files import seal

TEMPORARY = ".tmp-"
"""What names begin with that a kill may leave behind."""


def write_sealed(path: Path, fields: dict[str, Any]) -> None:
    """Replace a JSON file that carries a digest of itself."""
    with replacing(path) as temporary:
        temporary.write_bytes(seal(fields))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yield a name to write to; afterwards the file stands under its final name, old or new but never torn."""
    temporary = final.with_name(f"{TEMPORARY}{final.name}")
    yield temporary
    sync(temporary)
    temporary.replace(final)
    sync(final.parent)


def write_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder that appears whole."""
    temporary = final.with_name(f"{TEMPORARY}{final.name}")
    temporary.mkdir()
    fill(temporary)
    for path in temporary.iterdir():
        sync(path)
    sync(temporary)
    temporary.rename(final)
    sync(final.parent)


def sync(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
