"""The texts behind a number are those that its model was trained on, whatever has become of the subset since."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.defs.metadata import AssetLink, about
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import as_data, short
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.lineage.explain import explain
from curation_assets.lineage.show import show, to_text
from curation_assets.lineage.subset_behind import SubsetGone
from curation_assets.lineage.texts import shuffle_keys
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.lineage.conftest import make
from curation_assets_tests.report.test_untrusted import EVIL


def _subset(workspace: Workspace, rate: str = "20") -> pl.DataFrame:
    return pl.read_parquet(workspace.open("random/subset", rate) / "subset.parquet")


def _texts(workspace: Workspace) -> dict[int, str]:
    tables = [
        pl.read_parquet(workspace.open("corpus/documents", s) / "documents.parquet")
        for s in workspace.shards()
    ]
    return dict(pl.concat(tables).select("doc_hash", "text").rows())


def test_a_metric_shows_what_its_model_was_trained_on(made: Profile) -> None:
    workspace = Workspace(made)
    rows, texts = _subset(workspace), _texts(workspace)
    for key, partition in (("metrics", "20|small"), ("checkpoint", "20|small"), ("subset", "20")):
        shown = show(workspace, f"random/{key}", partition, 4)
        assert shown.version == workspace.artifact("random/subset", "20").version and not shown.notes
        assert (shown.total, shown.tokens) == (len(rows), rows["n_tokens"].sum())
        assert [d.doc_hash for d in shown.documents] == rows["doc_hash"][:4].to_list()
        assert [d.text for d in shown.documents] == [texts[h] for h in rows["doc_hash"][:4]]
        trained = workspace.metadata("random/checkpoint", "20|small")["epochs"]
        assert shown.epochs == (None if key == "subset" else trained)
    for document in shown.documents:
        (told,) = explain(workspace, document.doc_id, ["random"])
        assert told.samplers[0].score == document.score and told.samplers[0].percentile == document.percentile
        assert told.places[0].row == document.source_row and told.places[0].url == document.file
    data = json.loads(json.dumps(shown, default=as_data))
    assert data["documents"][0]["text"] == texts[rows["doc_hash"][0]]


def test_the_ui_shows_texts_of_the_same_subset(made: Profile) -> None:
    workspace = Workspace(made)
    shown = show(workspace, "random/metrics", "20|small")
    for end in ("metrics", "checkpoint"):
        metadata = about(
            workspace, STEPS[f"random/{end}"], workspace.artifact(f"random/{end}", "20|small"), made=True
        )
        assert (
            metadata["subset"] == AssetLink("random/subset", "20")
            and metadata["subset_version"] == shown.version
        )
        assert metadata["more_texts"] == f'curation show random/{end} --partition "20|small"'
        lines = str(metadata["texts"]).splitlines()[2:]
        assert len(lines) == len(shown.documents) == 10
        for line, one in zip(lines, shown.documents, strict=True):
            assert line.split("|")[1].strip().replace("\\", "") == one.doc_id
            assert one.text and one.text.split()[0].replace("*", "") in line.replace("\\", "").replace(
                "*", ""
            )


def test_which_documents_are_shown(made: Profile) -> None:
    workspace, rows = Workspace(made), _subset(Workspace(made), "60")
    score, hashes = rows["score"].to_numpy(), rows["doc_hash"].to_numpy()
    for order, seed, values in (
        ("highest", 0, -score),
        ("lowest", 0, score),
        ("random", 7, shuffle_keys(hashes, 7)),
    ):
        shown = show(workspace, "random/subset", "60", 5, order, seed)  # type: ignore[arg-type]
        assert [d.doc_hash for d in shown.documents] == hashes[np.argsort(values)[:5]].tolist()
    everything = show(workspace, "random/subset", "60", 10_000)
    assert len(everything.documents) == everything.total == len(rows)


def test_scores_of_a_shard_show_what_was_scored(made: Profile) -> None:
    workspace = Workspace(made)
    table = pl.read_parquet(workspace.open("random/scores", "s1.jsonl") / "scores.parquet")
    shown = show(workspace, "random/scores", "s1.jsonl", 3, "lowest")
    assert shown.total == len(table) and shown.tokens is None
    assert [d.doc_id for d in shown.documents] == table.sort("score")["doc_id"][:3].to_list()
    documents = pl.read_parquet(workspace.open("corpus/documents", "s1.jsonl") / "documents.parquet")
    assert all(documents["text"][d.row] == d.text for d in shown.documents)


def test_a_subset_that_was_replaced_since_and_one_that_is_gone(made: Profile, root: Path) -> None:
    before = _subset(Workspace(made))
    old = Workspace(made).artifact("random/subset", "20").version
    more = [(f"more.{n}", f"document {n} that has come since, with a text of some words") for n in range(40)]
    write_shard(root / "shards" / "s8.jsonl", more)
    keys = ["source", "shards", "documents", "tokens", "index"]
    make(made, [*(f"corpus/{key}" for key in keys), "random/scores", "random/subset"])
    workspace = Workspace(load_profile())
    new = workspace.artifact("random/subset", "20").version
    assert new != old
    shown = show(workspace, "random/metrics", "20|small", 1000)
    assert shown.version == old and [d.doc_hash for d in shown.documents] == before["doc_hash"].to_list()
    assert all(d.text and d.percentile is None for d in shown.documents)
    text = " ".join(to_text(shown).split())
    assert (
        f"these are the documents of version {short(old)}, which was read; version {short(new)} is there now"
        in text
    )
    assert show(workspace, "random/subset", "20", 3).version == new
    write_shard(root / "shards" / "s8.jsonl", more[:20])
    make(made, [*(f"corpus/{key}" for key in keys), "random/scores", "random/subset"])
    workspace = Workspace(load_profile())
    documents = workspace.metadata("random/checkpoint", "20|small")["documents"]
    with pytest.raises(
        SubsetGone,
        match=rf"made from version {short(old)} of random/subset\[20\] \({documents} documents and ",
    ):
        show(workspace, "random/metrics", "20|small")


def test_texts_do_not_steer_a_terminal(made: Profile, root: Path) -> None:
    rows = [(f"{name} {text[:150]}", f"{text} of {name}") for name, text in EVIL.items() if name != "nul"]
    long = max((text for _, text in stdlib_texts()), key=len)
    write_shard(
        root / "shards" / "s0.jsonl",
        [*rows, ("long", f"{long} once more"), ("long too", f"{long} and again")],
    )
    make(made, [f"corpus/{key}" for key in ("source", "shards", "documents", "tokens", "index")])
    make(made, ["random/scores"])
    shown = show(Workspace(load_profile()), "random/scores", "s0.jsonl", 100)
    raw = "".join(f"{d.doc_id}{d.text}" for d in shown.documents)
    assert any(not c.isprintable() for c in raw.replace("\n", "")), "as it is in the corpus"
    text = to_text(shown)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert f"the first 600 of {len(long) + 10:,} characters" in text


def test_what_has_no_texts_behind_it(made: Profile) -> None:
    workspace = Workspace(made)
    for key, partition, error, problem in (
        (
            "full_data/metrics",
            "small",
            ValueError,
            "has no documents of a sampler behind it: name SAMPLER/scores",
        ),
        ("random/metric", "20|small", ValueError, "did you mean 'random/metrics'"),
        ("random/subset", "21", ValueError, "has no partition '21'"),
        ("perplexity_small/metrics", "20|small", MissingInput, "has not been materialized"),
    ):
        with pytest.raises(error, match=problem):
            show(workspace, key, partition)
    with pytest.raises(ValueError, match="show one document at least"):
        show(workspace, "random/subset", "20", 0)
