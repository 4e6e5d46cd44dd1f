"""Progress: what passes, how often, and how parts add up to the whole."""

from __future__ import annotations

import pytest

from curation_assets.common import progress
from curation_assets.common.progress import Throttled, after, duration, one_of


def test_long_work_is_told_every_few_seconds_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lines = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    told = Throttled(lines.append, "work", seconds=3)
    for second in range(11):
        clock[0] = float(second)
        told(second * 10, 100, "documents", "loss 2.0")
    assert len(lines) == 4  # seconds 3, 6, 9 and the last
    assert lines[0] == "work: 30 of 100 documents, 10 documents/s, 7 s left; loss 2.0"
    assert lines[-1] == "work: 100 of 100 documents, 10 documents/s; loss 2.0"


def test_short_work_is_not_worth_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    told = Throttled(lines.append, "work", seconds=3)
    for done in range(3):
        told(done, 2, "documents")
    assert lines == []


def test_parts_become_progress_of_the_whole() -> None:
    seen: list[tuple[float, float]] = []

    def record(done: float, total: float, unit: str, note: str = "") -> None:
        seen.append((done, total))

    one_of(record, 2, 3)(5, 10, "tokens")
    after(record, 40, 100)(5, 10, "documents")
    assert seen == [(25, 30), (45, 100)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
