"""What the families share: names of rows, labels as words, T5's "name: text" inputs, few-shot prompts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curation_assets.common.files import fingerprint
from curation_assets.evaluation.examples import SHOT_BREAK, Example
from curation_assets.evaluation.hub import BadRow, MissingData

HubRow = Mapping[str, Any]
"""A row as the hub gives it."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_ID_COLUMNS = ("idx", "id", "ID", "qid")
_BLANK_LINES = re.compile(r"\n\s*\n+")


def place(row: HubRow) -> str:
    """Return where a row stands, for messages."""
    return str(getattr(row, "where", "a row"))


def row_id(row: HubRow) -> str:
    """Return the hub's own id of a row (MultiRC's and ReCoRD's are parts joined by "-"), or else a hash of its content."""
    for column in _ID_COLUMNS:
        if column in row:
            value = row[column]
            return (
                "-".join(str(part) for part in value.values()) if isinstance(value, Mapping) else str(value)
            )
    return fingerprint(dict(row))


def row_unit(row: HubRow) -> str:
    """Return what is chosen or left out as a whole: MultiRC's question with all its answers, elsewhere the row."""
    index = row.get("idx")
    if isinstance(index, Mapping) and {"paragraph", "question", "answer"} <= set(index):
        return f"{index['paragraph']}-{index['question']}"
    return row_id(row)


def text(row: HubRow, column: str) -> str:
    """Return a column of text.

    Raises
    ------
    BadRow
        It is no text.
    """
    value = row[column]
    if not isinstance(value, str):
        raise BadRow(f"{place(row)}: column {column!r} is {value!r:.40}, not a text")
    return value.strip()


def texts(row: HubRow, column: str, value: Any) -> tuple[str, ...]:
    """Return a list of texts without repeats, in order; `value` is what the column (or a part of it) holds.

    Raises
    ------
    BadRow
        It is not a list of texts, or an empty one.
    """
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise BadRow(f"{place(row)}: {column!r} is {value!r:.40}, not a list of texts")
    return tuple(dict.fromkeys(value))


def label(row: HubRow, names: Sequence[str], column: str = "label") -> str:
    """Return the label as a word.

    Raises
    ------
    MissingData
        The label is -1: it is not public.
    BadRow
        It is none of the labels.
    """
    value = row[column]
    if value == -1:
        raise MissingData(f"{place(row)}: the labels of this split are not public ({column} is -1)")
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise BadRow(f"{place(row)}: {column} is {value!r:.40}, not 0 to {len(names) - 1}")
    return names[value]


def truth(row: HubRow, column: str, names: tuple[str, str]) -> str:
    """Return the word of a false or true column.

    Raises
    ------
    BadRow
        It is neither.
    """
    if not isinstance(row[column], bool):
        raise BadRow(f"{place(row)}: {column} is {row[column]!r:.40}, not true or false")
    return names[row[column]]


def fields(prefix: str, row: HubRow, columns: Sequence[str]) -> str:
    """Return T5's input of a labelled row: the task's name, then "column: text" of each column."""
    return " ".join([prefix, *(f"{column}: {text(row, column)}" for column in columns)])


def chosen(row: HubRow, prompt: str, answer: str, options: Sequence[str], group: str = "") -> Example:
    """Return the example whose answer is one of `options`."""
    return Example(row_id(row), prompt, answer, tuple(options), (answer,), group)


def free(row: HubRow, prompt: str, answers: Sequence[str]) -> Example:
    """Return the example whose answer is generated; the first of `answers` is the target."""
    return Example(row_id(row), prompt, answers[0], (), tuple(answers), "")


def few_shot(blocks: Iterable[str]) -> str:
    """Return a prompt of blocks with SHOT_BREAK between them, and no blank line inside one."""
    return SHOT_BREAK.join(_BLANK_LINES.sub("\n", block).strip() for block in blocks)
