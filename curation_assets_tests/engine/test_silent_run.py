"""A run that falls silent and wakes up when another one has made what it was at: it changes nothing that is current."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current
from curation_assets_tests.engine import dying_products

pytestmark = pytest.mark.process

KEY = "corpus/documents"
_RUN = f"""
import json, sys
from curation_assets.config.profile import load_profile
from curation_assets.engine import catalog
from curation_assets.engine.driver import Committed, bring_up_to_date
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.scope import everything
from curation_assets.engine.workspace import Workspace

catalog.HEARTBEAT, catalog.SILENCE = 0.2, float(sys.argv[2])
profile = load_profile()
execution = profile.execution.model_copy(update={{"catalog": sys.argv[1]}})
workspace = Workspace(profile.model_copy(update={{"execution": execution}}))
scope = everything(workspace.profile, [STEPS["{KEY}"]])
with InlineExecutor(workspace, "{dying_products.__name__}", lambda line: None) as executor:
    for event in bring_up_to_date(workspace, scope, executor, checks=False):
        if isinstance(event, Committed):
            print(json.dumps([event.receipt.partition, event.made, event.unannounced]))
"""


def _run(catalog: str, silence: float) -> subprocess.Popen[str]:
    """Start a run that makes all documents, to which others are dead after a silence."""
    command = [sys.executable, "-c", _RUN, catalog, str(silence)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _committed(run: subprocess.Popen[str]) -> list[list[object]]:
    """Wait for a run's end, and return what it said of [partition, whether it made it, whether nobody was told]."""
    lines, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    return sorted(json.loads(line) for line in lines.splitlines())


def test_what_a_silent_run_brings_when_it_wakes_up_is_refused_and_goes(
    tiny: Profile, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = tiny.execution.model_copy(update={"catalog": catalog_url})
    workspace = Workspace(tiny.model_copy(update={"execution": execution}))
    make_current(workspace, "corpus/shards")
    held, shards = tmp_path / "held", ["s0.jsonl", "s1.jsonl", "s2.jsonl"]
    held.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv(dying_products.HOLDS, str(held))
        silent = _run(catalog_url, 60.0)
    try:
        while not [*held.glob("make-*")]:
            assert silent.poll() is None
            time.sleep(0.05)
        os.kill(silent.pid, signal.SIGSTOP)
        other = _run(catalog_url, 3.0)
        assert _committed(other) == [[shard, True, False] for shard in shards]
        before = workspace.catalog.current_of(KEY)
        (held / "go").touch()
        os.kill(silent.pid, signal.SIGCONT)
        assert _committed(silent) == [[shard, False, False] for shard in shards], "each event is the other's"
    finally:
        silent.kill()
        silent.wait()
    assert workspace.catalog.current_of(KEY) == before and before.keys() == set(shards)
    assert {one.path for one in workspace.store.folders(KEY)} == {one.folder for one in before.values()}
    assert len(workspace.catalog.all_of(KEY)) == len(shards) and not workspace.catalog.attempts()
    assert len([*held.glob("make-*")]) == len(shards), "it went on to the end"
