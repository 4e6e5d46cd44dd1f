"""Every partition that the profile asks for is counted once, in the state that it is in."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.reasons import as_data
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.lineage.status import STATES, Status, status, to_text
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.lineage.conftest import MADE, make
from curation_assets_tests.making import attempt_of, fail, withdraw

pytestmark = pytest.mark.slow  # its fixture makes artifacts


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests look for sentences, which a narrow terminal breaks."""
    monkeypatch.setenv("COLUMNS", "500")


def _counts(found: Status, key: str) -> dict[str, int]:
    [row] = [row for row in found.rows if row.key == key]
    return {state: number for state, number in row.counts.items() if number}


def _check_sums(workspace: Workspace, found: Status) -> None:
    asked = {step.key: len(targets(workspace, step)) for step in wanted_steps(workspace.profile)}
    assert {row.key: row.partitions for row in found.rows} == asked
    versions = Versions(workspace)
    for row in found.rows:
        step = STEPS[row.key]
        current = [p for p in targets(workspace, step) if versions.current(step, p)]
        if row.key != "corpus/source":
            assert row.counts["current"] + row.counts["following"] == len(current)


def test_what_is_made_and_what_is_missing(made: Profile) -> None:
    workspace = Workspace(made)
    found = status(workspace)
    _check_sums(workspace, found)
    for key in MADE:
        assert _counts(found, key).keys() == {"current"}, key
    assert _counts(found, "perplexity_small/metrics") == {"missing": 1}
    assert not found.costs and found.train == 1
    assert not (found.running or found.failed or found.behind or found.set_aside)
    index = workspace.metadata("corpus/index")
    assert (found.shards, found.documents) == (3, index["documents"]) and found.listed.endswith("Z")
    text = to_text(found)
    assert "missing" in text and "  perplexity_small/metrics" in text and "  random/metrics" not in text
    assert "an update trains at most 1 model" in text and "scores" not in text.split("\n\n")[2]


def test_a_change_of_the_corpus_has_its_cost(made: Profile, root: Path) -> None:
    write_shard(root / "shards" / "s1.jsonl", stdlib_texts()[1::4][:-1])
    write_shard(root / "shards" / "s7.jsonl", stdlib_texts()[3::8])
    make(made, ["corpus/source"])
    workspace = Workspace(made)
    found = status(workspace)
    _check_sums(workspace, found)
    assert _counts(found, "corpus/shards") == {"current": 2, "out_of_date": 1, "missing": 1}
    assert _counts(found, "random/scores") == {"current": 2, "following": 1, "missing": 1}
    then = workspace.metadata("corpus/documents", "s1.jsonl")["documents"]
    costs = {cost.family: cost for cost in found.costs}
    assert costs.keys() == {"random", "perplexity"}
    assert asdict(costs["perplexity"]) == {
        "family": "perplexity",
        "samplers": 1,
        "shards": 2,
        "documents": then,
        "scores": then,
        "unread": 1,
        "at_most": True,
    }
    assert dict(found.behind).keys() == {
        "corpus/tokenizer",
        "evaluation/examples",
        "full_data/checkpoint[small]",
    }
    text = to_text(found)
    assert (
        f"scores at most 2 shards, {then} documents and those of 1 shard not read yet with 1 random" in text
    )
    assert "BEHIND  corpus/tokenizer: cannot be compared with the corpus now: corpus/documents is" in text

    make(made, [key for key in MADE if key.startswith("corpus/")])
    workspace = Workspace(made)
    found = status(workspace)
    costs = {cost.family: cost for cost in found.costs}
    documents = [workspace.metadata("corpus/documents", s)["documents"] for s in ("s1.jsonl", "s7.jsonl")]
    assert costs["random"].documents == sum(documents) and not costs["random"].unread
    assert not costs["random"].at_most and costs["random"].shards == 2


@pytest.mark.process
def test_failed_running_and_stopped(made: Profile, root: Path) -> None:
    workspace = Workspace(made)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    now, here = time.time(), socket.gethostname()
    attempts = {
        ("random/scores", "s0.jsonl"): {},
        ("random/scores", "s1.jsonl"): {"ended": True, "error": "ValueError: bad text", "number": 3},
        ("random/scores", "s2.jsonl"): {"pid": dead.pid},
        ("perplexity_small/scores", "s0.jsonl"): {"machine": "elsewhere"},
        ("perplexity_small/scores", "s1.jsonl"): {"machine": "elsewhere", "beat": now - 90},
        ("perplexity_small/scores", "s2.jsonl"): {"error": "OSError: full", "number": 2},
    }
    for (key, partition), about in attempts.items():
        attempt_of(workspace, key, partition, **about)
    assert not status(workspace).failed, "what is current is not being made"
    for at in attempts:
        withdraw(workspace, *at)
    found = status(workspace)
    _check_sums(workspace, found)
    assert _counts(found, "random/scores") == {"running": 1, "failed": 1, "stopped": 1}
    assert _counts(found, "perplexity_small/scores") == {"running": 2, "stopped": 1}
    said = dict(found.running) | dict(found.failed) | dict(found.stopped)
    assert dict(found.failed).keys() == {"random/scores[s1.jsonl]"}, "what was killed has not failed"
    assert re.fullmatch(
        rf"for \d+ s in process {os.getpid()} on {re.escape(here)}", said["random/scores[s0.jsonl]"]
    )
    assert said["random/scores[s1.jsonl]"].startswith("ValueError: bad text (attempt 3, 20")
    assert said["random/scores[s2.jsonl]"].startswith("its process died in the middle of it (attempt 1, 20")
    assert said["perplexity_small/scores[s2.jsonl]"].endswith("attempt 2 after: OSError: full")
    text = to_text(found)
    assert (
        "RUNNING  random/scores[s0.jsonl]: for" in text and "FAILED  random/scores[s1.jsonl]: Value" in text
    )
    assert all(STATES[state] in text for state in ("running", "failed", "stopped"))
    assert [cost.samplers for cost in found.costs] == [1, 1] and found.costs[0].shards == 3


