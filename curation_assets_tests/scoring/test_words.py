"""Words cut with arrays are those that a regular expression finds, document by document."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.scoring.words import blocks_of_texts, read_characters, split_words

TEXTS = st.lists(st.text(st.sampled_from("aB_9é\u00a0 \n.,!“中Я"), max_size=12), min_size=1, max_size=6)


@settings(deadline=None)  # tables of all characters are made once
@given(TEXTS)
def test_words_are_those_of_each_document_alone(texts: list[str]) -> None:
    words = split_words(read_characters(texts))
    for text, first, last in zip(texts, words.offsets, words.offsets[1:], strict=False):
        expected = re.findall(r"\w+|[^\w\s]+", text.lower())
        assert last - first == len(expected)
        alone = split_words(read_characters(expected)).hashes if expected else np.zeros(0, np.uint64)
        assert words.hashes[first:last].tolist() == alone.tolist(), "a word has one hash wherever it stands"
        assert words.letters[first:last].tolist() == [bool(re.match(r"\w", word)) for word in expected]


def test_words_that_differ_have_other_hashes() -> None:
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"] + ["ab", "ba", "aab", "abb", "a", "aa"]
    assert len(set(split_words(read_characters(words)).hashes.tolist())) == len(words)


@given(st.lists(st.integers(0, 300_000), max_size=8))
def test_blocks_are_all_documents_once_in_order(lengths: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    rows = [row for block in blocks_of_texts(texts) for row in range(len(texts))[block]]
    assert rows == list(range(len(texts)))
