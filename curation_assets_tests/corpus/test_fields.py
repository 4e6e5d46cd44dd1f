"""A document's text out of what a field holds: chats, texts that nobody sees, texts that say too little."""

from __future__ import annotations

from typing import Any

import pytest

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.fields import document_text, joined_chat
from curation_assets.corpus.rows import RawRow, from_record

LEAST = DocumentSettings(min_chars=10, min_words=1)


def fate(text: Any, options: DocumentSettings = LEAST) -> str:
    """Return "" for a document, or the reason why it is none."""
    found = document_text(RawRow(1, {"text": text}, b""), text, options)
    return "" if isinstance(found, str) else found[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n\u3000\u00a0",
        "\u200b\u200c\u200d\u2060\ufeff",
        "\ufe0f\ufe00\U000e0100",
        "\u0301\u0302 \u20dd",
        "\u2800" * 40,
        "\u115f\u1160\u3164\uffa0",
        "\U000e0001\U000e0041\U000e007f",
        "\u00ad\u034f\u061c\u180e\u17b4",
        "\u2028\u2029\u202a\u202c\u2066",
        "\U0001d159\U0001d173",
        "\u0900 \u093e\u0bbe",
    ],
    ids=ascii,
)
def test_a_text_without_a_visible_character_is_no_document_whatever_the_least_is(text: str) -> None:
    assert fate(text) == fate(text, DocumentSettings()) == "empty_text"


@pytest.mark.parametrize("text", [".", "a", "漢", "👍", "\u200ba", "e\u0301", "ﷺ", "\ue000"])
def test_a_single_visible_character_is_a_document_unless_more_are_asked_for(text: str) -> None:
    assert fate(text, DocumentSettings()) == ""
    assert fate(text) == "too_short"


def test_visible_characters_are_counted_without_white_space_and_marks() -> None:
    assert fate("123456789 .") == ""
    assert fate("12345678 \n\n\u200b\u0301.") == "too_short"
    assert fate("हिन्दी में यह एक वाक्य है") == ""
    assert document_text(RawRow(1, {}, b""), " a.b\u200b", LEAST) == (
        "too_short",
        "3 visible characters, at least 10",
    )


def test_words_are_runs_of_letters_and_digits_and_single_letters_of_unspaced_scripts() -> None:
    ten = DocumentSettings(min_words=10)
    assert fate("one two three four five six seven eight nine 10", ten) == ""
    assert fate("it's one two three four five six seven eight nine-", ten) == ""
    assert fate("one two three four five six seven eight nine ... !!", ten) == "too_short"
    assert fate("漢字仮名交じりの文です", ten) == fate("ภาษาไทยไม่มีช่องว่าง", ten) == ""
    assert fate("漢字", ten) == "too_short"
    assert fate("----------====", LEAST) == "too_short", "rules and dots are no words"
    assert document_text(RawRow(1, {}, b""), "a b", ten) == ("too_short", "2 words, at least 10")


CHAT = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello!"}]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (CHAT, "user: Hello?\n\nassistant: Hello!"),
        ([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "human: Hi\n\ngpt: Ho"),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look:"},
                        {"type": "image_url", "image_url": {"url": "x"}},
                        {"type": "text", "text": "what is it?"},
                    ],
                }
            ],
            "user: Look:\nwhat is it?",
        ),
        (
            [CHAT[0], {"role": "assistant", "content": None, "tool_calls": [{}]}, {"content": "x"}],
            "user: Hello?\n\nx",
        ),
        ([], ""),
        (["user: no", "objects"], None),
        ([{"role": "user"}], None),
        ([{"role": "user", "content": 5}], None),
        ([{"role": 1, "content": "a"}], None),
    ],
)
def test_a_chat_is_one_text(messages: list[Any], text: str | None) -> None:
    assert joined_chat(messages) == text


def test_what_is_no_text_and_no_chat() -> None:
    assert fate(["a", "b"]) == fate({"text": "a"}) == fate(12) == "text_not_a_string"
    assert fate(CHAT) == "" and fate([]) == "empty_text"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"content": {"text": "inner"}}, "inner"),
        ({"content": {"text": "inner"}, "content.text": "flat"}, "flat"),
        ({"content.text": None, "content": {"text": "inner"}}, None),
        ({"content": {"text": None}}, None),
    ],
)
def test_a_dotted_name_is_the_field_of_that_name_or_else_nested(
    record: dict[str, Any], text: str | None
) -> None:
    row = from_record(1, record, b"", DocumentSettings(text_field="content.text", id_field=""), {})
    assert (row.fields, row.lacks) == ({"content.text": text}, ())


def test_dots_may_stand_in_the_names_of_the_parts() -> None:
    options = DocumentSettings(text_field="a.b.c.d", id_field="", keep_fields=("x",))
    row = from_record(
        1, {"a": {"z": 1}, "a.b": {"c.d": "deep"}}, b"", options, {"x": "folder", "a.b.c.d": "no"}
    )
    assert row.fields == {"a.b.c.d": "deep", "x": "folder"}


@pytest.mark.parametrize(
    "record", [{}, {"content": "text"}, {"content": {"body": 1}}, {"content": [{"text": 1}]}]
)
def test_what_is_not_there_is_told_with_what_is(record: dict[str, Any]) -> None:
    row = from_record(
        1, {"id": 1, **record}, b"", DocumentSettings(text_field="content.text"), {"content.text": "folder"}
    )
    assert row.fields == {"content.text": None, "id": 1}, "only a kept field is filled in from the folder"
    assert row.lacks == ("content.text",)
    assert row.seen[0] == "id" and len(row.seen) == 1 + len(record)
