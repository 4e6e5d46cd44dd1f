"""When an attempt that failed is tried again, and which processes are gone for certain."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from curation_assets.engine.attempts import Attempt, dead_for_certain, this_machine


def test_pauses_double_and_end() -> None:
    attempt = Attempt("k", "p", "recipe", 1_000.0, 1, "writer", ended=True, error="E")
    assert attempt.next_try(2, 60.0) == 1_060.0
    assert replace(attempt, number=2).next_try(2, 60.0) == 1_120.0
    assert replace(attempt, number=3).next_try(2, 60.0) is None, "two retries have failed"
    assert replace(attempt, number=30, error="", ended=False).next_try(2, 60.0) == 1_000.0 + 3_600.0, (
        "it died"
    )


@pytest.mark.process
def test_a_process_of_this_machine_that_has_ended_is_dead_for_certain() -> None:
    now = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not dead_for_certain(this_machine(), process.pid, now)
        assert dead_for_certain(this_machine(), process.pid, now - 100), "the number is a later process's"
        process.kill()
        end = time.monotonic() + 10
        while not dead_for_certain(this_machine(), process.pid, now):
            assert time.monotonic() < end, "a process that nobody has asked about is dead all the same"
            time.sleep(0.02)
        assert not dead_for_certain("another boot", process.pid, now), "that one cannot be seen from here"
    assert not dead_for_certain(this_machine(), os.getpid(), now)
