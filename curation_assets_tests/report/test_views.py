"""Sentences that the reports say of themselves follow from what there is: nothing is said of what is not there."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curation_assets.common.files import write_table
from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.evaluation.examples import Example, to_table
from curation_assets.report import composition_view, distributions_view, documents_view
from curation_assets.report.advice import untold
from curation_assets.report.composition import Tally, shares, spread
from curation_assets.report.convergence import Curves, convergence
from curation_assets.report.convergence_view import by_tokens, cut_findings, section
from curation_assets.report.distributions import PASSES, Distribution
from curation_assets.report.fresh import fresh
from curation_assets.report.inputs import read_chance
from curation_assets.report.overlap import OVERLAP
from curation_assets.report.quality import quality
from curation_assets.report.rank_change import SCHEMA as CHANGES
from curation_assets.report.scores import Scores
from curation_assets.report.strata import STRATA
from curation_assets.report.tradeoff_view import METHOD as COSTS
from curation_assets_tests.making import commit
from curation_assets_tests.report.test_convergence import _curve
from curation_assets_tests.report.test_figures import LADDER, rows, table

TRAINED = pl.DataFrame(
    {"sampler": ["density"], "rate": ["20"], "size": ["small"], "documents": [10], "tokens": [990]}
)
DENSITY = _curve("density", {0: (50, 30, 20), 1: (50, 32, 21)})
FULL = _curve("full_data", {0: (50, 30, 20), 1: (50, 30, 20)})


def _distribution(technique: str, rate_of: str = "documents") -> Distribution:
    found = Distribution(technique, rate_of)
    for _ in range(1 + PASSES):
        found.add(np.arange(100.0))
        found.advance()
    return found


@pytest.mark.parametrize(
    ("technique", "rate_of", "cut"),
    [("top_k", "documents", True), ("top_k", "tokens", False), ("ips", "documents", False)],
)
def test_cuts_are_spoken_of_where_there_are_cuts(technique: str, rate_of: str, cut: bool) -> None:
    found, changes = {"semdedup": _distribution(technique, rate_of)}, pl.DataFrame(schema=CHANGES)
    assert ("cuts" in distributions_view.caption(found, [])) == cut
    captions = [one.caption for one in distributions_view.tables(found, [], changes)]
    assert any("at each rate" in caption for caption in captions) == cut
    assert bool(found["semdedup"].cuts) == cut == (not found["semdedup"].no_cut)


def test_changes_of_rank_are_spoken_of_where_two_scorers_are_compared() -> None:
    none = pl.DataFrame(schema=CHANGES)
    some = pl.concat([none, pl.DataFrame({"ladder": ["ask_llm"]})], how="diagonal")
    for changes, said in ((none, False), (some, True)):
        rows = (
            changes
            if not said
            else changes.with_columns(pl.lit("ask_llm_small").alias("smaller"), larger=pl.lit("x"))
        )
        filled = rows.with_columns(pl.col(pl.Float64).fill_null(0.5), pl.col("n").fill_null(3))
        one = distributions_view.section({"semdedup": _distribution("top_k")}, [], filled, 100, 100, {})
        assert [("ranks" in text or "judge" in text) for text in (one.title, one.intro, one.method)] == [
            said
        ] * 3


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([FULL, DENSITY], "how soon each sampler's run is as good as one on everything is at the end"),
        ([FULL, DENSITY], "what fresh tokens bring against repeated ones"),
        ([DENSITY], "what fresh tokens bring against repeated ones"),
    ],
)
def test_what_runs_are_compared_with_is_what_was_measured(parts: list, words: str) -> None:
    curves = Curves(table(*parts))
    found, cut = convergence(curves), fresh(curves, TRAINED)
    told = section(found, cut)
    assert words in told.intro and ("everything" in told.intro) == (FULL in parts)
    assert len(told.tables) == 1 + (FULL in parts)


def test_runs_that_repeat_nothing_are_not_said_to_repeat_anything() -> None:
    curves = Curves(table(FULL, DENSITY))
    long = TRAINED.with_columns(tokens=pl.lit(1_000_000))
    found, cut = convergence(curves), fresh(curves, long)
    assert "repeated" not in section(found, cut).intro and len(section(found, cut).tables) == 1
    assert cut_findings(cut)[0] == "Runs go 0.010 to 0.010 times over their subsets."


@pytest.mark.parametrize(
    ("parts", "beside"),
    [
        ([DENSITY], "every sampler"),
        ([DENSITY, FULL], "every sampler beside full data"),
        ([DENSITY, _curve("random", {0: (50, 30, 20)})], "every sampler beside random"),
        ([_curve("ask_llm_xl", {0: (50, 30, 20)})], "families averaged, and every sampler"),
    ],
)
def test_the_curves_are_described_by_what_is_drawn(parts: list, beside: str) -> None:
    ((figure, _),) = by_tokens(Curves(table(*parts)))
    assert figure.alt.endswith(f": {beside}")


def test_the_composition_speaks_of_what_it_has() -> None:
    corpus = Tally()
    corpus.add(np.ones(9, np.int64), {"length": np.zeros(9, np.int64), "cluster": np.zeros(9, np.int64)})
    lengths = {"length": shares(corpus, {}, "length", [("all", [0])])}
    everything = {"source": lengths["length"], **lengths, "clusters": spread(corpus, {})}
    few, all_ = (
        composition_view.section(
            9, tables, {}, "20", "", pl.DataFrame(schema=STRATA), pl.DataFrame(schema=OVERLAP)
        )
        for tables in (lengths, everything)
    )
    assert few.intro.startswith("Which lengths a choice") and "k-means" not in few.method
    assert all_.intro.startswith("Which sources, lengths and clusters a choice") and "k-means" in all_.method
    assert "no field `source`" in few.findings[-2] and not [s for s in all_.findings if "no field" in s]
    cells = pl.DataFrame({"sampler": ["random"] * 2, "rate": ["20", "20"], "z": [0.1, 0.2], "p": [0.9, 0.8]})
    (one,) = composition_view._control("length", cells)
    (two,) = composition_view._control("length", cells.with_columns(rate=pl.Series(["20", "40"])))
    assert "nested" not in one and "nested" in two


@pytest.mark.parametrize(
    ("names", "compared", "said"),
    [(["semdedup"], False, (False, False)), (["density", "semdedup"], True, (True, True))],
)
def test_documents_to_read_are_introduced_by_who_chose_them(
    names: list[str], compared: bool, said: tuple[bool, bool]
) -> None:
    lists = [names, names[::-1]] if compared else [names[:1]]
    rows = [
        {
            "samplers": own,
            "list": "l",
            "rank": 1,
            "doc_id": "d",
            "source": "s",
            "shard": "a",
            "row": 0,
            "n_chars": 1,
        }
        | {"text": "t", **{f"percentile_{name}": 50.0 for name in names}}
        for own in lists
    ]
    text = documents_view.section(pl.DataFrame(rows), names, [], 9, 9).intro
    assert ("rarest text" in text, "furthest apart" in text) == said


def test_advice_tells_one_seed_from_seeds_that_do_not_differ() -> None:
    for values, said in (([9.0], "one seed of training"), ([9.0, 9.0], "their seeds have no spread")):
        runs = [rows((n, "20", "small"), "perplexity/in_distribution", values) for n in ("random", "density")]
        (one,) = untold(quality(Scores(table(*runs)), LADDER, list(SAMPLERS), ["20"]))
        assert said in one


def test_nothing_is_said_of_this_machine() -> None:
    assert "this machine" not in COSTS, "artifacts may have been made on others"


def test_chance_of_a_probe_is_by_the_labels_that_are_asked_for(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    assert read_chance(workspace) == {}
    for labels, expected in (("abcdd", 25.0), ("ab", 50.0), ("", None)):
        examples = [Example(str(i), "text", label, (), (label,), "") for i, label in enumerate(labels)]
        other = [Example("x", "words", "yes", ("yes", "no"), ("yes",), "")]
        parts = [
            to_table("probes", "document_origin", "test", examples),
            to_table("probes", "shuffled_words", "test", other),
        ]
        with workspace.store.staged() as folder:
            write_table(folder / "test.parquet", pa.concat_tables(parts))
            receipt = Receipt("evaluation/examples", "", labels or "-", labels or "-", "c", {}, "", {})
            commit(workspace, folder, receipt)
        assert read_chance(workspace) == ({("probes", "document_origin"): expected} if expected else {})


def test_a_judge_is_told_with_what_it_is_and_by_how_much() -> None:
    ridge = {"student": "embeddings", "held_out": 60, "tau": 0.32, "tau_low": 0.14, "tau_high": 0.48}
    ridge |= {"advantage": 0.1, "advantage_low": -0.05, "advantage_high": 0.2}
    alone = {"student": "t5", "held_out": 60}
    first, second = distributions_view.students({"small": ridge, "base": ridge, "xl": alone})
    assert first == (
        "Judges that learned from the teacher agree with it, by Kendall's tau on 60 labels held out: "
        "small (embeddings) 0.32 [0.14, 0.48], 0.10 [-0.05, 0.20] above T5; "
        "base (embeddings) 0.32 [0.14, 0.48], 0.10 [-0.05, 0.20] above T5; xl (a T5) none."
    )
    assert second.endswith("one and the same, whatever the size: small, base.")
    assert not list(distributions_view.students({}))
