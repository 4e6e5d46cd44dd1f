"""The tags that tell which command or which change of the corpus a run belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from curation_assets.config.profile import Profile
from curation_assets.defs.assets import _cause
from curation_assets.defs.resources import CHANGE, COMMAND
from curation_assets.defs.run_graph import instance_for, run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace

pytestmark = pytest.mark.graph

AUTOMATIC = {"dagster/from_automation_condition": "true"}


def _tags(instance: dg.DagsterInstance, profile: Profile, tags: dict[str, str]) -> dict[str, str]:
    context: Any = SimpleNamespace(run=SimpleNamespace(tags=tags), instance=instance)
    return _cause(context, Workspace(profile))


def test_runs_of_a_command_share_a_tag_and_what_follows_takes_the_tag_of_its_cause(tiny: Profile) -> None:
    for _ in range(2):
        run_graph(tiny, lambda line: None, [STEPS["corpus/source"], STEPS["corpus/shards"]])
    with instance_for(tiny) as instance:
        runs = instance.get_runs()
        commands = [run.tags[COMMAND] for run in runs]
        assert all(command.endswith(" run") for command in commands) and 1 <= len(set(commands)) <= 2
        listed = Workspace(tiny).store.receipt("corpus/source")
        assert listed is not None
        assert _tags(instance, tiny, AUTOMATIC) == {COMMAND: commands[0]}, (
            "the listing's, and that was the last"
        )
        change = {CHANGE: "2026-01-01 00:00:00: 1 new or changed (a.jsonl), 0 gone"}
        instance.add_run_tags(listed.run_id, change)
        assert _tags(instance, tiny, AUTOMATIC)[CHANGE] == change[CHANGE]
        assert _tags(instance, tiny, AUTOMATIC | change) == {}, "it has its own"
        assert _tags(instance, tiny, {}) == {}, "somebody clicked"
