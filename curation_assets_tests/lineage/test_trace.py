"""A trace leads from a metric to the corpus files, and tells when what is there is not what was read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import upstream
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.nodes import Node, build
from curation_assets.lineage.trace import json_pieces, to_text, trace
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.lineage.conftest import MADE, SHARDS, make
from curation_assets_tests.lineage.imagined import Imagined, imagine
from curation_assets_tests.making import fail, withdraw

METRIC = ("random/metrics", "20|small")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests look for sentences, which a narrow terminal breaks."""
    monkeypatch.setenv("COLUMNS", "500")


def _json(node: Node) -> dict[str, Any]:
    return json.loads("".join(json_pieces(node)))


def _walk(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for need in tree.get("inputs", []):
        yield from _walk(need)


def _in_full(tree: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["key"]: node for node in _walk(tree) if not node["reference"]}


def _ancestors(versions: Versions, key: str, partition: str) -> set[tuple[str, str]]:
    found, todo = set(), [(key, partition)]
    while todo:
        at = todo.pop()
        found.add(at)
        step = STEPS[at[0]]
        for need, only in step.reads(versions.workspace.profile).items():
            wanted = upstream(step, at[1], STEPS[need], versions.partitions, only)
            todo += [(need, p) for p in wanted if (need, p) not in found]
    return found


def _line(text: str, start: str) -> str:
    """Return the one line that starts so, after the tree's own strokes."""
    [found] = [line for line in map(_bare, text.splitlines()) if line.startswith(start)]
    return found


def _bare(line: str) -> str:
    return line.lstrip("│├└─ ")


@pytest.mark.parametrize("at", [METRIC, ("perplexity_small/subset", "40"), ("random/scores", "s1.jsonl")])
def test_every_ancestor_is_there_once_with_what_its_receipt_says(made: Profile, at: tuple[str, str]) -> None:
    workspace = Workspace(made)
    versions = Versions(workspace)
    tree = _json(trace(workspace, *at))
    records = [record for node in _walk(tree) for record in node.get("artifacts", [])]
    assert {(r["key"], r["partition"]) for r in records} == _ancestors(versions, *at)
    assert len(records) == len({(r["key"], r["partition"]) for r in records})
    for record in records:
        receipt = versions.receipt(record["key"], record["partition"])
        assert receipt
        same = {name: getattr(receipt, name) for name in ("version", "seconds", "run_id", "metadata")}
        assert {name: record[name] for name in same} == same
        made_at = datetime.fromtimestamp(int(receipt.created), UTC)
        assert datetime.fromisoformat(record["created"]) == made_at and record["created"].endswith("Z")
        assert record["behind"] is None and not record["follows"]
        assert bool(record["reasons"]) == (record["key"] == "corpus/source")
    shard = next(r for r in records if r["key"] == "corpus/shards")
    assert {"url", "bytes", "sha256"} <= shard["metadata"].keys()
    for node in _walk(tree):
        assert node["settings_now"] == json.loads(json.dumps(STEPS[node["key"]].identity(made)))
        assert node["edge"] is None or not node["edge"]["others"]


def test_the_text_of_what_is_current(made: Profile) -> None:
    text = to_text(trace(Workspace(made), *METRIC), shards=2)
    about = Workspace(made).metadata("random/subset", "20")
    assert f"technique uniform, documents {about['documents']}, candidates {about['candidates']}" in text
    assert _line(text, "random/scores: 3 shards").endswith("all current")
    assert text.startswith("random/metrics[20|small]  version ")
    assert text.count("· s0.jsonl") == text.count("· s1.jsonl") == text.count("· and 1 more") > 2
    assert "s2.jsonl" not in text
    assert text.count("corpus/tokens: 3 shards  made") == 1
    assert text.count("corpus/tokens: 3 shards, see above") == 2
    assert not any(word in text for word in ("OUT OF DATE", "NOT WHAT WAS READ", "BEHIND", "MISSING"))
    assert "source asset:full_data/checkpoint#small, digest" in to_text(
        trace(Workspace(made), "perplexity_small/scores", "s0.jsonl")
    )


def test_no_line_is_wider_than_the_terminal(made: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    node = trace(Workspace(made), *METRIC)
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert max(map(len, to_text(node).splitlines())) <= columns
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, to_text(node).splitlines())) <= 80, "and 80 where there is no terminal"


