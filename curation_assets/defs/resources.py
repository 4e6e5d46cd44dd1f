"""The one resource: the profile's workspace, opened once a run."""

import os
import socket
from functools import cached_property

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
"""Tag of a run of a job, or of `curation run`: who wants it."""
ASKED, FOLLOWING = "asked", "following"
"""Its values: a person, the automation. Of each value one run is at work at a time (dagster.yaml)."""


class Curation:
    """Where artifacts are and which settings hold: those of a profile, by its packaged name or its TOML file."""

    def __init__(self, profile: str) -> None:
        self._profile = profile

    @cached_property
    def workspace(self) -> Workspace:
        """The opened workspace."""
        return Workspace(load_profile(self._profile))


def curation(profile: str) -> dg.ResourceDefinition:
    """Return the resource for one profile. A run configures nothing of it: whoever asks for a run names no paths."""

    def opened(context: dg.InitResourceContext) -> Curation:
        _sign(context)
        return Curation(profile)

    return dg.ResourceDefinition(opened, config_schema={}, description=Curation.__doc__)


def _sign(context: dg.InitResourceContext) -> None:
    """Write down which process a run is in, before it does anything: so one whose process died is told from one that goes on."""
    run, instance = context.run, context.instance
    if run is not None and instance is not None:
        instance.add_run_tags(run.run_id, {PID: str(os.getpid()), HOST: socket.gethostname()})
