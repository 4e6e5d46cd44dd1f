"""Making an artifact: a disk that is full, two processes at once, damage, and what is remembered of each."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from curation_assets.config.profile import Profile
from curation_assets.corpus.build import documents
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.attempts import SILENCE
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import BuildOne, Workspace
from curation_assets_tests.conftest import make_current
from curation_assets_tests.making import load, materialize

_MAKE = """
import resource, signal, sys
from curation_assets.corpus.build import documents
from curation_assets_tests.making import load
from curation_assets.engine.graph import STEPS
from curation_assets_tests.making import materialize
from curation_assets.config.profile import load_profile
from curation_assets.engine.workspace import Workspace
if sys.argv[1] != "0":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
workspace = Workspace(load_profile())
print("ready", flush=True)
input() if sys.argv[2] == "wait" else None
def one(inputs):
    build_one = load(documents, workspace, STEPS["corpus/documents"])
    def build(partition, folder, progress):
        (folder / "large").write_bytes(bytes(1 << 20))
        return build_one(partition, folder, progress)
    return build
_, made = materialize(workspace, STEPS["corpus/documents"], "s0.jsonl", one)
print(made)
"""
_HELD = """
from curation_assets.corpus.build import documents
from curation_assets_tests.making import load
from curation_assets.engine.graph import STEPS
from curation_assets_tests.making import materialize
from curation_assets.config.profile import load_profile
from curation_assets.engine.workspace import Workspace
workspace = Workspace(load_profile())
def one(inputs):
    print("at it", flush=True)
    input()
    return load(documents, workspace, STEPS["corpus/documents"])
materialize(workspace, STEPS["corpus/documents"], "s0.jsonl", one, run_id="first")
"""
AT = ("corpus/documents", "s0.jsonl")


def _command(limit: int = 0, wait: str = "") -> list[str]:
    return [sys.executable, "-c", _MAKE, str(limit), wait]


def _files(workspace: Workspace) -> set[Path]:
    return {path for path in Path(workspace.store.root).rglob("*") if path.is_file()}


@pytest.fixture
def workspace(tiny: Profile) -> Workspace:
    found = Workspace(tiny)
    make_current(found, "corpus/shards")
    return found


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_full_disk_is_a_stated_error_and_leaves_nothing_behind(workspace: Workspace) -> None:
    before = _files(workspace)
    done = subprocess.run(_command(limit=500_000), capture_output=True, text=True)
    assert done.returncode and "File too large" in done.stderr.splitlines()[-1]
    assert workspace.receipt(*AT) is None
    assert _files(workspace) == before, "no half artifact"
    attempt = workspace.catalog.attempt(*AT)
    assert attempt and attempt.ended and "File too large" in attempt.error
    subprocess.run(_command(), check=True)
    assert workspace.open(*AT) and workspace.catalog.attempt(*AT) is None


@pytest.mark.process
def test_of_three_processes_at_once_one_makes_it(workspace: Workspace) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    all_three = [subprocess.Popen(_command(wait="wait"), **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in all_three] == ["ready\n"] * 3
    for process in all_three:
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0] for process in all_three]
    assert sorted(told) == ["False\n", "False\n", "True\n"]
    assert (workspace.open(*AT) / "documents.parquet").exists(), "its digests hold"
    assert Versions(workspace).current(STEPS[AT[0]], AT[1]) and workspace.catalog.attempt(*AT) is None


@pytest.mark.process
def test_who_comes_second_waits_and_makes_nothing_again(workspace: Workspace) -> None:
    """The first one, a process of its own, is held in the middle of its work while the second waits."""
    with subprocess.Popen(
        [sys.executable, "-c", _HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdin and first.stdout
        assert first.stdout.readline() == "at it\n"

        threading.Timer(1.0, first.communicate, ("go on\n",)).start()

        def never(inputs: dict[str, str]) -> BuildOne:
            raise AssertionError("it is made already")

        receipt, made = materialize(workspace, STEPS[AT[0]], AT[1], never, run_id="second")
    assert not made and receipt.run_id == "first"


@pytest.mark.process
def test_who_died_is_not_waited_for(workspace: Workspace) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout and first.stdout.readline() == "at it\n"
        first.kill()
    attempt = workspace.catalog.attempt(*AT)
    assert attempt and not attempt.ended
    begun = time.monotonic()
    _, made = materialize(
        workspace, STEPS[AT[0]], AT[1], lambda inputs: load(documents, workspace, STEPS[AT[0]])
    )
    assert made and time.monotonic() - begun < SILENCE / 4


@pytest.mark.graph
def test_damage_is_no_failure_of_whoever_reads_it(tiny: Profile) -> None:
    first = [STEPS[f"corpus/{name}"] for name in ("source", "shards", "documents")]
    run_graph(tiny, lambda line: None, first)
    path = Workspace(tiny).open(*AT) / "documents.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    outcome = run_graph(tiny, lambda line: None, [STEPS["random/scores"]])
    assert "changed on disk since it was written" in outcome.failed["random/scores"]
    workspace = Workspace(tiny)
    assert workspace.catalog.attempt("random/scores", "s0.jsonl") is None, "it is tried again at once"
    assert workspace.receipt(*AT) is None
    assert not run_graph(tiny, lambda line: None, [*first, STEPS["random/scores"]]).failed
    assert (
        path.parent == Workspace(tiny).open(*AT)
        or (Workspace(tiny).open(*AT) / path.name).read_bytes() == content
    )
    with pytest.raises(DamagedArtifact):
        path = Workspace(tiny).open(*AT) / "documents.parquet"
        path.write_bytes(b"0" * len(content))
        Workspace(tiny).open(*AT)
