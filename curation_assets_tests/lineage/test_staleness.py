"""Reasons are given exactly for what is not current, and they are true."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets.common.files import file_states
from curation_assets.config.profile import Profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.lineage.conftest import MADE, SHARDS, make
from curation_assets_tests.lineage.imagined import DOCUMENTS, Imagined, imagine, listed

Change = Callable[[Imagined], None]


def _artifacts(versions: Versions) -> list[tuple[Step, str]]:
    return [(step, p) for step in STEPS.values() for p in versions.partitions(step.by)]


def _why(versions: Versions, key: str, partition: str = "") -> list[str]:
    return [str(reason) for reason in versions.reasons(STEPS[key], partition)]


def _kept(versions: Versions, step: Step, partition: str) -> str:
    return str(versions.kept(step, partition) or "")


def _check_all(versions: Versions) -> None:
    """Compare with what a recipe says, and with a plain walk over the graph."""
    for step, partition in _artifacts(versions):
        why, current = versions.reasons(step, partition), _is_current(versions, step, partition)
        assert (not why) == current == versions.current(step, partition), (step.key, partition, why)
        assert all(str(reason) and json.dumps(reason.to_json()) for reason in why)
        kept = current and versions.behind(step, partition)
        assert (versions.kept(step, partition) is not None) == kept, (step.key, partition)
    for step, partition in _artifacts(versions)[::7]:
        levels = _levels(versions, step, partition)
        found = versions.inherited(step, partition)
        assert [at for level in levels for at in sorted(level)] == [
            at for level in _split(found, levels) for at in sorted(level)
        ]
        assert versions.follows(step, partition) == bool(found)


def _is_current(versions: Versions, step: Step, partition: str) -> bool:
    """Tell by the definition, without a reason: the artifact's recipe is what it would be now, and what is pinned is kept."""
    receipt, profile = versions.receipt(step.key, partition), versions.workspace.profile
    if receipt is None or step.key == "corpus/source":
        return False
    if step.key == "corpus/shards":
        listed, facts = versions.listing.get(partition), ("url", "bytes", "modified", "leads_to")
        return listed is not None and all(receipt.metadata.get(f) == listed.get(f) for f in facts)
    seen = receipt.metadata.get("seen", {})
    try:
        made_so = receipt.recipe == step.recipe(profile, versions.inputs(step, partition), partition)
    except MissingInput:
        made_so = False
    try:
        unchanged = not seen or file_states(Path(receipt.metadata["place"]), seen) == seen
    except OSError:
        unchanged = False
    if receipt.code != step.code_version(profile) or not unchanged:
        return False
    if not step.pinned:
        return made_so
    index = versions.receipt("corpus/index", "")
    if step.key == "clusters/centroids" and index is not None:
        then, now = receipt.metadata["documents"], index.metadata["documents"]
        if abs(now - then) > profile.samplers.clusters.drift * then:
            return False
    for need, partitions, *_ in versions.readings(step, partition):
        made = [versions.receipt(need.key, p) for p in partitions]
        if need.pinned and [r.version if r else None for r in made] != [receipt.inputs.get(need.key)]:
            return False
    return made_so or not versions.marked(step, partition)


def _levels(versions: Versions, step: Step, partition: str) -> list[set[tuple[str, str]]]:
    """Return the ancestors that are out of date by their distance, without any memory."""
    seen, level, found = set(), {(step.key, partition)}, []
    while level:
        above = set()
        for key, at in level:
            reader = STEPS[key]
            for need, partitions, *_ in versions.readings(reader, at) if key != "corpus/shards" else ():
                if need.pinned or not reader.pinned:
                    above |= {(need.key, p) for p in partitions}
        level = above - seen
        seen |= level
        found.append({at for at in level if versions.outdated(STEPS[at[0]], at[1])})
    return found


