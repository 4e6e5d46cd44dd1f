"""Documents to read: lists against a sort of everything, percentiles against counting, and what the section says."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.common.progress import silent
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.report.documents import (
    LEAST,
    MOST,
    Best,
    Counts,
    Ranks,
    Scored,
    alone,
    apart,
    lists,
    merge,
    signs,
)
from curation_assets.report.documents_build import documents
from curation_assets.report.section import read_section
from curation_assets_tests.making import load
from curation_assets_tests.report.hand_made import Score, texts, workspace

NAMES = ["random", "density", "ask_llm_small", "ask_llm_xxl"]


def _shards(seed: int, sizes: tuple[int, ...] = (40, 1, 0, 59), levels: int = 30) -> list[Scored]:
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    scores = rng.integers(0, levels, (len(NAMES), total)).astype(float)
    hashes = rng.permutation(total).astype(np.uint64)
    found, at = [], 0
    for number, size in enumerate(sizes):
        part = slice(at, at + size)
        found.append(Scored(number, np.arange(size) + 3, hashes[part], scores[:, part]))
        at += size
    return found


def _all(shards: list[Scored]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hashes [n], places [n, 2] and scores [samplers, n] of all documents."""
    places = np.concatenate([np.stack([np.full(len(s.rows), s.shard), s.rows], 1) for s in shards])
    return (
        np.concatenate([s.doc_hash for s in shards]),
        places,
        np.concatenate([s.scores for s in shards], axis=1),
    )


@pytest.mark.parametrize("seed", range(5))
def test_most_and_least_liked_are_those_of_a_sort_of_everything(seed: int) -> None:
    shards = _shards(seed, levels=7)  # many ties
    hashes, places, scores = _all(shards)
    found = alone(NAMES, iter(shards), 5)
    assert list(found) == [((n,), side) for n in NAMES[1:] for side in (MOST, LEAST)]  # random likes nothing
    for (name,), side in found:
        sign = (-1 if name == "density" else 1) * (1 if side == MOST else -1)
        order = sorted(range(len(hashes)), key=lambda i: (-sign * scores[NAMES.index(name)][i], hashes[i]))[
            :5
        ]
        part = found[(name,), side]
        assert np.stack([part.shard, part.row], 1).tolist() == places[order].tolist()
        assert part.doc_hash.tolist() == hashes[order].tolist()
        assert part.scores.tolist() == scores[:, order].tolist()


@given(st.integers(0, 1000), st.integers(1, 6))
def test_lists_do_not_depend_on_shards(seed: int, k: int) -> None:
    shards = _shards(seed, (7, 5, 8), levels=3)
    best, other = Best(k), Best(k)
    for one in shards:
        best.add(one.scores[1], one)
    for one in reversed(shards):  # the same documents in other pieces, another order
        for i in range(len(one.rows)):
            piece = Scored(one.shard, one.rows[i : i + 1], one.doc_hash[i : i + 1], one.scores[:, i : i + 1])
            other.add(piece.scores[1], piece)
    assert best.picked().doc_hash.tolist() == other.picked().doc_hash.tolist()


def test_a_list_is_as_long_as_there_are_documents() -> None:
    best = Best(5)
    assert best.picked().row.size == 0
    best.add(np.array([1.0, 2.0]), Scored(0, np.arange(2), np.array([5, 4], np.uint64), np.zeros((1, 2))))
    assert best.picked().doc_hash.tolist() == [4, 5]
    with pytest.raises(ValueError, match="at least one document, not 0"):
        Best(0)


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_counted(seed: int) -> None:
    shards = _shards(seed, levels=9)
    _, _, scores = _all(shards)
    shown = np.concatenate([scores[:, [3, 50, 3]], np.full((4, 1), -5.0), np.full((4, 1), 99.0)], axis=1)
    counts = Counts(NAMES, shown)
    for one in shards:
        counts.add(one)
    sign = signs(NAMES)[:, None, None]
    below = (sign * scores[:, None, :] < sign * shown[:, :, None]).mean(-1)
    equal = (scores[:, None, :] == shown[:, :, None]).mean(-1)
    assert np.allclose(counts.percentiles(), 100 * (below + equal / 2), atol=1e-12)
    ranks = Ranks(NAMES, scores)
    assert np.allclose([ranks.of(i, shown[i]) for i in range(4)], counts.percentiles(), atol=1e-12)
    assert counts.percentiles()[1, 3:].tolist() == [100.0, 0.0]  # density keeps low scores first
    assert counts.seen == 100
    with pytest.raises(ValueError, match="no documents"):
        Counts(NAMES, shown).percentiles()


def test_disagreement_is_the_largest_difference_of_percentiles() -> None:
    shards = _shards(7, levels=1000)
    hashes, places, scores = _all(shards)
    ranks = Ranks(NAMES, scores)
    found = apart(NAMES, iter(shards), ranks, 4)
    percentile = {name: ranks.of(i, scores[i]) for i, name in enumerate(NAMES)}
    assert [pair for pair, _ in found] == [
        ("ask_llm_small", "ask_llm_xxl"),
        ("ask_llm_xxl", "ask_llm_small"),
        ("ask_llm_xxl", "density"),
        ("density", "ask_llm_xxl"),
    ]
    for ((above, below), side), part in found.items():
        assert side == f"{above} above {below}"
        gap = percentile[above] - percentile[below]
        order = np.lexsort((hashes, -gap))[:4]
        assert np.stack([part.shard, part.row], 1).tolist() == places[order].tolist()


