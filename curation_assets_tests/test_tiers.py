"""The tiers are honest: whatever a fast test starts, it fails, and says what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = """
import multiprocessing, os, subprocess, sys, time
import dagster as dg, pytest

@dg.op
def nothing(): pass

@dg.job
def job(): nothing()

def subprocesses(): subprocess.run([sys.executable, "-c", ""])
def processes():
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
    process.start(); process.join()
def runs(): job.execute_in_process()

START = pytest.mark.parametrize("start", [subprocesses, processes, runs])

@START
def test_fast(start): start()

@pytest.mark.process
@START
def test_marked(start): start()

@pytest.fixture
def started(): subprocesses()

def test_with_a_fixture(started): pass

def test_alone(): pass
"""


@pytest.mark.process
def test_a_fast_test_that_starts_something_fails(tmp_path: Path) -> None:
    path = tmp_path / "test_some.py"
    path.write_text(_TESTS, "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "curation_assets_tests.tiers", "-p", "no:cacheprovider"]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [*command, "-c", root / "pyproject.toml", path], cwd=root, capture_output=True, text=True
    )
    assert "3 failed, 4 passed, 1 error" in done.stdout, done.stdout + done.stderr
    for what in ("a subprocess (", "a process:", "a Dagster run:"):
        assert f"a fast test started {what}" in done.stdout
    assert done.stdout.count("give it a mark of a tier (browser, graph, process, slow)") >= 4


@pytest.mark.process
def test_the_tests_of_a_file_and_those_in_the_browser_share_a_process(tmp_path: Path) -> None:
    """Else what they share is made once for each process."""
    test = "import pytest\n@pytest.mark.parametrize('n', range(8))\ndef test_it(n): pass\n"
    for name in ("test_a.py", "test_b.py", "test_c.py", "browser/test_d.py", "browser/test_e.py"):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(test, "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "curation_assets_tests.tiers", "-p", "no:cacheprovider"]
    xdist = ["--numprocesses", "2", "--dist", "loadscope", "--no-loadscope-reorder", "-vv"]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [*command, *xdist, "-c", root / "pyproject.toml", "--rootdir", tmp_path, tmp_path],
        cwd=root,
        capture_output=True,
        text=True,
    )
    where = re.findall(r"\[(gw\d)\].* PASSED \S*/tests/(browser|test_\w+)", done.stdout)
    assert len(where) == 40, done.stdout + done.stderr
    assert len(set(where)) == 4 and len({process for process, _ in where}) == 2
