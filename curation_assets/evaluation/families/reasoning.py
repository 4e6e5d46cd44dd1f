"""Reasoning in steps (Wei et al. 2022): eight solved examples with their rationale, then the question.

The rationale is the data's own: GSM8K's solution without its calculator marks, the equation of SVAMP and ASDiv, StrategyQA's
facts. It ends with "The answer is N.", and the answer is read from the end of what the model writes. The target is the
answer alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import HubRow, few_shot, free, place, text, truth
from curation_assets.evaluation.hub import BadRow
from curation_assets.evaluation.tasks import Task

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_UNIT = re.compile(r"\s*\([^()]*[^\W\d][^()]*\)")
_WHOLE = re.compile(r"(\d)\.0\b")


class Problem(NamedTuple):
    """A question with its solution."""

    question: str
    rationale: str
    answer: str


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row, each after all `shots`.

    Raises
    ------
    BadRow
        A row is not what the hub has.
    """
    read = PROBLEMS[task.task]
    solved = [f"Q: {p.question}\nA: {p.rationale} The answer is {p.answer}." for p in map(read, shots)]
    for row in rows:
        problem = read(row)
        yield free(row, few_shot([*solved, f"Q: {problem.question}\nA:"]), (problem.answer,))


def _gsm8k(row: HubRow) -> Problem:
    solution, mark, answer = text(row, "answer").rpartition("####")
    if not mark:
        raise BadRow(f"{place(row)}: answer does not end with '#### <number>'")
    return Problem(
        text(row, "question"),
        " ".join(_CALCULATOR.sub("", solution).split()),
        answer.replace(",", "").strip(),
    )


def _svamp(row: HubRow) -> Problem:
    answer = _WHOLE.sub(r"\1", text(row, "Answer"))
    equation = _WHOLE.sub(r"\1", text(row, "Equation"))
    return Problem(f"{text(row, 'Body')} {text(row, 'Question')}", f"{equation} = {answer}.", answer)


def _asdiv(row: HubRow) -> Problem:
    """Read "9 (apples)" as 9. About a tenth of the answers are no single number (a name, a time, a ratio): they stay texts."""
    answer = _UNIT.sub("", text(row, "answer")).strip()
    return Problem(f"{text(row, 'body')} {text(row, 'question')}", f"{text(row, 'formula')}.", answer)


def _strategyqa(row: HubRow) -> Problem:
    return Problem(text(row, "question"), text(row, "facts"), truth(row, "answer", ("no", "yes")))


PROBLEMS: dict[str, Callable[[HubRow], Problem]] = {
    "gsm8k": _gsm8k,
    "svamp": _svamp,
    "asdiv": _asdiv,
    "strategyqa": _strategyqa,
}
