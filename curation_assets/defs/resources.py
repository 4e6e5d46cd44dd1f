"""The one resource: the profile's workspace, opened once a run."""

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

import dagster as dg

from curation_assets.config.profile import load_profile
from curation_assets.engine.workspace import Workspace

PID, HOST = ".dagster/curation_pid", ".dagster/curation_host"
"""Tags of a run that name its process: by them a run whose process was killed is told from one that goes on. Not shown."""
COMMAND = "curation/command"
"""Tag of a run of a command: when it was, and which."""
CHANGE, DUE = "curation/change", "curation/due"
"""Tags of a run of the automation: which change of the corpus brought it about, and what was out of date before it, and why."""
JOB = ".dagster/curation_job"
"""Tag of a run of a job, or of `curation run`: the automation waits for its end."""


class Curation:
    """Where artifacts are and which settings hold: those of a profile, by its packaged name or its TOML file."""

    listener: ClassVar[Callable[[str], object] | None] = None
    """Hears every line of progress besides the run's log; a terminal that runs the graph in its own process sets it."""

    def __init__(self, profile: str) -> None:
        self._profile = profile

    @cached_property
    def workspace(self) -> Workspace:
        """The opened workspace."""
        return Workspace(load_profile(self._profile))

    def teller(self, log: Callable[[str], object]) -> Callable[[str], None]:
        """Return a function that writes a line to the run's log and to the listener."""

        def tell(line: str) -> None:
            log(line)
            listener = type(self).listener
            if listener is not None:
                listener(line)

        return tell


def curation(profile: str) -> dg.ResourceDefinition:
    """Return the resource for one profile. A run configures nothing of it: whoever asks for a run names no paths."""
    return dg.ResourceDefinition(lambda _: Curation(profile), config_schema={}, description=Curation.__doc__)
