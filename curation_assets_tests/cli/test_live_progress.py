"""What a run shows: stages in a log; on a terminal also what is being worked on, in its width."""

from __future__ import annotations

import pickle
import re
import sys

import pytest

from curation_assets.cli import live_progress
from curation_assets.cli.live_progress import Watching
from curation_assets.common.progress import Line
from curation_assets_tests.pseudo_terminal import COLUMNS, Terminal

_RUN = """
import time
from curation_assets.common.progress import Line
from curation_assets.cli.live_progress import Watching
tell = Watching(time.monotonic())
name = "random/scores[" + "very-long-name-" * 8 + ".jsonl]"
with tell:
    tell(Line.about("--- random/scores: 2 to make", ("random/scores",), ("a", "b"), "begin"))
    tell(Line.about("--- density/scores[\\x1b[2Jb]", ("density/scores",), ("b",), "begin"))
    tell(Line.about(name + ": 3 of 12 documents", ("random/scores",), ("b",), "during"))
    tell(Line.about("density/scores[b]: 5 of 12 documents, 9 s left", ("density/scores",), ("b",), "during"))
    time.sleep(1.2)
    tell(Line.about("density/scores: ended", ("density/scores",), ("b",), "end"))
    time.sleep(1.2)
    print("in between")
print("afterwards")
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.process
def test_on_a_terminal_there_is_a_line_for_what_is_being_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal([sys.executable, "-c", _RUN])
    assert terminal.ended(60) == 0
    shown = terminal.shown.decode()
    assert "\x1b[2J" not in shown, "a name steers no terminal"
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", shown))]
    assert "0 s  --- random/scores: 2 to make" in [line.strip() for line in lines]
    assert any("density/scores[b]: 5 of 12 documents, 9 s left" in line for line in lines)
    long = [line for line in lines if "very-long" in line]
    assert long and all(len(line) <= COLUMNS and line.endswith("…") for line in long)
    ended = lines.index("in between")
    assert not any("5 of 12" in line for line in lines[ended:]), "what has ended is shown no longer"
    assert not any("ended" in line for line in lines)
    assert lines[-2:] == ["afterwards", ""] and shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")


def test_a_log_has_plain_lines_and_not_too_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(live_progress.time, "monotonic", lambda: clock[0])
    with Watching(0.0) as tell:
        tell(Line.about("--- random/scores[a]", ("random/scores",), ("a",), "begin"))
        for second in range(1, 8):
            clock[0] = float(second)
            tell(Line.about(f"random/scores[a]: {second} of 9", ("random/scores",), ("a",), "during"))
        tell(Line.about("random/scores: ended", ("random/scores",), ("a",), "end"))
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert [line.strip() for line in told.splitlines()] == [
        "0 s  --- random/scores[a]",
        "3 s  random/scores[a]: 3 of 9",
        "6 s  random/scores[a]: 6 of 9",
    ]


def test_of_a_step_with_many_workers_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Watching(-9.0) as tell:
        for shard in ("a", "b", "c"):
            tell(Line.about(f"--- random/scores[{shard}]", ("random/scores",), (shard,), "begin"))
        tell._printed -= 9.0
        tell(Line.about("random/scores[b]: 1 of 9", ("random/scores",), ("b",), "during"))
        lines = [str(line) for line in tell._lines().renderables]
    assert len(lines) == 1 and lines[0].endswith("random/scores[b]: 1 of 9 (2 more at work)")
    assert capsys.readouterr().out.endswith("random/scores[b]: 1 of 9 (2 more at work)\n")


def test_a_line_arrives_from_a_worker_as_it_was() -> None:
    line = Line.about("a/b[c]: 1 of 2", ("a/b",), ("c",), "during")
    arrived = pickle.loads(
        pickle.dumps(line)
    )  # as multiprocessing's queues do between a run and its own workers
    assert arrived == line and vars(arrived) == vars(line)
