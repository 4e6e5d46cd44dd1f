"""Documents that stand in evaluation inputs: found as strings are, said by the check, and dropped where the profile says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import read_json, write_table
from curation_assets.common.progress import Progress, silent
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.corpus import build as corpus
from curation_assets.corpus.reading import left_out, open_documents, read_repeats
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.store import PREVIEW
from curation_assets.engine.workspace import Builder, BuildOne, Metadata, MissingInput, Workspace
from curation_assets.evaluation.contamination import (
    CONTAMINATION_SCHEMA,
    contamination,
    ngrams,
    read_contaminated,
)
from curation_assets.evaluation.examples import Example, to_table
from curation_assets.invariants import INVARIANTS
from curation_assets.lineage.explain import explain, to_text
from curation_assets.pretraining import build as pretraining
from curation_assets.samplers.build import scores
from curation_assets.selection.build import subset
from curation_assets.selection.what_if import what_if
from curation_assets_tests.conftest import TINY, stdlib_texts, write_shard
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.evaluation.test_ngrams import _grams, _words
from curation_assets_tests.making import load, materialize, withdraw

SENTENCE = (
    "At dusk the ferry brought eleven crates of oranges and a parrot that knew the harbour master by name."
)
OTHER = "Nobody in the village had ever counted the steps of the tower, although all of them had climbed it."
SHORT = "A cat may look at a king on Sundays."


def _examples(workspace: Workspace) -> BuildOne:
    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        def one(number: int, text: str) -> Example:
            return Example(str(number), text, "x", (), ("x",), "")

        found = [
            to_table("glue", "mrpc", "test", [one(0, f"mrpc sentence1: {SENTENCE} sentence2: {OTHER}")]),
            to_table("probes", "shuffled|words", "test", [one(0, SENTENCE), one(1, SHORT), one(2, "Short.")]),
        ]
        write_table(folder / "test.parquet", pa.concat_tables(found))
        return {}

    return build


BUILDERS: dict[str, Builder] = {
    **CORPUS,
    "corpus/validation": corpus.validation,
    "evaluation/examples": _examples,
    "evaluation/ngrams": ngrams,
    "evaluation/contamination": contamination,
    "random/scores": scores(SAMPLERS["random"]),
    "random/subset": subset(SAMPLERS["random"]),
}


def _make(workspace: Workspace, *keys: str) -> list[str]:
    """Make steps current; return what was made."""

    def makes(key: str, partition: str) -> bool:
        return materialize(
            workspace, STEPS[key], partition, lambda inputs: load(BUILDERS[key], workspace, STEPS[key])
        )[1]

    return [
        f"{key}[{partition}]"
        for key in keys
        for partition in workspace.partitions(STEPS[key].by)
        if makes(key, partition)
    ]


def _open(home: Path, decontaminate: bool, patch: pytest.MonkeyPatch) -> Workspace:
    (home / "tiny.toml").write_text(
        TINY.replace("{teacher}", str(home)) + f"decontaminate = {str(decontaminate).lower()}\n", "utf-8"
    )
    patch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
    patch.setenv("CURATION_DATA", str(home / "data"))
    return Workspace(load_profile(home / "tiny.toml"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: s0 has a document with SENTENCE, s1 one with both sentences, that of s0 again, and one with SHORT."""
    home = tmp_path_factory.mktemp("contaminated")
    texts = stdlib_texts()
    first = ("in.s0", f"Of harbours\n\n- {SENTENCE.upper()}\n- more")
    write_shard(home / "shards" / "s0.jsonl", [*texts[0:80:2], first])
    more = [
        ("both", f"{OTHER} {SENTENCE}"),
        first,
        ("short", f"So: {SHORT.lower()} Yes"),
        ("near", SENTENCE[:60]),
    ]
    write_shard(home / "shards" / "s1.jsonl", [*texts[1:80:2], *more])
    write_shard(home / "hq.jsonl", texts[80:100])
    with pytest.MonkeyPatch.context() as patch:
        _make(_open(home, False, patch), *BUILDERS)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of what is made, to change."""
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """With contamination looked for, and not dropped."""
    return _open(home, False, monkeypatch)


def _table(workspace: Workspace) -> dict[str, dict[str, int]]:
    """Return {id: {task: overlaps}} of all shards."""
    found: dict[str, dict[str, int]] = {}
    for shard in workspace.shards():
        rows = pq.read_table(workspace.open("evaluation/contamination", shard) / "contamination.parquet")
        assert rows.schema.equals(CONTAMINATION_SCHEMA)
        ids = pq.read_table(open_documents(workspace, shard), columns=["doc_id"])["doc_id"].to_pylist()
        for row in rows.to_pylist():
            assert ids[row["row"]] == row["doc_id"]
            found.setdefault(row["doc_id"], {})[f"{row['suite']}/{row['task']}"] = row["overlaps"]
        assert read_contaminated(workspace, shard).tolist() == sorted(set(rows["row"].to_pylist()))
    return found


def _texts(workspace: Workspace, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for shard in workspace.shards():
        path = open_documents(workspace, shard).with_name(f"{name}.parquet")
        for row in pq.read_table(path, columns=["doc_id", "text"]).to_pylist():
            found.setdefault(row["doc_id"], row["text"])
    return found


def _subset_ids(workspace: Workspace, rate: str) -> set[str]:
    path = workspace.open("random/subset", rate) / "subset.parquet"
    return set(pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist())


def test_the_table_is_what_strings_give(workspace: Workspace) -> None:
    found = _table(workspace)
    one, other = (len(_words(text)) - 12 for text in (SENTENCE, OTHER))
    assert found["in.s0"] == {"glue/mrpc": one, "probes/shuffled|words": one}
    assert found["both"] == {"glue/mrpc": one + other, "probes/shuffled|words": one}
    assert found["short"] == {"probes/shuffled|words": 1} and "near" not in found
    held_out, others = _texts(workspace, "validation"), _texts(workspace, "documents")
    used = pq.read_table(workspace.open("corpus/validation") / "in_distribution.parquet")["doc_id"]
    grams = {g for i in used.to_pylist() for g in _grams(_words(held_out[i]), 13)}
    expected = {i: len(grams & set(_grams(_words(text), 13))) for i, text in others.items()}
    assert 0 < len(used) <= 12 and any(expected.values())
    assert {
        i: t["perplexity/in_distribution"] for i, t in found.items() if "perplexity/in_distribution" in t
    } == {i: n for i, n in expected.items() if n}
    about = workspace.metadata("evaluation/ngrams")
    assert (about["whole"], about["tasks"]) == (1, 4) and about["too_short"] >= 1


def test_the_check_warns_and_says_what_is_done(
    workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = INVARIANTS["evaluation/contamination"]["free_of_evaluation_text"]
    outcome = check(workspace)
    found = _table(workspace)
    documents = sum(workspace.metadata("corpus/documents", s)["documents"] for s in workspace.shards())
    assert not outcome.passed and outcome.warns
    assert outcome.description.startswith(f"{len(found) + 1} of {documents} documents"), (
        "one stands in two shards"
    )
    assert "probes/shuffled|words 4" in outcome.description and "not dropped" in outcome.description
    sizes = list(outcome.metadata["tasks"].values())
    assert sizes == sorted(sizes, reverse=True) and outcome.metadata["tasks"]["glue/mrpc"] == 3
    dropping = check(_open(home, True, monkeypatch))
    assert dropping.passed and dropping.warns and "they are dropped" in dropping.description


def test_without_the_setting_nothing_is_read_or_changed(workspace: Workspace) -> None:
    for name in ("random/subset", "full_data/checkpoint", "report/comparison"):
        assert "evaluation/contamination" not in STEPS[name].reads(workspace.profile)
    files = {rate: workspace.receipt("random/subset", rate).files for rate in RATES}  # type: ignore[union-attr]
    shutil.rmtree(workspace.data / "artifacts" / "evaluation")
    for rate in RATES:
        withdraw(workspace, "random/subset", rate)
    assert len(_make(workspace, "random/subset")) == len(RATES), "it needs no contamination"
    assert files == {rate: workspace.receipt("random/subset", rate).files for rate in RATES}  # type: ignore[union-attr]
    same = {s: rows.tolist() for s, rows in left_out(workspace).items()}
    assert same == {s: rows.tolist() for s, rows in read_repeats(workspace).items()} and list(same) == [
        "s1.jsonl"
    ]
    manifest = read_json(workspace.open("random/subset", "20") / "manifest.json")
    assert "decontaminated" not in manifest
    assert "contamination_versions" not in what_if(workspace, ["random"], 0.2).manifest()


def _rows_trained_on(workspace: Workspace, patch: pytest.MonkeyPatch) -> set[str]:
    """Return the ids of the documents that full data is trained on."""
    seen: list[str] = []

    def capture(
        workspace: Workspace, key: str, partition: str, size: str, shards: Any, *more: Any
    ) -> Metadata:
        for shard, name in zip(shards, workspace.shards(), strict=True):
            ids = pq.read_table(open_documents(workspace, name), columns=["doc_id"])["doc_id"]
            seen.extend(ids.take(pa.array(shard.rows)).to_pylist())
        return {}

    patch.setattr(pretraining, "_train", capture)
    one = load(pretraining.full_data_checkpoint, workspace, STEPS["full_data/checkpoint"])
    one("small", workspace.data, silent)
    assert len(set(seen)) == len(seen)
    return set(seen)


def test_dropped_documents_are_in_no_subset_and_no_training(
    workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = set(_texts(workspace, "documents"))
    contaminated = set(_table(workspace))
    before = {rate: _subset_ids(workspace, rate) for rate in RATES}
    assert _rows_trained_on(workspace, monkeypatch) == every and before["80"] & contaminated

    dropping = _open(home, True, monkeypatch)
    assert not Versions(dropping).current(STEPS["random/subset"], "20")
    assert _make(dropping, "random/scores", "random/subset") == [f"random/subset[{rate}]" for rate in RATES]
    assert _rows_trained_on(dropping, monkeypatch) == every - contaminated
    for rate in RATES:
        chosen = _subset_ids(dropping, rate)
        manifest = read_json(dropping.open("random/subset", rate) / "manifest.json")
        assert len(chosen) == round(int(rate) / 100 * len(every - contaminated)) and not chosen & contaminated
        assert manifest["candidates"] == len(every - contaminated) and manifest["decontaminated"] is True
        assert before[rate] - contaminated <= chosen or len(chosen) < len(before[rate] - contaminated)
        asked = what_if(dropping, ["random"], int(rate) / 100)
        assert (asked.documents, asked.candidates) == (len(chosen), manifest["candidates"])
    assert set(asked.manifest()["contamination_versions"]) == {"s0.jsonl", "s1.jsonl"}
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS["random/subset"][check](dropping).passed
    held_out = "corpus/validation"
    assert Versions(dropping).current(STEPS[held_out], ""), "held-out documents are not touched"


def test_an_explanation_says_why_a_document_is_in_no_subset(
    workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = f"glue/mrpc ({len(_words(SENTENCE)) - 12})"
    (told,) = explain(workspace, "in.s0", ["random"])
    assert told.samplers[0].rank is not None
    assert any(task in note and "not dropped" in note for note in told.notes)
    assert not any("n-grams" in note for note in explain(workspace, "near", ["random"])[0].notes)

    dropping = _open(home, True, monkeypatch)
    _make(dropping, "random/subset")
    (told,) = explain(dropping, "in.s0", ["random"])
    (found,) = told.samplers
    assert found.score is not None and found.rank is None and found.percentile is None
    assert {(c.state, c.key, c.stale) for c in found.choices} == {("out", None, False)}
    assert all(c.why.startswith("it shares n-grams") and task in c.why for c in found.choices)
    text = to_text(told)
    assert f"random: not in {', '.join(RATES)} %: it shares n-grams" in text and "no training has it" in text
    (near,) = explain(dropping, "near", ["random"])[0].samplers
    manifest = read_json(dropping.open("random/subset", "20") / "manifest.json")
    assert near.candidates == manifest["candidates"], "ranked among those that may be chosen"


def test_the_setting_without_the_table_says_what_to_make(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropping = _open(home, True, monkeypatch)
    withdraw(dropping, "evaluation/contamination", "s1.jsonl")
    with pytest.raises(MissingInput, match=r"evaluation/contamination\[s1.jsonl\] has not been materialized"):
        left_out(dropping)
    assert explain(dropping, "in.s0", ["random"])[0].notes


def test_a_table_of_equal_content_keeps_its_version(workspace: Workspace) -> None:
    before = workspace.receipt("evaluation/contamination", "s0.jsonl")
    withdraw(workspace, "evaluation/contamination", "s0.jsonl")
    assert _make(workspace, "evaluation/contamination") == ["evaluation/contamination[s0.jsonl]"]
    after = workspace.receipt("evaluation/contamination", "s0.jsonl")
    assert before is not None and after is not None and before.version == after.version != after.recipe


def test_previews_escape_what_they_show(workspace: Workspace) -> None:
    shown = read_json(workspace.open("evaluation/contamination", "s1.jsonl") / PREVIEW)
    assert "shuffled\\|words" in shown["tasks"] and "shuffled|words" not in shown["first_documents"]
