"""What a run's log says: why something is made, how far it is, what failed."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.run_log import StepLog
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import make_current

SHARDS = ["s0.jsonl", "s1.jsonl", "s2.jsonl"]


@pytest.mark.process
def test_the_opening_says_how_many_and_why(tiny: Profile) -> None:
    workspace, step = Workspace(tiny), STEPS["corpus/documents"]
    log = StepLog(step, 3)
    make_current(workspace, "corpus/shards")
    assert (
        log.opening(Versions(workspace), SHARDS) == "corpus/documents, 3 partitions: 3 to make (not made yet)"
    )
    assert (
        log.opening(Versions(workspace), ["s1.jsonl"]) == "corpus/documents[s1.jsonl]: to make (not made yet)"
    )
    make_current(workspace, step.key)
    assert log.opening(Versions(workspace), SHARDS) == "corpus/documents, 3 partitions: nothing to make"
    corpus = tiny.corpus.model_copy(update={"max_chars": 300})
    changed = Workspace(tiny.model_copy(update={"corpus": corpus}))
    assert log.opening(Versions(changed), SHARDS).endswith("3 to make (settings or code changed)")


def test_partitions_are_counted_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.monotonic()]
    receipt = Receipt("random/scores", "a", "v", "v", "c", {}, "", {}, seconds=2.5)
    quick = StepLog(STEPS["random/scores"], 2)
    assert not re.search("left", quick.finished(receipt, True)), "seconds are not worth a line"
    log = StepLog(STEPS["random/scores"], 10, current=2)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    clock[0] += 30
    assert log.finished(receipt, True) == "random/scores[a]: made (3 of 10), 2.5 s, about 3 min 30 s left"
    clock[0] += 30
    line = log.finished(replace(receipt, partition="b"), False)
    assert line == "random/scores[b]: already current (4 of 10), about 3 min 00 s left"
    line = log.went_wrong("c", "no text")
    assert line == "random/scores[c]: failed (5 of 10): no text"
    assert (log.made, log.current, log.failed) == (1, 3, {"c": "no text"})
    assert "1 min 15 s" in StepLog(STEPS["random/scores"], 1).finished(replace(receipt, seconds=75.0), True)
