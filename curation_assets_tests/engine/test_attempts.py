"""What is remembered of attempts that have not succeeded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from curation_assets.engine.attempts import Attempt, Attempts
from curation_assets.engine.store import Store

AT = ("density/scores", "s0.jsonl")


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(Store(str(tmp_path / "store"), tmp_path / "cache"))


def test_failures_are_counted_until_something_else_is_wanted(attempts: Attempts) -> None:
    assert attempts.read(*AT) is None
    first = attempts.begin(*AT, "recipe", "run")
    assert first.running() and first.number == 1 and not first.error
    attempts.fail(*AT, first, ValueError("no such column"))
    second = attempts.begin(*AT, "recipe", "run")
    assert second.number == 2 and second.error == "ValueError: no such column", "said until it succeeds"
    attempts.fail(*AT, second, OSError(28, "No space left on device"))
    read = attempts.read(*AT)
    assert read and read.ended and not read.running() and "No space left" in read.error
    assert attempts.begin(*AT, "another recipe", "run").number == 1
    attempts.end(*AT)
    assert attempts.read(*AT) is None
    attempts.end(*AT)


def test_a_torn_file_counts_as_none(attempts: Attempts, tmp_path: Path) -> None:
    attempts.begin(*AT, "recipe", "run")
    [path] = tmp_path.rglob("attempt.json")
    path.write_text('{"wanted": "rec')
    assert attempts.read(*AT) is None
    assert attempts.begin(*AT, "recipe", "run").number == 1


def test_pauses_double_and_end(attempts: Attempts) -> None:
    attempt = replace(attempts.begin(*AT, "recipe", "run"), started=1_000.0, ended=True, error="E")
    assert attempt.next_try(2, 60.0) == 1_060.0
    assert replace(attempt, number=2).next_try(2, 60.0) == 1_120.0
    assert replace(attempt, number=3).next_try(2, 60.0) is None, "two retries have failed"
    assert replace(attempt, number=30, error="", ended=False).next_try(2, 60.0) == 1_000.0 + 3_600.0, (
        "it died"
    )


@pytest.mark.process
def test_a_dead_process_runs_no_more(attempts: Attempts) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    attempt = attempts.begin(*AT, "recipe", "run")
    assert not replace(attempt, pid=process.pid).running()
    assert replace(attempt, pid=os.getpid()).running()
    elsewhere = replace(attempt, host="another machine", pid=process.pid)
    assert elsewhere.running() and not replace(elsewhere, started=elsewhere.started - 100_000).running()


@pytest.mark.process
def test_another_process_of_this_machine_is_told_from_this_one_and_from_a_later_one(
    attempts: Attempts,
) -> None:
    attempt = attempts.begin(*AT, "recipe", "run")
    assert not attempt.by_another(), "this process does not wait for itself"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        theirs = replace(attempt, pid=process.pid, started=time.time())
        assert theirs.by_another() and not replace(theirs, ended=True).by_another()
        assert not replace(theirs, host="another machine").by_another(), (
            "whether that one lives cannot be seen"
        )
        process.kill()
        end = time.monotonic() + 10
        while theirs.by_another():
            assert time.monotonic() < end, "a process that nobody has asked about is dead all the same"
            time.sleep(0.02)
        process.wait()
        assert not theirs.by_another()


@pytest.mark.process
def test_after_a_restart_the_number_of_a_process_may_be_anothers(attempts: Attempts) -> None:
    attempt = attempts.begin(*AT, "recipe", "run")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not replace(attempt, pid=process.pid, started=time.time() - 100).running()
        process.kill()


def test_it_is_kept_on_any_file_system(tmp_path: Path) -> None:
    found = Attempts(Store("memory://attempts", tmp_path / "cache"))
    begun: Attempt = found.begin(*AT, "recipe", "run")
    assert found.read(*AT) == begun
    found.end(*AT)
    assert found.read(*AT) is None