def test_what_failed_and_what_waits_for_it(made: Profile, root: Path) -> None:
    workspace = Workspace(made)
    withdraw(workspace, "corpus/tokens", "s1.jsonl")
    withdraw(workspace, "random/subset", "20")
    fail(workspace, "corpus/tokens", "s1.jsonl", ValueError("no \x1b[31m token"), "wanted")
    node = trace(workspace, "random/subset", "20")
    text = to_text(node)
    lines = [_bare(line) for line in text.splitlines()]
    assert lines[2] == "BLOCKED: waits for corpus/tokens[s1.jsonl], which failed"
    assert "FAILED: ValueError: no" in text
    assert "\N{REPLACEMENT CHARACTER}[31m token" in text and "\x1b" not in text, "no terminal obeys it"
    [subset] = _in_full(_json(node))["random/subset"]["artifacts"]
    assert (subset["failure"], subset["waits_for"]) == ("", "corpus/tokens[s1.jsonl]")


def test_a_subset_that_is_newer_than_the_checkpoint(made: Profile, root: Path) -> None:
    then = Versions(Workspace(made)).receipt("random/subset", "20")
    write_shard(root / "shards" / "s1.jsonl", stdlib_texts()[1::4][:-3])
    (root / "shards" / "s2.jsonl").unlink()
    make(made, [key for key in MADE[: MADE.index("random/checkpoint")] if key != "corpus/validation"])
    workspace = Workspace(made)
    now = Versions(workspace).receipt("random/subset", "20")
    assert then and now and then.version != now.version
    node = trace(workspace, *METRIC)
    full = _in_full(_json(node))
    assert full["random/subset"]["edge"] == {
        "made_from": then.version,
        "now": now.version,
        "readers": 1,
        "others": 1,
    }
    assert full["random/subset"]["artifacts"][0]["version"] == now.version
    assert full["random/scores"]["edge"]["others"] == 0, "the subset was drawn from the scores that are there"
    text = to_text(node)
    assert _line(
        text, "NOT WHAT WAS READ: random/checkpoint[20|small] was made from version " + then.version[:10]
    )
    assert f"of this; here is {now.version[:10]}" in text
    lines = [_bare(line) for line in text.splitlines()]
    subset = next(i for i, line in enumerate(lines) if line.startswith("random/subset[20]"))
    mark = next(i for i, line in enumerate(lines) if line.startswith("NOT WHAT WAS READ: random/checkpoint"))
    assert 0 < mark - subset < 5, "the mark stands with the subset"
    said = f"OUT OF DATE: random/subset[20] changed ({then.version[:10]} -> {now.version[:10]})"
    assert _line(text, said) and _line(
        text, "current with what is there, but out of date: random/checkpoint[20|small]"
    )
    assert "BEHIND, and kept: learned from an earlier corpus" in text, "the tokenizer is pinned"
    kept = to_text(trace(workspace, "perplexity_small/subset", "20"))
    assert "full_data/checkpoint[small] was made from version" in kept


def test_many_shards_are_listed_in_part_and_recorded_in_full(made: Profile) -> None:
    shards = [f"part-{number:04}.jsonl" for number in range(400)]
    keys = [key for key in STEPS if key.startswith("corpus/")] + ["random/scores", "random/subset"]
    versions = imagine(Workspace(made), shards, keys)
    versions.change("corpus/documents", shards[123], version="another")
    versions.change("random/scores", shards[200], version="another")
    del versions.made["random/scores", shards[300]]
    for shard in (shards[200], shards[201]):
        versions.listing[shard] = versions.listing[shard] | {"bytes": 7}
    versions.change("random/scores", shards[200], code="another")
    node = build(versions, STEPS["random/subset"], ["20"])
    scores, tokens = node.inputs[0], _node(node, "corpus/tokens")
    assert (scores.out_of_date, scores.missing, scores.following) == (3, 1, 1)
    assert (tokens.out_of_date, tokens.following) == (1, 2)
    assert scores.edge and scores.edge.others == 1, "400 scores are read as one"
    assert _node(node, "corpus/documents").edge == scores.inputs[0].edge and scores.inputs[0].edge
    assert scores.inputs[0].edge.others == 1 and scores.inputs[0].edge.readers == 400
    text = to_text(node, shards=3)
    assert _line(text, "3 out of date (1 of them missing), 1 made from what is out of date")
    assert not _line(text, "random/scores: 400 shards").endswith("all current")
    listed = [_bare(line)[2:].split()[0] for line in text.splitlines() if _bare(line).startswith("· ")]
    at = listed.index(shards[123])
    assert listed[at : at + 4] == [shards[123], shards[200], shards[300], "and"], (
        "what is out of date comes first"
    )
    assert text.count("· and 397 more") == 4
    assert "NOT WHAT WAS READ: 1 of 400 partitions of random/scores were made from other versions" in text
    assert len(text.splitlines()) < 100
    assert len(_in_full(_json(node))["random/scores"]["artifacts"]) == 400


