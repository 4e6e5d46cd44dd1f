"""What samplers keep: counts against polars and brute force, chance against closed forms and simulation, and a small corpus's report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from curation_assets.corpus.reading import open_documents
from curation_assets.graph import STEPS
from curation_assets.making import materialize
from curation_assets.progress import Progress, silent
from curation_assets.registry import RATES, SAMPLERS
from curation_assets.report.build import correlation
from curation_assets.report.composition import (
    LENGTHS,
    WHOLE,
    Frequent,
    Tally,
    adjusted,
    chance,
    deviations,
    evenness,
    joined_lengths,
    length_bins,
    shares,
    spread,
)
from curation_assets.report.composition_build import composition, source_parts
from curation_assets.report.composition_said import findings, main_rate, source_name
from curation_assets.report.html import inline_svg
from curation_assets.report.section import read_section
from curation_assets.sampling.build import subset
from curation_assets.sampling.candidates import token_counts
from curation_assets.workspace import BuildOne, Metadata, MissingInput, Workspace
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.report import hand_made
from curation_assets_tests.report.hand_made import Document, texts, workspace

EVIL = "![x](http://HOST) <script>alert(1)</script> | *a* $b$"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from([*"abcdefgh", None]), max_size=30), max_size=6), st.integers(1, 5))
def test_every_frequent_value_is_held_in_constant_memory(parts: list[list[str | None]], room: int) -> None:
    found = Frequent(room)
    for part in parts:
        found.add(pl.Series("x", part, pl.String))
        assert len(found.values()) <= room
    counts = Counter(value for part in parts for value in part)
    held = found.values()
    assert len(set(held)) == len(held) and set(held) <= set(counts)
    assert {value for value, count in counts.items() if count > counts.total() / (room + 1)} <= set(held)
    if len(counts) <= room:
        assert set(held) == set(counts)


def test_tallies_add_up_and_grow() -> None:
    rng = np.random.default_rng(0)
    tally, whole = (
        Tally(),
        [(rng.integers(0, 99, n), rng.integers(0, k, n)) for n, k in ((30, 2), (0, 1), (50, 9))],
    )
    for tokens, cluster in whole:
        tally.add(tokens, {"cluster": cluster})
    tokens, cluster = (np.concatenate(x) for x in zip(*whole, strict=True))
    assert (tally.documents, tally.tokens) == (80, tokens.sum())
    assert tally.counts["cluster"].tolist() == [(cluster == k).sum() for k in range(9)]
    assert tally.token_counts["cluster"].tolist() == [tokens[cluster == k].sum() for k in range(9)]


@given(st.integers(0, 2**52))
def test_a_length_is_in_the_bin_of_its_power_of_two(tokens: int) -> None:
    (found,) = length_bins(np.array([tokens]))
    assert (found == 0 and tokens < 2) or 2**found <= tokens < 2 ** (found + 1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=LENGTHS, max_size=LENGTHS).filter(any))
def test_joined_lengths_have_every_bin_once(counts: list[int]) -> None:
    parts = joined_lengths(np.array(counts))
    assert [b for _, bins in parts for b in bins] == list(range(LENGTHS))
    assert 1 <= len(parts) <= 8 and len({name for name, _ in parts}) == len(parts)


def test_lengths_have_names_that_people_read() -> None:
    counts = np.zeros(LENGTHS, np.int64)
    counts[[3, 5, 6, 7, 12]] = [1, 50, 60, 50, 1]
    assert [name for name, _ in joined_lengths(counts)] == ["under 64", "64 to 127", "128 or more"]
    assert joined_lengths(np.eye(LENGTHS, dtype=np.int64)[4])[0][0] == "any length"
    assert joined_lengths(np.zeros(LENGTHS, np.int64)) == []


def test_deviations_are_those_of_a_hypergeometric_number() -> None:
    corpus, kept = np.array([600, 390, 10]), np.array([110, 90, 0])
    expected, sd, z = deviations(kept, corpus)
    exact = [hypergeom(1000, int(of), 200) for of in corpus]
    assert expected == pytest.approx([one.mean() for one in exact]) and sd == pytest.approx(
        [one.std() for one in exact]
    )
    assert z[0] == pytest.approx(-9.5 / exact[0].std()) and z[1] == pytest.approx(11.5 / exact[1].std())
    assert np.isnan(z[2]), "two documents are expected: too few to tell"
    tail = 2 * exact[1].sf(89)
    assert adjusted(z[1:2]) == pytest.approx([tail], rel=0.05)
    assert deviations(corpus, corpus)[1].tolist() == [0, 0, 0], "who keeps all has no choice"


def test_random_choices_are_within_chance() -> None:
    rng = np.random.default_rng(3)
    corpus = np.array([500, 300, 150, 50])
    labels = np.repeat(np.arange(4), corpus)
    z = np.array(
        [deviations(np.bincount(rng.permutation(labels)[:200], minlength=4), corpus)[2] for _ in range(2000)]
    )
    beyond = (np.abs(z[:, :3]) > 1.96).mean(axis=0)
    assert np.isnan(z[:, 3]).all() and (beyond < 0.06).all() and (beyond > 0.025).all()


def test_evenness_in_closed_form() -> None:
    corpus = np.arange(1, 201)
    assert evenness(np.full(200, 7), corpus) == pytest.approx([200, 0, 2 / 200])
    assert evenness(np.eye(200)[199], corpus) == pytest.approx([1, 199 / 200, 1])
    assert evenness(np.eye(200)[0], corpus)[2] == 0, "not in the two largest clusters of the corpus"
    assert evenness(np.array([3, 1]), np.array([1, 1]))[0] == pytest.approx(4 / 27**0.25)
    assert evenness(np.array([3, 1]), np.array([1, 1]))[1] == pytest.approx(0.25)
    assert evenness(np.zeros(3), np.ones(3)).tolist() == [1, 0, 0]


def test_chance_is_that_of_drawing_documents() -> None:
    corpus = np.array([400, 100, 50, 20, 20, 5, 5])
    labels, rng = np.repeat(np.arange(7), corpus), np.random.default_rng(4)
    drawn = chance(corpus, 60)
    assert drawn is not None and np.array_equal(drawn, chance(corpus, 60))
    brute = np.array(
        [evenness(np.bincount(rng.permutation(labels)[:60], minlength=7), corpus) for _ in range(2000)]
    )
    error = brute.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - brute.mean(axis=0)) < 5 * error).all()
    assert drawn.std(axis=0) == pytest.approx(brute.std(axis=0), rel=0.2)
    assert chance(corpus, 600) is None and chance(corpus, 0) is None, "no choice"
    assert chance(np.array([10**9, 5]), 60) is None


def _tallies(seed: int) -> tuple[Tally, dict[tuple[str, str], Tally], pl.DataFrame]:
    """Return a corpus, three choices, and the documents with what each choice keeps."""
    rng = np.random.default_rng(seed)
    part, tokens = rng.choice(4, 800, p=[0.5, 0.3, 0.19, 0.01]), rng.integers(1, 100, 800)
    masks = {
        ("random", "20"): rng.permutation(800) < 160,
        ("density", "20"): np.argsort(np.argsort(part + rng.random(800))) < 160,
        ("density", "40"): part > 0,
    }
    corpus, choices = Tally(), {}
    corpus.add(tokens, {"x": part})
    for key, mask in masks.items():
        choices[key] = Tally()
        choices[key].add(tokens[mask], {"x": part[mask]})
    frame = pl.DataFrame({"part": part, "tokens": tokens, **{"|".join(k): m for k, m in masks.items()}})
    return corpus, choices, frame


def test_shares_are_those_of_counting() -> None:
    corpus, choices, frame = _tallies(5)
    parts = [("one", [0]), ("two", [1]), ("rest", [2, 3])]
    table = shares(corpus, choices, "x", parts)
    assert len(table) == 4 * 3 and table["rate"].to_list()[:3] == ["100"] * 3
    for row in table.iter_rows(named=True):
        inside = frame.filter(pl.col("part").is_in(dict(parts)[row["part"]]))
        kept = pl.lit(True) if row["rate"] == "100" else pl.col(f"{row['sampler']}|{row['rate']}")
        own, all_own = inside.filter(kept), frame.filter(kept)
        assert (row["documents"], row["tokens"]) == (len(own), own["tokens"].sum())
        assert row["share"] == pytest.approx(len(own) / len(all_own))
        assert row["token_share"] == pytest.approx(own["tokens"].sum() / all_own["tokens"].sum())
        assert row["corpus_share"] == pytest.approx(len(inside) / len(frame))
        assert row["ratio"] == pytest.approx(row["share"] / row["corpus_share"])
    told = table.filter(pl.col("sampler") == "density")
    assert table.filter(pl.col("sampler") == "full_data")["z"].null_count() == 3
    assert (told["p"] < 0.001).all() and (table.filter(pl.col("sampler") == "random")["p"] > 0.05).all()
    raw = [p for z in table["z"].drop_nulls() for p in adjusted(np.array([z]))]
    assert sorted(table["p"].drop_nulls())[0] == pytest.approx(min(1, len(raw) * min(raw)), rel=1e-9)


def test_spread_tells_a_uniform_choice_from_a_narrow_one() -> None:
    rng = np.random.default_rng(6)
    cluster, tokens = np.repeat(np.arange(1, 41), 50), np.ones(2000, np.int64)
    corpus, random, narrow = Tally(), Tally(), Tally()
    for tally, rows in (
        (corpus, np.arange(2000)),
        (random, rng.permutation(2000)[:400]),
        (narrow, np.arange(400)),
    ):
        tally.add(tokens[rows], {"cluster": cluster[rows]})
    table = spread(corpus, {("random", "20"): random, ("density", "20"): narrow})
    whole, even, one = table.iter_rows(named=True)
    assert whole["effective"] == pytest.approx(40) and whole["effective_low"] is None, (
        "cluster 0 is met by nobody"
    )
    assert even["effective_low"] < even["effective"] < even["effective_high"] < 40
    assert (even["over"], even["under"], even["tested"]) == (0, 0, 0), (
        "10 are expected of each: the variance is too small"
    )
    assert one["effective"] == pytest.approx(8) and one["clusters"] == 8 and one["gini"] == pytest.approx(0.8)
    assert one["effective_random"] == even["effective_random"]


def test_sources_are_the_most_frequent_ones_and_the_rest() -> None:
    tally = Tally()
    tally.add(
        np.ones(70, np.int64), {"source": np.repeat(np.arange(11), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15])}
    )
    names: list[str | None] = [*"abcdefghi", None]
    parts = source_parts(tally, names)  # number 10 is what was not held
    assert [name for name, _ in parts] == ["no source", "i", "h", "g", "f", "e", "d", "c", "all others"]
    assert parts[0][1] == [9] and parts[-1][1] == [0, 1, 10]
    few = Tally()
    few.add(np.ones(3, np.int64), {"source": np.array([0, 1, 1])})
    assert source_parts(few, ["a", "b"]) == [("b", [1]), ("a", [0])]
    assert source_name("all others") == "“all others”" and source_name(None) == "no source"


def test_the_rate_shown_is_one_that_most_samplers_have() -> None:
    assert main_rate(list(RATES) * 3) == "20"
    assert main_rate(["40", "40", "20"]) == "40" and main_rate(["10", "80"]) == "10"


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

    keys = ["corpus/embeddings", "clusters/centroids", "clusters/assignments"] if clustered else []
    for key in keys:
        for partition in found.partitions(STEPS[key].by):
            materialize(found, STEPS[key], partition, lambda inputs, key=key: fake(key))
    for name, rate in made:
        materialize(
            found, STEPS[f"{name}/subset"], rate, lambda inputs, name=name: subset(SAMPLERS[name])(found)
        )
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        yield _prepared(workspace(tmp_path_factory.mktemp("composition"), patch, _documents(), SCORES))


@pytest.fixture(scope="module")
def made(small: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("report")
    return folder, composition(small)("", folder, silent)


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


def test_the_section_links_every_row_to_its_subset(made: tuple[Path, dict[str, object]]) -> None:
    folder, _ = made
    section = read_section(folder)
    assert [figure.name for figure in section.figures] == ["source", "length", "clusters"]
    for figure in section.figures:
        inline_svg((folder / f"{figure.name}.svg").read_text("utf-8"), figure.alt)
    for table in section.tables:
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
    assert findings({"source": table}, "20", ["a gap."]) == [
        "By source at 20 %, no part is large enough to tell a preference from chance.",
        "a gap.",
    ]


def test_names_from_the_corpus_are_text_in_the_ui(made: tuple[Path, dict[str, object]]) -> None:
    folder, about = made
    assert any(EVIL in s for s in read_section(folder).findings), "plain where it is escaped later"
    for name in ("findings", "by_source"):
        shown = str(about[name]).replace("<!-- -->", "")  # which keeps addresses from becoming links
        assert "script" in shown and not re.search(r"(?<!\\)[<>\[\]`$]", shown)
    assert "<script" not in (folder / "source.svg").read_text("utf-8")
    for name in ("source", "length", "clusters"):
        assert str(about[name]).startswith("![") and ";base64," in str(about[name])
    assert str(about["by_length"]).count("\n") == 1 + 4, "the corpus and three samplers at 60 %"


def test_the_report_is_the_same_again(
    small: Workspace, made: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder, about = made
    told: list[tuple[int, int]] = []
    assert composition(small)("", tmp_path, lambda done, total, *rest: told.append((done, total))) == about
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
        composition(found)("", tmp_path, silent)
    _prepared(found, [("random", "40")], clustered=False)
    about = composition(found)("", tmp_path, silent)
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
    composition(found)("", tmp_path, silent)
    table = pl.read_parquet(tmp_path / "length.parquet")
    assert table.filter(pl.col("sampler") == "random")["documents"].sum() == 0
    with pytest.raises(MissingInput, match="2 documents are too few to correlate"):
        correlation(found)("", tmp_path, silent)


def test_subsets_of_other_documents_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {name: SCORES[name] for name in ("random", "ask_llm_small")}
    found = workspace(tmp_path, monkeypatch, {"a.jsonl": texts(60), "b.jsonl": texts(120)[60:]}, scores)
    _prepared(found, [("random", "40"), ("ask_llm_small", "40")], clustered=False)
    (tmp_path / "shards" / "b.jsonl").write_text(
        (tmp_path / "shards" / "a.jsonl").read_text("utf-8")[:-1], "utf-8"
    )
    _remade(found, ["corpus/source", "corpus/shards", "corpus/documents"])
    with pytest.raises(MissingInput, match="tokens or index of the corpus are missing or out of date"):
        composition(found)("", tmp_path, silent)
    _remade(found, ["corpus/tokens", "corpus/index"])
    with pytest.raises(MissingInput, match="no sampler has a current subset"):
        composition(found)("", tmp_path, silent)


def _remade(found: Workspace, keys: list[str]) -> None:
    for key in keys:
        step = STEPS[key]
        for partition in found.partitions(step.by) if step.by != "shard" else found.listed():
            materialize(found, step, partition, lambda inputs, key=key: CORPUS[key](found))
