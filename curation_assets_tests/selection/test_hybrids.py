"""Hybrids and strata as the graph makes them, against brute force over whole arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.common.files import read_json
from curation_assets.config.profile import ProfileError, load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.corpus.reading import left_out, open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.lineage.explain import explain, to_text
from curation_assets.selection import keys as selection
from curation_assets.selection import strata as strata_of
from curation_assets.selection.build import subset
from curation_assets.selection.select import kept_count, quota
from curation_assets.selection.what_if import what_if
from curation_assets_tests.making import load, materialize
from curation_assets_tests.report.hand_made import Document, texts, workspace

SOURCES = ["web", "wiki", "web", None, "forum", "web"]
MADE = ["density", "semdedup_density", "ask_llm_density"]


def _number(doc_id: str) -> int:
    return sum(map(ord, doc_id))


SCORES = {
    "density": lambda ids: np.array([0.5 + _number(i) % 7 for i in ids]),
    "semdedup": lambda ids: np.array([-(_number(i) % 10) / 10 for i in ids]),  # a cosine of 0.9 is to go
    "ask_llm_small": lambda ids: np.array([-float(_number(i) % 13) for i in ids]),
}


def _documents(count: int = 150) -> list[Document]:
    rows: list[Any] = [(i, text, SOURCES[_number(i) % len(SOURCES)]) for i, text, _ in texts(count)]
    return rows


def _workspace(home: Path, patch: pytest.MonkeyPatch, shards: dict[str, list[Document]]) -> Workspace:
    patch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
    workspace(home, patch, shards, SCORES)
    with (home / "tiny.toml").open("a") as out:
        out.write('[samplers.ask_llm_density]\nfirst = "ask_llm_small 50%"\n')
    return Workspace(load_profile(home / "tiny.toml"))


def _with(found: Workspace, **selection: str) -> Workspace:
    """Return the workspace with other settings of the selection."""
    other = Workspace(found.profile)
    update = found.profile.selection.model_copy(update=selection)
    other.profile = found.profile.model_copy(update={"selection": update})
    return other


def _make(found: Workspace, sampler: str, rates: tuple[str, ...] = RATES) -> None:
    step = STEPS[f"{sampler}/subset"]
    for rate in rates:
        materialize(found, step, rate, lambda inputs: load(subset(SAMPLERS[sampler]), found, step))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    rows = _documents()
    with pytest.MonkeyPatch.context() as patch:
        shards = {"a.jsonl": rows[:60], "b.jsonl": [*rows[60:], *rows[:5]], "c.jsonl": rows[5:9]}
        found = _workspace(tmp_path_factory.mktemp("hybrids"), patch, shards)
        for sampler in MADE:
            _make(found, sampler)
        yield found


def _corpus(found: Workspace) -> dict[str, np.ndarray]:
    """Return hash, id and source of every document that may be chosen, and its scores."""
    columns: dict[str, list] = {name: [] for name in ("doc_hash", "doc_id", "source", *SCORES)}
    unused = left_out(found)
    for shard in found.shards():
        table = pq.read_table(open_documents(found, shard), columns=["doc_hash", "doc_id", "source"])
        free = np.delete(np.arange(len(table)), unused.get(shard, []))
        for name in table.column_names:
            columns[name] += table[name].take(free).to_pylist()
    for name, score in SCORES.items():
        columns[name] = list(score(columns["doc_id"]))
    kinds = {"doc_hash": np.uint64, "doc_id": object, "source": object}
    return {name: np.array(values, kinds.get(name, np.float64)) for name, values in columns.items()}


def _best(corpus: dict[str, np.ndarray], sampler: str, among: np.ndarray, count: int) -> set[int]:
    keys = selection.selection_keys(corpus["doc_hash"], corpus[sampler], SAMPLERS[sampler].technique, 0)
    rows = np.flatnonzero(among)
    order = rows[np.lexsort((corpus["doc_hash"][rows], -keys[rows]))]
    return set(corpus["doc_hash"][order[:count]].tolist())


def _chosen(found: Workspace, sampler: str, rate: str) -> set[int]:
    path = found.open(f"{sampler}/subset", rate) / "subset.parquet"
    return set(pq.read_table(path, columns=["doc_hash"])["doc_hash"].to_pylist())


def _first(corpus: dict[str, np.ndarray], sampler: str) -> np.ndarray:
    """Return what the first stage of a sampler leaves."""
    everything = np.ones(len(corpus["doc_hash"]), bool)
    if sampler == "semdedup_density":
        return -corpus["semdedup"] < 0.9
    if sampler == "ask_llm_density":
        half = _best(corpus, "ask_llm_small", everything, kept_count(0.5, len(everything)))
        return np.isin(corpus["doc_hash"], np.array(list(half), np.uint64))
    return everything


@pytest.mark.parametrize("sampler", MADE)
def test_a_hybrid_is_filtering_and_then_selecting(made: Workspace, sampler: str) -> None:
    corpus = _corpus(made)
    n, left = len(corpus["doc_hash"]), _first(corpus, sampler)
    for rate in RATES:
        wanted = kept_count(int(rate) / 100, n)
        chosen = _chosen(made, sampler, rate)
        assert chosen == _best(corpus, "density", left, wanted)
        assert len(chosen) == min(wanted, left.sum())
        manifest = read_json(made.open(f"{sampler}/subset", rate) / "manifest.json")
        assert manifest["candidates"] == n and manifest.get("admitted", n) == left.sum()
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS[f"{sampler}/subset"][check](made).passed
    assert not any(key.startswith(f"{sampler}/scores") for key in STEPS if SAMPLERS[sampler].hybrid)


@pytest.mark.parametrize(
    ("sampler", "first"), [("semdedup_density", "semdedup < 0.9"), ("ask_llm_density", "ask_llm_small 50%")]
)
def test_selecting_again_with_a_first_stage_is_the_hybrid(
    made: Workspace, tmp_path: Path, sampler: str, first: str
) -> None:
    own = (made.open(f"{sampler}/subset", "20") / "subset.parquet").read_bytes()
    for name, asked in ((sampler, ""), ("density", first)):
        found = what_if(made, [name], "20%", first=asked, folder=tmp_path / name)
        assert (tmp_path / name / "subset.parquet").read_bytes() == own
        assert found.candidates == len(_corpus(made)["doc_hash"]) and found.first == asked
    both = what_if(
        made, [sampler, "density"], "40%"
    )  # the same documents of both, whatever a first stage leaves
    assert both.overlaps[0].documents == len(_chosen(made, sampler, "40") & _chosen(made, "density", "40"))


def test_a_hybrid_follows_both_stages_and_its_setting(made: Workspace) -> None:
    step, profile = STEPS["semdedup_density/subset"], made.profile
    assert set(step.reads(profile)) == {"density/scores", "semdedup/scores", "corpus/index", "corpus/tokens"}
    assert "ask_llm_small/scores" in STEPS["ask_llm_density/subset"].reads(profile)
    order = list(STEPS)
    assert all(order.index(need) < order.index(step.key) for need in step.reads(profile))
    other = profile.samplers.model_copy(
        update={
            "semdedup_density": profile.samplers.semdedup_density.model_copy(
                update={"first": "semdedup < 0.95"}
            )
        }
    )
    changed = Workspace(profile)
    changed.profile = profile.model_copy(update={"samplers": other})
    assert Versions(made).current(step, "20") and not Versions(changed).current(step, "20")
    assert Versions(changed).current(STEPS["density/subset"], "20")


def test_who_asks_is_told_which_stage_left_a_document_out(made: Workspace) -> None:
    corpus = _corpus(made)
    row = int(np.flatnonzero(~_first(corpus, "semdedup_density") & (corpus["density"] < 1))[0])
    doc_id = str(corpus["doc_id"][row])
    told = "\n".join(to_text(one) for one in explain(made, doc_id, ["semdedup_density"]))
    assert "semdedup < 0.9 does not leave it" in told


@pytest.mark.parametrize("sampler", MADE)
@pytest.mark.parametrize("rate_of", ["documents", "tokens"])
def test_each_source_keeps_the_rate(made: Workspace, sampler: str, rate_of: str) -> None:
    within = _with(made, within="source", rate_of=rate_of)
    assert not Versions(within).current(STEPS[f"{sampler}/subset"], "20")
    _make(within, sampler)
    corpus, left = _corpus(made), _first(_corpus(made), sampler)
    for rate in RATES:
        folder = within.open(f"{sampler}/subset", rate)
        rows = {row["stratum"]: row for row in pq.read_table(folder / "strata.parquet").to_pylist()}
        assert list(rows) == ["forum", "web", "wiki", None]
        chosen = _chosen(within, sampler, rate)
        for name, row in rows.items():
            own = np.array([value == name for value in corpus["source"]])
            here = set(corpus["doc_hash"][own].tolist())
            assert row["candidates"] == own.sum()
            if rate_of == "documents" or sampler != "ask_llm_density":  # of tokens the half is another one
                assert row["admitted"] == (own & left).sum()
            assert row["documents"] == len(chosen & here)
            if rate_of == "documents":
                wanted = int(quota(int(rate) / 100, np.array([own.sum()]), [name], 0)[0])
                assert chosen & here == _best(corpus, "density", own & left, wanted)
        if rate_of == "documents":
            without = _best(corpus, "density", left, kept_count(int(rate) / 100, len(left)))
            assert sum(row["without_strata"] for row in rows.values()) == len(without)
            assert sum(row["in_both"] for row in rows.values()) == len(without & chosen)
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS[f"{sampler}/subset"][check](within).passed
    if rate_of == "documents" and sampler == "density":
        found = what_if(within, [sampler], "20%")
        assert found.documents == len(_chosen(within, sampler, "20")) and found.within == "source"
        assert what_if(within, [sampler], "20%", within="").within == ""
    _make(made, sampler)  # as it was for the other tests


def test_a_choice_within_sources_is_the_same_however_documents_lie_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, chosen = _documents(80), []
    for number, shards in enumerate(
        ({"a.jsonl": rows}, {"a.jsonl": rows[50:], "b.jsonl": rows[20:50], "c.jsonl": rows[19::-1]})
    ):
        found = _with(_workspace(tmp_path / str(number), monkeypatch, shards), within="source")
        for sampler in ("semdedup_density", "ask_llm_density"):
            _make(found, sampler, ("20",))
            chosen.append(_chosen(found, sampler, "20"))
    assert chosen[0] == chosen[2] and chosen[1] == chosen[3] and chosen[0] != chosen[1]


def test_strata_that_cannot_be_are_refused(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, why in (
        ("sourc", "'sourc' is no field of corpus.keep_fields.*did you mean 'source'"),
        ("text", "no field"),
    ):
        with pytest.raises(ValueError, match=why):
            what_if(made, ["density"], "20%", within=asked)
    with pytest.raises(ValueError, match="within source a selection keeps a rate, not 5 documents"):
        what_if(made, ["density"], "5 documents", within="source")
    monkeypatch.setattr(strata_of, "MOST", 3)
    with pytest.raises(ValueError, match="the field 'source' has more than 3 values"):
        what_if(made, ["density"], "20%", within="source")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('first = "semdedup >= 0.9"', 'it says what stays, and semdedup keeps a low cosine similarity: write "semdedup < 0.9"'),
        ('first = "ask_llm_xl < -1"', 'ask_llm_xl keeps a high score: write "ask_llm_xl >= -1"'),
        ('first = "perplexity_small >= 40"', 'a low perplexity: write "perplexity_small < 40"'),
        ('first = "semdedop < 0.9"', "unknown sampler 'semdedop'; did you mean 'semdedup'"),
        ('first = "density 40%"', "semdedup_density draws by the scores of density already"),
        ('first = "random 40%"', "random and density draw with the same noise"),
        ('first = "ask_llm_density 40%"', "ask_llm_density is a hybrid itself"),
        ('first = "ask_llm_xl 100%"', "a share must be above 0 % and below 100 %"),
        ('first = "ask_llm_xl"', "is no first stage: say what stays"),
    ],
)  # fmt: skip
def test_a_first_stage_that_cannot_be_is_refused_in_one_line(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "p.toml").write_text(f"[samplers.semdedup_density]\n{line}\n", "utf-8")
    with pytest.raises(ProfileError) as caught:
        load_profile(tmp_path / "p.toml")
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_strata_of_a_profile_must_be_kept_fields(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[selection]\nwithin = "url"\n', "utf-8")
    with pytest.raises(
        ProfileError, match=r"selection.within: 'url' is no field of corpus.keep_fields, nor 'cluster'"
    ):
        load_profile(tmp_path / "p.toml")
