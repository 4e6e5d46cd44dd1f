"""BIG-Bench-Hard (Suzgun et al. 2023): direct answers after three solved examples.

The options are those that a question lists: letters "(A)", "(B)", ... or words after dashes. Three tasks have two answers
that are not listed, and four have none and are generated. In a few rows the answer is not among the options as listed (the
data's own slips): these are generated too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import HubRow, chosen, few_shot, free, text
from curation_assets.evaluation.tasks import Task

UNLISTED: dict[str, tuple[str, ...]] = {
    "boolean_expressions": ("True", "False"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}
"""Config -> options of the tasks that do not list them."""

_OPTION = re.compile(r"^(?:(\([A-Z]\))|- +(.*\S))", re.MULTILINE)


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row, each after all `shots`.

    Raises
    ------
    BadRow
        A row is not what the hub has.
    """
    solved = [f"Q: {text(shot, 'input')}\nA: {text(shot, 'target')}" for shot in shots]
    for row in rows:
        question, answer = text(row, "input"), text(row, "target")
        prompt = few_shot([*solved, f"Q: {question}\nA:"])
        options = UNLISTED.get(config) or _listed(question)
        yield chosen(row, prompt, answer, options) if answer in options else free(row, prompt, (answer,))


def _listed(question: str) -> tuple[str, ...]:
    _, heading, options = question.rpartition("Options:")
    return tuple(dict.fromkeys(a or b for a, b in _OPTION.findall(options))) if heading else ()
