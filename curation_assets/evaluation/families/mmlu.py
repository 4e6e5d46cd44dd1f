"""MMLU (Hendrycks et al. 2021) in its authors' prompt: a heading, five solved questions of `dev`, a letter as the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import LETTERS, HubRow, chosen, few_shot, label, place, text
from curation_assets.evaluation.hub import BadRow
from curation_assets.evaluation.tasks import Task

OPTIONS = tuple(LETTERS[:4])


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row, each after all `shots`.

    Raises
    ------
    BadRow, MissingData
        A row is not what the hub has, or its answer is not public.
    """
    subject = config.replace("_", " ")
    head = f"The following are multiple choice questions (with answers) about {subject}."
    solved = [f"{_question(shot)} {label(shot, OPTIONS, 'answer')}" for shot in shots]
    for row in rows:
        yield chosen(row, few_shot([head, *solved, _question(row)]), label(row, OPTIONS, "answer"), OPTIONS)


def _question(row: HubRow) -> str:
    choices = row["choices"]
    if not isinstance(choices, list) or len(choices) != len(OPTIONS):
        raise BadRow(f"{place(row)}: choices is {choices!r:.40}, not four texts")
    lines = [f"{letter}. {choice}" for letter, choice in zip(OPTIONS, choices, strict=True)]
    return "\n".join([text(row, "question"), *lines, "Answer:"])
