"""Text-to-text examples: what every task becomes before a model sees it, and the table that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

SHOT_BREAK = "\n\n"
"""Parts a prompt: heading, solved examples, and last the question. Whoever has to shorten one, drops the earlier parts."""


class Example(NamedTuple):
    """One question to a model."""

    id: str
    """Unique within a task and part."""
    input: str
    """What the encoder reads. Where there are shots, SHOT_BREAK stands between them and before the question, and nowhere else."""
    target: str
    """What is trained on, and the first accepted answer."""
    options: tuple[str, ...]
    """Answers to rank by likelihood; empty: generate freely."""
    answers: tuple[str, ...]
    """All accepted answers, at least the target."""
    group: str
    """Examples of one group are measured together (MultiRC's question); "" otherwise."""


EXAMPLES_SCHEMA = pa.schema(
    [
        ("suite", pa.string()),
        ("task", pa.string()),
        ("part", pa.string()),
        ("id", pa.string()),
        ("input", pa.string()),
        ("target", pa.string()),
        ("options", pa.list_(pa.string())),
        ("answers", pa.list_(pa.string())),
        ("group", pa.string()),
    ]
)
"""`part` is "train" or "test"; the rest is `Example`."""


def to_table(suite: str, task: str, part: str, examples: Sequence[Example]) -> pa.Table:
    """Return the examples as a table of EXAMPLES_SCHEMA, in their order."""
    if part not in ("train", "test"):
        raise ValueError(f"a part is train or test, not {part!r}")
    columns: dict[str, list[object]] = {
        name: [getattr(example, name) for example in examples] for name in Example._fields
    }
    columns |= {
        name: [value] * len(examples) for name, value in (("suite", suite), ("task", task), ("part", part))
    }
    return pa.table(
        [pa.array(columns[field.name], field.type) for field in EXAMPLES_SCHEMA], schema=EXAMPLES_SCHEMA
    )


def from_table(table: pa.Table) -> list[Example]:
    """Return the examples of a table of EXAMPLES_SCHEMA, in its order."""
    columns = [table[name].to_pylist() for name in Example._fields]
    return [
        Example(id, input, target, tuple(options), tuple(answers), group)
        for id, input, target, options, answers, group in zip(*columns, strict=True)
    ]
