"""Hashes of n-grams and the index of them against the same found with Python's strings."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import hash_ids
from curation_assets.evaluation import ngrams
from curation_assets.evaluation.ngram_index import INPUTS_SCHEMA, MANY, SHARE, TaskInputs, build_index
from curation_assets.evaluation.ngrams import (
    LEAST_WORDS,
    WORDS,
    NgramIndex,
    grams,
    normalized,
    word_hashes,
)

Row = tuple[str, str, str]


def ngram_hashes(texts: pa.Array, n: int = WORDS) -> tuple[np.ndarray, np.ndarray]:
    """Return the hash of every n-gram of every text, and the number of its text."""
    words, document = word_hashes(texts)
    for _, hashes in grams(words, (n,)):
        inside = document[: len(hashes)] == document[n - 1 :]
        return hashes[inside], document[: len(hashes)][inside]
    return np.zeros(0, np.uint64), np.zeros(0, np.int64)


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFC", text).lower()
    runs = groupby(text, key=lambda c: unicodedata.category(c)[0] in "LMN")
    return ["".join(run) for inside, run in runs if inside]


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


TEXT = st.text("aAbBéÉñ日本нН0९1 \t\n.,;:-_'’\"()e\u0301", max_size=60)


@given(st.lists(TEXT, max_size=5))
def test_words_are_runs_of_letters_marks_and_digits(texts: list[str]) -> None:
    expected = [(word, at) for at, text in enumerate(texts) for word in _words(text)]
    hashes, document = word_hashes(pa.array(texts, pa.string()))
    assert document.tolist() == [at for _, at in expected]
    assert hashes.tolist() == hash_ids([word for word, _ in expected]).tolist()
    assert normalized(pa.array(texts, pa.string())).to_pylist() == [" ".join(_words(t)) for t in texts]


@given(st.lists(TEXT, max_size=5), st.integers(1, 4))
def test_ngrams_stay_in_their_text(texts: list[str], n: int) -> None:
    expected = [(gram, at) for at, text in enumerate(texts) for gram in _grams(_words(text), n)]
    hashes, document = ngram_hashes(pa.array(texts, pa.large_string()), n)
    assert document.tolist() == [at for _, at in expected]
    named = dict(zip([gram for gram, _ in expected], hashes.tolist(), strict=True))
    assert [named[gram] for gram, _ in expected] == hashes.tolist() and len(set(named.values())) == len(named)


@pytest.mark.parametrize("n", [8, 13])
def test_different_ngrams_of_few_words_differ_in_their_hash(n: int) -> None:
    """Few words in every order are the hard case of a polynomial modulo a power of two."""
    rng = np.random.default_rng(7)
    texts = [" ".join(rng.choice(list("abc")[:k], 20_000)) for k in (1, 2, 3)]
    texts.append(" ".join("ab"[i.bit_count() % 2] for i in range(4096)))  # the Thue-Morse sequence
    every = [gram for text in texts for gram in _grams(text.split(), n)]
    hashes, _ = ngram_hashes(pa.array(texts), n)
    assert len(hashes) == len(every)
    assert len(set(every)) == len(set(hashes.tolist())) == len(set(zip(every, hashes.tolist(), strict=True)))


def test_hashes_are_the_same_for_ever() -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it sleeps."
    hashes, document = ngram_hashes(pa.array([text]))
    base, modulus = 0xD6E8FEB86659FD93, 1 << 64
    expected = 1
    for word in hash_ids(_words(text)).tolist():
        expected = (expected * base + word) % modulus
    assert hashes.tolist() == [expected] and document.tolist() == [0]


@given(
    st.lists(st.sampled_from(["the", "Fox", "naïve", "x1", "ДОМ", "ünder"]), min_size=13, max_size=30),
    st.randoms(use_true_random=False),
)
def test_case_punctuation_and_white_space_do_not_matter(words: list[str], rng: random.Random) -> None:
    def noisy() -> str:
        cased = [rng.choice([str.upper, str.lower, str.title])(word) for word in words]
        gaps = [rng.choice([" ", "\n\n", ", ", " - ", "\t(", "_", "…", "\u00a0"]) for _ in words]
        return "“" + "".join(word + gap for word, gap in zip(cased, gaps, strict=True))

    texts = [noisy(), unicodedata.normalize("NFD", noisy())]
    hashes, document = ngram_hashes(pa.array(texts))
    assert np.array_equal(hashes[document == 0], hashes[document == 1]) and len(hashes) >= 2


def test_a_missing_text_is_refused() -> None:
    with pytest.raises(ValueError, match="text 1 is missing"):
        ngram_hashes(pa.array(["a", None]))


def _same(inputs: list[list[str]]) -> int:
    """Return how many words all inputs begin with."""
    same = 0
    while all(len(words) > same and words[same] == inputs[0][same] for words in inputs):
        same += 1
    return same


def _own(inputs: list[list[str]]) -> list[list[str]]:
    """Return a task's inputs without what all of them begin or end with."""
    if len(inputs) <= MANY:
        return inputs
    first, last = _same(inputs), _same([words[::-1] for words in inputs])
    return [words[first : len(words) - last] if len(words) > first + last else [] for words in inputs]


