"""A process that is `stoppable` ends at once with all below it, whatever its own code does about the interrupt."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

pytestmark = pytest.mark.process

_SECONDS = 10.0
_PARENT = """
import signal, subprocess, sys, time
from curation_assets.common.stopping import stoppable
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore these
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)
with stoppable(lambda line: print(line, flush=True)):
    child = subprocess.Popen([sys.executable, "-c", "import signal, time\\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\\n"
        "print('deaf', flush=True)\\ntime.sleep(60)"], start_new_session=True)
    print(child.pid, flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            {then}
"""


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process that is `stoppable`, and a deaf one below it; the parameter is what the first does when it is interrupted."""
    command = [sys.executable, "-c", _PARENT.replace("{then}", request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)} - {"deaf"}
        yield process, psutil.Process(int(lines.pop()))
        process.kill()


@pytest.mark.parametrize(
    "parent", ["break", "raise RuntimeError('of another kind')", "sys.exit(0)"], indirect=True
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_becomes_of_the_interrupt_it_is_the_end(
    parent: tuple[subprocess.Popen[str], psutil.Process], number: signal.Signals
) -> None:
    process, child = parent
    process.send_signal(number)
    said, _ = process.communicate(timeout=_SECONDS)
    assert process.returncode == 130
    expected = ["stopping ...", "stopped; the same command continues where this one was"]
    assert said.splitlines() == ([] if number == signal.SIGHUP else expected), (
        "a closed terminal shows nothing"
    )
    assert not child.is_running()


@pytest.mark.parametrize("parent", ["time.sleep(60)"], indirect=True)
def test_a_second_ctrl_c_does_not_wait_for_what_the_first_began(
    parent: tuple[subprocess.Popen[str], psutil.Process],
) -> None:
    process, _ = parent
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping ...\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(_SECONDS) == 130 and time.monotonic() - began < 3.0
    assert process.stdout.read() == ""


def test_what_was_to_be_ignored_is() -> None:
    """`nohup curation run` outlives its terminal."""
    code = "import os, signal\nfrom curation_assets.common.stopping import stoppable\nwith stoppable(print): os.kill(os.getpid(), signal.SIGHUP)"
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, timeout=60, text=True)
    assert done.returncode == 0 and done.stdout == ""
