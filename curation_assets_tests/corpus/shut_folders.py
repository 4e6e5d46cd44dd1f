"""A folder that cannot be listed, for tests that run as root as well, whom no permission keeps out."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def unlistable(folder: str | Path, number: int = errno.EACCES) -> Iterator[None]:
    """Have the system refuse to list a folder meanwhile."""
    shut, scandir = Path(folder).resolve(), os.scandir

    def refuse(path):
        if not isinstance(path, int) and Path(path).resolve() == shut:
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        yield
