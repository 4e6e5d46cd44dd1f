import os

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.corpus.names import decoded, key_of, url_of, visible

NAMES = st.binary(min_size=1, max_size=40).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"0")))
ODD = st.lists(st.sampled_from(list("ab%2C4,|.: \t\n\x1b\u202eé、\u3000\udcff")), min_size=1).map("".join)


@given(NAMES | ODD, NAMES | ODD)
def test_every_name_has_a_key_of_its_own_and_comes_back(name: str, other: str) -> None:
    assert decoded(key_of(name)) == name and decoded(url_of(name)) == name
    assert (key_of(name) == key_of(other)) == (name == other)


@given(NAMES | ODD)
def test_keys_are_what_dagster_takes_and_a_terminal_shows(name: str) -> None:
    key = key_of(name)
    dg.StaticPartitionsDefinition([key])  # refuses what it cannot have
    assert not set(key) & set(",|") and "..." not in key and key == key.strip()
    assert key == visible(key) and key.encode()
    assert "::" not in url_of(name) and url_of(name).encode()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "part-00000.jsonl",
            "date=2024-01/part.parquet",
            "100%.txt",
            "50% off.txt",
            "a b.jsonl",
            "[odd].jsonl",
        ),
        *("Ünïcode/文書.jsonl", "می‌خواهم.txt", "a::b.txt", "a #1?.txt", "~x.txt", "'q' \"r\".txt", "%zz.txt"),
    ],
)
def test_an_ordinary_name_is_its_own_key(name: str) -> None:
    assert key_of(name) == name == visible(name)


@pytest.mark.parametrize(
    ("name", "key", "shown"),
    [
        ("Doe, Jane.jsonl", "Doe%2C Jane.jsonl", "Doe, Jane.jsonl"),
        ("a|b", "a%7Cb", "a|b"),
        ("wait....txt", "wait%2E%2E..txt", "wait....txt"),
        ("a\nb", "a%0Ab", "a\\nb"),
        ("a\x1b[2J", "a%1B[2J", "a\\x1b[2J"),
        ("a\u202eb", "a%E2%80%AEb", "a\\u202eb"),
        ("caf\udce9", "caf%E9", "caf\\xe9"),
        (" a ", "%20a%20", " a "),
        ("a%2Cb", "a%252Cb", "a%2Cb"),
    ],
)
def test_other_names_are_encoded_in_keys_and_shown_as_they_are(name: str, key: str, shown: str) -> None:
    assert key_of(name) == key and visible(name) == shown