def _expected_index(rows: list[Row]) -> tuple[dict[tuple[str, str], set[tuple[str, ...]]], list[TaskInputs]]:
    """Return each task's n-grams and counts by the rules as they are written."""
    index, counts = {}, []
    for suite, task in sorted({row[:2] for row in rows}):
        whole_inputs = [_words(text) for s, t, text in rows if (s, t) == (suite, task)]
        own = _own(whole_inputs)
        seen: Counter[tuple[str, ...]] = Counter()
        for words in own:
            n = WORDS if len(words) >= WORDS else max(len(words), LEAST_WORDS)
            seen.update(set(_grams(words, n)))
        most = max(MANY, SHARE * len(own))
        kept = {gram for gram, n in seen.items() if n <= most}
        index[suite, task] = kept
        whole = sum(LEAST_WORDS <= len(words) < WORDS for words in own)
        short = sum(len(words) < LEAST_WORDS for words in own)
        cut = (_same(whole_inputs) + _same([w[::-1] for w in whole_inputs])) if len(own) > MANY else 0
        counts.append(TaskInputs(suite, task, len(own), cut, len(kept), len(seen) - len(kept), whole, short))
    return index, counts


def _rows(seed: int) -> list[Row]:
    """Make inputs of four tasks: shots before every input, template text in the middle, passages shared, short ones."""
    rng = np.random.default_rng(seed)

    def some(n: int) -> str:
        return " ".join(rng.choice(["red", "Blue", "green", "x", "y"], n))

    shots, middle = f"Shot: {some(20)}", f"Template, {some(16)}; "
    rows = [("a", "shots", f"{shots} Q: {some(int(n))} A: so it is") for n in rng.integers(0, 25, 30)]
    rows += [("a", "middle", f"{some(3)} {middle} {some(15)}") for _ in range(30)]
    passage = some(14)
    rows += [("b", "shared", f"{passage if i < 12 else some(14)} zebra {some(13)}") for i in range(300)]
    rows += [("b", "few", text) for text in (some(7), some(8), some(12), some(13), "", some(40))]
    return [rows[i] for i in rng.permutation(len(rows))]


def _batches(rows: list[Row], size: int) -> list[pa.RecordBatch]:
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=INPUTS_SCHEMA)
    return table.to_batches(size)


def _build(folder: Path, rows: list[Row], size: int = 64) -> tuple[NgramIndex, list[TaskInputs]]:
    for name in ("index", "scratch"):
        (folder / name).mkdir(parents=True)
    counts = build_index(lambda: _batches(rows, size), folder / "index", folder / "scratch")
    return NgramIndex(folder / "index"), counts


