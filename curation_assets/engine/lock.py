"""One `curation run` at a time in a data folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from curation_assets.config.profile import Profile, ProfileError


@contextmanager
def only_one(profile: Profile) -> Iterator[None]:
    """Keep two runs of one data folder apart: correct together, but they would do the same work twice."""
    profile.data.mkdir(parents=True, exist_ok=True)
    lock = FileLock(profile.data / ".run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ProfileError(f"another `curation run` is at work in {profile.data}") from None
    try:
        yield
    finally:
        lock.release()
