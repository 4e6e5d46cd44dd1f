"""One `curation run` at a time on a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curation_assets.config.profile import Profile, ProfileError
from curation_assets.engine.catalog import RoleTaken
from curation_assets.engine.workspace import Workspace

_ROLE = "curation run"


@contextmanager
def only_one(profile: Profile) -> Iterator[None]:
    """Keep two runs of one store apart: correct together, but they would do the same work twice."""
    workspace = Workspace(profile)
    try:
        with workspace.catalog.writer(_ROLE):
            yield
    except RoleTaken as taken:
        raise ProfileError(f"another `curation run` is at work in {profile.data}: {taken}") from None
