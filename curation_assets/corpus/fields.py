"""From the fields of a row to a document's text and its kept strings."""

from __future__ import annotations

import json
from typing import Any

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.normalize import defect, normalize, visible_characters, words
from curation_assets.corpus.rows import RawRow

_LOST = "\ud800"  # cannot be written as UTF-8


def document_text(raw: RawRow, value: Any, settings: DocumentSettings) -> str | tuple[str, str]:
    """Return the normalised text of a row whose text field holds `value`, or (reason, detail) why it is no document."""
    if value is None:
        what = "no field" if settings.text_field in raw.lacks else "null in field"
        return "missing_text", f"{what} {settings.text_field}"
    text = text_as_read(value)
    if not isinstance(text, str):
        return "text_not_a_string", f"a {type(value).__name__}"
    if problem := defect(text):
        return problem
    text = normalize(text)
    if problem := _too_little(text, settings):
        return problem
    if len(text) > settings.max_chars:
        return "text_too_long", f"{len(text)} characters, limit {settings.max_chars}"
    return text


def text_as_read(value: Any) -> Any:
    """Return the text that a text field holds, before it is normalised: itself, or a conversation as one text."""
    return joined_chat(value) if isinstance(value, list) else value


def joined_chat(messages: list[Any]) -> str | None:
    """Return a conversation as one text, or None where the list is none.

    A message is {"role", "content"} or, as in ShareGPT, {"from", "value"}; it becomes "role: content", and blank lines
    stand between messages. Content is a text or a list of parts, of which those with a "text" are joined by line feeds;
    pictures, and messages without content (calls of tools), are left out.
    """
    turns = []
    for message in messages:
        if not isinstance(message, dict) or not ("content" in message or "value" in message):
            return None
        content = message.get("content")
        content = message.get("value") if content is None else content
        if isinstance(content, list):
            parts = [part.get("text") if isinstance(part, dict) else part for part in content]
            content = "\n".join(part for part in parts if isinstance(part, str))
        if content is None:
            continue
        role = message.get("role")
        role = message.get("from") if role is None else role
        if not isinstance(content, str) or not isinstance(role, str | None):
            return None
        if content:
            turns.append(f"{role}: {content}" if role else content)
    return "\n\n".join(turns)


def _too_little(text: str, settings: DocumentSettings) -> tuple[str, str] | None:
    """Return (reason, detail) of a text that is too short to be a document, else None."""
    visible = visible_characters(text, settings.min_chars)
    if not visible:
        return "empty_text", f"{len(text)} characters, none of them visible"
    if visible < settings.min_chars:
        return "too_short", f"{visible} visible characters, at least {settings.min_chars}"
    if settings.min_words and (count := words(text, settings.min_words)) < settings.min_words:
        return "too_short", f"{count} words, at least {settings.min_words}"
    return None


def kept_fields(raw: RawRow, settings: DocumentSettings) -> tuple[list[str | None], list[str]]:
    """Return the kept fields as strings, and the names of those whose value cannot be one and is null instead."""
    kept, lost = [], list(raw.lost)
    for name in settings.keep_fields:
        try:
            value = _metadata((raw.fields or {}).get(name))
        except (TypeError, ValueError):  # keys that JSON cannot have
            value = _LOST
        if value is not None and not _is_utf8(value):
            lost.append(name)
            value = None
        kept.append(value)
    return kept, lost


def _metadata(value: object) -> str | None:
    """Return a metadata value as a string: JSON where it is a number, a list or an object."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)  # what only Parquet and Arrow have: decimals


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
