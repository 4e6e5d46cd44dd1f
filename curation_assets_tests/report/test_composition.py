"""What choices are made of: counts against polars and brute force, chance against closed forms and simulation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from curation_assets.config.registry import RATES
from curation_assets.report.composition import (
    LENGTHS,
    Frequent,
    Tally,
    adjusted,
    chance,
    deviations,
    evenness,
    joined_lengths,
    length_bins,
    main_rate,
    shares,
    source_name,
    source_parts,
    spread,
)


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
