"""SQuAD 1.1 (Rajpurkar et al. 2016): an answer out of the passage, against all reference answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import HubRow, free, place, text, texts
from curation_assets.evaluation.hub import BadRow
from curation_assets.evaluation.tasks import Task


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row; `shots` is not used.

    Raises
    ------
    BadRow
        A row is not what the hub has.
    """
    for row in rows:
        answers = row["answers"]
        if not isinstance(answers, Mapping) or "text" not in answers:
            raise BadRow(
                f"{place(row)}: answers is {answers!r:.40}, not {{text: [...], answer_start: [...]}}"
            )
        prompt = f"question: {text(row, 'question')} context: {text(row, 'context')}"
        yield free(row, prompt, texts(row, "answers.text", answers["text"]))
