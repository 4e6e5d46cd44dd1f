"""A mixture of two sources whose files have other fields: from files to subsets in the shares of their weights."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.files import read_json
from curation_assets.config.export_settings import Export
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.corpus.reading import left_out, open_documents
from curation_assets.corpus.watch import check_listing
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.invariants import INVARIANTS
from curation_assets.lineage.diff import diff
from curation_assets.lineage.notices import notices
from curation_assets.samplers.build import scores
from curation_assets.sampling import select
from curation_assets.selection.build import subset
from curation_assets.selection.export.destination import Destination
from curation_assets.selection.export.export import export
from curation_assets.selection.export.sources import of_subset
from curation_assets.selection.select import apportion
from curation_assets.selection.what_if import what_if
from curation_assets_tests.conftest import TINY, stdlib_texts
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

WEIGHTS = st.lists(st.sampled_from([0.0, 1.0, 0.5, 1 / 3]) | st.floats(0, 10), min_size=1, max_size=6)
MIX = """
extends = "tiny.toml"
name = "mix"
[corpus]
keep_fields = ["language"]
[corpus.sources.web]
url = "web"
text_field = "page.content"
id_field = "page.url"
weight = 0.3
[corpus.sources.books]
url = "books/*.parquet"
weight = 0.7
"""
BUILDERS = {
    **CORPUS,
    "random/scores": scores(SAMPLERS["random"]),
    "random/subset": subset(SAMPLERS["random"]),
}


@given(WEIGHTS, st.data())
@settings(max_examples=150, deadline=None)
def test_shares_are_exact_in_sum_monotone_and_no_more_than_there_is(
    weights: list[float], data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=len(weights), max_size=len(weights)))
    usable = sum(size for size, weight in zip(sizes, weights, strict=True) if weight > 0)
    before = np.zeros(len(weights), np.int64)
    for total in range(0, sum(sizes) + 2, 3):
        counts = apportion(total, weights, sizes)
        assert counts.sum() == min(total, usable)
        assert (counts <= sizes).all() and (counts >= before).all()
        assert not counts[[weight == 0 for weight in weights]].any()
        before = counts


@given(WEIGHTS.filter(any), st.integers(0, 10**12))
@settings(max_examples=200, deadline=None)
def test_shares_of_large_sources_are_their_weights_up_to_a_few_documents(
    weights: list[float], total: int
) -> None:
    counts = apportion(total, weights, [10**12] * len(weights))
    exact = total * np.array(weights) / sum(weights)
    assert (np.abs(counts - exact) < len(weights) + 1e-3 * (total > 10**11)).all()


def _write(home: Path) -> None:
    texts = stdlib_texts()
    (home / "web").mkdir()
    (home / "books").mkdir()
    for number in range(2):
        rows = [
            {"page": {"url": f"https://{name}", "content": text}, "language": "en"}
            for name, text in texts[:120][number::2]
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (home / "web" / f"part-{number}.jsonl").write_text(lines, "utf-8")
    rows = [{"id": name, "text": text} for name, text in texts[120:180]]
    pq.write_table(pa.Table.from_pylist(rows), home / "books" / "all.parquet")
    (home / "hq.jsonl").write_text(
        "".join(json.dumps({"id": n, "text": t}) + "\n" for n, t in texts[180:]), "utf-8"
    )
    (home / "tiny.toml").write_text(TINY.replace("{teacher}", str(home)), "utf-8")
    (home / "mix.toml").write_text(MIX, "utf-8")


def _run(workspace: Workspace) -> list[tuple[str, str]]:
    """Make what is out of date of BUILDERS, as a run does; return what was made."""
    made = []
    for key, builder in BUILDERS.items():
        step = STEPS[key]
        for partition in workspace.partitions(step.by):
            _, new = materialize(
                workspace, step, partition, lambda inputs, b=builder, s=step: load(b, workspace, s)
            )
            made += [(key, partition)] * new
    return made


@contextmanager
def _made(home: Path) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATION_DATA", str(home / "data"))
        patch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
        _write(home)
        workspace = Workspace(load_profile(home / "mix.toml"))
        _run(workspace)
        yield workspace


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """To look at only."""
    with _made(tmp_path_factory.mktemp("mix")) as workspace:
        yield workspace


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workspace]:
    """One to change things in."""
    with _made(tmp_path) as workspace:
        yield workspace


def _again(workspace: Workspace, change: str = "", to: str = "") -> Workspace:
    """Open the folder again, with another profile."""
    file = Path(workspace.profile.source)
    file.write_text(file.read_text("utf-8").replace(change, to), "utf-8")
    return Workspace(load_profile(file))


def _chosen(workspace: Workspace, rate: str) -> pa.Table:
    return pq.read_table(workspace.open("random/subset", rate) / "subset.parquet")


def _sizes(workspace: Workspace) -> dict[str, int]:
    unused = left_out(workspace)
    sizes = dict.fromkeys(["books", "web"], 0)
    for shard in workspace.shards():
        rows = pq.read_metadata(open_documents(workspace, shard)).num_rows
        sizes[shard.split("/")[0]] += rows - len(unused.get(shard, []))
    return sizes


def test_documents_of_sources_with_other_fields_have_the_same_columns(mix: Workspace) -> None:
    assert mix.shards() == ["books/all.parquet", "web/part-0.jsonl", "web/part-1.jsonl"]
    tables = [pq.read_table(open_documents(mix, shard)) for shard in mix.shards()]
    assert len({tuple(table.column_names) for table in tables}) == 1
    assert [set(t["source_name"].to_pylist()) for t in tables] == [{"books"}, {"web"}, {"web"}]
    assert [set(t["language"].to_pylist()) for t in tables] == [{None}, {"en"}, {"en"}]
    assert all(name.startswith("https://") for name in tables[1]["doc_id"].to_pylist())
    held_out = pq.read_table(mix.open("corpus/documents", "web/part-0.jsonl") / "validation.parquet")
    assert set(held_out["source_name"].to_pylist()) <= {"web"}


def test_subsets_have_the_shares_of_the_weights_and_tell_where_a_source_is_too_small(mix: Workspace) -> None:
    sizes = _sizes(mix)
    n = sum(sizes.values())
    before: set[str] = set()
    for rate in RATES:
        total = round(int(rate) / 100 * n)
        books = min(sizes["books"], apportion(total, [0.7, 0.3], [n, n])[0])
        table, folder = _chosen(mix, rate), mix.open("random/subset", rate)
        counts = {name: sum(s.startswith(f"{name}/") for s in table["shard"].to_pylist()) for name in sizes}
        assert counts == {"books": books, "web": total - books}, rate
        about = read_json(folder / "manifest.json")["sources"]
        assert {name: about[name]["documents"] for name in sizes} == counts
        short = mix.metadata("random/subset", rate).get("short_sources", {})
        assert about["books"]["short"] == (books == sizes["books"]) == ("books" in short), rate
        assert not about["web"]["short"]
        assert before <= set(table["doc_id"].to_pylist()), "smaller rates lie in larger ones"
        before = set(table["doc_id"].to_pylist())
    assert INVARIANTS["random/subset"]["exact_size"](mix).passed
    [line] = [line for line in notices(Versions(mix)) if line.startswith("source ")]
    assert line.startswith(
        "source books has too few documents for its weight of 70.0% at 60, 80 %: all of them are kept"
    )


def test_what_came_is_told_by_source(mix: Workspace) -> None:
    (few, many), tables = (
        [mix.artifact("random/subset", rate) for rate in ("20", "60")],
        [_chosen(mix, rate) for rate in ("20", "60")],
    )
    counts = [Counter(shard.split("/")[0] for shard in table["shard"].to_pylist()) for table in tables]
    told = diff(mix, few, many, texts=0)
    assert told.by_source == {name: (counts[1][name] - counts[0][name], 0) for name in ("books", "web")}


def test_the_choice_is_that_of_the_library_on_arrays(mix: Workspace) -> None:
    parts = [pq.read_table(open_documents(mix, shard)) for shard in mix.shards()]
    documents, weights = pa.concat_tables(parts), {"web": 0.3, "books": 0.7}
    ids = documents["doc_id"].to_pylist()
    assert len(set(ids)) == len(ids) == sum(_sizes(mix).values())
    mask = select(ids, np.zeros(len(ids)), 0.2, "top_k", 0, within=documents["source_name"], weights=weights)
    kept = [source for source, stays in zip(documents["source_name"].to_pylist(), mask, strict=True) if stays]
    shards = _chosen(mix, "20")["shard"].to_pylist()
    assert kept.count("books") == sum(shard.startswith("books/") for shard in shards)


def test_any_amount_is_shared_out_and_another_division_goes_without_weights(
    mix: Workspace, tmp_path: Path
) -> None:
    what_if(mix, ["random"], "20 documents", folder=tmp_path / "twenty")
    shards = pq.read_table(tmp_path / "twenty" / "subset.parquet")["shard"].to_pylist()
    assert (len(shards), sum(shard.startswith("books/") for shard in shards)) == (20, 14)
    result = what_if(mix, ["random"], "4k tokens", folder=tmp_path / "tokens")
    table = pq.read_table(tmp_path / "tokens" / "subset.parquet")
    of_books = sum(
        n for n, s in zip(*(table[c].to_pylist() for c in ("n_tokens", "shard")), strict=True) if s < "web"
    )
    longest = max(table["n_tokens"].to_pylist()) + 400
    assert result.tokens <= 4000 and 2800 - longest < of_books <= 2800
    what_if(mix, ["random"], "20%", within="", folder=tmp_path / "plain")
    plain = pq.read_table(tmp_path / "plain" / "subset.parquet")["shard"].to_pylist()
    assert (
        len(plain) == round(0.2 * sum(_sizes(mix).values()))
        and plain != _chosen(mix, "20")["shard"].to_pylist()
    )


def test_budgets_beside_rates_are_shared_out_by_the_weights_as_well(own: Workspace) -> None:
    run = own.profile.run.model_copy(update={"amounts": ["30 documents", "4k tokens", "9k tokens", "20%"]})
    own.profile = own.profile.model_copy(update={"run": run})
    keys = ["30-documents", "4k-tokens", "9k-tokens"]
    assert [at for at in _run(own) if at[0] == "random/subset"] == [("random/subset", key) for key in keys]
    kept = {key: own.metadata("random/subset", key) for key in keys}
    assert kept["30-documents"]["documents"] == 30
    assert 3000 < kept["4k-tokens"]["tokens"] <= 4000 < kept["9k-tokens"]["tokens"] <= 9000
    for check in ("exact_size", "smaller_in_larger"):
        assert INVARIANTS["random/subset"][check](own).passed, check


def test_a_budget_that_sources_with_a_weight_cannot_fill_is_refused(own: Workspace) -> None:
    there = _sizes(own)["books"]
    alone = _again(own, "weight = 0.3", "weight = 0")
    assert what_if(alone, ["random"], f"{there} documents").documents == there
    with pytest.raises(ValueError, match=f"cannot keep {there + 1} documents: there are {there} to choose"):
        what_if(alone, ["random"], f"{there + 1} documents")


def test_a_source_that_has_another_name_before_its_files_are_listed_again_is_told_of(own: Workspace) -> None:
    with pytest.raises(
        ValueError, match=r"books/all\.parquet has documents of a source that corpus\.sources does"
    ):
        what_if(_again(own, "sources.books", "sources.novels"), ["random"], "20%")


def test_a_new_file_of_one_source_is_the_only_one_that_is_read(own: Workspace, tmp_path: Path) -> None:
    now = time.time() + 1000
    assert not check_listing(own, None, now).changed
    new = tmp_path / "web" / "part-2.jsonl"
    new.write_text(
        json.dumps({"page": {"url": "u", "content": "A page that is new, with some words in it."}}), "utf-8"
    )
    os.utime(new, (1e9, 1e9))
    seen = check_listing(own, None, now)
    assert seen.changed and seen.reason == "1 new or changed (web/part-2.jsonl), 0 gone"
    made = _run(own)
    shard_steps = {partition for key, partition in made if STEPS[key].by == "shard"}
    assert shard_steps == {"web/part-2.jsonl"}
    assert {rate for key, rate in made if key == "random/subset"} == set(RATES)
    assert not check_listing(own, None, now).changed


def test_another_weight_makes_subsets_anew_and_another_field_its_own_files(own: Workspace) -> None:
    other = _again(own, "weight = 0.3", "weight = 0.7")
    assert not check_listing(other, None).changed
    assert {key for key, _ in _run(other)} == {"corpus/source", "random/subset"}
    shards = _chosen(other, "20")["shard"].to_pylist()
    assert abs(2 * sum(shard.startswith("books/") for shard in shards) - len(shards)) <= 1
    fields = _again(other, 'id_field = "page.url"', 'id_field = ""')
    assert check_listing(fields, None, time.time() + 1000).changed
    _make_source(fields)
    versions = Versions(fields)
    stale = {p for p in fields.shards() if not versions.current(STEPS["corpus/shards"], p)}
    assert stale == {"web/part-0.jsonl", "web/part-1.jsonl"}
    [reason] = versions.reasons(STEPS["corpus/shards"], "web/part-0.jsonl")
    assert reason.kind == "file_read_otherwise"


def _make_source(workspace: Workspace) -> None:
    step = STEPS["corpus/source"]
    materialize(workspace, step, "", lambda inputs: load(BUILDERS["corpus/source"], workspace, step))


def test_a_source_without_files_is_named(own: Workspace, tmp_path: Path) -> None:
    (tmp_path / "books" / "all.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"no corpus at .*books/\*\.parquet: nothing matches"):
        _make_source(own)


def test_a_union_without_weights_is_chosen_from_as_one_corpus(own: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "mix.toml"
    file.write_text(file.read_text("utf-8").replace("weight = 0.7", "").replace("weight = 0.3", ""), "utf-8")
    union = Workspace(load_profile(file))
    assert {key for key, _ in _run(union)} == {"corpus/source", "random/subset"}
    assert "sources" not in read_json(union.open("random/subset", "20") / "manifest.json")
    assert len(_chosen(union, "20")) == round(0.2 * sum(_sizes(union).values()))


def test_an_export_reads_each_source_by_its_own_fields_and_says_which_it_is(
    mix: Workspace, tmp_path: Path
) -> None:
    receipt = mix.artifact("random/subset", "40")
    chosen = of_subset(mix, "random", receipt, mix.folder(receipt), duplicates=False)
    layout = Export(samplers=[], format="parquet", shard_size=1 << 20, normalized=False, repeat=())
    manifest = export(chosen, layout, Destination(str(tmp_path / "out")))
    table = pa.concat_tables(pq.read_table(tmp_path / "out" / file["name"]) for file in manifest["files"])
    assert table["id"].to_pylist() == _chosen(mix, "40")["doc_id"].to_pylist()
    of = [shard.split("/")[0] for shard in _chosen(mix, "40")["shard"].to_pylist()]
    assert table["source_name"].to_pylist() == of and set(of) == {"books", "web"}
    texts = dict(stdlib_texts())
    names = [name.removeprefix("https://") for name in table["id"].to_pylist()]
    assert table["text"].to_pylist() == [texts[name] for name in names]
