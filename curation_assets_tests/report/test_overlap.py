"""What samplers have in common, against sets, and beside choices that are independent."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from curation_assets.report.composition import Key
from curation_assets.report.overlap import Overlaps, matrix
from curation_assets.report.overlap_view import figures, findings, shown

_SHARDS = [70_000, 0, 300]  # the first takes two blocks


def _table(choices: dict[Key, list[np.ndarray]], sizes: list[int]) -> pl.DataFrame:
    overlaps = Overlaps(list(choices))
    for number, size in enumerate(sizes):
        overlaps.add(size, {key: rows[number] for key, rows in choices.items()})
    return overlaps.table(sum(sizes))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_counts_are_those_of_sets(data: st.DataObject) -> None:
    sizes, keys = (
        [9, 0, 5],
        [("random", "20"), ("density", "20"), ("semdedup", "20"), ("random", "60"), ("density", "60")],
    )
    choices = {
        key: [
            np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)) if n else st.just(set()))), np.int64)
            for n in sizes
        ]
        for key in keys
    }
    sets = {
        key: {(i, int(row)) for i, rows in enumerate(parts) for row in rows} for key, parts in choices.items()
    }
    table = _table(choices, sizes)
    assert table.select("sampler", "other", "rate").rows() == [
        ("random", "density", "20"),
        ("random", "semdedup", "20"),
        ("density", "semdedup", "20"),
        ("random", "density", "60"),
    ]
    for row in table.iter_rows(named=True):
        one, other = sets[row["sampler"], row["rate"]], sets[row["other"], row["rate"]]
        assert (row["documents"], row["documents_other"], row["common"]) == (
            len(one),
            len(other),
            len(one & other),
        )
        assert row["jaccard"] == (pytest.approx(len(one & other) / len(one | other)) if one | other else None)
        law = hypergeom(sum(sizes), len(one), len(other))
        assert row["expected"] == pytest.approx(law.mean()) and row["sd"] == pytest.approx(
            law.std(), abs=1e-12
        )
        if one <= other and row["beyond_chance"] is not None:
            assert row["beyond_chance"] == pytest.approx(1)


def _choices() -> dict[Key, list[np.ndarray]]:
    """Return two independent choices, one that is the first but for some, and one that avoids it; of a fifth each."""
    generator, total = np.random.default_rng(0), sum(_SHARDS)
    k = total // 5
    one, independent = (np.sort(generator.permutation(total)[:k]) for _ in range(2))
    rest = np.setdiff1d(np.arange(total), one)
    near = np.sort(np.concatenate([one[k // 10 :], generator.permutation(rest)[: k // 10]]))
    apart = np.sort(generator.permutation(rest)[:k])
    ends = np.cumsum([0, *_SHARDS])
    return {
        (name, "20"): [rows[(rows >= a) & (rows < b)] - a for a, b in pairwise(ends)]
        for name, rows in {
            "random": one,
            "ask_llm_small": independent,
            "density": near,
            "semdedup": apart,
        }.items()
    }


def test_what_chance_explains_is_told_from_what_it_does_not() -> None:
    table = _table(_choices(), _SHARDS)
    by = {(r["sampler"], r["other"]): r for r in table.iter_rows(named=True)}
    chance, near, apart = (by["random", other] for other in ("ask_llm_small", "density", "semdedup"))
    assert (
        chance["share"] == pytest.approx(0.2, abs=0.01)
        and abs(chance["beyond_chance"]) < 0.01
        and chance["p"] > 0.05
    )
    assert near["share"] == pytest.approx(0.9, abs=0.001) and near["beyond_chance"] == pytest.approx(
        0.875, abs=0.001
    )
    assert apart["common"] == 0 and apart["beyond_chance"] == pytest.approx(-0.25, abs=0.001)
    assert near["p"] < 1e-6 and near["z"] > 0 and apart["p"] < 1e-6 and apart["z"] < 0
    first, most, noisy = findings(table, "20")
    assert first.startswith(
        "At 20 %, two independent choices have 20.0% of their documents in common. Of 6 pairs"
    )
    assert "Most alike at 20 %: random and density (90.0% in common)" in most
    assert "least alike: random and semdedup (0.0% in common)" in most
    assert noisy.startswith("Not independent by design: random, density draw by the same noise")
    (told,) = shown(table, "20")
    assert len(told.rows) == 6 and told.rows[0][:4] == ["random", "density", near["common"], "90.0 (+)"]
    assert told.rows[-1][3] == "0.0 (−)" and told.links[0] == ("random/subset", "20")
    names, values = matrix(table, "20")
    assert names == ["random", "ask_llm_small", "density", "semdedup"] and np.allclose(values, values.T)
    ((figure, _),) = figures(table, "20")
    assert figure.name == "overlap" and "Independent choices spread around 0 by 0.0038." in figure.caption


def test_the_spread_of_chance_is_that_of_the_smaller_choice() -> None:
    choices = {
        ("density", "20"): [np.arange(1000)],
        ("random", "20"): [np.arange(100)],
        ("semdedup", "20"): [np.arange(0)],
    }
    ((figure, _),) = figures(_table(choices, [10_000]), "20")
    spread = hypergeom(10_000, 1000, 100).std() / (100 - 10)
    assert f"Independent choices spread around 0 by {spread:.2g}." in figure.caption


def test_choices_that_are_too_small_are_not_called_independent() -> None:
    table = _table({("random", "20"): [np.arange(4)], ("density", "20"): [np.arange(4)]}, [20])
    assert table["p"].to_list() == [None]
    assert findings(table, "20")[0].endswith(
        "The choices are too small to tell more or less than that from luck."
    )
    assert shown(table, "20")[0].rows == [["random", "density", 4, "100.0", "20.0 ± 18.4", "100.0", "1.00"]]


def test_where_there_is_nothing_to_compare() -> None:
    table = _table({("random", "20"): [np.arange(3)]}, [10])
    assert (
        table.is_empty()
        and not findings(table, "20")
        and not shown(table, "20")
        and not list(figures(table, "20"))
    )