def _fail(workspace: Workspace, key: str, partition: str = "", error: Exception | None = None) -> None:
    withdraw(workspace, key, partition)
    fail(workspace, key, partition, error or ValueError("broken"), "wanted")


def test_what_waits_for_a_failure_is_blocked_and_nothing_else_is(made: Profile, root: Path) -> None:
    workspace = Workspace(made)
    _fail(workspace, "corpus/tokens", "s1.jsonl")
    for key in ("corpus/index", "random/subset", "random/checkpoint"):
        for partition in targets(workspace, STEPS[key]):
            withdraw(workspace, key, partition)
    withdraw(workspace, "random/scores", "s1.jsonl")
    _fail(workspace, "report/comparison", error=MissingInput("no metrics: there is nothing to compare"))
    found = status(workspace)
    _check_sums(workspace, found)
    assert _counts(found, "corpus/tokens") == {"current": 2, "failed": 1}
    assert _counts(found, "corpus/index") == {"blocked": 1}
    assert _counts(found, "random/subset") == {"blocked": 5}, "several steps below what failed"
    assert _counts(found, "random/checkpoint") == {"blocked": 1}
    assert _counts(found, "random/scores") == {"current": 2, "missing": 1}, "needs no tokens"
    assert _counts(found, "perplexity_small/scores")["current"] == 2, "the other shards do not wait"
    assert _counts(found, "report/comparison") == {"blocked": 1}, "it found nothing to show, and did not fail"
    assert set(dict(found.blocked).values()) == {"corpus/tokens[s1.jsonl]"}
    assert [name for name, _ in found.failed] == ["corpus/tokens[s1.jsonl]"]
    text = to_text(found)
    assert re.search(
        r"^BLOCKED  \d+ assets wait for corpus/tokens\[s1.jsonl\]: corpus/index, ", text, re.MULTILINE
    )
    data = json.loads(json.dumps(found, default=as_data, allow_nan=False))
    assert data["blocked"] == list(map(list, found.blocked))


def test_without_a_failure_nothing_is_blocked(made: Profile, root: Path) -> None:
    workspace = Workspace(made)
    withdraw(workspace, "corpus/tokenizer")
    for shard in targets(workspace, STEPS["corpus/tokens"]):
        withdraw(workspace, "corpus/tokens", shard)
    found = status(workspace)
    assert _counts(found, "corpus/tokens") == {"missing": 3} and not found.blocked
    _fail(workspace, "report/comparison", error=MissingInput("no metrics: there is nothing to compare"))
    found = status(workspace)
    assert _counts(found, "report/comparison") == {"missing": 1} and not found.failed, (
        "there is nothing to show yet"
    )


def test_a_listing_that_fails_and_files_that_all_fail_block_everything(
    made: Profile, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(made)
    for shard in targets(workspace, STEPS["corpus/shards"]):
        _fail(workspace, "corpus/documents", shard)
    for key in ("corpus/tokenizer", "corpus/index"):
        withdraw(workspace, key)
    found = dict(status(workspace).blocked)
    assert found["corpus/index"] == found["corpus/tokenizer"] == "corpus/documents[s0.jsonl]"
    monkeypatch.setenv("CURATION_DATA", str(root / "new"))
    workspace = Workspace(load_profile())
    _fail(workspace, "corpus/source")
    found = dict(status(workspace).blocked)
    assert found["corpus/tokenizer"] == found["random/subset[20]"] == "corpus/source"


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_wider_than_the_terminal(
    made: Profile, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = status(Workspace(made))
    every = dict.fromkeys(STATES, 12_345)
    rows = [replace(row, counts=every) if columns == 80 else row for row in found.rows]
    long = [("evaluation/contamination[" + "deep/" * 40 + "x.jsonl]", "/a/path" * 30)]
    text = to_text(replace(found, rows=rows, failed=long, set_aside=long, behind=long, running=long))
    assert max(map(len, text.splitlines())) <= columns
    assert columns < 80 or re.search(r"^  \w+…[\w/]+ +12,345", text, re.MULTILINE)


def test_a_file_that_cannot_be_read_is_set_aside(made: Profile, root: Path) -> None:
    (root / "shards" / "bad.jsonl.gz").write_bytes(b"this is no gzip file")
    make(made, ["corpus/source", "corpus/shards"])
    workspace = Workspace(made)
    fail(workspace, "corpus/documents", "bad.jsonl", ValueError("no gzip"), "wanted")
    found = status(workspace)
    _check_sums(workspace, found)
    assert _counts(found, "corpus/documents") == {"current": 3, "failed": 1}
    assert _counts(found, "random/scores") == {"current": 3}, "the others do not wait for it"
    assert found.set_aside == [("bad.jsonl", "ValueError: no gzip")] and found.shards == 4
    assert "SET ASIDE  bad.jsonl: ValueError: no gzip" in to_text(found)


def test_a_new_workspace(made: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    workspace = Workspace(Profile(**dict(made)))
    found = status(workspace)
    _check_sums(workspace, found)
    assert _counts(found, "corpus/source") == {"missing": 1} and _counts(found, "corpus/shards") == {}
    assert to_text(found).startswith("profile tiny: the corpus has not been listed yet")


def test_the_text_stays_short(made: Profile) -> None:
    found = status(Workspace(made))
    many = replace(found, failed=[(f"random/scores[{n}]", "broken") for n in range(5_000)])
    lines = to_text(many).splitlines()
    assert len(lines) < 40 and "FAILED  4,990 more" in lines
