"""Kendall's tau by brute force, its interval by exact and simulated coverage, the sample by sorting everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binom

from curation_assets.common.hashing import hash_ids, noise
from curation_assets.report.correlation import Correlation, HashSample, interval, kendall, pairs
from curation_assets.report.correlation_view import (
    family_means,
    figures,
    findings,
    headline,
    how_to_read,
    section,
)
from curation_assets.report.section import publish

NAMES = ["random", "density", "semdedup", "perplexity_xl", "ask_llm_small"]
columns = st.integers(3, 25).flatmap(
    lambda n: st.lists(st.lists(st.integers(-4, 4), min_size=n, max_size=n), min_size=2, max_size=4)
)


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    """Compare every pair of documents."""
    i, j = np.triu_indices(len(x), 1)
    a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    untied = np.sqrt(float((a != 0).sum()) * float((b != 0).sum()))
    return float((a * b).sum()) / untied if untied else np.nan


def named(lists: list[list[int]]) -> dict[str, np.ndarray]:
    return {f"s{i}": np.array(x, dtype=np.float64) for i, x in enumerate(lists)}


@given(columns)
@example(
    [[1, -1, 1, *[0] * 16], [1, -1, 1, *[0] * 16], [-1, 1, -1, *[0] * 16]]
)  # an interval that ends at tau
def test_every_cell_is_the_brute_force_tau_b(lists: list[list[int]]) -> None:
    scores = named(lists)
    found = kendall(scores)
    wanted = [[brute_force(x, y) for y in scores.values()] for x in scores.values()]
    np.testing.assert_allclose(found.matrix, wanted, atol=1e-12)
    assert found.names == tuple(scores) and found.n == len(lists[0])
    inside = np.isfinite(found.matrix)
    assert (found.low[inside] <= found.matrix[inside]).all() and (found.low[inside] >= -1).all()
    assert (found.high[inside] >= found.matrix[inside]).all() and (found.high[inside] <= 1).all()
    assert np.isnan(found.low[~inside]).all() and np.isnan(found.high[~inside]).all()


@given(columns, st.integers(0, 2**32 - 1))
def test_only_the_order_of_scores_counts_and_not_that_of_documents(lists: list[list[int]], seed: int) -> None:
    scores = named(lists)
    shuffle = np.random.default_rng(seed).permutation(len(lists[0]))
    bent = {name: 7 * np.exp(x[shuffle]) - 1e3 for name, x in scores.items()}
    one, other = kendall(scores), kendall(bent)
    for field in ("matrix", "low", "high"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_equal_opposite_and_independent_orders() -> None:
    x, y = np.random.default_rng(0).permutation(np.arange(4000.0)).reshape(2, 2000)
    found = kendall({"x": x, "same": 3 * x + 1, "opposite": -x, "other": y})
    np.testing.assert_allclose(found.matrix[0, :3], [1, 1, -1], rtol=0, atol=1e-15)
    assert abs(found.matrix[0, 3]) < 0.05
    assert (np.diag(found.matrix) == 1).all() and (np.diag(found.low) == 1).all()
    assert 0.99 < found.low[0, 1] < 1  # another sampler may differ on documents that were not drawn


def test_bivariate_normal_scores_have_greiners_tau() -> None:
    draw = np.random.default_rng(0)
    x, e = draw.normal(size=(2, 20_000))
    found = kendall({"x": x, "y": 0.6 * x + 0.8 * e})
    assert found.matrix[0, 1] == pytest.approx(2 / np.pi * np.arcsin(0.6), abs=0.012)


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.6, 0.9, 0.99])
@pytest.mark.parametrize("n", [12, 150])
def test_the_interval_covers_the_tau_of_bivariate_normals(rho: float, n: int) -> None:
    draw = np.random.default_rng(int(100 * rho) + 1000 + n)
    tau, hits, runs = 2 / np.pi * np.arcsin(rho), 0, 200
    for _ in range(runs):
        x, e = draw.normal(size=(2, n))
        found = kendall({"x": x, "y": rho * x + np.sqrt(1 - rho**2) * e})
        hits += found.low[0, 1] <= tau <= found.high[0, 1]
    assert hits / runs >= 0.95


@pytest.mark.parametrize(("q", "n"), [(0.8, 1000), (0.9, 200), (0.9, 5000), (0.95, 5000)])
def test_the_interval_is_no_wider_than_it_must_be_for_every_distribution(q: float, n: int) -> None:
    """A distribution whose variance comes within a few percent of the bound: coverage is near 95 % there.

    A document is, with probability 1 - q, in a lower left cloud that rises, or else in an upper right one that
    falls: a pair is discordant where both are in the second, so t follows from a binomial count.
    """
    count = np.arange(n + 1)
    tau, t = 1 - 2 * q**2, 1 - 2 * count * (count - 1) / (n * (n - 1))
    low, high = interval(t, n)
    assert 0.95 <= binom.pmf(count, n, q)[(low <= tau) & (tau <= high)].sum() <= 0.97


@pytest.mark.parametrize("cells", [(0.3, 0.1, 0.1), (0.05, 0.02, 0.1), (0.005, 0.005, 0.005)])
def test_the_interval_covers_where_most_pairs_are_tied(cells: tuple[float, float, float]) -> None:
    """Scores of 0 and 1, both 1 and either alone with these probabilities: tau-b is the phi coefficient."""
    both, first, second = cells
    p, q = both + first, both + second
    tau = (both - p * q) / np.sqrt(p * (1 - p) * q * (1 - q))
    draw, n, runs = np.random.default_rng(0), 2000, 150
    hits = without_ties = 0
    for _ in range(runs):
        kind = draw.choice(4, n, p=[*cells, 1 - sum(cells)])
        found = kendall({"x": (kind <= 1) * 1.0, "y": (kind % 2 == 0) * 1.0})
        hits += found.low[0, 1] <= tau <= found.high[0, 1]
        low, high = interval(found.matrix[0, 1], n)
        without_ties += low <= tau <= high
    assert hits / runs >= 0.95
    assert both > 0.01 or without_ties / runs < 0.5  # the bound for scores without ties would not do here


def test_the_interval_shrinks_with_documents_and_widens_with_ties() -> None:
    low, high = interval(0.3, 20_000)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(2 * (1 - 0.09) / 20_000), rel=1e-3)
    wide_low, wide_high = interval(0.3, 20_000, 0.5, 0.7)
    assert wide_low < low < 0.3 < high < wide_high
    assert interval(1.0, 10)[1] == interval(-1.0, 10)[0] * -1 == 1


def test_a_constant_sampler_has_no_tau() -> None:
    x = np.arange(5.0)
    found = kendall({"x": x, "flat": np.full(5, 2.5), "y": -x})
    assert found.constant == ["flat"]
    assert np.isnan(found.matrix[1]).all() and np.isnan(found.matrix[:, 1]).all()
    assert np.isfinite(np.delete(np.delete(found.matrix, 1, 0), 1, 1)).all()


def test_scores_that_cannot_be_correlated_are_named() -> None:
    with pytest.raises(ValueError, match="no sampler"):
        kendall({})
    with pytest.raises(ValueError, match="at least 3 documents, there are 2"):
        kendall({"a": np.zeros(2)})
    with pytest.raises(ValueError, match=r"b has scores of shape \[4\] for 3 documents"):
        kendall({"a": np.zeros(3), "b": np.zeros(4)})
    with pytest.raises(ValueError, match="b has score nan in row 1: scores must be finite"):
        kendall({"a": np.zeros(3), "b": np.array([0, np.nan, 0])})


HASHES = hash_ids([f"document-{i}" for i in range(400)])
VALUES = np.random.default_rng(0).normal(size=(2, 400))


def fed(limit: int, shards: list[np.ndarray], seed: int = 0) -> HashSample:
    sample = HashSample(limit, seed)
    for rows in shards:
        sample.add(HASHES[rows], {"a": VALUES[0, rows], "b": VALUES[1, rows]})
    return sample


@given(st.integers(1, 450), st.lists(st.integers(0, 400), max_size=12), st.integers(0, 2**32 - 1))
def test_the_sample_does_not_depend_on_shards_or_their_order(limit: int, cuts: list[int], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(400)
    sample = fed(limit, np.split(order, sorted(cuts)))
    one, other = fed(limit, [np.arange(400)]).scores(), sample.scores()
    assert sample.seen == 400 and len(one["a"]) == min(limit, 400)
    for name in ("a", "b"):
        np.testing.assert_array_equal(one[name], other[name])


def test_a_smaller_sample_is_part_of_a_larger_one_and_rows_stay_together() -> None:
    small, large = fed(50, [np.arange(400)]).scores(), fed(90, [np.arange(400)]).scores()
    np.testing.assert_array_equal(small["a"], large["a"][:50])
    rows = [int(np.flatnonzero(VALUES[0] == a)[0]) for a in large["a"]]
    np.testing.assert_array_equal(large["b"], VALUES[1, rows])
    assert set(fed(50, [np.arange(400)], seed=1).scores()["a"]) != set(small["a"])


def test_the_sample_is_not_that_of_small_random_scores() -> None:
    """The random sampler's score is the same hash's noise: without a salt, the sample would cut it off."""
    hashes = hash_ids([str(i) for i in range(20_000)])
    for seed in (0, 7):
        sample = HashSample(1000, seed)
        sample.add(hashes, {"random": noise(hashes, seed)})
        kept = sample.scores()["random"]
        assert abs(kept.mean() - 0.5) < 0.04 and abs(np.median(kept) - 0.5) < 0.06


def test_the_sample_holds_no_more_than_its_limit() -> None:
    sample = HashSample(10)
    for start in range(0, 400, 5):
        rows = np.arange(start, start + 5)
        sample.add(HASHES[rows], {"a": VALUES[0, rows]})
        assert len(sample.scores()["a"]) <= 10


def test_the_sample_checks_its_shards() -> None:
    with pytest.raises(ValueError, match="at least one document, not 0"):
        HashSample(0)
    with pytest.raises(ValueError, match=r"a seed must be an integer in \[0, 2\*\*64\), not -1"):
        HashSample(1, -1)
    sample = fed(500, [np.arange(3)])
    with pytest.raises(ValueError, match=r"scores of \['a'\], wanted are those of \['a', 'b'\]"):
        sample.add(HASHES[:2], {"a": VALUES[0, :2]})
    with pytest.raises(ValueError, match="b has score inf in row 1"):
        sample.add(HASHES[5:7], {"a": VALUES[0, :2], "b": np.array([0, np.inf])})
    with pytest.raises(ValueError, match=r"a has scores of shape \[3\] for 2 documents"):
        sample.add(HASHES[5:7], {"a": VALUES[0, :3], "b": VALUES[1, :2]})
    assert len(sample.scores()["a"]) == 3  # what was refused left no trace
    with pytest.raises(ValueError, match=f"hash {HASHES[2]} occurs twice"):
        fed(500, [np.arange(3), np.arange(2, 5)]).scores()
    assert HashSample(5).scores() == {}


def by_hand(matrix: list[list[float]], names: list[str]) -> Correlation:
    m = np.array(matrix)
    return Correlation(tuple(names), 100, m, m - 0.1, m + 0.1)


def test_families_agree_by_the_mean_over_pairs_of_different_samplers() -> None:
    nan = np.nan
    matrix = [
        [1.0, 0.1, -0.1, 0.002, nan],
        [0.1, 1.0, 0.6, 0.2, nan],
        [-0.1, 0.6, 1.0, 0.5, nan],
        [0.002, 0.2, 0.5, 1.0, nan],
        [nan] * 5,
    ]
    rows = family_means(by_hand(matrix, NAMES))
    assert [row.pop("mean tau") for row in rows] == ["random", "coverage", "perplexity", "ask_llm"]
    assert [list(row.values()) for row in rows] == [
        [None, "0.00", "0.00", None],
        ["0.00", "0.60", "0.35", None],
        ["0.00", "0.35", None, None],
        [None] * 4,
    ]


def _scores(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=200) for name in NAMES} | {"ask_llm_small": np.ones(200)}


def test_the_table_has_every_ordered_pair() -> None:
    found = kendall(_scores())
    table = pairs(found)
    assert len(table) == 25 and set(table["n"]) == {200}
    assert list(table.schema.items())[:3] == [
        ("sampler_a", pl.String),
        ("sampler_b", pl.String),
        ("tau", pl.Float64),
    ]
    for a, b, *values, _ in table.rows():
        i, j = found.names.index(a), found.names.index(b)
        wanted = [float(m[i, j]) for m in (found.matrix, found.low, found.high)]
        assert values == ([None] * 3 if "ask_llm_small" in (a, b) else wanted)


def test_the_report_has_a_picture_and_a_page_and_is_the_same_again(tmp_path: Path) -> None:
    found = kendall(_scores())
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        shown = publish(folder, section(found), figures(found), page="correlation.md")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"correlation.{end}" for end in ("md", "pdf", "png", "svg")] + ["section.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    svg = (folder / "correlation.svg").read_text("utf-8")
    assert ">perplexity_xl</text>" in svg and svg.count(">1</text>") == 4, "ask_llm_small has no cell"
    page = (folder / "correlation.md").read_text("utf-8")
    assert "](correlation.png)" in page and "data:image/png;base64" in str(shown["correlation"])
    assert "same 200 documents" in page and "every document has the same score: ask_llm_small" in page
    assert "| mean tau | random | coverage | perplexity |" in page, "a family without any tau is left out"
    assert "signs turn where choices are compared: density" in page


def test_without_any_tau_there_is_no_picture() -> None:
    found = kendall({"random": np.zeros(5), "density": np.ones(5)})
    assert list(figures(found)) == [] and pairs(found)["tau"].null_count() == 4
    assert "has the same score: random, density" in how_to_read(found) and "reach at most" not in how_to_read(
        found
    )


def test_grey_cells_are_spoken_of_where_there_are_grey_cells() -> None:
    rising = np.arange(50.0)
    for constant, scores in ((False, rising[::-1]), (True, np.zeros(50))):
        ((figure, _),) = figures(kendall({"density": rising, "semdedup": scores, "random": rising % 7}))
        assert ("grey" in figure.caption) == constant


def test_the_findings_name_the_extremes_and_count_what_is_told_from_chance() -> None:
    matrix = [[1.0, 0.8, -0.5, 0.05], [0.8, 1.0, 0.2, 0.0], [-0.5, 0.2, 1.0, 0.3], [0.05, 0.0, 0.3, 1.0]]
    said = findings(by_hand(matrix, ["a", "b", "c", "d"]))  # every interval reaches 0.1 to either side
    assert said[0] == "The most alike are a and b, tau 0.80 [0.70, 0.90]."
    assert said[1] == "The most opposed are a and c, tau -0.50 [-0.60, -0.40]."
    assert "Of 6 pairs, 3 agree and 1 disagree" in said[2] and "2 cannot be told" in said[2]
    assert len(findings(by_hand([[1.0, 0.5], [0.5, 1.0]], ["a", "b"]))) == 2, "who all agree are not opposed"
    assert headline(by_hand(matrix, ["a", "b", "c", "d"])) == (
        "Of 6 pairs of samplers 3 order the documents alike and 1 the opposite way, beyond chance; furthest opposed are a and c, "
        "tau -0.50 [-0.60, -0.40]."
    )
    assert "furthest apart are a and b" in headline(by_hand([[1.0, 0.5], [0.5, 1.0]], ["a", "b"]))
    one = kendall({"random": np.zeros(5), "density": np.arange(5.0)})
    assert "nothing to compare" in findings(one)[0] and headline(one) == ""
