"""One UI for a data folder, as long as its process lives."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation_assets.config.profile import ProfileError
from curation_assets.defs.webserver.holder import OURS, another, held

HOLD = """
import sys, time; from pathlib import Path; from curation_assets.defs.webserver.holder import held
with held(Path(sys.argv[1])) as lock:
    lock.announce("http://127.0.0.1:1"); print("held", flush=True); time.sleep(600)
"""


@pytest.mark.process
def test_a_second_one_is_told_of_the_first_until_that_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert another(tmp_path) is None
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        try:
            with pytest.raises(ProfileError) as refused, held(tmp_path):
                pass
            assert str(refused.value) == (
                f"a UI is at work in {tmp_path} already: http://127.0.0.1:1, process {first.pid} "
                f"(stop it with: kill {first.pid})"
            )
            holder = another(tmp_path)
            assert holder is not None and holder.pid == str(first.pid)
            monkeypatch.setenv(OURS, holder.pid)
            assert another(tmp_path) is None, "what it started is no other one"
        finally:
            first.kill()
    monkeypatch.delenv(OURS)
    assert another(tmp_path) is None
    with held(tmp_path) as lock:
        assert lock.ended == 0.0, "it did not end: it was killed"
        lock.announce("http://127.0.0.1:2")


def test_it_is_known_when_the_last_one_ended(tmp_path: Path) -> None:
    with held(tmp_path) as lock:
        assert lock.ended == 0.0, "nobody was here"
        lock.announce("http://127.0.0.1:1")
    with held(tmp_path) as lock:
        assert lock.ended == 0.0, "the first one had no daemon yet"
        lock.announce("http://127.0.0.1:1")
        lock.started = True
    with pytest.raises(OSError, match="port in use"), held(tmp_path) as lock:
        assert abs(lock.ended - time.time()) < 60
        raise OSError("port in use")
    with held(tmp_path) as lock:
        assert abs(lock.ended - time.time()) < 60, "a start that failed takes nothing away"
