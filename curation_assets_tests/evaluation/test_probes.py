"""The tasks made from the corpus: labels that are right, balanced, and the same whatever stands beside a document."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import hash_ids
from curation_assets.evaluation.probes import INTACT, document_origin, origins, shuffled_words
from curation_assets_tests.conftest import stdlib_texts


def table(texts: list[str], sources: list[str] | None = None) -> pa.Table:
    ids = [f"d{i}" for i in range(len(texts))]
    columns = {"doc_id": ids, "doc_hash": hash_ids(ids), "text": texts}
    return pa.table(columns | ({"source": sources} if sources else {}))


def test_origins_are_frequent_and_more_than_one() -> None:
    assert origins(["a"] * 60 + ["b"] * 38 + ["rare"] * 1 + [""] * 1) == ("a", "b")
    assert origins(["a"] * 100) == () and origins([]) == ()
    many = origins([f"s{i:02}" for i in range(20) for _ in range(20 + i)])
    assert len(many) == 12 and many == tuple(f"s{i:02}" for i in range(8, 20))


def test_a_document_is_asked_for_its_origin() -> None:
    found = document_origin(
        table(["one\n\n  two", "three", "x" * 2_000], ["a", "unknown", "b"]), "source", ("a", "b")
    )
    assert [e.id for e in found] == ["d0", "d2"]
    assert found[0].input == "origin of the document: one two"
    assert found[0].target == "a" and found[0].answers == ("a",) and found[0].options == ("a", "b")
    assert len(found[1].input) < 700


def test_each_sentence_is_asked_for_twice_and_the_answer_says_which() -> None:
    texts = [text for _, text in stdlib_texts()]
    found = shuffled_words(table(texts), 0)
    assert len(found) > 200 and len({e.id for e in found}) == len(found)
    asked = [example.input.removeprefix("are the words in order? ") for example in found]
    for example, shown in zip(found, asked, strict=True):
        text = " ".join(texts[int(example.id[1:].split("#")[0])].split())
        assert (shown in text) == (example.target == INTACT[0])
        assert 6 <= len(shown.split()) <= 24 and example.options == INTACT
    for intact, mixed in zip(asked[::2], asked[1::2], strict=True):
        assert sorted(intact.split()) == sorted(mixed.split()) and intact != mixed
    assert [e.target for e in found] == [*INTACT] * (len(found) // 2), "a constant answer has exactly 50 %"
    per_document = Counter(e.id.split("#")[0] for e in found)
    assert max(per_document.values()) == 8
    assert shuffled_words(table(texts), 0) == found != shuffled_words(table(texts), 1)
    assert shuffled_words(table(texts), 0, 7) == found[:7]
    assert shuffled_words(table(["too short."]), 0) == []


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)))
def test_an_example_does_not_depend_on_the_order_of_documents(order: list[int]) -> None:
    documents = table([text for _, text in stdlib_texts()][:12])
    shuffled = documents.take(order)
    assert sorted(shuffled_words(documents, 3)) == sorted(shuffled_words(shuffled, 3))
