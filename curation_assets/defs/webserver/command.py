"""`curation ui`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from curation_assets.config.profile import Profile
from curation_assets.defs.webserver.holder import OURS, held
from curation_assets.defs.webserver.listening import open_for
from curation_assets.defs.webserver.supervise import Supervisor


def serve(profile: Profile, options: argparse.Namespace) -> int:
    """Serve the UI of a profile's data folder until it is stopped; return the exit status.

    Raises
    ------
    ProfileError
        Another UI is at work there, or this one cannot listen as the options say.
    """
    with held(profile.data) as lock:
        listening = open_for(options)
        lock.announce(listening.url)
        return Supervisor(_environment(profile), profile.data).run(listening, lock)


def _environment(profile: Profile) -> dict[str, str]:
    """Name the profile and its folders in a way that does not depend on a process's working folder."""
    home = os.environ.get("DAGSTER_HOME") or profile.data / "dagster_home"
    return {
        "CURATION_PROFILE": profile.source,
        "CURATION_DATA": str(profile.data),
        "DAGSTER_HOME": str(Path(home).expanduser().resolve()),
        "DAGSTER_IS_DEV_CLI": "1",
        OURS: str(os.getpid()),
    }
