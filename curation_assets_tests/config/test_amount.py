"""Amounts, and the keys of partitions that are made at them."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.config.amount import Amount, amount, by_kind, label, of_key, order, ordered
from curation_assets.config.registry import RATES

COUNTS = st.integers(1, 10**6) | st.sampled_from([2_500_000_000, 10**12, 10**15]) | st.integers(1, 10**15)
BUDGETS = st.builds(Amount, st.sampled_from(["documents", "tokens"]), COUNTS)
SHARES = st.integers(1, 10**6).map(lambda millionths: amount(f"{millionths / 10**4:.4f}%"))
AMOUNTS = SHARES | BUDGETS


@given(AMOUNTS)
def test_a_key_is_read_as_the_amount_that_it_was_written_of(size: Amount) -> None:
    assert of_key(size.key).key == size.key == amount(str(size)).key
    assert of_key(size.key).kind == size.kind and of_key(size.key).value == pytest.approx(
        size.value, rel=1e-9
    )
    assert size.kind == "rate" or of_key(size.key) == size, "no document and no token is lost"


@given(AMOUNTS)
def test_dagster_folders_and_urls_like_a_key(size: Amount) -> None:
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?([kMBT]?-(documents|tokens))?", size.key), size.key
    assert "..." not in size.key


@given(BUDGETS, st.sampled_from([("", 1), ("k", 10**3), ("M", 10**6), ("B", 10**9), ("T", 10**12)]))
def test_an_amount_has_one_key_however_it_is_written(size: Amount, unit: tuple[str, int]) -> None:
    in_units = Fraction(int(size.value), unit[1])
    digits = f"{in_units.numerator * 10**15 // in_units.denominator:016d}"
    text = f"{digits[:-15]}.{digits[-15:]}{unit[0]} {size.kind[:-1]}"
    assert amount(text).key == size.key


@given(st.lists(AMOUNTS))
def test_keys_are_sorted_by_kind_and_then_by_size(sizes: list[Amount]) -> None:
    keys = ordered(size.key for size in sizes)
    assert set(keys) == {size.key for size in sizes} and len(set(keys)) == len(keys)
    assert keys == sorted(keys, key=order) == [key for some in by_kind(keys) for key in some]
    kinds = [{of_key(key).kind for key in some} for some in by_kind(keys)]
    assert all(len(kind) == 1 for kind in kinds) and len(kinds) == len(set.union(set(), *kinds))


def test_the_papers_rates_have_the_keys_that_they_always_had() -> None:
    assert [amount(f"{rate}%").key for rate in RATES] == list(RATES) == ordered(RATES[::-1])
    assert [of_key(rate).value for rate in RATES] == [int(rate) / 100 for rate in RATES]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("2.5%", "2.5"),
        ("0.2", "20"),
        ("20.00 percent", "20"),
        ("1e-7%", "0.0000001"),
        ("2500M tokens", "2.5B-tokens"),
        ("1_500_000_000_000 tokens", "1.5T-tokens"),
        ("100,000 docs", "100k-documents"),
        ("1234 documents", "1234-documents"),
    ],
)
def test_keys(text: str, key: str) -> None:
    assert amount(text).key == key


def test_what_people_read() -> None:
    assert label("12.5") == "12.5 %" and label("2.5B-tokens") == "2.5B tokens"
    assert (
        label("10", "4k-tokens", "20") == "10, 20 %, 4k tokens"
        and label("10", "20", joint=" and ") == "10 and 20 %"
    )
    assert ordered(["1B-tokens", "20", "2.5", "900M-tokens", "5-documents"]) == [
        "2.5", "20", "5-documents", "900M-tokens", "1B-tokens"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (0.33, Amount("rate", 0.33)),
        (1, Amount("rate", 1)),
        ("0.33", Amount("rate", 0.33)),
        ("33%", Amount("rate", 0.33)),
        ("12.5 percent", Amount("rate", 0.125)),
        ("1 document", Amount("documents", 1)),
        ("5_000 docs", Amount("documents", 5000)),
        ("2.5M tokens", Amount("tokens", 2_500_000)),
        ("1,000k tokens", Amount("tokens", 1_000_000)),
    ],
)
def test_amounts(said: float | str, meant: Amount) -> None:
    assert amount(said) == meant == amount(str(meant)) == amount(meant)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (0, "above 0"),
        (33, "above 0 and at most 1"),
        ("33", 'say "33%"'),
        ("101%", "at most 1"),
        ("0 documents", "positive"),
        ("0.5 tokens", "whole"),
        ("many", "no amount"),
        ("-3 tokens", "no amount"),
        (float("nan"), "above 0"),
    ],
)
def test_what_is_no_amount(said: float | str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        amount(said)
