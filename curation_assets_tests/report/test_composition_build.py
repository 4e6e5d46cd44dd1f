"""The report on what samplers keep, from scores and subsets of a real corpus: against counting, and what its section says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from curation_assets.common.progress import Progress, silent
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput, Workspace
from curation_assets.lineage.texts import shuffle_keys
from curation_assets.report.build import correlation
from curation_assets.report.composition import (
    WHOLE,
    Tally,
    shares,
    source_name,
)
from curation_assets.report.composition_build import composition
from curation_assets.report.composition_view import findings, headline
from curation_assets.report.section import read_section
from curation_assets.selection.build import subset
from curation_assets.selection.candidates import token_counts
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize
from curation_assets_tests.report import hand_made
from curation_assets_tests.report.hand_made import Document, texts, workspace

pytestmark = pytest.mark.slow

EVIL = "![x](http://HOST) <script>alert(1)</script> | *a* $b$"


SCORES = {
    "random": lambda ids: np.random.default_rng(0).random(len(ids)),
    "ask_llm_small": lambda ids: np.array([float(len(i)) for i in ids]),
    "ask_llm_base": lambda ids: np.array([-float(len(i)) for i in ids]),
}
_MADE = [("random", "20"), ("random", "60"), ("ask_llm_small", "60"), ("ask_llm_base", "60")]


def _documents() -> dict[str, list[Document]]:
    """Return three shards, the third of which repeats documents of the first; long ids have a source of their own."""
    names = ["documents", *(f"source {i}" for i in range(9)), None]
    rows = [(i, text, EVIL if len(i) > 26 else names[len(i) % 11]) for i, text, _ in texts(160)]
    return {"s0.jsonl": rows[:70], "s1.jsonl": rows[70:], "s2.jsonl": rows[:9]}


def _clusters(found: Workspace, shard: str) -> np.ndarray:
    ids = pq.read_table(open_documents(found, shard), columns=["doc_id"])["doc_id"].to_pylist()
    return np.array([len(i) % 7 for i in ids], np.int32)


def _prepared(found: Workspace, made: list[tuple[str, str]] = _MADE, clustered: bool = True) -> Workspace:
    def fake(key: str) -> BuildOne:
        def build(partition: str, folder: Path, progress: Progress) -> Metadata:
            if key == "clusters/assignments":
                np.save(folder / "clusters.npy", _clusters(found, partition))
            (folder / "made").write_text(key, "utf-8")
            return {"documents": 0}

        return build

    keys = (
        [
            "corpus/embeddings",
            "clusters/sample_share",
            "clusters/sample",
            "clusters/centroids",
            "clusters/assignments",
        ]
        if clustered
        else []
    )
    for key in keys:
        for partition in found.partitions(STEPS[key].by):
            materialize(found, STEPS[key], partition, lambda inputs, key=key: fake(key))
    for name, rate in made:
        materialize(
            found,
            STEPS[f"{name}/subset"],
            rate,
            lambda inputs, name=name: load(subset(SAMPLERS[name]), found, STEPS[f"{name}/subset"]),
        )
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        yield _prepared(workspace(tmp_path_factory.mktemp("composition"), patch, _documents(), SCORES))


@pytest.fixture(scope="module")
def made(small: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("report")
    return folder, load(composition, small, STEPS["report/composition"])("", folder, silent)


def _brute(found: Workspace) -> pl.DataFrame:
    """Return every document once with its source, tokens and cluster."""
    parts = []
    for shard in ("s0.jsonl", "s1.jsonl"):
        table = pl.read_parquet(open_documents(found, shard)).select("doc_id", "source")
        parts.append(
            table.with_columns(
                tokens=pl.Series(token_counts(found, shard)), cluster=pl.Series(_clusters(found, shard))
            )
        )
    return pl.concat(parts)


def test_every_subset_is_counted_by_source_length_and_cluster(
    small: Workspace, made: tuple[Path, dict[str, object]]
) -> None:
    folder, about = made
    everything = _brute(small)
    assert about["documents"] == len(everything) and about["subsets"] == len(_MADE)
    kept = {WHOLE: everything}
    for name, rate in _MADE:
        ids = pl.read_parquet(small.open(f"{name}/subset", rate) / "subset.parquet")["doc_id"]
        kept[name, rate] = everything.filter(pl.col("doc_id").is_in(ids.implode()))
        assert len(kept[name, rate]) == round(int(rate) / 100 * len(everything))
    by_source = pl.read_parquet(folder / "source.parquet")
    by_length = pl.read_parquet(folder / "length.parquet")
    by_cluster = {
        (r["sampler"], r["rate"]): r
        for r in pl.read_parquet(folder / "clusters.parquet").iter_rows(named=True)
    }
    assert set(by_cluster) == set(kept)
    for key, frame in kept.items():
        counts = Counter(source_name(source) for source in frame["source"])
        own = by_source.filter((pl.col("sampler") == key[0]) & (pl.col("rate") == key[1]))
        told = dict(zip(own["part"], own["documents"], strict=True))
        assert sum(told.values()) == len(frame) and len(told) == 9
        rest = told.pop("all others")
        assert told == {name: counts[name] for name in told} and rest == sum(counts.values()) - sum(
            told.values()
        )
        lengths = by_length.filter((pl.col("sampler") == key[0]) & (pl.col("rate") == key[1]))
        assert (lengths["documents"].sum(), lengths["tokens"].sum()) == (len(frame), frame["tokens"].sum())
        first = lengths.row(0, named=True)
        below = int(first["part"].removeprefix("under ").replace(",", ""))
        assert first["documents"] == (frame["tokens"] < below).sum()
        share = frame["cluster"].value_counts(normalize=True)["proportion"].to_numpy()
        assert by_cluster[key]["effective"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
        assert by_cluster[key]["clusters"] == len(share)


def test_texts_are_drawn_of_each_subset_by_the_noise_of_its_documents(
    small: Workspace, made: tuple[Path, dict[str, object]]
) -> None:
    table = pl.read_parquet(made[0] / "texts.parquet")
    assert [one for one, _ in table.group_by("sampler", "rate", maintain_order=True)] == _MADE
    for name, rate in _MADE:
        subset = pl.read_parquet(small.open(f"{name}/subset", rate) / "subset.parquet")
        own = table.filter(sampler=name, rate=rate)
        first = subset[np.argsort(shuffle_keys(subset["doc_hash"].to_numpy()))[:10].tolist()]
        for column, other in (
            ("doc_id", "doc_id"),
            ("shard", "shard"),
            ("score", "score"),
            ("row", "source_row"),
        ):
            assert own[column].to_list() == first[other].to_list()
        assert set(own["version"]) == {small.artifact(f"{name}/subset", rate).version}
        texts = {i: text for rows in _documents().values() for i, text, _ in rows}
        assert all(texts[i].startswith(text) for i, text in own.select("doc_id", "text").rows())


def test_the_section_links_every_row_to_its_subset(made: tuple[Path, dict[str, object]]) -> None:
    folder, _ = made
    section = read_section(folder)
    assert [figure.name for figure in section.figures] == ["source", "length", "clusters", "overlap"]
    assert len(section.tables[-1].rows) == 3, "pairs of three samplers at 60 %"
    for table in section.tables[:-1]:
        assert len(table.rows) == 1 + len(SAMPLERS) * len(RATES) == len(table.links)
        assert table.rows[0][:2] == ["whole corpus", "100 %"] and table.links[0] is None
        links = [link for link in table.links if link]
        assert links == [(f"{name}/subset", rate) for name, rate in _MADE]
        for row, link in zip(table.rows[1:], table.links[1:], strict=True):
            assert (row[2] == "not made") == (link is None)
            assert link is None or (f"{row[0]}/subset", row[1]) == (link[0], f"{link[1]} %")
        assert (folder / table.source).exists()


def test_the_findings_name_what_is_beyond_chance_and_what_is_missing(
    made: tuple[Path, dict[str, object]],
) -> None:
    said = read_section(made[0]).findings
    assert any(s.startswith("By source at 60 %, most preferred beyond chance: ") for s in said)
    first = read_section(made[0]).headline
    assert first.startswith("Of what is kept at 60 %, by source: ask_llm_")
    assert first.count("the corpus has") == 1, "one sampler speaks for its family"
    (control,) = [s for s in said if s.startswith("Random sampling, as a control: ") and "by source" in s]
    assert ", 0 after adjustment." in control
    assert any("as even as 7.0 clusters" in s or "as even as 6." in s for s in said)
    (gaps,) = [s for s in said if s.startswith("Subsets that are not made")]
    assert "random (10, 40, 80 %), density, semdedup" in gaps
    assert not [s for s in said if "no field" in s or "Clusters are not current" in s]


def test_what_cannot_be_tested_is_not_called_equal() -> None:
    corpus, choice = Tally(), Tally()
    corpus.add(np.ones(20, np.int64), {"source": np.arange(20) % 2})
    choice.add(np.ones(4, np.int64), {"source": np.zeros(4, np.int64)})
    table = shares(corpus, {("density", "20"): choice}, "source", [("a", [0]), ("b", [1])])
    assert headline({"source": table}, "20") == ""
    assert findings({"source": table}, "20") == [
        "By source at 20 %, no part is large enough to tell a preference from chance.",
    ]


def test_names_from_the_corpus_are_text_in_the_ui(made: tuple[Path, dict[str, object]]) -> None:
    folder, about = made
    assert any(EVIL in s for s in read_section(folder).findings), "plain where it is escaped later"
    for name in ("findings", "tables"):
        shown = str(about[name]).replace("<!-- -->", "")  # which keeps addresses from becoming links
        assert "script" in shown and not re.search(r"(?<!\\)[<>\[\]`$]", shown)
    assert "<script" not in (folder / "source.svg").read_text("utf-8")
    for name in ("source", "length", "clusters"):
        assert str(about[name]).startswith("![") and ";base64," in str(about[name])


@pytest.mark.parametrize("block", [7, 1 << 18])
def test_the_report_is_the_same_again_however_many_documents_are_counted_together(
    small: Workspace,
    made: tuple[Path, dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
) -> None:
    monkeypatch.setattr("curation_assets.report.composition_build._BLOCK", block)
    folder, about = made
    told: list[tuple[int, int]] = []
    assert (
        load(composition, small, STEPS["report/composition"])(
            "", tmp_path, lambda done, total, *rest: told.append((done, total))
        )
        == about
    )
    assert told == [(i + 1, 6) for i in range(6)]
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_without_sources_or_clusters_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_made, "_PROFILE", hand_made._PROFILE.replace('["source"]', "[]"))
    scores = {"random": SCORES["random"]}
    found = workspace(tmp_path, monkeypatch, {"a.jsonl": texts(60), "b.jsonl": texts(120)[60:]}, scores)
    with pytest.raises(MissingInput, match="no sampler has a current subset"):
        load(composition, found, STEPS["report/composition"])("", tmp_path, silent)
    _prepared(found, [("random", "40")], clustered=False)
    about = load(composition, found, STEPS["report/composition"])("", tmp_path, silent)
    section = read_section(tmp_path)
    assert [figure.name for figure in section.figures] == ["length"] and "source" not in about
    assert not [s for s in section.findings if "preferred" in s or "large enough" in s], (
        "random prefers nothing"
    )
    assert section.findings[-2].startswith("The documents have no field `source`")
    assert section.findings[-1].startswith("Clusters are not current")


def test_a_corpus_of_so_few_documents_that_a_subset_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workspace(tmp_path, monkeypatch, {"a.jsonl": texts(2)}, {"random": SCORES["random"]})
    _prepared(found, [("random", "20")], clustered=False)
    load(composition, found, STEPS["report/composition"])("", tmp_path, silent)
    table = pl.read_parquet(tmp_path / "length.parquet")
    assert table.filter(pl.col("sampler") == "random")["documents"].sum() == 0
    with pytest.raises(MissingInput, match="2 documents are too few to correlate"):
        load(correlation, found, STEPS["report/correlation"])("", tmp_path, silent)


def test_subsets_of_other_documents_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {name: SCORES[name] for name in ("random", "ask_llm_small")}
    found = workspace(tmp_path, monkeypatch, {"a.jsonl": texts(60), "b.jsonl": texts(120)[60:]}, scores)
    _prepared(found, [("random", "40"), ("ask_llm_small", "40")], clustered=False)
    (tmp_path / "shards" / "b.jsonl").write_text(
        (tmp_path / "shards" / "a.jsonl").read_text("utf-8")[:-1], "utf-8"
    )
    _remade(found, ["corpus/source", "corpus/shards", "corpus/documents"])
    with pytest.raises(MissingInput, match="tokens or index of the corpus are missing or out of date"):
        load(composition, found, STEPS["report/composition"])("", tmp_path, silent)
    _remade(found, ["corpus/tokens", "corpus/index"])
    with pytest.raises(MissingInput, match="no sampler has a current subset"):
        load(composition, found, STEPS["report/composition"])("", tmp_path, silent)


def _remade(found: Workspace, keys: list[str]) -> None:
    for key in keys:
        step = STEPS[key]
        for partition in found.partitions(step.by) if step.by != "shard" else found.listed():
            materialize(found, step, partition, lambda inputs, key=key: load(CORPUS[key], found, STEPS[key]))