def _split(found: list[tuple[str, str]], levels: list[set[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    parts, start = [], 0
    for level in levels:
        parts.append(found[start : start + len(level)])
        start += len(level)
    assert start == len(found) == len(set(found))
    return parts


@pytest.fixture(scope="module")
def _everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {}


def _fresh(profile: Profile, kept: dict[str, Any]) -> Imagined:
    if "graph" not in kept:
        kept["graph"] = imagine(Workspace(profile), SHARDS)
    graph = kept["graph"]
    return Imagined(graph.workspace, graph.made, list(SHARDS))


_PINNED = [key for key, step in STEPS.items() if step.pinned]
_FIELDS = ("gone", "code", "version", "recipe", "input", "no input", "strange input", "old", "documents")


def _apply(versions: Imagined, at: tuple[str, str], change: str) -> None:
    receipt = versions.made.get(at)
    if receipt is None:
        return
    first = min(receipt.inputs, default="")
    other: dict[str, dict[str, Any]] = {
        "code": {"code": "x"},
        "version": {"version": "x"},
        "recipe": {"recipe": "x"},
        "input": {"inputs": receipt.inputs | {first: "x"}, "recipe": "x"},
        "no input": {"inputs": {k: v for k, v in receipt.inputs.items() if k != first}, "recipe": "x"},
        "strange input": {"inputs": receipt.inputs | {"corpus/nowhere": "x"}, "recipe": "x"},
        "old": {"created": 0.0},
        "documents": {"metadata": receipt.metadata | {"documents": 3, "bytes": 3}},
    }
    if change == "gone":
        del versions.made[at]
    else:
        versions.change(*at, **other[change])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_there_is_a_reason_exactly_where_something_is_not_current(
    made: Profile, _everything: dict[str, Any], data: st.DataObject
) -> None:
    versions = _fresh(made, _everything)
    if data.draw(st.booleans()):
        versions.refresh_asked = dict.fromkeys(data.draw(st.sets(st.sampled_from(_PINNED))), 1000000000.0)
    corpus = data.draw(st.sampled_from(["as it was", "a shard came", "a shard went", "a file changed"]))
    if corpus == "a shard came":
        versions.shards = [*SHARDS, "s9.jsonl"]
        versions.listing["s9.jsonl"] = listed("s9.jsonl")
    elif corpus == "a shard went":
        versions.shards = SHARDS[1:]
        del versions.listing[SHARDS[0]]
    elif corpus == "a file changed":
        versions.listing[SHARDS[0]] |= {data.draw(st.sampled_from(["url", "bytes", "modified"])): 7}
    early = [at for at in versions.made if not STEPS[at[0]].trains]
    pinned = [at for at in early if STEPS[at[0]].pinned]
    for at in data.draw(st.lists(st.sampled_from(early) | st.sampled_from(pinned), max_size=4)):
        _apply(versions, at, data.draw(st.sampled_from(_FIELDS)))
    _check_all(versions)


def test_a_graph_that_is_all_made_has_no_reason_but_the_listing(
    made: Profile, _everything: dict[str, Any]
) -> None:
    versions = _fresh(made, _everything)
    said = {why for step, p in _artifacts(versions) for why in versions.reasons(step, p)}
    assert said == {Reason("listed_again")}
    assert not [at for at in _artifacts(versions) if versions.inherited(*at) or versions.kept(*at)]


def test_what_is_told_of_pinned_models(made: Profile, _everything: dict[str, Any]) -> None:
    versions = _fresh(made, _everything)
    count = DOCUMENTS * 3
    for shard in SHARDS:
        versions.change("clusters/sample", shard, version="others")
        versions.change("corpus/documents", shard, version="others")
    assert _kept(versions, STEPS["clusters/centroids"], "") == (
        f"learned from an earlier corpus: {count} documents then, {count} now"
    )
    assert (
        _kept(versions, STEPS["corpus/tokenizer"], "")
        == "learned from an earlier corpus, which changed since"
    )
    assert _why(versions, "clusters/centroids") == _why(versions, "corpus/tokenizer") == []
    assert not versions.inherited(STEPS["clusters/centroids"], ""), (
        "a pinned model does not follow the corpus"
    )

    versions = _fresh(made, _everything)
    versions.change("corpus/index", "", metadata={"documents": count * 2})
    [why] = _why(versions, "clusters/centroids")
    assert "drifted: 150 documents then, 300 now" in why and "samplers.clusters.drift = 0.1" in why

    versions = _fresh(made, _everything)
    versions.change("judge/labels", "", version="other labels")
    assert _why(versions, "judge/checkpoint", "small") == ["judge/labels changed (content of -> other labe)"]
    del versions.made["full_data/checkpoint", "small"]
    fresh = Imagined(versions.workspace, versions.made, list(SHARDS))
    assert _why(fresh, "judge/checkpoint", "small")[-1] == "full_data/checkpoint[small] is missing"
    assert ("full_data/checkpoint", "small") in fresh.inherited(STEPS["perplexity_small/scores"], "s0.jsonl")

    versions = _fresh(made, _everything)
    versions.change("clusters/sample", SHARDS[0], version="others")
    versions.refresh_asked = {"corpus/tokenizer": 1e9, "clusters/centroids": 1e9}
    assert _why(versions, "clusters/centroids") == [
        "asked to be learned anew, and the corpus moved on since it was"
    ]
    assert _why(versions, "corpus/tokenizer") == [], "the documents that it is made from have not changed"


def test_a_walk_over_the_graph_looks_once_at_each_artifact(
    made: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = imagine(Workspace(made), [f"{number}.jsonl" for number in range(40)])
    versions.listing["39.jsonl"] |= {"bytes": 7}
    everything, looks = _artifacts(versions), Counter[str]()
    readers = [at for at in everything if at[0].key.endswith(("/metrics", "/scores"))]
    differences, outdated = Versions._differences, Versions.outdated

    def counted(versions: Versions, step: Step, partition: str) -> Iterator[Reason]:
        looks["reasons"] += 1
        return differences(versions, step, partition)

    def asked(versions: Versions, step: Step, partition: str) -> bool:
        looks["out of date"] += 1
        return outdated(versions, step, partition)

    monkeypatch.setattr(Versions, "_differences", counted)
    monkeypatch.setattr(Versions, "outdated", asked)
    assert sum(versions.follows(*at) for at in readers) > 19 * 25, "all metrics, and density throughout"
    assert looks["reasons"] <= len(everything)
    assert looks["out of date"] < 3 * len(everything), (
        "not once for each of 40 shards and each of its readers"
    )
    assert versions.inherited(STEPS["random/metrics"], "20|small") == [("corpus/shards", "39.jsonl")]
    assert looks["reasons"] <= len(everything)


def test_files_outside_the_graph(made: Profile, _everything: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.json"):
        (tmp_path / name).write_text("weights")
    seen = file_states(tmp_path, ["a.safetensors", "b.json"])
    about = {"seen": seen, "place": str(tmp_path)}
    for name, word in (("b.json", "changed"), ("a.safetensors", "cannot be read")):
        if word == "changed":
            (tmp_path / name).write_text("other")
        else:
            (tmp_path / name).unlink()
        versions = _fresh(made, _everything)
        versions.change("judge/teacher", "", metadata=about)
        versions.change("perplexity_small/model", "", metadata=about)
        for key in ("judge/teacher", "perplexity_small/model"):
            assert f"files in {tmp_path} {word}: {name}" in _why(versions, key)
        _check_all(versions)


def test_a_new_workspace(made: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    versions = Versions(Workspace(Profile(**dict(made))))
    assert _why(versions, "corpus/source") == ["not made yet"]
    _check_all(versions)


def test_a_story_of_real_artifacts(made: Profile, root: Path) -> None:
    versions = Versions(Workspace(made))
    assert {key for key in MADE if versions.outdated(STEPS[key], _some(key))} == set()
    assert _why(versions, "random/checkpoint", "80|xl") == ["not made yet"]
    _check_all(versions)

    write_shard(root / "shards" / "s1.jsonl", stdlib_texts()[1::4][:-1])
    write_shard(root / "shards" / "s7.jsonl", stdlib_texts()[3::8])
    (root / "shards" / "s2.jsonl").unlink()
    make(made, ["corpus/source"])
    versions = Versions(Workspace(made))
    assert _why(versions, "corpus/shards", "s0.jsonl") == []
    [why] = _why(versions, "corpus/shards", "s1.jsonl")
    assert why.startswith("its file changed: ") and why.endswith(" now")
    assert _why(versions, "corpus/shards", "s2.jsonl") == ["not in the corpus any more"]
    assert _why(versions, "corpus/shards", "s7.jsonl") == ["not made yet"]
    assert _why(versions, "corpus/documents", "s7.jsonl") == ["not made yet"]
    assert _why(versions, "corpus/documents", "s1.jsonl") == [], "it is current with what is there"
    assert versions.inherited(STEPS["corpus/documents"], "s1.jsonl") == [("corpus/shards", "s1.jsonl")]
    assert "corpus/documents is missing for 1 shard of 3 (s7.jsonl)" in _why(versions, "corpus/index")
    assert _kept(versions, STEPS["corpus/tokenizer"], "") == (
        "cannot be compared with the corpus now: corpus/documents is missing for 1 shard of 3 (s7.jsonl)"
    )
    _check_all(versions)

    make(made, ["corpus/shards", "corpus/documents", "corpus/tokens", "corpus/index", "random/scores"])
    versions = Versions(Workspace(made))
    before, now = (versions.receipt("random/subset", "20"), versions.receipt("corpus/index", ""))
    assert before and now
    assert _why(versions, "random/subset", "20") == [
        "random/scores changed in 1 shard (s1.jsonl)",
        "random/scores is new in 1 shard (s7.jsonl)",
        "random/scores is gone from 1 shard (s2.jsonl)",
        f"corpus/index changed ({before.inputs['corpus/index'][:10]} -> {now.version[:10]})",
        "corpus/tokens changed in some shard (made since: s1.jsonl, s7.jsonl)",
    ]
    assert versions.inherited(STEPS["random/metrics"], "20|small")[0] == ("random/checkpoint", "20|small")
    said = _kept(versions, STEPS["full_data/checkpoint"], "small")
    then = Workspace(made).metadata("full_data/checkpoint", "small")["documents"]
    assert said == f"learned from an earlier corpus: {then} documents then, {now.metadata['documents']} now"
    _check_all(versions)


def _some(key: str) -> str:
    return {"": "", "shard": SHARDS[0], "rate": "20", "size": "small", "rate|size": "20|small"}[STEPS[key].by]


def test_damage_and_settings(made: Profile, root: Path) -> None:
    workspace = Workspace(made)
    (workspace.open("random/subset", "20") / "manifest.json").unlink()
    other = made.model_copy(update={"selection": made.selection.model_copy(update={"seed": 5})})
    versions = Versions(Workspace(other))
    assert "damaged" in _why(versions, "random/subset", "20")[0]
    assert _why(versions, "random/subset", "40") == ["settings or code changed"]
    assert _why(versions, "random/scores", "s0.jsonl") == ["settings or code changed"]
    assert _why(versions, "perplexity_small/scores", "s0.jsonl") == []
    assert _why(versions, "random/checkpoint", "20|small") == ["random/subset[20] is missing"]
    _check_all(versions)
