"""The one resource: the profile's workspace, opened once a run."""

from collections.abc import Callable
from typing import ClassVar

import dagster as dg
from pydantic import PrivateAttr

from curation_assets.profile import load_profile
from curation_assets.workspace import Workspace

PID, HOST = ".dagster/curation_pid", ".dagster/curation_host"
"""Tags of a run that name its process: by them a run whose process was killed is told from one that goes on. Not shown."""
JOB = ".dagster/curation_job"
"""Tag of a run of one of `launchpad`'s jobs."""


class Curation(dg.ConfigurableResource):
    """Where artifacts are and which settings hold. `profile` is a packaged name or a TOML file."""

    profile: str = "local"
    _workspace: Workspace | None = PrivateAttr(default=None)
    listener: ClassVar[Callable[[str], object] | None] = None
    """Hears every line of progress besides the run's log; a terminal that runs the graph in its own process sets it."""

    @property
    def workspace(self) -> Workspace:
        """The opened workspace."""
        if self._workspace is None:
            self._workspace = Workspace(load_profile(self.profile))
        return self._workspace

    def teller(self, log: Callable[[str], object]) -> Callable[[str], None]:
        """Return a function that writes a line to the run's log and to the listener."""

        def tell(line: str) -> None:
            log(line)
            listener = type(self).listener
            if listener is not None:
                listener(line)

        return tell
