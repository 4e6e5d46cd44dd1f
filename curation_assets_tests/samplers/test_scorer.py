"""Files and texts that are no part of the corpus are scored as the graph scores its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.products import BUILDERS
from curation_assets.samplers.ask import with_model
from curation_assets.samplers.scorer import Scorer, TextScorer
from curation_assets_tests.conftest import make_current, work_in, write_tiny

SCORED = [
    *("random", "density", "prototypes", "dsir", "q_classifier", "heuristic"),
    *("ask_llm_small", "perplexity_small", "perplexity_base"),
]
"""Samplers whose score is a function of the document and of what they have been fitted to."""
JUDGE = """
[samplers.ask_llm.models]
small = "path:{teacher}"
"""
TOLERANCE = {"ask_llm_small": 1e-4, "perplexity_small": 1e-5, "perplexity_base": 1e-5}
"""Relative: what the neighbours in a batch move by rounding, as the scorers document it."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("scorer")
    write_tiny(home, teacher, JUDGE.replace("{teacher}", str(teacher)))
    profile, models = home / "tiny.toml", "[samplers.perplexity.models]\n"
    profile.write_text(
        profile.read_text("utf-8").replace(models, f'{models}small = "path:{teacher}"\n'), "utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        found = Workspace(work_in(home, patch))
        make_current(found, *(f"{name}/scores" for name in (*SCORED, "semdedup")))
        yield found


def _stored(workspace: Workspace, name: str, shard: str) -> dict[str, float]:
    table = pq.read_table(workspace.open(f"{name}/scores", shard) / "scores.parquet")
    return dict(zip(table["doc_id"].to_pylist(), table["score"].to_pylist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORED)
def test_a_file_of_the_corpus_gets_the_scores_that_it_has(
    workspace: Workspace, name: str, tmp_path: Path
) -> None:
    """Also elsewhere, under another name and in another order; held-out documents are scored as well."""
    shard = workspace.shards()[0]
    stored = _stored(workspace, name, shard)
    lines = Path(workspace.listing()[shard]["url"].removeprefix("file:")).read_text("utf-8").splitlines()
    other = tmp_path / "elsewhere.jsonl"
    other.write_text("\n".join(reversed(lines)) + "\n", "utf-8")
    with Scorer(workspace.profile, name, BUILDERS) as scorer:
        table, quarantine = scorer.score_file(*scorer.files(other))
    assert not len(quarantine) and len(table) == len(lines) > len(stored) > 20
    scores = dict(zip(table["doc_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    mine = np.array([scores[doc_id] for doc_id in stored])
    if name in TOLERANCE:
        np.testing.assert_allclose(mine, [*stored.values()], rtol=TOLERANCE[name])
    else:
        assert mine.tolist() == [*stored.values()]


def test_a_file_of_a_source_is_read_as_that_source(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    rows = [{"id": str(n), "content": f"Note {n} of another source, in whole sentences."} for n in range(3)]
    (tmp_path / "notes" / "n.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    write_tiny(tmp_path, teacher)
    profile = tmp_path / "tiny.toml"
    sources = '[corpus.sources.web]\nurl = "shards"\n[corpus.sources.notes]\nurl = "notes"\ntext_field = "content"\n'
    profile.write_text(profile.read_text("utf-8").replace('url = "shards"', 'url = ""') + sources, "utf-8")
    workspace = Workspace(work_in(tmp_path, monkeypatch))
    make_current(workspace, "corpus/source")
    with Scorer(workspace.profile, "heuristic", BUILDERS) as scorer:
        scores, quarantine = scorer.score_file(*scorer.files(tmp_path / "notes"))
    assert len(scores) == 3 and not len(quarantine)


@pytest.mark.slow
def test_semdedup_compares_what_is_new_with_all_of_its_cluster(workspace: Workspace, tmp_path: Path) -> None:
    """As if it came last: so a document of the corpus scores at most as high as there, and a copy of one is its duplicate."""
    shards = workspace.shards()
    about = [
        pq.read_table(workspace.open("corpus/documents", shard) / "documents.parquet") for shard in shards
    ]
    vectors = [np.load(workspace.open("corpus/embeddings", shard) / "embeddings.npy") for shard in shards]
    x = np.concatenate(vectors).astype(np.float64)
    cluster = np.concatenate(
        [np.load(workspace.open("clusters/assignments", s) / "clusters.npy") for s in shards]
    )
    ids = [one for table in about for one in table["doc_id"].to_pylist()]
    cosine = np.where(cluster[:, None] == cluster, x @ x.T, -1.0)
    np.fill_diagonal(cosine, -1.0)
    expected = dict(zip(ids, -cosine.max(1), strict=True))
    copies = tmp_path / "copies.jsonl"
    texts = [one for table in about for one in table["text"].to_pylist()]
    rows = [{"id": f"new.{i}", "text": text} for i, text in zip(ids, texts, strict=True)]
    copies.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with Scorer(workspace.profile, "semdedup", BUILDERS) as scorer:
        old, _ = scorer.score_file(workspace.listing()[shards[0]]["url"])
        new, _ = scorer.score_file(*scorer.files(copies))
    stored = _stored(workspace, "semdedup", shards[0])
    for doc_id, score in zip(old["doc_id"].to_pylist(), old["score"].to_pylist(), strict=True):
        if doc_id in stored:
            assert score == pytest.approx(expected[doc_id], abs=1e-6) and score <= stored[doc_id] + 1e-6
    np.testing.assert_allclose(new["similarity"].to_numpy(), 1.0, atol=1e-6)
    of = np.array([ids.index(one) for one in new["duplicate_of"].to_pylist()])
    np.testing.assert_allclose((x * x[of]).sum(1), 1.0, atol=1e-6)
    assert np.mean(of == np.arange(len(ids))) > 0.8, "but for texts whose beginnings are the same"
    assert set(new["duplicate_shard"].to_pylist()) == set(shards)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["density", "semdedup", "perplexity_base"])
def test_a_fingerprint_is_of_what_scores_depend_on(workspace: Workspace, name: str) -> None:
    fitted = {
        "density": "density/sketch",
        "semdedup": "semdedup/neighbours",
        "perplexity_base": "perplexity_base/model",
    }[name]
    with Scorer(workspace.profile, name, BUILDERS) as scorer, pytest.MonkeyPatch.context() as patch:
        before, receipt = scorer.fingerprint(), scorer.workspace.receipt
        assert scorer.fingerprint() == before

        def newer(key: str, partition: str = "") -> Receipt | None:
            there = receipt(key, partition)
            return (
                replace(there, version="new", metadata={"digest": "new"})
                if there and key == fitted
                else there
            )

        patch.setattr(scorer.workspace, "receipt", newer)
        assert scorer.fingerprint() != before


@pytest.mark.slow
def test_nothing_is_left_of_what_was_scored(workspace: Workspace, tmp_path: Path) -> None:
    before = sorted(path for path in workspace.data.rglob("*") if path.is_file())
    attempts = workspace.catalog.attempts()
    path = tmp_path / "new.txt"
    path.write_text("A text of its own that nobody has seen before.\n\nAnd another one.\n", "utf-8")
    with Scorer(workspace.profile, "density", BUILDERS) as scorer:
        first, _ = scorer.score_file(*scorer.files(path))
        again, _ = scorer.score_file(*scorer.files(path))
    assert first.equals(again) and first["source_row"].to_pylist() == [1, 3]
    assert sorted(path for path in workspace.data.rglob("*") if path.is_file()) == before
    assert workspace.catalog.attempts() == attempts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "density", "ask_llm_small", "perplexity_small"])
def test_texts_get_the_scores_of_the_documents_that_they_are(workspace: Workspace, name: str) -> None:
    shard = workspace.shards()[1]
    stored = _stored(workspace, name, shard)
    table = pq.read_table(workspace.open("corpus/documents", shard) / "documents.parquet").slice(0, 9)
    ids, texts = table["doc_id"].to_pylist(), table["text"].to_pylist()
    with TextScorer(workspace.profile, name, BUILDERS) as scorer:
        scores = scorer.score([*texts, texts[0], texts[1]], [*ids, ids[0], ids[1]])
    expected = [stored[doc_id] for doc_id in [*ids, ids[0], ids[1]]]
    np.testing.assert_allclose(scores, expected, rtol=TOLERANCE.get(name, 0.0))


@pytest.mark.slow
def test_texts_that_are_one_after_normalisation_are_scored_each(workspace: Workspace) -> None:
    with TextScorer(workspace.profile, "heuristic", BUILDERS) as scorer:
        scores = scorer.score(["One line.\r\nAnd one.", "Something else", "One line.\nAnd one."])
        assert scores[0] == scores[2] != scores[1]
        assert scorer.score([]).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["good", "good", "  "], r"the text in row 2 can be no document: empty_text"),
        (["good", "bad \ud800"], r"the text in row 1 can be no document: invalid_unicode"),
    ],
)
def test_a_text_that_is_no_document_is_refused_by_its_row(
    workspace: Workspace, texts: list[str], why: str
) -> None:
    with TextScorer(workspace.profile, "heuristic", BUILDERS) as scorer, pytest.raises(ValueError, match=why):
        scorer.score(texts)


@pytest.mark.slow
def test_rows_that_are_no_documents_come_with_their_reasons(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text(
        json.dumps({"id": "a", "text": "A fine text of more than ten characters."}) + "\n" + '{"id": "b"}\n',
        "utf-8",
    )
    with Scorer(workspace.profile, "heuristic", BUILDERS) as scorer:
        scores, quarantine = scorer.score_file(*scorer.files(path))
    assert scores["doc_id"].to_pylist() == ["a"]
    assert quarantine["row"].to_pylist() == [2] and quarantine["reason"].to_pylist() == ["missing_text"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("semdedup_density", "draws by those of density; score with that"),
        ("densty", "did you mean 'density'"),
    ],
)
def test_a_sampler_that_scores_no_single_document_says_so(workspace: Workspace, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Scorer(workspace.profile, name, BUILDERS)


def test_what_has_not_been_fitted_is_named(tiny: object, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="density/sketch has not been materialized"):
        Scorer(tiny, "density", BUILDERS)  # type: ignore[arg-type]


def test_a_model_that_needs_no_corpus_is_there_before_the_first_run(tiny: object, teacher: Path) -> None:
    """Of a model of another source, too, under the settings of the sampler."""
    profile = with_model(tiny, "ask_llm_small", f"path:{teacher}")  # type: ignore[arg-type]
    with TextScorer(profile, "ask_llm_small", BUILDERS) as scorer:
        table = scorer.table(["Water boils at 100 degrees.", "ANSWER: yes"])
    assert (table["score"].to_numpy() < 0).all() and table["flags"].to_pylist()[1] > 0
