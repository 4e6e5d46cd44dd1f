"""For every kind of change all of a person's views give the same reason: plan, status, trace, log, page and Dagster's metadata."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import pytest

from curation_assets.common.files import file_states
from curation_assets.config.profile import Profile
from curation_assets.defs.metadata import about
from curation_assets.engine.context import Context
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.reasons import Kind, Reason, as_data, counted, summary
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.run_log import StepLog
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage import plan, trace
from curation_assets.lineage import status as states
from curation_assets_tests.lineage.imagined import imagine
from curation_assets_tests.making import put

SHARDS = ["s0.jsonl", "s1.jsonl", "s2.jsonl"]


@dataclass
class Graph:
    """A graph of receipts in a catalog, in which everything is current."""

    profile: Profile
    receipts: dict[tuple[str, str], Receipt]
    listing: dict[str, dict[str, Any]]

    @property
    def workspace(self) -> Workspace:
        """A new one, which has read nothing yet."""
        return Workspace(self.profile)

    def write(self, receipt: Receipt, **files: bytes) -> None:
        """Write a receipt, with files that it names."""
        workspace = self.workspace
        where = f"{workspace.store.place(receipt.key, receipt.partition)}/{uuid.uuid4().hex}"
        entries = {name: (len(content), sha256(content).hexdigest()) for name, content in files.items()}
        receipt = replace(receipt, folder=where, files=receipt.files | entries)
        for name, content in files.items():
            path = Path(workspace.store.path(receipt, name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        put(workspace, receipt)
        self.receipts[receipt.key, receipt.partition] = receipt

    def change(self, key: str, partition: str = "", **fields: Any) -> None:
        """Give a receipt other fields."""
        self.write(replace(self.receipts[key, partition], **fields))

    def list_corpus(self) -> None:
        """Write the listing."""
        content = json.dumps(self.listing).encode()
        self.write(self.receipts["corpus/source", ""], **{"shards.json": content})


@pytest.fixture
def graph(tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setenv("COLUMNS", "500")
    samplers = ("random", "prototypes", "perplexity_small")
    profile = tiny.model_copy(update={"run": tiny.run.model_copy(update={"samplers": samplers})})
    workspace = Workspace(profile)
    imagined = imagine(workspace, SHARDS, [step.key for step in wanted_steps(profile)])
    graph = Graph(profile, {}, imagined.listing)
    graph.receipts.update(imagined.made)
    for key in {key for key, _ in imagined.made}:
        workspace.catalog.rebuild(key, [(r, True) for r in imagined.made.values() if r.key == key])
    graph.list_corpus()
    versions = Versions(graph.workspace)
    kinds = {r.kind for at in graph.receipts for r in versions.reasons(STEPS[at[0]], at[1])}
    assert kinds == {"listed_again"}, "everything is current at first"
    return graph


def _settings(graph: Graph) -> None:
    selection = graph.profile.selection.model_copy(update={"seed": 5})
    graph.profile = graph.profile.model_copy(update={"selection": selection})


def _older_code(graph: Graph) -> None:
    step = STEPS["random/subset"]
    graph.change("random/subset", "20", code=replace(step, code=1).code_version(graph.profile))


def _forget(graph: Graph) -> None:
    others = [
        (one, True) for (key, at), one in graph.receipts.items() if key == SUBSET[0] and at != SUBSET[1]
    ]
    graph.workspace.catalog.rebuild(SUBSET[0], others)


def _withdraw(graph: Graph) -> None:
    graph.workspace.withdraw(graph.workspace.artifact(*SUBSET), "x is gone")


def _tamper(graph: Graph) -> None:
    graph.write(graph.receipts["random/subset", "20"], **{"subset.parquet": b"rows"})
    workspace = graph.workspace
    Path(workspace.store.path(workspace.artifact("random/subset", "20"), "subset.parquet")).write_bytes(
        b"row"
    )


def _drawn_from(others: dict[str, str]) -> Callable[[Graph], None]:
    """Return a change: a subset was drawn from other versions of the scores; "" is for a shard without scores then."""

    def change(graph: Graph) -> None:
        now = {shard: graph.receipts["random/scores", shard].version for shard in SHARDS}
        then = {shard: version for shard, version in (now | others).items() if version}
        subset = graph.receipts["random/subset", "20"]
        subset = replace(subset, inputs=subset.inputs | {"random/scores": "x"}, recipe="x")
        graph.write(subset, **{"manifest.json": json.dumps({"score_versions": then}).encode()})

    return change


def _change(key: str, partition: str = "", **fields: Any) -> Callable[[Graph], None]:
    return lambda graph: graph.change(key, partition, **fields)


def _inputs(others: dict[str, str]) -> Callable[[Graph], None]:
    """Return a change: the validation set was made from other inputs; "" is for one that it did not read then."""

    def change(graph: Graph) -> None:
        then = graph.receipts["corpus/validation", ""].inputs | others
        inputs = {key: version for key, version in then.items() if version}
        graph.change("corpus/validation", inputs=inputs, recipe="x")

    return change


def _listed(**fields: Any) -> Callable[[Graph], None]:
    def change(graph: Graph) -> None:
        graph.listing["s1.jsonl"] |= fields
        graph.list_corpus()

    return change


def _refresh(graph: Graph) -> None:
    graph.change("corpus/documents", "s1.jsonl", version="others")
    graph.workspace.catalog.mark(["corpus/tokenizer"])


def _weights(change: Callable[[Path], object]) -> Callable[[Graph], None]:
    def changed(graph: Graph) -> None:
        file = graph.profile.data / "weights" / "a.safetensors"
        file.parent.mkdir()
        file.write_text("weights")
        seen = file_states(file.parent, [file.name])
        graph.change("perplexity_small/model", metadata={"seen": seen, "place": str(file.parent)})
        change(file)

    return changed


DAMAGED = "damaged: its receipt was changed, or a file is missing or not as long as the receipt says"
SUBSET, CHECKPOINT = ("random/subset", "20"), ("random/checkpoint", "20|small")
SHARD, VALIDATION, MODEL = (
    ("corpus/shards", "s1.jsonl"),
    ("corpus/validation", ""),
    ("perplexity_small/model", ""),
)
SINCE = {"version": "others", "created": 1e9}
CHANGES: list[tuple[str, Callable[[Graph], None], tuple[str, str], Kind, str]] = [
    ("a setting", _settings, SUBSET, "settings_or_code", "settings or code changed"),
    ("older code", _older_code, SUBSET, "code", "code changed (1 -> 2)"),
    (
        "older code of a report",
        _change("report/documents", code="x"),
        ("report/documents", ""),
        "settings_or_code",
        "settings or code changed",
    ),
    ("not made", _forget, SUBSET, "missing", "not made yet"),
    ("damaged and withdrawn", _withdraw, SUBSET, "withdrawn", "damaged, and withdrawn: x is gone"),
    ("altered receipt", _tamper, SUBSET, "damaged", DAMAGED),
    ("lost file", _change(*SUBSET, files={"x": (7, "digest")}), SUBSET, "damaged", DAMAGED),
    (
        "another subset",
        _change(*SUBSET, version="x"),
        CHECKPOINT,
        "input_changed",
        "random/subset[20] changed (",
    ),
    ("lost subset", _forget, CHECKPOINT, "input_missing", "random/subset[20] is missing"),
    (
        "other documents of a shard",
        _change("corpus/documents", "s1.jsonl", version="x"),
        ("random/scores", "s1.jsonl"),
        "input_changed",
        "corpus/documents[s1.jsonl] changed (",
    ),
    (
        "other tokens of a shard",
        _change("corpus/tokens", "s1.jsonl", **SINCE),
        ("corpus/index", ""),
        "input_changed_in_some",
        "corpus/tokens changed in some shard (made since: s1.jsonl)",
    ),
    (
        "other scores",
        _drawn_from({"s1.jsonl": "x"}),
        SUBSET,
        "input_changed_in",
        "changed in 1 shard (s1.jsonl)",
    ),
    ("new scores", _drawn_from({"s1.jsonl": ""}), SUBSET, "input_new_in", "is new in 1 shard (s1.jsonl)"),
    (
        "fewer scores",
        _drawn_from({"s9.jsonl": "x"}),
        SUBSET,
        "input_gone_from",
        "is gone from 1 shard (s9.jsonl)",
    ),
    (
        "one more input",
        _inputs({"corpus/tokenizer": ""}),
        VALIDATION,
        "input_added",
        "it now reads corpus/tokenizer, too",
    ),
    ("one input less", _inputs({"a/b": "x"}), VALIDATION, "input_dropped", "it does not read a/b any more"),
    (
        "wrong recipe",
        _change(*VALIDATION, recipe="x"),
        VALIDATION,
        "inconsistent",
        "its receipt does not add up",
    ),
    (
        "longer file",
        _listed(bytes=7_000),
        SHARD,
        "file_changed",
        "its file changed: 1,000 bytes then, 7,000 now",
    ),
    (
        "moved file",
        _listed(url="/y"),
        SHARD,
        "file_moved",
        "its file is another one: file:///corpus/s1.jsonl then, /y",
    ),
    ("rewritten file", _listed(modified=2.0), SHARD, "file_rewritten", "its file was written again"),
    ("another link", _listed(leads_to="/z"), SHARD, "file_relinked", "its link leads to another file"),
    (
        "another source",
        _listed(source="web", read_as={"id_field": ""}),
        SHARD,
        "file_read_otherwise",
        "its source is read otherwise, or has another name",
    ),
    (
        "drift",
        _change("corpus/index", metadata={"documents": 300}),
        ("clusters/centroids", ""),
        "drifted",
        "the corpus drifted: 150 documents then, 300 now (samplers.clusters.drift = 0.1)",
    ),
    (
        "refresh",
        _refresh,
        ("corpus/tokenizer", ""),
        "refresh_asked",
        "asked to be learned anew, and the corpus moved on",
    ),
    (
        "other weights",
        _weights(lambda f: f.write_text("x")),
        MODEL,
        "outside_changed",
        "changed: a.safetensors",
    ),
    ("lost weights", _weights(Path.unlink), MODEL, "outside_unreadable", "cannot be read: a.safetensors"),
]


def _data(value: Any) -> Any:
    return json.loads(json.dumps(value, default=as_data, allow_nan=False))


@pytest.mark.parametrize(
    ("change", "at", "kind", "text"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_the_same_reason_everywhere(
    graph: Graph, change: Callable[[Graph], None], at: tuple[str, str], kind: Kind, text: str
) -> None:
    receipt = graph.receipts[at]
    change(graph)
    (key, partition), workspace = at, graph.workspace
    step, versions = STEPS[key], Versions(workspace)
    [reason] = versions.reasons(step, partition)
    assert reason.kind == kind and text in str(reason) and not versions.current(step, partition)
    said, data = str(reason), _data(reason)

    planned = plan.planned(workspace)
    line = next(line for line in plan.to_text(planned).splitlines() if line.startswith(f"{key} "))
    assert said in line
    [row] = [row for row in _data(planned) if row["asset"] == key]
    assert row["reasons"] == [{"reason": data, "artifacts": row["to_make"]}]

    found = states.status(workspace)
    [row] = [row for row in _data(found)["rows"] if row["key"] == key]
    assert row["reasons"][0]["reason"] == data
    lines = [line for line in states.to_text(found).splitlines() if line.startswith(f"OUT OF DATE  {key}: ")]
    assert [said in line for line in lines] == ([] if kind == "missing" else [True]), "that column says it"

    node = trace.trace(workspace, key, partition)
    word = "MISSING" if kind in ("missing", "damaged", "withdrawn") else "OUT OF DATE"
    assert f"{word}: {said}" in [line.strip("│ ") for line in trace.to_text(node).splitlines()]
    assert json.loads("".join(trace.json_pieces(node)))["artifacts"][0]["reasons"] == [data]

    log = StepLog(step, 1)
    assert log.opening(Versions(workspace), [partition]) == f"{title(key, partition)}: to make ({said})"
    assert about(workspace, step, receipt, True, log.reasons[partition])["made_because"] == [said]
    page = Context(workspace, STEPS["report/page"]).versions()
    assert page.reasons(key, partition) == [said]


def test_every_kind_of_reason_is_among_them() -> None:
    always, of_no_target, not_to_make = (
        {"listed_again"},
        {"unlisted", "no_shards"},
        {"behind", "incomparable"},
    )
    assert {change[3] for change in CHANGES} == set(get_args(Kind)) - always - of_no_target - not_to_make


def test_reasons_that_differ_in_their_values_are_counted_as_one() -> None:
    one, other = (Reason("input_changed", "corpus/documents", (s,), 1, before=s, now="x") for s in "ab")
    settings = Reason("settings_or_code")
    found = counted([[one, settings], [other], [settings], [settings]])
    assert [(str(each.reason), each.artifacts) for each in found] == [
        ("settings or code changed", 3),
        ("corpus/documents changed", 2),
    ]
    assert summary(found) == "settings or code changed; corpus/documents changed"
    assert summary([*found, *found]).endswith("; and 2 more")