def test_merge_names_each_document_once() -> None:
    shards = _shards(1)
    found = alone(NAMES, iter(shards), 5)
    entries, shown = merge(found)
    places = list(zip(shown.shard.tolist(), shown.row.tolist(), strict=True))
    assert len(set(places)) == len(places) < len(entries) == 30
    for (samplers, side), part in found.items():
        mine = [e for e in entries if (e.samplers, e.side) == (samplers, side)]
        assert [e.rank for e in mine] == [1, 2, 3, 4, 5]
        assert [places[e.document] for e in mine] == list(
            zip(part.shard.tolist(), part.row.tolist(), strict=True)
        )
        assert shown.scores[:, [e.document for e in mine]].tolist() == part.scores.tolist()


def test_lists_need_their_samplers() -> None:
    assert lists(["random"]) == []
    assert lists(["ask_llm_xl", "perplexity_xl"])[:2] == [
        (("ask_llm_xl", "perplexity_xl"), "ask_llm_xl above perplexity_xl"),
        (("perplexity_xl", "ask_llm_xl"), "perplexity_xl above ask_llm_xl"),
    ]


def _scores(salt: int, levels: int = 10**6) -> Score:
    return lambda ids: np.array([float(zlib.crc32(f"{salt}{i}".encode()) % levels) for i in ids])


SCORES = {name: _scores(n, 9 if name == "density" else 10**6) for n, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Three shards; the third repeats documents of the first."""
    rows = texts(90)
    shards = {"s0.jsonl": rows[:40], "s1.jsonl": rows[40:], "s2.jsonl": rows[:5]}
    with pytest.MonkeyPatch.context() as patch:
        yield workspace(tmp_path_factory.mktemp("documents"), patch, shards, SCORES)


def test_the_report_of_a_small_corpus(small: Workspace, tmp_path: Path) -> None:
    about = load(documents, small, STEPS["report/documents"])("", tmp_path, silent)
    ids = [
        i
        for shard in ("s0.jsonl", "s1.jsonl")
        for i in pq.read_table(open_documents(small, shard), columns=["doc_id"])["doc_id"].to_pylist()
    ]
    assert about["documents"] == len(ids) == len(set(ids))
    assert (
        about["not_current"].startswith("semdedup, prototypes") and "ask_llm_xxl" not in about["not_current"]
    )
    table = pl.read_parquet(tmp_path / "documents.parquet")
    assert table["list"].unique(maintain_order=True).to_list()[:4] == [
        "ask_llm_small above ask_llm_xxl",
        "ask_llm_xxl above ask_llm_small",
        "ask_llm_xxl above density",
        "density above ask_llm_xxl",
    ]
    assert table["rank"].to_list() == [1, 2, 3, 4, 5] * 10
    most = table.filter((pl.col("list") == MOST) & (pl.col("samplers").list.first() == "ask_llm_small"))
    order = sorted(ids, key=lambda i: -SCORES["ask_llm_small"]([i])[0])
    assert most["doc_id"].to_list() == order[:5]
    assert most["percentile_ask_llm_small"].to_list() == [
        100 * (len(ids) - r - 0.5) / len(ids) for r in range(5)
    ]


def test_every_row_is_a_document_of_the_corpus(small: Workspace, tmp_path: Path) -> None:
    load(documents, small, STEPS["report/documents"])("", tmp_path, silent)
    for row in pl.read_parquet(tmp_path / "documents.parquet").iter_rows(named=True):
        source = pq.read_table(open_documents(small, row["shard"])).slice(row["position"], 1).to_pylist()[0]
        assert (source["doc_id"], source["doc_hash"], source["row"]) == (
            row["doc_id"],
            row["doc_hash"],
            row["row"],
        )
        assert (source["text"][:600], source["source"]) == (row["text"], row["source"])
        assert row["n_chars"] == len(source["text"])
        for name, score in SCORES.items():
            assert row[f"score_{name}"] == score([row["doc_id"]])[0]


def test_the_section_shows_the_texts(small: Workspace, tmp_path: Path) -> None:
    about = load(documents, small, STEPS["report/documents"])("", tmp_path, silent)
    table = pl.read_parquet(tmp_path / "documents.parquet")
    section = read_section(tmp_path)
    assert len(section.excerpts) == len(table) == 50
    assert section.findings[0].startswith("ask_llm_small and ask_llm_xxl are furthest apart")
    assert section.findings[-1].startswith("Without current scores of every shard, and not shown: semdedup")
    assert [e.samplers for e in section.excerpts[::10]] == [
        ["ask_llm_small", "ask_llm_xxl"],
        ["ask_llm_xxl", "density"],
        ["density"],
        ["ask_llm_small"],
        ["ask_llm_xxl"],
    ]
    cut = [e for e, n in zip(section.excerpts, table["n_chars"], strict=True) if n > 600]
    assert cut and all(e.text.endswith("…") and "first 600 of" in e.meta for e in cut)
    assert section.tables[0].links[0] == ("ask_llm_small/scores", table["shard"][0])
    assert about["tables"].count("\n") == 3 + 50
    again = tmp_path / "again"
    again.mkdir()
    assert load(documents, small, STEPS["report/documents"])("", again, silent) == about
    for name in ("section.json", "documents.parquet"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_without_scores_there_is_nothing_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(30)}, {})
    with pytest.raises(MissingInput, match="no sampler has current scores"):
        load(documents, found, STEPS["report/documents"])("", tmp_path, silent)


def test_uniform_sampling_alone_has_no_list_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workspace(
        tmp_path, monkeypatch, {"s.jsonl": texts(30)}, {"random": lambda ids: np.arange(len(ids))}
    )
    about = load(documents, found, STEPS["report/documents"])("", tmp_path, silent)
    section = read_section(tmp_path)
    assert about["shown"] == about["lists"] == 0 < about["documents"]
    assert "its scores are noise" in section.findings[0] and not section.excerpts
    assert pl.read_parquet(tmp_path / "documents.parquet").columns[-1] == "percentile_random"