def _documents(rows: list[Row], seed: int) -> list[str]:
    """Paste pieces of the inputs between other words, and put in some that share nothing."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(80):
        mine = [text for _, task, text in rows if task == ("shots", "middle", "shared", "few")[number % 4]]
        words = mine[rng.integers(len(mine))].upper().split()
        start = int(rng.integers(len(words) // 2)) if number % 3 and len(words) > 1 else 0
        piece = ",\n".join(words[start : start + int(rng.integers(5, 60))])
        texts.append("nothing at all" if number % 10 == 9 else f"before {piece} after {piece} end")
    return texts


@pytest.mark.parametrize("seed", [0, 1])
def test_the_index_and_its_overlaps_are_those_of_strings(tmp_path: Path, seed: int) -> None:
    rows = _rows(seed)
    index, counts = _build(tmp_path, rows)
    expected, expected_counts = _expected_index(rows)
    assert counts == expected_counts and len(index) == sum(map(len, expected.values()))
    few, shots = counts[2], counts[1]
    assert (few.whole, few.too_short) == (2, 2) and shots.common_words > 20 and shots.template_ngrams == 0
    assert counts[0].template_ngrams > 3 and counts[3].template_ngrams == 0, "a passage is no template"
    texts = _documents(rows, seed)
    found = index.overlaps(pa.array(texts))
    rows_found = zip(found.document.tolist(), found.task.tolist(), found.shared.tolist(), strict=True)
    shared: list[tuple[int, int, int]] = []
    distinct = []
    for at, text in enumerate(texts):
        grams = {g for n in range(LEAST_WORDS, WORDS + 1) for g in _grams(_words(text), n)}
        distinct.append(len(grams & set().union(*expected.values())))
        both = [len(grams & expected[name]) for name in index.tasks]
        shared += [(at, task, n) for task, n in enumerate(both) if n]
    assert list(rows_found) == shared and found.distinct.tolist() == distinct
    assert 10 < sum(n > 0 for n in distinct) < len(texts) and len({task for _, task, _ in shared}) == 4


def test_an_ngram_of_two_tasks_counts_for_both(tmp_path: Path) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    index, _ = _build(tmp_path, [("s", "a", text), ("s", "b", text), ("r", "c", text[4:])])
    found = index.overlaps(pa.array(["none", text, text.removesuffix(" fourteen")]))
    assert index.tasks == [("r", "c"), ("s", "a"), ("s", "b")]
    assert found.distinct.tolist() == [0, 2, 1] and found.document.tolist() == [1, 1, 1, 2, 2]
    assert found.task.tolist() == [0, 1, 2, 1, 2] and found.shared.tolist() == [1, 2, 2, 1, 1]


@pytest.mark.parametrize("slots", [64, 512])
def test_order_and_batches_of_the_inputs_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    rows = _rows(3)
    _, counts = _build(tmp_path / "one", rows)
    monkeypatch.setattr(ngrams, "_FILTERED", slots)  # the filter is made in many parts
    other, others = _build(tmp_path / "other", rows[::-1], 7)
    assert counts == others
    for name in ("index.json", "ngrams.npy", "tasks.npy"):
        assert (tmp_path / "one/index" / name).read_bytes() == (tmp_path / "other/index" / name).read_bytes()
    texts = pa.array(_documents(rows, 3))
    one = NgramIndex(tmp_path / "one/index").overlaps(texts)
    assert one.distinct.any() and all(map(np.array_equal, one, other.overlaps(texts)))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(80)), st.integers(1, 80))
def test_order_and_batches_of_the_documents_do_not_matter(
    shared_index: tuple[NgramIndex, list[str]], order: list[int], size: int
) -> None:
    index, texts = shared_index
    expected = _as_counts(index, texts, list(range(80)))
    found: dict[int, tuple[int, dict[int, int]]] = {}
    for start in range(0, 80, size):
        found |= _as_counts(index, texts, order[start : start + size])
    assert found == expected and any(n for n, _ in expected.values())


def _as_counts(
    index: NgramIndex, texts: list[str], numbers: list[int]
) -> dict[int, tuple[int, dict[int, int]]]:
    found = index.overlaps(pa.array([texts[i] for i in numbers], pa.string()))
    tasks: dict[int, dict[int, int]] = {i: {} for i in numbers}
    for document, task, n in zip(found.document, found.task, found.shared, strict=True):
        tasks[numbers[document]][int(task)] = int(n)
    return {i: (int(n), tasks[i]) for i, n in zip(numbers, found.distinct, strict=True)}


@pytest.fixture(scope="module")
def shared_index(tmp_path_factory: pytest.TempPathFactory) -> tuple[NgramIndex, list[str]]:
    rows = _rows(5)
    return _build(tmp_path_factory.mktemp("index"), rows)[0], _documents(rows, 5)


@pytest.mark.parametrize("rows", [[], [("s", "t", "far too short")]])
def test_nothing_to_look_for_is_found_nowhere(tmp_path: Path, rows: list[Row]) -> None:
    for name in ("index", "scratch"):
        (tmp_path / name).mkdir()
    counts = build_index(lambda: _batches(rows, 8) if rows else [], tmp_path / "index", tmp_path / "scratch")
    assert [about.too_short for about in counts] == [1] * len(rows)
    index = NgramIndex(tmp_path / "index")
    found = index.overlaps(pa.array(["far too short", "a b " * 20, ""]))
    assert len(index) == 0 and found.distinct.tolist() == [0, 0, 0] and len(found.document) == 0
    assert index.overlaps(pa.array([], pa.string())).distinct.tolist() == []