def _node(node: Node, key: str) -> Node:
    found = [need for need in node.inputs if need.step.key == key and not need.reference]
    return found[0] if found else next(_node(need, key) for need in node.inputs if _has(need, key))


def _has(node: Node, key: str) -> bool:
    return any((n.step.key == key and not n.reference) or _has(n, key) for n in node.inputs)


def test_reports_and_what_is_not_made(made: Profile) -> None:
    workspace = Workspace(made)
    some = ("evaluation/examples", "report/comparison")
    keys = [key for key in STEPS if key.split("/")[0] in ("corpus", "full_data", "random") or key in some]
    versions = imagine(workspace, list(SHARDS), keys)
    node = build(versions, STEPS["report/comparison"], [""])
    assert {need.step.key for need in node.inputs} == {
        "corpus/index",
        "evaluation/examples",
        "full_data/checkpoint",
        "full_data/metrics",
        "random/checkpoint",
        "random/metrics",
    }, "of what a report might read, what there is"
    assert "random/metrics: 25 runs" in to_text(node)
    missing = trace(workspace, "random/metrics", "80|xl")
    assert _line(to_text(missing), "random/metrics[80|xl]  not there")
    assert "MISSING: not made yet" in to_text(missing)
    assert missing.missing == 1 and not missing.inputs[0].edge.others  # type: ignore[union-attr]
    assert _json(missing)


def test_a_corpus_that_has_not_been_listed(
    made: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    empty = Workspace(Profile(**dict(made)))
    text = to_text(trace(empty, "random/subset", "20"))
    assert "random/scores: 0 shards" in text and "MISSING: not made yet" in text
    with pytest.raises(ValueError, match="none: the corpus has not been listed"):
        trace(empty, "random/scores", "s0.jsonl")


@pytest.mark.parametrize(
    ("key", "partition", "said"),
    [
        ("random/metric", "20|small", r"no asset 'random/metric'; did you mean 'random/metrics'\?"),
        ("nothing like it", "", "there is no asset 'nothing like it'$"),
        ("random/subset", "30", "no partition '30'.*there are 10, 20, 40, 60, 80"),
        ("random/subset", "", "one artifact for each amount: name one of 10, 20, 40, 60, 80"),
        ("random/scores", "s1.json", r"there are s0.jsonl, s1.jsonl, s2.jsonl; did you mean 's1.jsonl'\?"),
        ("corpus/index", "20", "corpus/index is one artifact, without partitions: leave '20' out"),
    ],
)
def test_what_does_not_exist(made: Profile, key: str, partition: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        trace(Workspace(made), key, partition)
    assert "\n" not in str(caught.value)


def test_a_shard_that_is_gone_can_still_be_traced(made: Profile, root: Path) -> None:
    (root / "shards" / "s2.jsonl").unlink()
    make(made, ["corpus/source"])
    text = to_text(trace(Workspace(made), "random/scores", "s2.jsonl"))
    assert "OUT OF DATE: not in the corpus any more" in text
    assert text.count("current with what is there, but out of date: corpus/shards[s2.jsonl]") == 2


def test_the_imagined_graph_is_like_the_real_one(made: Profile) -> None:
    """Else the tests on it would say nothing."""
    versions = imagine(Workspace(made), list(SHARDS), MADE)
    real = Versions(Workspace(made))
    assert isinstance(versions, Imagined)
    for key, partition in versions.made:
        receipt = real.receipt(key, partition)
        if receipt:
            assert receipt.inputs.keys() == versions.made[key, partition].inputs.keys()
            assert receipt.code == versions.made[key, partition].code
