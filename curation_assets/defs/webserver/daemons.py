"""Dagster's daemon as its instance sees it: whether one is at work that no `curation ui` started."""

from __future__ import annotations

import time

import dagster as dg

from curation_assets.config.profile import Profile, ProfileError
from curation_assets.defs.materializing import Tell

_BEAT = 30.0  # seconds between two signs of life of a daemon
_LATE = 5.0


def refuse_another(instance: dg.DagsterInstance, profile: Profile, ended: float, tell: Tell) -> None:
    """Raise ProfileError where a daemon that no `curation ui` started (that of `dagster dev`, say) is at work.

    What gave signs of life before `ended`, when the folder's last UI stopped, was that one's. After a UI that was
    killed it takes a moment to be sure.
    """
    last = _last_sign(instance)
    if last <= ended or time.time() - last > _BEAT + _LATE:
        return
    tell("a Dagster daemon was at work here a moment ago: seeing whether it still is, up to 35 s")
    while time.time() - last <= _BEAT + _LATE:
        if _last_sign(instance) > last:
            raise ProfileError(
                f"another Dagster daemon is at work on the state of {profile.data} (`dagster dev`?): stop it first, or use its UI"
            )
        time.sleep(0.5)


def _last_sign(instance: dg.DagsterInstance) -> float:
    return max((beat.timestamp for beat in instance.get_daemon_heartbeats().values()), default=0.0)
